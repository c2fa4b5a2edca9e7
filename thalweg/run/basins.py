"""Basins of attraction: which minimum the noiseless gradient flow from a point reaches."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.objective.base import Objective
from thalweg.objective.landscape import Landscape

__all__ = ["UNKNOWN", "Basins", "gradient_flow"]

UNKNOWN = -1
"""The label of a point whose flow reaches no minimum in the list."""

GRID = 20_001
"""Points on a line where the sign of the derivative is looked at, where extrema are not known."""


@dataclass(frozen=True, eq=False)
class Basins:
    """The minima of an objective and what tells their basins apart.

    Attributes:
        objective: whose gradient flow it is.
        minima: points ``(n, dim)`` in double precision; the label of a basin is the row.
        maxima: in one dimension, the n − 1 maxima between the minima; else ``None``.
        span: in one dimension, where ``minima`` and ``maxima`` are complete.
        known: whether the minima are those that the landscape knows, not found by looking.
    """

    objective: Objective
    minima: Tensor
    maxima: Tensor | None = None
    span: tuple[float, float] = (-np.inf, np.inf)
    known: bool = True

    @classmethod
    def of(cls, objective: Objective, points: Tensor | None = None) -> "Basins":
        """Of the minima that a landscape knows; where it knows none, of those that are found.

        In one dimension extrema are found where the derivative changes its sign between
        neighbours of a grid over the domain and the points; above, the minima are where the flows
        from the points end.
        """
        if isinstance(objective, Landscape) and objective.minima:
            minima = torch.tensor(objective.minima, dtype=torch.float64)
            if objective.dim > 1:
                return cls(objective, minima)
            tops = [c.point[0] for c in objective.critical if c.kind == "maximum"]
            line = _between(minima[:, 0].numpy(), np.array(tops))
            if line is not None:
                return cls(objective, minima, torch.from_numpy(line), objective.domain[0])
        if objective.dim == 1:
            return _on_the_line(objective, points)
        if points is None:
            points = objective.start(torch.Generator().manual_seed(0), 1000)
        return _where_flows_end(objective, points.detach().double())

    def labels(self, points: Tensor) -> Tensor:
        """Labels ``(rows,)`` of points ``(rows, dim)``; :data:`UNKNOWN` where there is none."""
        points = points.detach().double()
        if self.maxima is None or self.maxima.numel() + 1 != len(self.minima):
            return self._flowed(points)
        x = points[:, 0].contiguous()
        order = self.minima[:, 0].argsort()
        labels = order[torch.searchsorted(self.maxima, x)]
        strange = ~((self.span[0] <= x) & (x <= self.span[1]))
        if strange.any():
            labels[strange] = self._flowed(points[strange])
        return labels

    def _flowed(self, points: Tensor) -> Tensor:
        if not len(self.minima):
            return torch.full((len(points),), UNKNOWN)
        apart = _least_distance(self.minima)
        ends = gradient_flow(self.objective, points, reach=apart / 20)
        distances, labels = torch.cdist(ends, self.minima).min(1)
        labels[~(distances < 1e-2 * apart)] = UNKNOWN
        return labels


def gradient_flow(
    objective: Objective, points: Tensor, *, reach: float, steps: int = 4000
) -> Tensor:
    """Where ``dx/dt = −∇f(x)`` from points ``(rows, dim)`` leads, followed by short descents.

    Every row has a step size of its own, at most so large that the loss falls by half of what the
    slope promises, which keeps it on the flow; no step is longer than ``reach``. Cost: at most
    ``steps`` gradients of each row, fewer where it comes to rest.
    """
    ends = points.detach().clone()
    rows = torch.isfinite(ends).all(1).nonzero()[:, 0]
    here = ends[rows]
    losses, slopes = _value_and_slope(objective, here)
    rates = reach / _norm(slopes).clamp_min(1e-12)
    for _ in range(steps):
        if not len(rows):
            break
        rates = torch.minimum(rates, reach / _norm(slopes).clamp_min(1e-300))
        there = here - rates[:, None] * slopes
        after, beyond = _value_and_slope(objective, there)
        promised = 0.5 * rates * slopes.square().sum(1)
        level = 1e-15 * losses.abs()
        better = after <= losses - promised + level
        here = torch.where(better[:, None], there, here)
        losses = torch.where(better, after, losses)
        slopes = torch.where(better[:, None], beyond, slopes)
        rates = torch.where(better, 1.5 * rates, 0.3 * rates)
        resting = ~(promised > level) | ~torch.isfinite(losses)
        if resting.any():
            ends[rows[resting]] = here[resting]
            left = ~resting
            rows, here, losses, slopes, rates = (
                values[left] for values in (rows, here, losses, slopes, rates)
            )
    ends[rows] = here
    return ends


def _value_and_slope(objective: Objective, points: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        losses = objective.loss(points)
        (slopes,) = torch.autograd.grad(losses, points, torch.ones_like(losses))
    return losses.detach(), slopes


def _norm(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=1)


def _least_distance(minima: Tensor) -> float:
    """Between two minima; 1 where there is one only."""
    if len(minima) < 2:
        return 1.0
    return float(torch.pdist(minima).min().clamp_min(1e-6))


def _between(minima: np.ndarray[Any, Any], maxima: np.ndarray[Any, Any]) -> Any | None:
    """The one maximum between each two neighbouring minima; ``None`` where it is not one."""
    places = np.sort(minima)
    inner = [maxima[(a < maxima) & (maxima < b)] for a, b in pairwise(places)]
    if any(len(tops) != 1 for tops in inner):
        return None
    return np.array([tops[0] for tops in inner], dtype=np.float64)


def _on_the_line(objective: Objective, points: Tensor | None) -> Basins:
    low, high = objective.domain[0] if isinstance(objective, Landscape) else (-1.0, 1.0)
    if points is not None and (finite := points[torch.isfinite(points)]).numel():
        # What a trial or two saw far away must not stretch the grid beyond the structure.
        ends = torch.quantile(finite.double()[:1_000_000], torch.tensor([0.001, 0.999]).double())
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    grid = torch.linspace(low, high, GRID, dtype=torch.float64)[:, None]
    slopes = _value_and_slope(objective, grid)[1][:, 0]
    signs = slopes.sign()
    up = ((signs[:-1] <= 0) & (signs[1:] > 0)).nonzero()[:, 0]
    down = ((signs[:-1] > 0) & (signs[1:] <= 0)).nonzero()[:, 0]
    minima, maxima = (_bisect(objective, grid, at, sign) for at, sign in ((up, 1.0), (down, -1.0)))
    line = _between(minima.numpy(), maxima.numpy())
    tops = None if line is None or not len(minima) else torch.from_numpy(line)
    return Basins(objective, minima[:, None], tops, (low, high), known=False)


def _bisect(objective: Objective, grid: Tensor, at: Tensor, sign: float) -> Tensor:
    """Zeros ``(n,)`` of the derivative between grid points ``at`` and the next, where it has a sign."""
    low, high = grid[at], grid[at + 1]
    if not len(at):
        return grid[:0, 0]
    for _ in range(60):
        middle = (low + high) / 2
        right = sign * _value_and_slope(objective, middle)[1] > 0
        low, high = torch.where(right, low, middle), torch.where(right, middle, high)
    return high[:, 0]


def _where_flows_end(objective: Objective, points: Tensor) -> Basins:
    finite = points[torch.isfinite(points).all(1)][:2000]
    minima: list[Tensor] = []
    if len(finite):
        size = float((finite.amax(0) - finite.amin(0)).max().clamp_min(1e-3))
        ends = gradient_flow(objective, finite, reach=size / 100)
        losses, slopes = _value_and_slope(objective, ends)
        flat = _norm(slopes) < 1e-4 * (1 + _norm(_value_and_slope(objective, finite)[1]).median())
        for end in ends[flat & torch.isfinite(losses)]:
            if all(float(torch.dist(end, known)) > 1e-3 * size for known in minima):
                minima.append(end)
    rows = torch.stack(minima) if minima else points[:0]
    return Basins(objective, rows, known=False)


def shares(labels: Tensor, count: int) -> Sequence[int]:
    """How many points have each label, unknown ones last."""
    return torch.bincount(torch.where(labels < 0, count, labels), minlength=count + 1).tolist()
