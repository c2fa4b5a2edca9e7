"""What each vital sign is called, means and reads: the one place that knows how to show Evidence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from thalweg.diagnose import thresholds as stated
from thalweg.diagnose.checks.state import CONSTANT, LEARNT, VANISHED
from thalweg.estimate import Estimate
from thalweg.show.catalogue import GROUPS, VITALS, Scale, Vital

__all__ = ["THRESHOLDS", "Group", "Reading", "Scale", "Vital", "in_order", "read", "vital"]

THRESHOLDS: Mapping[str, float] = {
    **{k.lower(): v for k, v in vars(stated).items() if k.isupper() and isinstance(v, int | float)},
    "constant": CONSTANT,
    "learnt": LEARNT,
    "vanished": VANISHED,
}
"""Name to value of every cut that the vital signs are read by: those that the verdict turns on."""


RESTS_ON, VITAL_SIGNS = "What the verdict rests on", "Vital signs"


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
    if not math.isfinite(estimate.value) and sign.undefined:
        return Reading(sign.undefined, "calm")
    if math.isnan(estimate.value):
        return None
    if not sign.words or not sign.judges(estimate):
        return None
    if sign.within and abs(estimate.value) <= estimate.error:
        return Reading(sign.within, "calm")
    cuts = sign.cuts_at(thresholds)
    place = sum(estimate.value >= cut for cut in cuts)
    crossed = tuple(cut for cut in cuts if _crosses(estimate, cut))
    return Reading(sign.words[place], sign.tones[place], crossed)


@dataclass(frozen=True)
class Group:
    """Names of Estimates under a heading; ``folded`` ones are for who looks for them."""

    title: str
    names: tuple[str, ...]
    relied_on: bool = False
    folded: bool = False


def in_order(evidence: Mapping[str, Estimate], relied_on: Sequence[str] = ()) -> list[Group]:
    """The names of some Evidence in the order to read them: first what the verdict rests on, then
    the vital signs, then the rest by its kind. Counts of nothing are left out."""
    rank = {name: place for place, name in enumerate(VITALS)}
    seen = [name for name, estimate in evidence.items() if _says_something(name, estimate)]
    seen.sort(key=lambda name: (rank.get(name, len(rank)), _trailing_number(name)))
    first = tuple(name for name in dict.fromkeys(relied_on) if name in seen)
    main = tuple(name for name in seen if vital(name).main and name not in first)
    rest = [name for name in seen if name not in first and name not in main]
    groups = [Group(RESTS_ON, first, relied_on=True), Group(VITAL_SIGNS, main)]
    groups += [
        Group(title, tuple(n for n in rest if vital(n).group == title), folded=True)
        for title in GROUPS
    ]
    return [group for group in groups if group.names]


def _says_something(name: str, estimate: Estimate) -> bool:
    return not (vital(name).count and estimate.value == 0)


def _crosses(estimate: Estimate, cut: float) -> bool:
    return math.isfinite(estimate.error) and abs(estimate.value - cut) < estimate.error


def _trailing_number(name: str) -> int:
    rank = name.rpartition("_")[2]
    return int(rank) if rank.isdigit() else 0
