"""A short continuation of the user's own run: the judge of what the vital signs explain."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg.estimate import LOSS_COST, Curve, Estimate
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.run.training import Training

__all__ = ["Continuation", "continued", "looks"]

LAST = 4
"""Looks whose mean is the level at which a continuation ends."""

ALTERNATES = 0.3
"""Change in one late step, as a share of the change in the first, from which a run is said to alternate."""


def looks(steps: int) -> tuple[int, ...]:
    """The steps after which the loss is looked at.

    Pairs of neighbours at the start, at three quarters and at the end, so that a run which
    alternates between two values is seen at both.
    """
    late = (3 * steps) // 4
    chosen = {1, steps // 4, steps // 2, (5 * steps) // 8, late, late + 1, steps - 1, steps}
    return tuple(sorted(step for step in chosen if 0 < step <= steps))


@dataclass(frozen=True)
class Continuation:
    """A run that went on for a while from the user's state.

    Attributes:
        fall: the level at the start less that over the last four looks, with the standard error that
            their scatter gives; minus infinity where the loss ceased to be finite.
        losses: the loss over all the examples at each look, the start's first.
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

    @property
    def level(self) -> float:
        """The level at the start."""
        return _level(self.losses)

    @property
    def late(self) -> float:
        """The fall over the last quarter, between two pairs of neighbouring looks."""
        last = self.losses[-LAST:]
        return (last[0] + last[1] - last[-2] - last[-1]) / 2

    @property
    def bounce(self) -> float:
        """How far the loss rises in a single step late in the run: the larger of two looks."""
        return max(0.0, *_late_steps(self.losses))

    def test_fall(self) -> Estimate:
        """The fall of the held-out loss, as :attr:`fall` is of the training loss."""
        return _fall(list(self.test_losses), 0.0, None)

    def curve(self) -> Curve:
        """The loss over the steps."""
        return Curve(self._marks(len(self.losses)), self.losses, "step", "loss")

    def test_curve(self) -> Curve:
        """The held-out loss over the steps."""
        marks = self._marks(len(self.test_losses))
        return Curve(marks, self.test_losses, "step", "held-out loss")

    def _marks(self, count: int) -> tuple[float, ...]:
        return (0.0, *map(float, looks(self.steps)))[:count]


def continued(
    training: Training,
    objective: Supervised,
    *,
    steps: int,
    start: float,
    level: float | None = None,
    test: Examples | None = None,
    each: Callable[[], None] = lambda: None,
) -> Continuation:
    """Take ``steps`` of the training's own steps and look at the loss now and then.

    Args:
        training: a fork, advanced here.
        objective: what the loss is measured with.
        start: its value where the fork stands.
        level: of the start, that arms are compared by; by default ``start``, or its mean with the
            loss after one step where the run alternates, so that it is not judged by one of two values.
        test: held-out examples to look at too.
        each: called after each look, for a progress bar.
    """
    losses = [start]
    tests = [] if test is None else [training.evaluate(test)]
    cost = training.cost
    done = 0
    for goal in looks(steps):
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
        _fall(losses, spent, level),
        tuple(losses),
        tuple(tests),
        tuple(training.losses),
        training.point(),
        spent,
        steps,
    )


def _level(losses: Sequence[float]) -> float:
    """The start, or its mean with the look after one step where single steps still change it as far.

    A first step that throws the loss up once is no part of where the run stood.
    """
    late = max(map(abs, _late_steps(losses)))
    alternates = late > ALTERNATES * abs(losses[1] - losses[0])
    return (losses[0] + losses[1]) / 2 if alternates else losses[0]


def _late_steps(losses: Sequence[float]) -> tuple[float, float]:
    """How far the loss rises in two single steps late in the run."""
    last = losses[-LAST:]
    return last[1] - last[0], last[-1] - last[-2]


def _fall(losses: list[float], cost: float, level: float | None) -> Estimate:
    """The level at the start less the mean of the last looks; error from the scatter of those.

    The scatter is taken about a straight line, as a steady fall is no noise; a rise may be.
    """
    if not all(map(math.isfinite, losses)):
        return Estimate(-math.inf, 0.0, "loss", cost)
    if level is None:
        level = _level(losses)
    last = np.array(losses[-LAST:])
    place = np.arange(len(last)) - (len(last) - 1) / 2
    slope = min(0.0, float(place @ last) / float(place @ place))
    scatter = float(((last - last.mean() - slope * place) ** 2).sum()) / max(1, len(last) - 2)
    error = math.sqrt(scatter * (1 / 2 + 1 / len(last)))
    return Estimate(level - float(last.mean()), error, "loss", cost)
