"""What each vital sign is called, means and reads: the one place that knows how to show Evidence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from thalweg.estimate import Estimate
from thalweg.show.catalogue import DEFAULT_THRESHOLDS, GROUPS, VITALS, Scale, Vital

__all__ = ["THRESHOLDS", "Reading", "Scale", "Vital", "in_order", "read", "vital"]

THRESHOLDS: Mapping[str, float] = DEFAULT_THRESHOLDS
"""Name to value of every cut that the vital signs are read by."""


@dataclass(frozen=True)
class Reading:
    """What a measured vital sign says.

    ``word`` is the zone that the value lies in, ``tone`` its colour, and ``straddles`` the
    thresholds that the error bar crosses: there the reading is not certain.
    """

    word: str
    tone: Literal["good", "watch", "bad", "calm"]
    straddles: tuple[float, ...] = ()


def vital(name: str) -> Vital:
    """How to show the Estimate of that name; an unknown name gets a plain row."""
    known = VITALS.get(name)
    if known is not None:
        return known
    stem, _, rank = name.rpartition("_")
    if stem == "eigenvalue" and rank.isdigit():
        return replace(
            VITALS["top_eigenvalue"],
            name=name,
            label=f"eigenvalue {rank}",
            symbol=f"λ_{rank}",
            meaning=f"Curvature along the direction that ranks {rank} from the top.",
        )
    return Vital(name, name.replace("_", " "), group=GROUPS[-1])


def read(
    sign: Vital, estimate: Estimate, thresholds: Mapping[str, float] = THRESHOLDS
) -> Reading | None:
    """The zone an Estimate lies in; None for a sign without zones or in a unit they do not fit."""
    if math.isnan(estimate.value):
        return Reading(sign.undefined, "calm") if sign.undefined else None
    if not sign.words or not sign.judges(estimate):
        return None
    cuts = sign.cuts_at(thresholds)
    place = sum(estimate.value >= cut for cut in cuts)
    crossed = tuple(cut for cut in cuts if _crosses(estimate, cut))
    return Reading(sign.words[place], sign.tones[place], crossed)


def in_order(names: Mapping[str, Estimate]) -> list[tuple[str, list[str]]]:
    """The names of some Evidence, grouped and ordered for a reader: (group, names)."""
    rank = {name: place for place, name in enumerate(VITALS)}
    grouped: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name in names:
        grouped[vital(name).group].append(name)
    for found in grouped.values():
        found.sort(key=lambda name: (rank.get(name, len(rank)), _trailing_number(name)))
    return [(group, found) for group, found in grouped.items() if found]


def _crosses(estimate: Estimate, cut: float) -> bool:
    return math.isfinite(estimate.error) and abs(estimate.value - cut) < estimate.error


def _trailing_number(name: str) -> int:
    rank = name.rpartition("_")[2]
    return int(rank) if rank.isdigit() else 0
