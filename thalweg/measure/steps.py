"""What a step would do: the largest fall along a line, and the fall that curvature promises."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST, Curve, Estimate
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.measure.lanczos import Lanczos
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import Hessian, SymmetricOperator, value_and_gradient
from thalweg.objective.inner_product import length
from thalweg.objective.supervised import Supervised

__all__ = [
    "LineDrop",
    "krylov_step",
    "largest_drop",
    "loss_and_error",
    "newton_step",
    "predicted_change",
]

LENGTHS = (0.01, 0.1, 0.3, 1.0)
"""Of a Newton step: its quadratic model may be trusted too far."""

FURTHER = (10.0, 100.0)
"""Along negative curvature, where the step of the model only doubles the distance from a saddle."""

SMALL = 1e-3
"""Share of the loss below which a fall may be that of a saddle."""

SHARES = (1e-4, 1e-2, 0.1, 1.0)
"""Of the loss, that negative curvature alone would take away: the steps tried along it."""


@dataclass(frozen=True)
class LineDrop:
    """The loss along a line through a point.

    Attributes:
        drop: the largest fall found, at least 0; its error is that of a difference of losses.
        step: where it was found, along the direction given.
        curve: the loss over the step, all values taken.
    """

    drop: Estimate
    step: float
    curve: Curve


def loss_and_error(objective: Objective, point: Tensor) -> Estimate:
    """The loss with its standard error as a mean over a subsample; exact over all the data.

    The error is of 16 parts of the subsample, widened so that 1.96 of it are Student's 95%.
    """
    if not isinstance(objective, Supervised):
        return Estimate(float(objective.loss(point)), 0.0, "loss", LOSS_COST)
    value = objective.value(point)
    n, population = objective.data.length, objective.data.population
    if n >= population:
        return Estimate(value, 0.0, "loss", LOSS_COST)
    parts = objective.on(objective.data, chunk=max(1, n // 16), decay=False)
    losses, weights = parts.chunk_losses(point)
    spread = float((weights * (losses - (weights * losses).sum() / weights.sum()) ** 2).sum())
    count = len(losses)
    if count < 2:
        return Estimate(value, math.inf, "loss", 2 * LOSS_COST)
    student = float(stdtrit(count - 1, 0.975)) / 1.96
    error = student * math.sqrt(spread / (count - 1) * (1 - n / population))
    return Estimate(value, error, "loss", 2 * LOSS_COST)


def largest_drop(
    objective: Objective,
    point: Tensor,
    direction: Tensor,
    *,
    scales: Sequence[float],
    both: bool = False,
    start: float | None = None,
) -> LineDrop:
    """The largest measured fall of the loss along a direction.

    Takes the loss at the given steps, then up to four times more about the best of them. A drop that is
    smaller than rounding, 4 ε |loss|, counts as none.

    Args:
        objective, point: shape ``(dim,)``.
        direction: shape ``(dim,)``; steps are in units of it.
        scales: positive steps to try, from smallest to largest.
        both: try the opposite direction too.
        start: the loss at ``point``, if known.

    Cost: a third of a gradient evaluation for each loss taken.
    """
    if not scales or not all(0 < s < math.inf for s in scales):
        raise UsageError(f"scales must be positive numbers, at least one, not {list(scales)}")
    cost = 0.0 if start is not None else LOSS_COST
    start = float(objective.loss(point)) if start is None else start
    taken: dict[float, float] = {0.0: start}

    def loss(step: float) -> float:
        nonlocal cost
        if step not in taken:
            cost += LOSS_COST
            with torch.no_grad():
                taken[step] = float(objective.loss(point + step * direction))
        return taken[step]

    steps = list(scales) + ([-s for s in scales] if both else [])
    best = min(steps, key=lambda s: _or_inf(loss(s)))
    ratio = math.sqrt(scales[1] / scales[0]) if len(scales) > 1 else 2.0
    for _ in range(2):
        for near in (best / ratio, best * ratio):
            loss(near)
        best = min((s for s in taken if s), key=lambda s: _or_inf(taken[s]))
        ratio = math.sqrt(ratio)
    rounding = 4 * torch.finfo(point.dtype).eps * max(abs(start), 1e-30)
    fall = start - taken[best]
    fall = fall if fall > rounding else 0.0 if math.isfinite(start) else math.nan
    ordered = sorted(taken)
    curve = Curve(tuple(ordered), tuple(taken[s] for s in ordered), "step", "loss")
    return LineDrop(Estimate(fall, rounding, "loss", cost), best if fall else 0.0, curve)


def predicted_change(
    rate: float, squared_gradient: float, bend: Estimate, noise: Estimate
) -> Estimate:
    """E Δf ≈ −η‖g‖² + (η²/2)(gᵀHg + tr(H Σ_B)) for one plain step.

    Early in training and under momentum it is an explanation, not a forecast.
    """
    value = -rate * squared_gradient + 0.5 * rate**2 * (bend.value + noise.value)
    return Estimate(value, 0.5 * rate**2 * math.hypot(bend.error, noise.error), "loss")


def krylov_step(
    operator: SymmetricOperator,
    gradient: Tensor,
    *,
    products: int = 10,
    saddle_free: bool = False,
) -> tuple[Tensor, Estimate]:
    """The step of ``products`` conjugate-gradient iterations, and the fall that it promises.

    Minimises −⟨g, s⟩ + sᵀHs/2 over the Krylov space of ``(H, g)`` where H is positive there:
    directions of negative or vanishing curvature are left out, as their step would be unbounded.
    The fall is Σ (gᵀu_i)² / (2 θ_i) over the Ritz pairs kept.

    With ``saddle_free`` a negative θ_i counts as \\|θ_i\\|, so that the step leads down along it too,
    and the fall is what the model has where it is as long as that (Dauphin and others, Identifying and
    attacking the saddle point problem, 2014).

    Returns:
        The step ``s`` to be *subtracted*, shape ``(dim,)``, and the fall in the unit of the loss.
    """
    before = operator.cost
    norm = length(gradient)
    if norm == 0:
        return torch.zeros_like(gradient), Estimate(0.0, 0.0, "loss")
    if not math.isfinite(norm):
        return torch.zeros_like(gradient), Estimate(math.nan, math.nan, "loss")
    lanczos = Lanczos(operator, gradient, products)
    while not lanczos.full:
        lanczos.extend()
        if not math.isfinite(lanczos.diagonal[-1]):
            cost = operator.cost - before
            return torch.zeros_like(gradient), Estimate(math.nan, math.nan, "loss", cost)
    values, _, vectors = lanczos.ritz()
    floor = 1e-5 * np.abs(values).max()
    sizes = np.abs(values) if saddle_free else values
    keep = sizes > floor
    weights = np.where(keep, norm * vectors[0] / np.where(keep, sizes, 1.0), 0.0)
    gained = weights * norm * vectors[0] - 0.5 * values * weights**2
    fall = float(gained[keep].sum())
    return lanczos.combine(vectors @ weights), Estimate(fall, 0.0, "loss", operator.cost - before)


def newton_step(
    objective: Objective, point: Tensor, *, saddle_free: bool = False, products: int = 10
) -> tuple[Tensor, Estimate]:
    """A Newton step in the Krylov space of the gradient, as long as a line search finds best.

    By conjugate gradients, and with ``saddle_free`` by \\|H\\|: see :func:`krylov_step`. Of the lengths
    1/100 to 1, and with ``saddle_free`` to 100, that of the lowest loss is taken. Where that lowers the
    loss by less than a thousandth, ``saddle_free`` also tries the most negative curvature that a Krylov
    space of a random start shows: at a saddle the slope may have no part in the way out.

    Source: Martens, Deep learning via Hessian-free optimization, 2010.

    Returns:
        The step to be *added*, shape ``(dim,)``, nought where no length lowers the loss, and the fall
        of the loss. Cost: 2 + 2 ``products`` gradient evaluations and a loss for every length; twice
        that where the fall is small.
    """
    start, slope = value_and_gradient(objective, point)
    hessian = Hessian(objective, point)
    back, promised = krylov_step(hessian, slope, products=products, saddle_free=saddle_free)
    if not math.isfinite(promised.value):
        return torch.zeros_like(point), Estimate(math.nan, math.nan, "loss", 1 + hessian.cost)
    lengths = LENGTHS + (FURTHER if saddle_free else ())
    found = largest_drop(objective, point, -back, scales=lengths, start=float(start))
    step, cost = -found.step * back, 1 + found.drop.cost
    if saddle_free and not found.drop.value > SMALL * abs(float(start)):
        low = extreme_eigenvalues(hessian, point, top=0, budget=products, rtol=0.05)
        bottom, vector = low.bottom[0].value, low.bottom_vector
        if bottom < 0:
            reach = [math.sqrt(2 * abs(float(start)) * f / -bottom) for f in SHARES]
            out = largest_drop(
                objective, point, vector, scales=reach, both=True, start=float(start)
            )
            cost += out.drop.cost
            if out.drop.value > found.drop.value:
                found, step = out, out.step * vector
    return step, Estimate(found.drop.value, found.drop.error, "loss", cost + hessian.cost)


def _or_inf(value: float) -> float:
    return value if math.isfinite(value) else math.inf
