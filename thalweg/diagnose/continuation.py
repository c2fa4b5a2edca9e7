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

PAIRS = 6
"""Pairs of looks in the second half of a continuation, at neighbouring steps."""

ALTERNATES = 0.3
"""Change in one late step, as a share of the change in the first, from which a run is said to alternate."""


def looks(steps: int) -> tuple[int, ...]:
    """The steps after which the loss is looked at.

    In the second half in pairs of neighbours, so that a run which alternates between two values is
    seen at both. The last quarter tells the level at which it ends.
    """
    ends = {steps - (place * steps) // (2 * PAIRS) for place in range(PAIRS)}
    chosen = {1, steps // 4, steps // 2, *ends, *(end - 1 for end in ends)}
    return tuple(sorted(step for step in chosen if 0 < step <= steps))


def _quarters(steps: int, count: int) -> tuple[slice, slice]:
    """Of ``count`` losses, the start's first, those in the third quarter of the steps, and the last."""
    marks = (0, *looks(steps))[:count]
    middle = steps - (PAIRS // 2 * steps) // (2 * PAIRS)  # where the first half of the pairs ends
    half, late = (sum(mark <= end for mark in marks) for end in (steps // 2, middle))
    return slice(half, late), slice(min(late, count - 1), count)


@dataclass(frozen=True)
class Continuation:
    """A run that went on for a while from the user's state.

    Attributes:
        fall: the level at the start less that over the last quarter, with the standard error that
            the scatter of its looks gives; minus infinity where the loss ceased to be finite.
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
        return _level(self.losses, self.steps)

    @property
    def end(self) -> float:
        """The level over the last quarter; infinite where the loss ceased to be finite."""
        _, last = _quarters(self.steps, len(self.losses))
        return float(np.mean(self.losses[last])) if self.finite else math.inf

    @property
    def late(self) -> float:
        """The fall from the level over the third quarter to that over the last."""
        third, last = _quarters(self.steps, len(self.losses))
        return float(np.mean(self.losses[third]) - np.mean(self.losses[last]))

    @property
    def bounce(self) -> float:
        """How far the loss rises in a single step of the last quarter: the largest of some looks."""
        return max(0.0, *_late_steps(self.losses, self.steps))

    def test_fall(self) -> Estimate:
        """The fall of the held-out loss, as :attr:`fall` is of the training loss."""
        return _fall(list(self.test_losses), self.steps, 0.0, None)

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
    noisy: bool = False,
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
        noisy: whether steps differ by their batches: what looks like alternating is that.
        test: held-out examples to look at too.
        each: called after each look, for a progress bar.
    """
    if noisy and level is None:
        level = start
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
        _fall(losses, steps, spent, level),
        tuple(losses),
        tuple(tests),
        tuple(training.losses),
        training.point(),
        spent,
        steps,
    )


def _level(losses: Sequence[float], steps: int) -> float:
    """The start, or its mean with the look after one step where single steps still change it as far.

    A first step that throws the loss up once is no part of where the run stood.
    """
    late = max(map(abs, _late_steps(losses, steps)))
    alternates = late > ALTERNATES * abs(losses[1] - losses[0])
    return (losses[0] + losses[1]) / 2 if alternates else losses[0]


def _late_steps(losses: Sequence[float], steps: int) -> list[float]:
    """How far the loss rises in the single steps of the last quarter that were looked at."""
    marks = (0, *looks(steps))[: len(losses)]
    _, last = _quarters(steps, len(losses))
    places = range(max(1, last.start), len(losses))
    return [losses[i] - losses[i - 1] for i in places if marks[i] - marks[i - 1] == 1] or [0.0]


def _fall(losses: list[float], steps: int, cost: float, level: float | None) -> Estimate:
    """The level at the start less the mean over the last quarter; error from the scatter there.

    The scatter is taken about a straight line, as a steady fall is no noise; a rise may be.
    """
    if not all(map(math.isfinite, losses)):
        return Estimate(-math.inf, 0.0, "loss", cost)
    if level is None:
        level = _level(losses, steps)
    _, late = _quarters(steps, len(losses))
    last = np.array(losses[late])
    place = np.array((0, *looks(steps))[late], dtype=float)
    place -= place.mean()
    slope = min(0.0, float(place @ last) / max(float(place @ place), 1e-12))
    scatter = float(((last - last.mean() - slope * place) ** 2).sum()) / max(1, len(last) - 2)
    error = math.sqrt(scatter * (1 / 2 + 1 / len(last)))
    return Estimate(level - float(last.mean()), error, "loss", cost)
