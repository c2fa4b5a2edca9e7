"""Cure: a change to a training that can be pasted, applied to a fork of it, and raced."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.supervised import Supervised
from thalweg.run.plan import Plan
from thalweg.run.training import Training
from thalweg.task import Task

__all__ = ["Change", "Cure", "Ground", "strength", "whole"]

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
        summary: what it does and when it helps, in one sentence.
        code: the lines that a user pastes into a loop with ``model``, ``optimizer``, ``loader``,
            ``loss``, the training data ``x, y`` as ``dataset`` in batches of ``batch_size``, each
            of them ``inputs, targets``, and ``held_out`` data; comments say where in the loop they
            go (:mod:`thalweg.diagnose.cures.places`); see :func:`in_loop`.
        change: does it to a forked Training, in place; None where only a person can.
        costs: gradient evaluations, memory, or what else it takes.
        source: the paper.
        family: of two cures of one family the second undoes the first.
        plan: does it to a Plan, a schedule over all of its steps; None where a Plan has no word for it.
        evidence: what a task's own data say for it, in one sentence.
        decides: ``schedule``, ``answer`` or ``gradient``, where it sets them whatever they were: of
            two cures that decide the same the second undoes the first as well.
    """

    name: str
    summary: str
    code: str
    change: Change | None = field(default=None, compare=False, repr=False)
    costs: str = ""
    source: str = ""
    family: str = ""
    plan: Callable[[Plan], Plan] | None = field(default=None, compare=False, repr=False)
    evidence: Callable[[Task], str] | None = field(default=None, compare=False, repr=False)
    decides: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """When it helps, and what it costs."""
        costs = f" Cost: {self.costs[0].lower()}{self.costs[1:]}" if self.costs else ""
        return self.summary + costs


def strength(name: str, value: float, *, digits: int = 6, most: float = math.inf) -> float:
    """A cure's number, to the digits that its name tells; UsageError unless in (0, most)."""
    rounded = float(f"{value:.{digits}g}")
    if not 0 < rounded < most:
        limits = "above 0" if math.isinf(most) else f"between 0 and {most:g}"
        raise UsageError(f"{name} must be a number {limits}, not {value!r}")
    return rounded


def whole(name: str, value: int, *, least: int = 1) -> int:
    """A cure's whole number; UsageError where it is below ``least``."""
    rounded = int(strength(name, value, digits=12))
    if rounded < least:
        raise UsageError(f"{name} must be a whole number of {least} or more, not {value!r}")
    return rounded
