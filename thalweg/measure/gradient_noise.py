"""How noisy a mini-batch gradient is, and what that noise does to the loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.objective.derivatives import SymmetricOperator
from thalweg.objective.supervised import Supervised

__all__ = ["GradientNoise", "gradient_noise"]


@dataclass(frozen=True)
class GradientNoise:
    """Second moments of the mini-batch gradient at a point.

    Attributes:
        trace: tr Σ_B, the mean squared distance of a mini-batch gradient from the full one.
        signal: ‖g‖² / tr Σ_B; below 1 a mini-batch gradient is mostly noise; infinite without noise.
        curvature: tr(H Σ_B), twice the loss that one step of unit rate gains from the noise.
        deviations: the mini-batch gradients less the full one, scaled to the whole population.
    """

    trace: Estimate
    signal: Estimate
    curvature: Estimate
    deviations: Sequence[Tensor]


def gradient_noise(
    objective: Supervised,
    point: Tensor,
    batch_size: int,
    *,
    full_gradient: Tensor | None = None,
    batches: int = 16,
    hessian: SymmetricOperator | None = None,
    products: int = 8,
    metric: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> GradientNoise:
    """tr Σ_B, ‖g‖²/tr Σ_B and tr(H Σ_B) from seeded mini-batches drawn without replacement.

    Each mini-batch gradient has expected squared distance tr Σ_B from the full gradient over the
    population of ``N`` examples; drawn from a subsample of ``n`` it is less by (n−B)/(n−1), which is
    put right by (N−B)/(N−1) · (n−1)/(n−B). The standard errors are those of a mean over batches.

    Args:
        objective: its examples are drawn from; its decay is not part of the noise.
        point: shape ``(dim,)``.
        batch_size: B; with B equal to the population there is no noise.
        full_gradient: of the objective, decay included, if known: else one evaluation more.
        batches: how many mini-batches, at ``batch_size / n`` gradient evaluations each.
        hessian: for tr(H Σ_B), at 2 evaluations a product; without it that is NaN.
        products: how many deviations are multiplied.
        metric: diagonal of a preconditioned descent: a step moves by ``metric ∘ g``, so tr(H Σ_B) is
            taken of ``metric ∘ ω``. Trace and signal stay those of the plain gradient.
        generator: of the draws.
    """
    n, population = objective.data.length, objective.data.population
    if not batch_size >= 1:
        raise UsageError(f"batch_size must be at least 1, not {batch_size}")
    cost = 0.0
    if full_gradient is None:
        full_gradient = objective.value_and_gradient(point)[1]
        cost = 1.0
    squared = float((full_gradient**2).sum())
    none = Estimate(0.0, 0.0, "loss²", cost)
    if batch_size >= population:
        signal = Estimate(math.inf if squared > 0 else math.nan)
        return GradientNoise(none, signal, Estimate(0.0, 0.0, "loss³"), ())
    size = min(batch_size, max(1, n // 2))
    generator = generator or torch.Generator().manual_seed(0)
    plain = full_gradient - objective.decay * point
    correction = _finite(size, n, batch_size, population)
    # Batches of one draw are disjoint where the data are enough for that: one pass serves all.
    drawn: list[Tensor] = []
    while len(drawn) < batches:
        order = torch.randperm(n, generator=generator)
        drawn += [order[i : i + size] for i in range(0, n - size + 1, size)]
    deviations = []
    for rows in drawn[:batches]:
        some = objective.on(objective.data.fetch(rows.tolist()), chunk=size, decay=False)
        slope = some.value_and_gradient(point)[1]
        deviations.append((slope - plain) * math.sqrt(correction))
    squares = torch.stack([(d * d).sum() for d in deviations]).double()
    spent = cost + batches * size / n
    trace = _mean(squares, "loss²", spent)
    # ‖g‖² of the subsample is itself too large by the trace of its own noise.
    own = trace.value * size / n * (1 - n / population) / max(1e-12, 1 - size / population)
    true = max(squared - own, 0.0)
    relative = trace.error / trace.value if trace.value > 0 else 0.0
    ratio = true / trace.value if trace.value > 0 else math.inf
    signal = Estimate(ratio, ratio * relative + own / trace.value if trace.value > 0 else 0.0)
    curvature = Estimate(math.nan, math.nan, "loss³")
    if hessian is not None:
        before = hessian.cost
        moved = [d if metric is None else metric * d for d in deviations[:products]]
        bends = torch.stack([(d * (hessian @ d)).sum() for d in moved]).double()
        curvature = _mean(bends, "loss³", hessian.cost - before)
    return GradientNoise(trace, signal, curvature, tuple(deviations))


def _finite(size: int, n: int, batch_size: int, population: int) -> float:
    """Factor from the spread of ``size`` of ``n`` to that of ``batch_size`` of ``population``."""
    drawn = (n - size) / max(1, n - 1) / size
    wanted = (population - batch_size) / max(1, population - 1) / batch_size
    return wanted / drawn if drawn > 0 else 1.0


def _mean(values: Tensor, unit: str, cost: float) -> Estimate:
    count = len(values)
    error = float(values.std() / math.sqrt(count)) if count > 1 else math.inf
    return Estimate(float(values.mean()), error, unit, cost)
