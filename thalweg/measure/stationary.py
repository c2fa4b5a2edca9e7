"""From many points at once to where the gradient vanishes, whatever kind of point that is."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.objective.base import Objective
from thalweg.objective.dense import gradients_and_hessians

__all__ = ["Stationary", "stationary_points"]

ITERATIONS = 150
"""Newton's method halves the distance to a degenerate point: so many times reach the last digit."""

VANISHED = 1e-8
"""A gradient below this share of the median one over the starts has vanished."""

SLACK = 1e-9
"""By this share of its width a point may lie outside the box."""


@dataclass(frozen=True)
class Stationary:
    """Where the starts ended whose gradient vanished inside the box.

    Attributes:
        points: ``(n, dim)``.
        gradients: what is left there, ``(n, dim)``.
        curvature: the median over the starts of their Hessian's Frobenius norm.
        outside: starts that ended outside the box, or where nothing is finite.
        nowhere: starts that ended where the gradient does not vanish.
        evaluations: gradients with their Hessian that were computed.
    """

    points: Tensor
    gradients: Tensor
    curvature: float
    outside: int
    nowhere: int
    evaluations: int


def stationary_points(
    objective: Objective,
    starts: Tensor,
    box: tuple[Tensor, Tensor],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Stationary:
    """Descend ‖∇f‖² from every start: s = −(H² + μI)⁻¹ H ∇f, with μ of each by Levenberg–Marquardt.

    A step is at most a tenth of the box's diagonal, so that a start finds what lies near it.

    Args:
        objective: twice differentiable; its loss takes points ``(n, dim)``.
        starts: ``(n, dim)``.
        box: lowest and highest coordinates, ``(dim,)`` each; ends outside of it are left out.
        progress: called with the iterations done and the most there can be.
    """
    low, high = box
    longest = 0.1 * float((high - low).norm())
    points = starts.clone()
    slopes, hessians = gradients_and_hessians(objective, points)
    sizes = slopes.norm(dim=-1)
    enough = VANISHED * float(sizes[sizes.isfinite()].median()) if sizes.isfinite().any() else 0.0
    squares = hessians.square().sum((-2, -1))
    damping = 1e-3 * squares
    active = slopes.isfinite().all(-1) & hessians.isfinite().all((-2, -1)) & (sizes > 0)
    evaluations = len(points)
    for iteration in range(ITERATIONS):
        rows = active.nonzero()[:, 0]
        if not len(rows):
            break
        if progress is not None:
            progress(iteration, ITERATIONS)
        steps, floor = _steps(slopes[rows], hessians[rows], damping[rows], longest)
        tried = points[rows] + steps
        new_slopes, new_hessians = gradients_and_hessians(objective, tried)
        evaluations += len(rows)
        new_sizes = new_slopes.norm(dim=-1)
        better = (new_sizes < sizes[rows]) & new_hessians.isfinite().all((-2, -1))
        ahead = rows[better]
        points[ahead], sizes[ahead] = tried[better], new_sizes[better]
        slopes[ahead], hessians[ahead] = new_slopes[better], new_hessians[better]
        damping[rows] = torch.where(better, 0.1 * damping[rows], 4 * damping[rows].maximum(floor))
        tiny = steps.norm(dim=-1) <= 1e-15 * (points[rows].norm(dim=-1) + 1e-12 * longest)
        far = ((points[rows] < low - longest) | (points[rows] > high + longest)).any(-1)
        active[rows[tiny | far | (sizes[rows] == 0)]] = False
        active[
            rows[_stuck(slopes[rows], hessians[rows], damping[rows]) & (sizes[rows] > enough)]
        ] = 0
    room = SLACK * (high - low)
    inside = ((points >= low - room) & (points <= high + room)).all(-1) & sizes.isfinite()
    vanished = inside & (sizes <= enough)
    return Stationary(
        points[vanished],
        slopes[vanished],
        float(squares.sqrt().nanmedian()),
        int((~inside).sum()),
        int((inside & ~vanished).sum()),
        evaluations,
    )


def _stuck(slopes: Tensor, hessians: Tensor, damping: Tensor) -> Tensor:
    """Where ‖∇f‖ can fall no further though it is not 0: H∇f is, or no step was of use."""
    sizes = hessians.square().sum((-2, -1))
    pull = torch.einsum("nij,nj->ni", hessians, slopes).square().sum(-1)
    return (pull <= 1e-16 * sizes * slopes.square().sum(-1)) | (damping > 1e6 * sizes)


def _steps(
    slopes: Tensor, hessians: Tensor, damping: Tensor, longest: float
) -> tuple[Tensor, Tensor]:
    """The damped steps ``(n, dim)``, and the least damping that means anything, ``(n,)``."""
    values, vectors = torch.linalg.eigh(hessians)
    floor = (1e-12 * values.abs().amax(-1)).square().clamp_min(torch.finfo(values.dtype).tiny)
    weights = values / (values.square() + damping.maximum(floor)[:, None])
    along = torch.einsum("nij,ni->nj", vectors, slopes)
    steps = -torch.einsum("nij,nj->ni", vectors, weights * along)
    lengths = steps.norm(dim=-1, keepdim=True)
    return steps * (longest / lengths.clamp_min(longest)), floor
