"""The one idea: a loss is a function of a flat point."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from thalweg.errors import UsageError

__all__ = ["Objective"]


class Objective(ABC):
    """A loss over flat points.

    Attributes:
        dim: number of coordinates of a point.
        examples: number of examples that the loss is a mean of; ``None`` where it has none, and
            mini-batches do not exist.
    """

    dim: int
    examples: int | None = None

    @abstractmethod
    def loss(self, points: Tensor) -> Tensor:
        """Losses of shape ``(...)`` at points of shape ``(..., dim)``.

        Differentiable where the objective is. Values that are not finite stay so.
        """

    def start(self, generator: torch.Generator, trials: int = 1) -> Tensor:
        """Starting points of shape ``(trials, dim)``: standard normal unless the objective says otherwise."""
        return torch.randn(trials, self.dim, generator=generator, dtype=torch.float64)

    def check_points(self, points: Tensor) -> None:
        """Raise UsageError unless ``points`` has shape ``(..., dim)``."""
        if points.ndim == 0 or points.shape[-1] != self.dim:
            raise UsageError(
                f"points must have shape (..., {self.dim}), but have shape {tuple(points.shape)}"
            )

    def check_finite(self, point: Tensor, name: str = "point") -> None:
        """Raise UsageError unless ``point`` has shape ``(..., dim)`` and is finite."""
        self.check_points(point)
        wrong = int((~torch.isfinite(point)).sum())
        if wrong:
            share = f"{wrong} of {point.numel()} coordinates"
            raise UsageError(f"{name} must be finite, but has NaN or infinity in {share}")
