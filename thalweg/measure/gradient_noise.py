"""How noisy a mini-batch gradient is, and what that noise does to the loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.special import stdtrit
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.objective.derivatives import SymmetricOperator
from thalweg.objective.supervised import Supervised

__all__ = ["GradientNoise", "gradient_noise", "population_square"]


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

    The expected squared distance of the gradient of ``B`` of ``N`` examples from that of all is
    ``(1/B − 1/N) S²``, with ``S²`` the trace of the unbiased covariance of one example's gradient.
    A subsample of ``n`` has the same expected ``S²``, so what batches of ``b`` show of it is
    multiplied by ``(1/B − 1/N) / (1/b − 1/n)``; ``b`` is ``B``, or n/2 where that is less. Means are
    unbiased. The standard errors are those of a mean over independent batches, widened by what the
    draw of the subsample adds, and so that 1.96 of them are Student's 95% for few batches.

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
    if batch_size >= population:
        none = Estimate(0.0, 0.0, "loss²", cost)
        signal = _signal(full_gradient, (), none, 0.0)
        return GradientNoise(none, signal, Estimate(0.0, 0.0, "loss³"), ())
    generator = generator or torch.Generator().manual_seed(0)
    if n < 2 or batches < 1:
        unknown = Estimate(math.nan, math.nan)
        return GradientNoise(unknown, unknown, unknown, ())
    size = min(batch_size, n // 2)
    plain = full_gradient - objective.decay * point
    share = 1 / batch_size - 1 / population
    correction = share / (1 / size - 1 / n)
    deviations = []
    for _ in range(batches):
        rows = torch.randperm(n, generator=generator)[:size]
        some = objective.on(objective.data.fetch(rows.tolist()), chunk=size, decay=False)
        slope = some.value_and_gradient(point)[1]
        deviations.append((slope - plain) * math.sqrt(correction))
    wider = math.sqrt(1 + batches * size / n * (1 - n / population))
    squares = torch.stack([(d * d).sum() for d in deviations]).double()
    trace = _mean(squares, wider, "loss²", cost + batches * size / n)
    signal = _signal(full_gradient, deviations, trace, (1 / n - 1 / population) / share)
    curvature = Estimate(math.nan, math.nan, "loss³")
    if hessian is not None:
        before = hessian.cost
        moved = [d if metric is None else metric * d for d in deviations[:products]]
        bends = torch.stack([(d * (hessian @ d)).sum() for d in moved]).double()
        curvature = _mean(bends, wider, "loss³", hessian.cost - before)
    return GradientNoise(trace, signal, curvature, tuple(deviations))


def population_square(
    objective: Supervised,
    gradient: Tensor,
    noise: GradientNoise,
    batch_size: int,
    *,
    metric: Tensor | float = 1.0,
) -> Estimate:
    """``g · (metric ∘ g)`` for the gradient over the whole population, from that over a subsample.

    The draw of ``n`` of ``N`` examples adds ``own · tr(metric Σ_B)`` to it on average, with ``own =
    (1/n − 1/N) / (1/B − 1/N)``: that is taken off. May come out below 0 where nothing can be told
    from nothing. Error: of a Gaussian error of the gradient, and of the mean that is taken off.

    Args:
        objective, batch_size: those that ``noise`` was measured with.
        gradient: of the objective, shape ``(dim,)``.
        metric: positive diagonal.
    """
    n, population = objective.data.length, objective.data.population
    squared = float((gradient * metric * gradient).sum())
    if n >= population:
        return Estimate(squared, 0.0, "loss²")
    if not noise.deviations:
        return Estimate(squared, math.inf, "loss²")
    own = (1 / n - 1 / population) / (1 / batch_size - 1 / population)
    added = own * torch.stack([(d * metric * d).sum() for d in noise.deviations]).double()
    along = torch.stack([(d * metric * gradient).sum() for d in noise.deviations]).double() ** 2
    mean = _mean(added, 1.0, "loss²", 0.0)
    chance = 4 * own * float(along.mean()) + 2 * mean.value**2
    return Estimate(squared - mean.value, math.sqrt(chance + mean.error**2), "loss²")


def _signal(
    gradient: Tensor, deviations: Sequence[Tensor], trace: Estimate, own: float
) -> Estimate:
    """‖g‖²/tr Σ_B, less what the noise of the subsample, ``own`` times Σ_B, adds to ‖g‖²."""
    if not trace.value > 0:
        nothing = trace.value == 0 and bool((gradient != 0).any())
        return Estimate(math.inf if nothing else math.nan)
    squared = float((gradient * gradient).sum())
    ratio = max(squared / trace.value - own, 0.0)
    along = sum(float((d * gradient).sum()) ** 2 for d in deviations) / len(deviations)
    # The variance of ‖g + e‖² for Gaussian e of covariance own·Σ_B, at most of rank one.
    chance = math.sqrt(4 * own * along + 2 * (own * trace.value) ** 2) / trace.value
    return Estimate(ratio, math.hypot(ratio * trace.error / trace.value, chance))


def _mean(values: Tensor, wider: float, unit: str, cost: float) -> Estimate:
    count = len(values)
    if count < 2:
        return Estimate(float(values.mean()), math.inf, unit, cost)
    wider *= float(stdtrit(count - 1, 0.975)) / 1.96
    mean, error = float(values.mean()), float(values.std() / math.sqrt(count)) * wider
    if mean > error:  # a draw that misses the long tail sees too little of mean and spread alike
        error *= 1 + error / mean
    return Estimate(mean, error, unit, cost)
