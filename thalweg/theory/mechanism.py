"""Two ways out of a minimum told apart: smoothing within a step, and thermal activation over many."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from thalweg.errors import UsageError
from thalweg.objective.base import Objective
from thalweg.objective.noise import Noise, parse
from thalweg.theory.basins import basins
from thalweg.theory.bounding import constants_of
from thalweg.theory.domain import Domain, read_domain, read_target
from thalweg.theory.escape import thermal_diffusion

__all__ = ["Mechanism", "mechanism", "stationary_share"]

GRID = 200_000
"""Places of the sum over e^{−f/D}."""

HIGH = 10.0
"""Barriers above so many D are practically never climbed: e^10 is some 20 000 attempts."""


@dataclass(frozen=True)
class Mechanism:
    """What can bring descent to the target.

    Attributes:
        smoothing: whether the loss smoothed by one step's noise is one-point convex.
        diffusion: D = ηs²/2.
        barrier: the highest wall between a minimum and the target, in units of D; ``None`` where
            walls are not known (two variables and more).
        radius: around the target.
        share: that e^{−f/D} on the domain puts within the radius: where many steps lead, whether the
            smoothed loss is one-point convex or not; for small η.
    """

    smoothing: bool
    diffusion: float
    barrier: float | None
    radius: float
    share: float

    @property
    def sentence(self) -> str:
        """Which of the two it is."""
        law = f"e^(−f/D) puts {self.share:.1%} within {self.radius:.3g} of the target"
        if self.smoothing:
            return f"smoothing: one step's noise spans the basins; for small steps {law}"
        if self.barrier is None:
            return f"no smoothing: basins are left by thermal activation only; {law}"
        if self.barrier == 0:
            return f"nothing to leave: no wall stands before the target; {law}"
        often = "within reach" if self.barrier < HIGH else "practically never"
        return (
            f"thermal activation only: the highest wall is {self.barrier:.3g} D, climbed {often}; "
            f"{law}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        barrier = self.barrier
        finite = barrier if barrier is not None and math.isfinite(barrier) else None
        return {**self.__dict__, "barrier": finite, "sentence": self.sentence}


def mechanism(
    landscape: Objective,
    learning_rate: float,
    noise: Noise | str,
    target: Any,
    domain: Any,
    *,
    radius: float | None = None,
    one_point_convex: bool | None = None,
) -> Mechanism:
    """Whether noise reaches the target by smoothing, or by thermal activation alone.

    Args:
        landscape: of one or two variables.
        radius: around the target, a third of its distance to the edge if left out.
        one_point_convex: of the smoothed loss, if it is known already.

    Raises:
        UsageError: more than two variables; noise without a second moment.
    """
    noise, box = parse(noise), read_domain(domain, landscape.dim)
    place = read_target(target, box)
    variance = noise.variance(landscape.dim)
    if not math.isfinite(variance):
        raise UsageError(f"noise must have a second moment for thermal activation, not {noise}")
    if one_point_convex is None:
        known = constants_of(landscape, learning_rate, noise, place, box)
        one_point_convex = known.settled and known.convexity.value > 0
    diffusion = thermal_diffusion(learning_rate, variance)
    near = box.margin(place) / 3 if radius is None else float(radius)
    barrier = None
    if landscape.dim == 1:
        walls = [basin.height for basin in basins(landscape, place[0], box)]
        barrier = max(walls, default=0.0) / diffusion if diffusion else math.inf
    share = stationary_share(landscape, diffusion, place, near, box)
    return Mechanism(one_point_convex, diffusion, barrier, near, share)


def stationary_share(
    landscape: Objective,
    diffusion: float,
    target: tuple[float, ...],
    radius: float,
    domain: Domain,
) -> float:
    """The share of e^{−f/D} on the domain that lies within the radius, by a sum over a grid."""
    if landscape.dim > 2:
        raise UsageError(f"landscape must have one or two variables here, not {landscape.dim}")
    places = domain.grid(GRID)
    with torch.no_grad():
        losses = landscape.loss(torch.from_numpy(places)).numpy()
    lowest = losses.min()
    heights = np.where(losses == lowest, 0.0, losses - lowest)
    weights = np.exp(-heights / diffusion) if diffusion else (heights == 0).astype(float)
    inside = np.linalg.norm(places - np.array(target), axis=-1) <= radius
    return float(weights[inside].sum() / weights.sum())
