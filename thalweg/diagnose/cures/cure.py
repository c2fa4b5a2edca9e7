"""Cure: a change to a training that can be pasted, applied to a fork of it, and raced."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.supervised import Supervised
from thalweg.run.training import Training

__all__ = ["Change", "Cure", "Ground", "strength"]

Change = Callable[[Training, "Ground"], None]


@dataclass(frozen=True)
class Ground:
    """What a cure may need to know of the state it changes.

    Attributes:
        generator: of its random draws.
        negative: step to take along the most negative curvature, shape ``(dim,)``, or None.
        scales: usual size of a fresh weight at each coordinate.
        objective: what is descended, weight decay included, on a sample at most of the examples.
    """

    generator: torch.Generator
    negative: Tensor | None
    scales: Tensor
    objective: Supervised


@dataclass(frozen=True)
class Cure:
    """One change to a training.

    Attributes:
        name: unique and stable, such as ``learning_rate x0.1``; :func:`cure_named` reads it back.
        summary: when it helps and what it costs, in one sentence.
        code: the lines that a user pastes into a loop with ``model``, ``optimizer``, ``loader``.
        change: does it to a forked Training, in place; None where only a person can.
    """

    name: str
    summary: str
    code: str
    change: Change | None = field(default=None, compare=False, repr=False)


def strength(name: str, value: float, *, digits: int = 6, most: float = math.inf) -> float:
    """A cure's number, to the digits that its name tells; UsageError unless in (0, most)."""
    rounded = float(f"{value:.{digits}g}")
    if not 0 < rounded < most:
        limits = "above 0" if math.isinf(most) else f"between 0 and {most:g}"
        raise UsageError(f"{name} must be a number {limits}, not {value!r}")
    return rounded
