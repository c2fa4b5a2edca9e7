"""The shift test: how far the minima of held-out and of training loss lie apart, and what it costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST, Estimate
from thalweg.measure.rises import without_decay
from thalweg.objective.supervised import Supervised

__all__ = ["ShiftLine", "shift_test"]

PARTS = 10
"""Parts of each data set, left out one after the other for the errors."""

NODES = 21
"""Places on a line at which the losses are taken."""

WIDEN = 4
"""How often a line is doubled in length where a minimum lies at its end."""

UNITS = ("unit", "unit", "unit", "loss", "loss per unit²")
"""Of both minima, their gap, what it costs, and the curvature."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ShiftLine:
    """Both surfaces along one line through a point.

    Attributes:
        name: of the direction.
        steps: distances from the point, ``(n,)``, in units of the parameters.
        train, held_out: losses there, ``(n,)``.
        train_minimum, held_out_minimum: where each is lowest on the line.
        gap: the second less the first.
        cost: held-out loss at the training surface's minimum less that at its own: what the gap
            costs.
        curvature: d²f/ds² of the held-out loss at its minimum, by which ``cost ≈ curvature gap²/2``.
        at_edge: whether a minimum lies at an end of the line, so that the gap is a bound from below.
    """

    name: str
    steps: Array
    train: Array
    held_out: Array
    train_minimum: Estimate
    held_out_minimum: Estimate
    gap: Estimate
    cost: Estimate
    curvature: Estimate
    at_edge: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; None for what is not finite."""
        from thalweg.measure.plain import plain

        return {
            "name": self.name,
            "steps": plain(self.steps),
            "train": plain(self.train),
            "held_out": plain(self.held_out),
            "train_minimum": plain(self.train_minimum),
            "held_out_minimum": plain(self.held_out_minimum),
            "gap": plain(self.gap),
            "cost": plain(self.cost),
            "curvature": plain(self.curvature),
            "at_edge": self.at_edge,
        }


def shift_test(
    train: Supervised,
    held_out: Any,
    point: Tensor,
    directions: Mapping[str, Tensor],
    *,
    reach: float | Mapping[str, float],
    nodes: int = NODES,
) -> list[ShiftLine]:
    """Training against held-out loss along lines through a point.

    Where the two surfaces are the same but for a shift, a flat minimum pays less for it than a sharp
    one: ``cost ≈ curvature · gap²/2``. On each line the losses are taken at Chebyshev points, joined
    by a cubic spline whose lowest point is the minimum; a line at whose end a minimum lies is made
    longer, up to 16 times. Along a direction that was chosen with the held-out data the gap is too
    large, as chance is part of the choice.

    Source: Keskar et al., On Large-Batch Training for Deep Learning, ICLR 2017, figure 1; He, Huang
    and Yuan, Asymmetric Valleys, NeurIPS 2019, for the shift.

    Args:
        train: the training loss; its weight decay is left out.
        held_out: examples in any form that ``train`` takes.
        point: θ, shape ``(dim,)``.
        directions: by name, each of shape ``(dim,)``, of any length above 0.
        reach: how far to go to either side at first, in units of the parameters; one for all or one
            for each name.
        nodes: places at which losses are taken.

    Returns:
        A line for each direction. Errors are those of a jackknife that leaves out a tenth of the
        training and of the held-out examples after the other, so both count as samples: a training
        set that is taken for granted has smaller ones. Costs: ``nodes/3`` evaluations on the training
        data and as many on the held-out data, each time.

    Raises:
        UsageError: fewer than 20 examples in either, a direction without length.
    """
    train.check_points(point)
    if nodes < 5:
        raise UsageError(f"nodes must be 5 at least, not {nodes}")
    plain = without_decay(train)
    assert isinstance(plain, Supervised)
    both = (_parts(plain, plain.data, "train"), _parts(plain, held_out, "test"))
    lines = []
    for name, way in directions.items():
        length = float(way.double().norm())
        if not 0 < length < math.inf:
            raise UsageError(f"direction {name} must have a length above 0, not {length}")
        far = reach if isinstance(reach, int | float) else reach[name]
        if not 0 < far < math.inf:
            raise UsageError(f"reach must be a number above 0, not {far!r}")
        lines.append(_line(name, both, point, way / length, float(far), nodes))
    return lines


def _parts(objective: Supervised, data: Any, name: str) -> Supervised:
    found = objective.on(data, decay=False)
    length = found.data.length
    if length < 2 * PARTS:
        raise UsageError(f"{name} must have {2 * PARTS} examples at least, but has {length}")
    size = -(-length // PARTS)
    found.chunk = size if objective.mode != "eval" else min(size, objective.chunk)
    return found


def _line(
    name: str,
    both: Sequence[Supervised],
    point: Tensor,
    way: Tensor,
    far: float,
    nodes: int,
) -> ShiftLine:
    spent, widened = 0.0, 0
    while True:
        steps = -far * np.cos(np.linspace(0, math.pi, nodes))
        tables = [_table(objective, point, way, steps) for objective in both]
        spent += LOSS_COST * nodes * (1 + both[1].data.length / both[0].data.length)
        means = [losses @ weights for losses, weights in tables]
        whole = _read(steps, means)
        at_edge = any(abs(end) > 0.98 * far for end in whole[:2])
        if not at_edge or widened == WIDEN:
            break
        far, widened = 2 * far, widened + 1
    errors = _jackknife(steps, tables)
    first, *rest = (
        Estimate(value, error, unit, cost)
        for value, error, unit, cost in zip(whole, errors, UNITS, (spent, 0, 0, 0, 0), strict=True)
    )
    return ShiftLine(name, steps, means[0], means[1], first, *rest, at_edge=at_edge)


def _jackknife(steps: Array, tables: Sequence[tuple[Array, Array]]) -> list[float]:
    """Standard errors of what is read off the line, over both data sets."""
    variance = np.zeros(len(UNITS))
    for place, (losses, weights) in enumerate(tables):
        replicates = []
        for out in range(len(weights)):
            kept = np.delete(weights, out)
            means = [every @ shares for every, shares in tables]
            means[place] = np.delete(losses, out, 1) @ (kept / kept.sum())
            replicates.append(_read(steps, means))
        found = np.array(replicates)
        variance += (len(found) - 1) / len(found) * ((found - found.mean(0)) ** 2).sum(0)
    return np.sqrt(variance).tolist()


def _table(objective: Supervised, point: Tensor, way: Tensor, steps: Array) -> tuple[Array, Array]:
    """Losses ``(steps, parts)`` and the weights of the parts."""
    rows, weights = [], np.ones(1)
    for step in steps:
        losses, shares = objective.chunk_losses(point + float(step) * way)
        rows.append(losses.numpy())
        weights = shares.numpy()
    return _merged(np.array(rows), weights)


def _merged(rows: Array, weights: Array) -> tuple[Array, Array]:
    """Chunks joined to as many parts as are asked for: memory may have made more of them."""
    count = len(weights)
    if count <= PARTS:
        return rows, weights
    owner = np.arange(count) * PARTS // count
    share = np.bincount(owner, weights).astype(np.float64)
    sums = np.stack([np.bincount(owner, weights * row) for row in rows])
    return sums / share, share


def _spline(steps: Array, losses: Array) -> CubicSpline | None:
    known = np.isfinite(losses)
    if known.sum() < 5:
        return None
    return CubicSpline(steps[known], losses[known])


def _lowest(spline: CubicSpline, far: float) -> float:
    inside = spline.derivative().roots(extrapolate=False)
    inside = inside[np.isfinite(inside)]
    low, high = float(spline.x[0]), float(spline.x[-1])
    places = np.concatenate([inside, [max(low, -far), min(high, far)]])
    return float(places[int(np.argmin(spline(places)))])


def _read(steps: Array, means: Sequence[Array]) -> list[float]:
    """Both minima, their gap, what it costs, and the curvature."""
    train, held_out = (_spline(steps, mean) for mean in means)
    if train is None or held_out is None:
        return [math.nan] * 5
    far = float(steps[-1])
    here, there = _lowest(train, far), _lowest(held_out, far)
    cost = float(held_out(here) - held_out(there))
    return [here, there, there - here, cost, float(held_out(there, 2))]
