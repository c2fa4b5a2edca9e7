"""Where a landscape stands between convex and hopeless, and what noise certifies on it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from thalweg.objective.base import Objective
from thalweg.objective.noise import Uniform
from thalweg.theory.domain import read_domain, read_target
from thalweg.theory.guarantee import guarantee
from thalweg.theory.sampled import Sampled, one_point_ratio

__all__ = ["KINDS", "Place", "certificates", "placed"]

KINDS = ("convex", "one-point convex", "one-point convex after smoothing", "neither")

RADII = tuple(float(r) for r in np.geomspace(0.01, 1.0, 21))
"""Radii of smoothing that are tried, as shares of the domain's longest half side."""


@dataclass(frozen=True)
class Place:
    """One of :data:`KINDS`, estimated.

    Attributes:
        kind: the strongest that holds on the domain.
        radius: the smallest tried, of uniform noise of the step, at which the smoothed loss is
            one-point convex around a zero of its gradient near the target; 0 where no noise is
            needed, ``None`` where none of those tried suffices.
        convexity: c there, or without noise where there is no such radius.
    """

    kind: str
    radius: float | None
    convexity: float


def placed(landscape: Objective, target: Any, domain: Any) -> Place:
    """Convex, one-point convex, one-point convex only after smoothing, or neither.

    Estimated on a grid: convex where no second difference of f along random lines is negative,
    one-point convex where ⟨∇g(y), y − x*⟩ > 0 at every place. Smoothing is by noise uniform in every
    coordinate; radii from 1% to 100% of the domain's half side are tried. The target is moved to a
    zero of ∇g near it.
    """
    box = read_domain(domain, landscape.dim)
    place = read_target(target, box)
    plain, settled = one_point_ratio(Sampled(landscape, 1.0, Uniform(0.0)), place, box)
    if _is_convex(landscape, box.sides):
        return Place(KINDS[0], 0.0, plain)
    if settled and plain > 0:
        return Place(KINDS[1], 0.0, plain)
    for share in RADII:
        radius = share * box.size / 2
        smoothed = Sampled(landscape, 1.0, Uniform(radius))
        c, settled = one_point_ratio(smoothed, place, box)
        if settled and c > 0:
            return Place(KINDS[2], radius, c)
    return Place(KINDS[3], None, plain)


def certificates(
    landscape: Objective,
    target: Any,
    domain: Any,
    *,
    rates: Sequence[float],
    radii: Iterable[float],
    kind: str = "uniform",
) -> list[dict[str, Any]]:
    """What is certified over learning rates η and step noises of size ρ, so of r = ρ/η.

    Returns:
        For each pair the keys ``learning_rate``, ``noise``, ``radius`` (ρ), ``c``, ``excluded`` and
        ``minima`` (how many other minima, and how many of them are left behind), ``probability``
        (the least of those; 0 where there are none), ``status`` and ``sentence``.
    """
    rows = []
    for radius in radii:
        for rate in rates:
            made = guarantee(landscape, rate, f"{kind}:{radius / rate:.12g}", target, domain)
            shown = made.certificate
            rows.append(
                {
                    "learning_rate": rate,
                    "noise": str(made.noise),
                    "radius": radius,
                    "c": made.constants.convexity.value,
                    "excluded": len(shown.excluded),
                    "minima": len(shown.exclusions),
                    "probability": min((e.probability for e in shown.excluded), default=0.0),
                    "status": shown.status,
                    "sentence": made.sentence,
                }
            )
    return rows


def _is_convex(landscape: Objective, sides: Sequence[tuple[float, float]]) -> bool:
    """Whether f(a) + f(b) ≥ 2 f((a + b)/2) for 50 000 close and far pairs in the box."""
    rng = np.random.default_rng(0)
    low, high = np.array(sides).T
    first, second = rng.uniform(low, high, (2, 50_000, len(low)))
    share = rng.choice([1.0, 0.1, 0.01], (50_000, 1))
    second = first + share * (second - first)
    with torch.no_grad():
        f, g, middle = (
            landscape.loss(torch.from_numpy(p)).numpy()
            for p in (first, second, (first + second) / 2)
        )
    rounding = 1e-12 * (np.abs(f) + np.abs(g) + np.abs(middle))
    return bool((f + g - 2 * middle >= -rounding).all())
