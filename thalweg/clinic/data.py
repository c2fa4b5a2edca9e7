"""The data of the cases: what ships with scikit-learn, and made sets."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Split",
    "breast_cancer",
    "curved",
    "digits",
    "flip_classes",
    "linear_made",
    "one_column",
    "rings",
    "split",
]


class Split(NamedTuple):
    """Examples to train on and held-out ones, each as (inputs, targets)."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    def double(self) -> "Split":
        """The same inputs in float64, and so the targets unless they are classes."""

        def wide(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            rows, targets = pair
            return rows.double(), targets.double() if targets.is_floating_point() else targets

        return Split(wide(self.train), wide(self.test))

    def as_numbers(self) -> "Split":
        """The same with each class as one number, for a model of one output."""
        (rows, targets), (held_out, others) = self
        return Split((rows, targets.float()[:, None]), (held_out, others.float()[:, None]))

    def one_hot(self, classes: int = 10) -> "Split":
        """The same with each class as a row of zeros and a one, for a squared error."""
        (rows, targets), (held_out, others) = self
        return Split((rows, torch.eye(classes)[targets]), (held_out, torch.eye(classes)[others]))


def split(inputs: Tensor, targets: Tensor, train: int, generator: torch.Generator) -> Split:
    """A random choice of ``train`` rows, and all the others held out."""
    order = torch.randperm(len(inputs), generator=generator)
    inside, outside = order[:train], order[train:]
    return Split((inputs[inside], targets[inside]), (inputs[outside], targets[outside]))


@cache
def _bundled(name: str) -> tuple[Tensor, Tensor]:
    from sklearn import datasets  # pyright: ignore[reportMissingTypeStubs]  # late: 0.5 s

    bunch = getattr(datasets, f"load_{name}")()
    return torch.tensor(bunch.data, dtype=torch.float32), torch.tensor(bunch.target)


def _standard(inputs: Tensor) -> Tensor:
    spread = inputs.std(0)
    return (inputs - inputs.mean(0)) / torch.where(spread > 0, spread, torch.ones_like(spread))


def digits(generator: torch.Generator, train: int = 1200) -> Split:
    """Scanned digits: 1797 images of 64 pixels brought to mean 0 and overall deviation 1."""
    inputs, targets = _bundled("digits")
    return split((inputs - inputs.mean(0)) / 6.0, targets, train, generator)


def breast_cancer(generator: torch.Generator, train: int = 400, *, scaled: bool = True) -> Split:
    """569 biopsies of 30 measures, benign or not; the raw columns differ in scale by 1e5."""
    inputs, targets = _bundled("breast_cancer")
    return split(_standard(inputs) if scaled else inputs.clone(), targets, train, generator)


def linear_made(
    generator: torch.Generator,
    rows: int,
    columns: int,
    *,
    noise: float,
    outputs: int = 1,
    held_out: int = 200,
) -> Split:
    """Targets linear in Gaussian inputs, each of variance 1, plus ``noise``."""
    inputs = torch.randn(rows + held_out, columns, generator=generator)
    weights = torch.randn(columns, outputs, generator=generator)
    targets = inputs @ (weights / weights.norm(dim=0))
    targets = targets + noise * torch.randn(targets.shape, generator=generator)
    return split(inputs, targets, rows, generator)


def curved(
    generator: torch.Generator, rows: int, columns: int, *, noise: float, held_out: int = 200
) -> Split:
    """Targets that bend: a sine of one direction plus a product of two columns, plus ``noise``."""
    inputs = torch.randn(rows + held_out, columns, generator=generator)
    targets = torch.sin(1.5 * inputs[:, :1]) + 0.5 * inputs[:, 1:2] * inputs[:, 2:3]
    targets = targets + noise * torch.randn(targets.shape, generator=generator)
    return split(inputs, targets, rows, generator)


def flip_classes(targets: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The classes with this share of them drawn anew at random."""
    drawn = torch.randint(int(targets.max()) + 1, targets.shape, generator=generator)
    return torch.where(torch.rand(targets.shape, generator=generator) < share, drawn, targets)


def rings(generator: torch.Generator, rows: int, *, held_out: int = 200) -> Split:
    """Two classes in the plane, one inside the other: no line tells them apart."""
    targets = torch.randint(2, (rows + held_out,), generator=generator)
    angle = 2 * torch.pi * torch.rand(targets.shape, generator=generator)
    radius = 1 + targets + 0.1 * torch.randn(targets.shape, generator=generator)
    inputs = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    return split(inputs, targets, rows, generator)


def one_column(
    generator: torch.Generator, rows: int, *, noise: float, held_out: int = 100
) -> Split:
    """A wavy curve over one column between -2 and 2, plus ``noise``."""
    inputs = 4 * torch.rand(rows + held_out, 1, generator=generator) - 2
    targets = torch.sin(3 * inputs) + 0.5 * inputs
    targets = targets + noise * torch.randn(targets.shape, generator=generator)
    return split(inputs, targets, rows, generator)
