"""Descent as a probe: how far down does one get from here, and from a nudge beside it?"""

import contextlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.estimate import Estimate
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import value_and_gradient

__all__ = ["Descent", "descend_from", "nudged"]


@dataclass(frozen=True)
class Descent:
    """Where a descent ended: the point of lowest loss, and the losses on the way."""

    point: Tensor
    loss: Estimate
    losses: tuple[float, ...]


def descend_from(
    objective: Objective, point: Tensor, *, evaluations: int, memory: int = 10
) -> Descent:
    """Full-batch L-BFGS with a strong Wolfe line search, for a number of gradient evaluations.

    It follows curved valleys that plain descent crawls in, so that where it stops is a statement
    about the ground, not about a step size. The lowest point met is returned. Where the loss is not
    finite the line search is shown a wall, and turns back.

    Source: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.5.
    """
    x = point.detach().clone().requires_grad_()
    best = (math.inf, point.detach().clone())
    losses: list[float] = []
    unit = 1.0

    class Spent(Exception):
        pass

    def closure() -> Tensor:
        nonlocal best, unit
        if len(losses) >= evaluations:
            raise Spent
        value, slope = value_and_gradient(objective, x.detach())
        losses.append(float(value))
        if math.isfinite(losses[-1]) and losses[-1] < best[0]:
            best = (losses[-1], x.detach().clone())
        steep = float(slope.abs().sum())
        if math.isfinite(losses[-1]) and math.isfinite(steep):
            if len(losses) == 1 and steep > 0:
                unit = steep  # torch's tolerances are absolute, and losses have any scale
            x.grad = slope / unit
            return value / unit
        finite = [loss for loss in losses if math.isfinite(loss)]
        if not finite or len(losses) == 1:
            raise Spent
        # The interpolation of torch's line search makes steps of NaN from infinite values.
        x.grad = torch.zeros_like(slope)
        wall = max(finite) + 10 * (max(finite) - min(finite)) + abs(finite[0]) + unit
        return value.new_tensor(wall / unit)

    optimizer = torch.optim.LBFGS(
        [x],
        lr=1.0,
        max_iter=evaluations,
        max_eval=evaluations,
        history_size=memory,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=1e-300,
    )
    with contextlib.suppress(Spent):
        optimizer.step(closure)
    cost = float(len(losses))
    if not math.isfinite(best[0]):
        return Descent(best[1], Estimate(math.nan, math.nan, "loss", cost), tuple(losses))
    rounding = 4 * torch.finfo(point.dtype).eps * abs(best[0])
    return Descent(best[1], Estimate(best[0], rounding, "loss", cost), tuple(losses))


def nudged(point: Tensor, length: float, generator: torch.Generator) -> Tensor:
    """``point`` moved by a Gaussian of expected length ``length``, the same in every coordinate."""
    noise = torch.randn(point.shape, generator=generator, dtype=point.dtype).to(point.device)
    return point + length * noise / math.sqrt(point.numel())
