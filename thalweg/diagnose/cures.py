"""Cures: changes to a training that can be pasted, applied to a fork of it, and raced."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from thalweg.run.training import Training

__all__ = ["Cure", "cure_named"]


@dataclass(frozen=True)
class Cure:
    """One change to a training.

    Attributes:
        name: unique and stable, such as ``learning_rate x0.1``.
        summary: when it helps and what it costs, in one sentence.
        code: the lines that a user pastes into a loop with ``model``, ``optimizer`` and ``loader``.
        change: does it to a forked Training, in place; ``None`` where only a person can do it.
    """

    name: str
    summary: str
    code: str
    change: Callable[[Training, torch.Generator], None] | None = field(default=None, compare=False)


def cure_named(name: str) -> Cure | None:
    """The cure of that name, or None: see the catalogue below."""
    raise NotImplementedError
