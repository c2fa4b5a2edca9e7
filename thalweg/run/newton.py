"""Newton's method and its saddle-free form, with what they cost."""

from typing import Any

import numpy as np
import torch

from thalweg.errors import UsageError
from thalweg.estimate import PRODUCT_COST
from thalweg.objective.base import Objective
from thalweg.objective.dense import gradients_and_hessians
from thalweg.trajectory import Column, Trajectory, environment

__all__ = ["newton"]


def newton(
    objective: Objective,
    starts: Any,
    *,
    steps: int = 20,
    saddle_free: bool = False,
    longest: float | None = None,
) -> Trajectory:
    """``x ← x − H⁻¹∇f(x)``, or with ``saddle_free`` ``x ← x − |H|⁻¹∇f(x)``.

    \\|H\\| has the eigenvectors of the Hessian and the absolute values of its eigenvalues (Dauphin and
    others, 2014): Newton's step leads towards the critical point of the quadratic model, whatever its
    kind; the saddle-free step leads down along every eigenvector. Eigenvalues closer to 0 than
    1e-12 of the largest count as that large. A step costs 1 + 2 dim gradient evaluations, for every
    Hessian is a whole matrix.

    Args:
        objective: twice differentiable, of few variables.
        starts: points ``(trials, dim)``, or one ``(dim,)``.
        steps: how many.
        saddle_free: take \\|H\\| in the place of H.
        longest: length at which a step is cut.

    Returns:
        A Trajectory with the columns ``points`` ``(steps + 1, trials, dim)``, ``losses``
        ``(steps + 1, trials)`` and ``cost`` (gradient evaluations of one trial so far).

    Raises:
        UsageError: starts of another dimension; no step.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UsageError(f"steps must be a whole number of 1 or more, not {steps!r}")
    if longest is not None and not longest > 0:
        raise UsageError(f"longest must be a number above 0, not {longest!r}")
    points = torch.atleast_2d(torch.as_tensor(starts, dtype=torch.float64)).clone()
    objective.check_points(points)
    seen, losses = [], []
    for step in range(steps + 1):
        seen.append(points.numpy().copy())
        with torch.no_grad():
            losses.append(objective.loss(points).numpy())
        if step < steps:
            points = points + _step(objective, points, saddle_free, longest)
    at = np.arange(steps + 1)
    columns = {
        "points": Column(at, np.stack(seen)),
        "losses": Column(at, np.stack(losses)),
        "cost": Column(at, at * (1 + PRODUCT_COST * objective.dim)),
    }
    return Trajectory(columns, {"points": seen[-1], "losses": losses[-1]}, environment())


def _step(
    objective: Objective, points: torch.Tensor, saddle_free: bool, longest: float | None
) -> torch.Tensor:
    slopes, hessians = gradients_and_hessians(objective, points)
    values, vectors = torch.linalg.eigh(hessians)
    sizes = values.abs()
    tiny = torch.finfo(values.dtype).tiny
    sizes = sizes.clamp_min(1e-12 * sizes.amax(-1, keepdim=True) + tiny)
    curvatures = sizes if saddle_free else torch.where(values < 0, -sizes, sizes)
    along = torch.einsum("nij,ni->nj", vectors, slopes)
    steps = -torch.einsum("nij,nj->ni", vectors, along / curvatures)
    if longest is None:
        return steps
    return steps * (longest / steps.norm(dim=-1, keepdim=True).clamp_min(longest))
