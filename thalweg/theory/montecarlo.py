"""The printed bounds held against simulations."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from thalweg.objective.base import Objective
from thalweg.objective.noise import Noise
from thalweg.theory.guarantee import Guarantee

__all__ = ["Check", "check_bounds", "simulate"]


@dataclass(frozen=True)
class Check:
    """One bound beside what was measured.

    Attributes:
        name: of the bound, with its number.
        bound: what must not be exceeded.
        measured: over the trials.
        error: standard error of that.
    """

    name: str
    bound: float
    measured: float
    error: float

    @property
    def holds(self) -> bool:
        """Whether the bound is respected to within four standard errors."""
        return self.measured - 4 * self.error <= self.bound


def simulate(
    landscape: Objective,
    learning_rate: float,
    noise: Noise,
    start: np.ndarray,
    steps: int,
    target: tuple[float, ...],
    *,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances of y to the target: at the end, and the largest on the way, each ``(trials,)``.

    y ← y − ηω − η∇f(y − ηω), from ``start`` ``(trials, dim)``.
    """
    generator = torch.Generator().manual_seed(seed)
    y = torch.tensor(start, dtype=torch.float64)
    centre = torch.tensor(target, dtype=torch.float64)
    largest = (y - centre).square().sum(-1)
    draws = torch.empty_like(y)
    for _ in range(steps):
        x = y - learning_rate * noise.draw_into(draws, generator)
        x.requires_grad_(True)
        (slopes,) = torch.autograd.grad(landscape.loss(x).sum(), x)
        y = x.detach() - learning_rate * slopes
        largest = torch.maximum(largest, (y - centre).square().sum(-1))
    return (y - centre).square().sum(-1).numpy(), largest.numpy()


def check_bounds(
    landscape: Objective,
    made: Guarantee,
    *,
    trials: int = 2000,
    steps: int | None = None,
    seed: int = 0,
) -> tuple[Check, ...]:
    """Every bound that a guarantee prints, against trials from as far off as it allows.

    Args:
        steps: at which the bounds are taken; until (6) has settled, 2000 at most, if left out.

    Returns:
        (1) to (3) where they hold, (6), its tails and (7) where they do; none where nothing does.
    """
    shown = made.certificate
    if not shown.bounds.factor < 1:
        return ()
    count = steps or min(2000, max(1, shown.steps))
    target = shown.constants.target
    squares, largest = simulate(
        landscape,
        made.learning_rate,
        made.noise,
        _starts(made, trials, seed),
        count,
        target,
        seed=seed,
    )
    start = shown.start
    found = [_mean("(6) mean square", shown.bounds.expected_square(count, start), squares)]
    for exclusion in shown.excluded:
        far = squares >= exclusion.distance**2
        bound = shown.bounds.tail(count, start, exclusion.distance, ball=shown.ball)
        found.append(_mean(f"(6) beyond {exclusion.distance:.4g}", bound, far))
    reach = 2 * max(start, shown.radius)
    found.append(
        _mean("(7) largest", shown.bounds.leaving(count, start, reach), largest >= reach**2)
    )
    if made.one_point_convex and made.bounds.rate > 0:
        mean = made.bounds.expected_square(count, start)
        found.append(_mean("(1) mean square", mean, squares))
        found.append(
            _mean("(2) tail", made.bounds.tail(count, start, 2 * mean), squares >= 2 * mean)
        )
        edge = made.bounds.quantile(count, start, 0.05)
        if math.isfinite(edge):
            found.append(_mean("(3) quantile", 0.05, squares > edge))
    return tuple(found)


def _starts(made: Guarantee, trials: int, seed: int) -> np.ndarray:
    """Points as far from the target as the guarantee allows, inside the domain where they can be."""
    target, domain = np.array(made.constants.target), made.constants.domain
    far = [low if p - low >= high - p else high for (low, high), p in zip(domain.sides, target)]
    corner = np.array(far) - target
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (trials, len(target)))
    steps = np.where(signs < 0, -np.abs(corner), np.abs(corner))
    steps = steps * made.certificate.start / np.linalg.norm(corner)
    low, high = np.array(made.certificate.constants.domain.sides).T
    return np.clip(target + steps, low, high)


def _mean(name: str, bound: float, values: np.ndarray) -> Check:
    values = np.asarray(values, dtype=float)
    return Check(name, bound, float(values.mean()), float(values.std() / math.sqrt(len(values))))
