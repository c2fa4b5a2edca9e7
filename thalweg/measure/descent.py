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
    about the ground, not about a step size. The lowest point met is returned.

    Source: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.5.
    """
    x = point.detach().clone().requires_grad_()
    best = (math.inf, point.detach().clone())
    losses: list[float] = []

    class Spent(Exception):
        pass

    def closure() -> Tensor:
        nonlocal best
        if len(losses) >= evaluations:
            raise Spent
        value, slope = value_and_gradient(objective, x.detach())
        losses.append(float(value))
        if losses[-1] < best[0]:
            best = (losses[-1], x.detach().clone())
        x.grad = slope
        return value

    optimizer = torch.optim.LBFGS(
        [x],
        lr=1.0,
        max_iter=evaluations,
        max_eval=evaluations,
        history_size=memory,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=1e-12,
    )
    with contextlib.suppress(Spent):
        optimizer.step(closure)
    cost = float(len(losses))
    if not math.isfinite(best[0]):
        return Descent(point, Estimate(math.nan, math.nan, "loss", cost), tuple(losses))
    rounding = 4 * torch.finfo(point.dtype).eps * abs(best[0])
    return Descent(best[1], Estimate(best[0], rounding, "loss", cost), tuple(losses))


def nudged(point: Tensor, length: float, generator: torch.Generator) -> Tensor:
    """``point`` moved by a Gaussian of expected length ``length``, the same in every coordinate."""
    noise = torch.randn(point.shape, generator=generator, dtype=point.dtype).to(point.device)
    return point + length * noise / math.sqrt(point.numel())
