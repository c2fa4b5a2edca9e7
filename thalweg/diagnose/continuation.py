"""A short continuation of the user's own run: the judge of what the vital signs explain."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.estimate import LOSS_COST, Curve, Estimate
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.run.training import Training

__all__ = ["MARKS", "Continuation", "continued"]

MARKS = (0.25, 0.5, 0.625, 0.75, 0.875, 1.0)
"""Shares of a continuation after which the loss is taken; the last four make its end level."""

LAST = 4


@dataclass(frozen=True)
class Continuation:
    """A run that went on for a while from the user's state.

    Attributes:
        fall: the loss at the start less its mean over the last marks, with the standard error that
            the scatter of those gives; minus infinity where the loss ceased to be finite.
        losses: the loss over all the examples at each mark, with the start's first.
        test_losses: the same of held-out loss; empty without test data.
        batch_losses: of every step.
        cost: gradient evaluations spent.
        curve, test_curve: for the report.
    """

    fall: Estimate
    losses: tuple[float, ...]
    test_losses: tuple[float, ...]
    batch_losses: tuple[float, ...]
    point: Tensor
    cost: float
    steps: int

    @property
    def finite(self) -> bool:
        """Whether every loss was finite."""
        return all(map(math.isfinite, self.losses)) and all(map(math.isfinite, self.batch_losses))

    def test_fall(self) -> Estimate:
        """The fall of the held-out loss, as :attr:`fall` is of the training loss."""
        return _fall(list(self.test_losses), 0.0)

    def curve(self) -> Curve:
        """The loss over the steps."""
        return Curve(self._marks(len(self.losses)), self.losses, "step", "loss")

    def test_curve(self) -> Curve:
        """The held-out loss over the steps."""
        marks = self._marks(len(self.test_losses))
        return Curve(marks, self.test_losses, "step", "held-out loss")

    def _marks(self, count: int) -> tuple[float, ...]:
        return tuple(round(mark * self.steps) for mark in (0.0, *MARKS))[:count]


def continued(
    training: Training,
    objective: Supervised,
    *,
    steps: int,
    start: float,
    test: Examples | None = None,
    each: Callable[[], None] = lambda: None,
) -> Continuation:
    """Take ``steps`` of the training's own steps and look at the loss at the marks.

    Args:
        training: a fork, advanced here.
        objective: what the loss is measured with.
        start: its value where the fork stands.
        test: held-out examples to look at too.
        each: called after each mark, for a progress bar.
    """
    losses = [start]
    tests = [] if test is None else [training.evaluate(test)]
    cost = training.cost
    done = 0
    for mark in MARKS:
        goal = max(round(mark * steps), done)
        finite = training.advance(goal - done)
        done = goal
        with torch.no_grad():
            losses.append(objective.value(training.point()) if finite else math.nan)
        if test is not None:
            tests.append(training.evaluate(test))
        each()
        if not math.isfinite(losses[-1]):
            break
    shown = LOSS_COST * (len(losses) - 1) * objective.data.length / training.population
    shown += LOSS_COST * len(tests) * (len(test) / training.population if test else 0.0)
    spent = training.cost - cost + shown
    return Continuation(
        _fall(losses, spent),
        tuple(losses),
        tuple(tests),
        tuple(training.losses),
        training.point(),
        spent,
        steps,
    )


def _fall(losses: list[float], cost: float) -> Estimate:
    if not all(map(math.isfinite, losses)):
        return Estimate(-math.inf, 0.0, "loss", cost)
    last = torch.tensor(losses[-LAST:], dtype=torch.float64)
    # The scatter about a straight line: a steady fall is no noise. The start is one draw of it too.
    place = torch.arange(len(last), dtype=torch.float64) - (len(last) - 1) / 2
    slope = (place * last).sum() / (place**2).sum()
    scatter = ((last - last.mean() - slope * place) ** 2).sum() / max(1, len(last) - 2)
    error = math.sqrt(float(scatter) * (1 + 1 / len(last)))
    return Estimate(losses[0] - float(last.mean()), error, "loss", cost)
