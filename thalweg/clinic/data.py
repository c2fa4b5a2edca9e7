"""The data of the cases: what ships with scikit-learn, and made sets."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Split", "breast_cancer", "digits", "linear_made", "split"]


class Split(NamedTuple):
    """Examples to train on and held-out ones, each as (inputs, targets)."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


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
    generator: torch.Generator, rows: int, columns: int, *, noise: float, held_out: int = 200
) -> Split:
    """Targets linear in Gaussian inputs, of variance 1, plus ``noise``."""
    inputs = torch.randn(rows + held_out, columns, generator=generator)
    weights = torch.randn(columns, 1, generator=generator)
    targets = inputs @ (weights / weights.norm())
    targets = targets + noise * torch.randn(targets.shape, generator=generator)
    return split(inputs, targets, rows, generator)
