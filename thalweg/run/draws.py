"""The noise of a block of trials, drawn fast from a generator of its own."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from thalweg.objective.noise import Gaussian, Noise, Uniform

__all__ = ["Draws", "draws"]


class Draws(Protocol):
    """A stream of ω: what is drawn first, cheaply, and how it is made into noise.

    Attributes:
        like: an empty tensor of the shape and dtype of what is drawn.
    """

    like: Tensor

    def next(self) -> Tensor:
        """What is drawn for the next step, of the shape of the points."""
        ...

    def noise(self, drawn: Tensor) -> Tensor:
        """ω made of what was drawn."""
        ...

    def add_to(self, gradients: Tensor, drawn: Tensor) -> Tensor:
        """Add ω to the gradients in place, and return them."""
        ...


def draws(noise: Noise, points: Tensor, generator: torch.Generator) -> Draws:
    """The stream of ω for points ``(rows, dim)``, in their dtype and on their device.

    Uniform noise is made of NumPy's SFC64, seeded by the generator: with torch's Mersenne Twister
    it would take most of the time of a run on a simple function. So is Gaussian noise in double
    precision.
    """
    if isinstance(noise, Uniform):
        return _UniformDraws(noise.a, points, _numpy(generator))
    if isinstance(noise, Gaussian) and points.dtype == torch.float64:
        return _NormalDraws(noise.s, points, _numpy(generator))
    return _OtherDraws(noise, points, generator)


class _UniformDraws:
    """Whole numbers on their type's range, one of the width of the points' dtype for each coordinate."""

    def __init__(self, a: float, points: Tensor, generator: np.random.Generator) -> None:
        self.shape, self.device = points.shape, points.device
        double = points.dtype == torch.float64
        self.dtype = points.dtype if double else torch.float32
        self.whole = np.int64 if double else np.int32
        self.words = points.numel() if double else (points.numel() + 1) // 2
        self.scale = a / 2.0 ** (63 if double else 31)
        self.source = generator.bit_generator
        whole = torch.int64 if double else torch.int32
        self.like = torch.empty(points.shape, dtype=whole, device=points.device)

    def next(self) -> Tensor:
        words = self.source.random_raw(self.words).view(self.whole)
        drawn = torch.from_numpy(words)[: self.shape.numel()]
        return drawn.view(self.shape).to(self.device)

    def noise(self, drawn: Tensor) -> Tensor:
        return drawn.to(self.dtype) * self.scale

    def add_to(self, gradients: Tensor, drawn: Tensor) -> Tensor:
        return gradients.add_(drawn, alpha=self.scale)


class _NormalDraws:
    """Standard normal numbers."""

    def __init__(self, s: float, points: Tensor, generator: np.random.Generator) -> None:
        self.scale, self.generator = s, generator
        self.like = torch.empty_like(points)

    def next(self) -> Tensor:
        drawn = torch.empty(self.like.shape, dtype=torch.float64)
        self.generator.standard_normal(out=drawn.numpy())
        return drawn.to(self.like.device)

    def noise(self, drawn: Tensor) -> Tensor:
        return drawn * self.scale

    def add_to(self, gradients: Tensor, drawn: Tensor) -> Tensor:
        return gradients.add_(drawn, alpha=self.scale)


class _OtherDraws:
    """The distribution's own draws."""

    def __init__(self, noise: Noise, points: Tensor, generator: torch.Generator) -> None:
        self.distribution, self.generator = noise, generator
        self.like = torch.empty_like(points)

    def next(self) -> Tensor:
        drawn = torch.empty(self.like.shape, dtype=self.like.dtype)
        return self.distribution.draw_into(drawn, self.generator).to(self.like.device)

    def noise(self, drawn: Tensor) -> Tensor:
        return drawn

    def add_to(self, gradients: Tensor, drawn: Tensor) -> Tensor:
        return gradients.add_(drawn)


def _numpy(generator: torch.Generator) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(generator.initial_seed()))
