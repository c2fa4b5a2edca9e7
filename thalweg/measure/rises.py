"""How much higher the loss is elsewhere than at a point, with what a sample of the examples leaves open."""

import math

import torch
from scipy.special import stdtrit
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST, Estimate
from thalweg.objective.base import Objective
from thalweg.objective.supervised import Supervised

__all__ = ["Rises", "mean_and_error", "widened", "without_decay"]

PARTS = 16
"""Parts of a sample of the examples, whose scatter tells what the sample leaves open."""


class Rises:
    """f(x) − f(θ), by parts of the examples where these are a sample of more.

    The parts are those of one pass, so that they cost nothing; a loss that has no examples, or is
    taken over all of them, has a single part. Sums are taken in double precision.

    Attributes:
        start: f(θ) by parts, shape ``(parts,)``.
        cost: gradient evaluations spent.
    """

    def __init__(self, objective: Objective, point: Tensor) -> None:
        objective.check_points(point)
        if point.ndim != 1:
            raise UsageError(f"point must be one point, but has shape {tuple(point.shape)}")
        self.objective, self.point = objective, point.detach()
        self._missing = 0.0
        self._weights = torch.ones(1, dtype=torch.float64)
        if isinstance(objective, Supervised):
            length, population = objective.data.length, objective.data.population
            self._missing = 1 - length / population
            if self._missing and objective.mode == "eval":
                most = max(1, min(objective.chunk, length // PARTS))
                self.objective = objective.on(objective.data, chunk=most)
        self.cost = 0.0
        self.start = self._losses(self.point)

    @property
    def loss(self) -> Estimate:
        """f(θ)."""
        return Estimate(self._whole(self.start), self._error(self.start), "loss", LOSS_COST)

    @property
    def rounding(self) -> float:
        """What the arithmetic leaves open in a rise."""
        size = abs(self._whole(self.start))
        return 4 * torch.finfo(self.point.dtype).eps * size if math.isfinite(size) else math.nan

    def at(self, there: Tensor) -> Tensor:
        """The rise at a point ``(dim,)`` by parts, ``(parts,)``."""
        return self._losses(there) - self.start

    def value(self, there: Tensor) -> float:
        """The rise at a point as a number."""
        return self._whole(self.at(there))

    def estimate(self, rises: Tensor) -> Estimate:
        """The mean over draws of rises ``(draws, parts)``; independent draws, two at least.

        Error: of the draws and of the sample of examples.
        """
        means = rises @ self._weights
        value, error = mean_and_error(means)
        return Estimate(value, math.hypot(error, self._error(rises.mean(0)), self.rounding), "loss")

    def single(self, rise: Tensor) -> Estimate:
        """One rise ``(parts,)``, whose error is of the sample of examples and of rounding."""
        return Estimate(self._whole(rise), math.hypot(self._error(rise), self.rounding), "loss")

    def whole(self, rises: Tensor) -> Tensor:
        """Rises ``(..., parts)`` over all the examples, ``(...)``."""
        return rises @ self._weights

    def _whole(self, parts: Tensor) -> float:
        return float(parts @ self._weights)

    def _error(self, parts: Tensor) -> float:
        count = len(parts)
        if not self._missing:
            return 0.0
        if count < 2:
            return math.inf
        spread = float((self._weights * (parts - self._whole(parts)) ** 2).sum())
        return widened(count) * math.sqrt(spread / (count - 1) * self._missing)

    def _losses(self, there: Tensor) -> Tensor:
        self.cost += LOSS_COST
        objective = self.objective
        if not isinstance(objective, Supervised):
            with torch.no_grad():
                return objective.loss(there).detach().double().cpu().reshape(1)
        losses, weights = objective.chunk_losses(there)
        losses = losses + 0.5 * float((objective.decay * there * there).sum())
        if not self._missing:
            return (losses * weights).sum().reshape(1)
        self._weights = weights
        return losses


def without_decay(objective: Objective) -> Objective:
    """The loss of the data alone."""
    if isinstance(objective, Supervised):
        return objective.on(objective.data, decay=False)
    return objective


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of independent draws and its standard error, 1.96 of which are Student's 95%."""
    count = len(values)
    if count < 2:
        return float(values.mean()), math.inf
    return float(values.mean()), widened(count) * float(values.std()) / math.sqrt(count)


def widened(count: int) -> float:
    """Times a standard error of so many draws, so that 1.96 of it are Student's 95%."""
    if count < 2:
        return math.inf
    return float(stdtrit(count - 1, 0.975)) / 1.96
