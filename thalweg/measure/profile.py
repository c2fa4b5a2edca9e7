"""Rises of the loss against distance: on average, at worst, and averaged over noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST, Estimate
from thalweg.measure.directions import normalised_directions
from thalweg.measure.plain import plain
from thalweg.measure.rises import Rises, widened
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import value_and_gradient
from thalweg.objective.inner_product import length
from thalweg.objective.noise import Noise, parse
from thalweg.objective.smoothed import Smoothed

__all__ = ["Profile", "random_rise", "smoothed_rise", "worst_rise"]

BAND = (0.05, 0.95)
"""Quantiles of single draws between which most of them lie."""


@dataclass(frozen=True)
class Profile:
    """How much the loss rises within a radius.

    Attributes:
        name: what rises, in words.
        radii: increasing.
        rises: one for each radius.
        low, high: quantiles 5% and 95% of single draws at each; empty where nothing is drawn.
        unit: what a radius of 1 is.
        draws: how many there were.
    """

    name: str
    radii: tuple[float, ...]
    rises: tuple[Estimate, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    unit: str = "unit"
    draws: int = 0

    @property
    def cost(self) -> float:
        """Gradient evaluations."""
        return sum(rise.cost for rise in self.rises)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; None for what is not finite."""
        return plain(
            {
                "radius": self.radii,
                "rise": [rise.value for rise in self.rises],
                "error": [rise.error for rise in self.rises],
                "low": self.low,
                "high": self.high,
                "unit": self.unit,
                "draws": self.draws,
                "cost": self.cost,
            }
        )


def random_rise(
    objective: Objective,
    point: Tensor,
    radii: Sequence[float],
    *,
    normalised: str = "filter",
    draws: int = 16,
    seed: int = 0,
) -> Profile:
    """E f(θ + r d) − f(θ) over random directions d, and how far single directions differ.

    Directions come in pairs d, −d, the same for every radius, so that what is odd in d cancels. A
    rise in filter-normalised directions is not changed by a rescaling of a ReLU network's layers;
    one on a sphere is.

    Source: Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section 4.

    Args:
        objective: a network for ``filter`` and ``layer``.
        point: θ, shape ``(dim,)``.
        radii: above 0.
        normalised: ``filter`` or ``layer`` (r is the share of each filter's or layer's own norm,
            biases stay), ``whole`` (of ‖θ‖) or ``sphere`` (‖d‖ = 1: r is a distance).
        draws: pairs, 2 at least.

    Returns:
        The profile; errors are of the draws, and of the examples where these are a sample. Cost:
        ``2 draws/3`` evaluations a radius.

    Raises:
        UsageError: radii or draws that cannot be; filters of what is no network.
    """
    radii = _radii(radii)
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 2:
        raise UsageError(f"draws must be a whole number of 2 or more, not {draws!r}")
    rises = Rises(objective, point)
    generator = torch.Generator().manual_seed(seed)
    found: list[list[Tensor]] = [[] for _ in radii]
    for _ in range(draws):
        way = _direction(objective, point, normalised, generator)
        for at, radius in zip(found, radii, strict=True):
            at.extend(rises.at(point + sign * radius * way) for sign in (1, -1))
    each = LOSS_COST * 2 * draws
    means, low, high = [], [], []
    for at in found:
        every = torch.stack(at)
        mean = rises.estimate((every[0::2] + every[1::2]) / 2)
        means.append(Estimate(mean.value, mean.error, "loss", each))
        values = rises.whole(every).numpy()
        known = bool(np.isfinite(values).all())
        ends = np.quantile(values, BAND) if known else (math.nan, math.nan)
        low.append(float(ends[0]))
        high.append(float(ends[1]))
    shares = {"filter": "of each filter", "layer": "of each layer", "whole": "of all weights"}
    name = "random directions" + (f", {normalised}-normalised" if normalised in shares else "")
    unit = shares.get(normalised, "unit")
    return Profile(name, radii, tuple(means), tuple(low), tuple(high), unit, 2 * draws)


def worst_rise(
    objective: Objective,
    point: Tensor,
    radii: Sequence[float],
    *,
    starts: Sequence[Tensor] = (),
    steps: int = 8,
    seed: int = 0,
) -> Profile:
    """max f(θ + e) − f(θ) over ‖e‖ ≤ r, as high as ascent from several starts reaches.

    Ascent takes e ← r g/‖g‖ with g = ∇f(θ + e), which rises at each step where f is convex (at a
    quadratic minimum it is the power method). Where it does not rise it goes half of the way back to
    the highest e so far, through the ball and not around it: the maximum may lie inside. Radii go
    from small to large. What was reached within one is within the next, which goes on from there;
    the first begins with e = 0, so that no rise is below 0.

    Args:
        starts: directions to begin with, each with its opposite: the sharpest eigenvectors are
            good ones. The gradient and a random direction are always among them.
        steps: of ascent for each start.

    Returns:
        The profile: bounds from below. Errors: the distance from the best to the second best way,
        where both ought to have come to the same. Cost: ``steps`` evaluations a start and radius.
    """
    radii = _radii(radii)
    ascent = _Ascent(objective, point)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(len(point), generator=generator, dtype=torch.float64).to(point)
    begin = [ascent.slope, drawn]
    begin += [sign * start.to(point) for start in starts for sign in (1, -1)]
    ways = [way / length(way) for way in begin if 0 < length(way) < math.inf]
    found: list[Estimate] = []
    best, last = torch.zeros_like(ascent.point), Estimate(0.0, 0.0, "loss")
    for radius in radii:
        if not math.isfinite(last.value):  # a wall within a ball is within every larger one
            found.append(replace(last, cost=0.0))
            continue
        before = ascent.cost
        tops = [ascent.climb(radius * way, radius, steps) for way in ways]
        if bool(best.any()):
            onward = radius * best / length(best)
            tops.append(ascent.climb(onward, radius, steps, (last.value, best)))
        tops.sort(key=lambda top: top[0] if math.isfinite(top[0]) else math.inf, reverse=True)
        rise, there = tops[0]
        exact = ascent.rises.single(ascent.rises.at(point + there))
        if not exact.value <= last.value:
            second = max(last.value, tops[min(1, len(tops) - 1)][0])
            error = rise - second if math.isfinite(rise) else math.nan
            best, last = there, replace(exact, error=math.hypot(exact.error, error))
        last = replace(last, cost=ascent.cost - before + LOSS_COST)
        found.append(last)
    return Profile("the worst direction", radii, tuple(found))


def smoothed_rise(
    objective: Objective,
    point: Tensor,
    radii: Sequence[float],
    *,
    noise: Noise | str = "ball:1",
    samples: int = 32,
    seed: int = 0,
) -> Profile:
    """g_r(θ) − f(θ) for the loss averaged over noise, ``g_r(θ) = E f(θ − r ω)``, against r.

    To second order ``r² E‖ω‖² tr H / (2 dim)``. Where the curve stays low over the noise of a step,
    SGD does not leave; where it rises steeply, its noise throws it out.

    Source: Kleinberg, Li and Yuan, An Alternative View: When Does SGD Escape Local Minima?, ICML
    2018, section 3.

    Args:
        noise: of ω at r = 1; the ball of radius 1 makes r the bound on ‖ω‖.
        samples: losses a radius where the mean has to be sampled; the draws are the same for all r.

    Returns:
        The profile. Errors are of the draws (see :class:`thalweg.Smoothed`; widened to Student's) and
        of the examples, where these are a sample. Cost: ``samples/3`` a radius.
    """
    radii, unit = _radii(radii), parse(noise)
    rises = Rises(objective, point)
    rounding, sampled = rises.rounding, rises.loss
    found = []
    for radius in radii:
        smooth = Smoothed(objective, unit.scaled(radius), samples=samples, seed=seed)
        drawn = smooth.method == "sampling"
        value, error = (float(v) for v in smooth.loss_and_error(point.detach()))
        wider = widened(smooth.pairs) if drawn else 1.0
        # A sample of examples that is off at θ is off alike around it.
        share = abs(value - sampled.value) / max(abs(sampled.value), 1e-300)
        open_ = min(1.0, share) * sampled.error
        cost = LOSS_COST * 2 * smooth.pairs if drawn else LOSS_COST
        error = math.hypot(wider * error, open_, rounding)
        found.append(Estimate(value - sampled.value, error, "loss", cost))
    return Profile(f"averaged over noise {unit.text}", radii, tuple(found), draws=samples)


class _Ascent:
    """Ascent within a ball about a point."""

    def __init__(self, objective: Objective, point: Tensor) -> None:
        self.objective, self.point = objective, point.detach()
        self.rises = Rises(objective, point)
        self.slope = value_and_gradient(objective, self.point)[1]
        self.cost = self.rises.cost + 1
        self.start = self.rises.loss.value

    def climb(
        self,
        there: Tensor,
        radius: float,
        steps: int,
        reached: tuple[float, Tensor] | None = None,
    ) -> tuple[float, Tensor]:
        """The highest rise within the ball that was met or had been reached before, and its e."""
        top, best = reached or (-math.inf, there)
        for _ in range(max(1, steps)):
            value, slope = value_and_gradient(self.objective, self.point + there)
            self.cost += 1
            rise, norm = float(value) - self.start, length(slope)
            if not math.isfinite(rise) or not math.isfinite(norm):
                return rise, there
            if rise > top:
                best, top = there, rise
                ahead = radius / norm * slope if norm > 0 else there
            else:
                ahead = (there + best) / 2
            if length(ahead - there) < 1e-6 * radius:
                break
            there = ahead
        return top, best


def _direction(
    objective: Objective, point: Tensor, normalised: str, generator: torch.Generator
) -> Tensor:
    if normalised == "sphere":
        way = torch.randn(objective.dim, generator=generator, dtype=torch.float64)
        return (way / way.norm()).to(point)
    found = normalised_directions(objective, point, generator=generator, normalised=normalised)
    return found[0].to(point)


def _radii(radii: Sequence[float]) -> tuple[float, ...]:
    found = tuple(sorted(float(radius) for radius in radii))
    if not found or not all(0 < radius < math.inf for radius in found):
        raise UsageError(f"radii must be numbers above 0, one at least, not {list(radii)}")
    return found
