"""One run of one arm of a race: from the user's state, with looks at equal evaluations."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from thalweg.diagnose.combination import named
from thalweg.diagnose.cures import Cure, Ground
from thalweg.diagnose.examination import Examination, fan_in_scales
from thalweg.diagnose.halving import MARKS
from thalweg.diagnose.race_result import UNCHANGED
from thalweg.errors import ThalwegError, UsageError
from thalweg.estimate import LOSS_COST
from thalweg.objective.failures import first_line, was_evaluated
from thalweg.objective.random_state import RandomState
from thalweg.run.fork import asks_for_closure
from thalweg.run.hooks import has_hooks
from thalweg.run.training import Training
from thalweg.task import Task

__all__ = ["Leg", "Ran", "begun", "forked", "gone_on", "look", "run_leg"]

_MISFITS = (ArithmeticError, RuntimeError, ValueError)
"""What a cure that does not fit raises; any other error is told as it is."""

_LACKS = (MemoryError, OSError, torch.OutOfMemoryError)
"""What ends a race wherever the weights are."""


@dataclass(frozen=True)
class Ran:
    """What one run of an arm gave.

    ``losses`` and ``test_losses`` hold a number at each mark, NaN from where the run had diverged;
    ``cost`` counts steps and looks, in gradient evaluations over the training data; ``moved`` tells
    whether the run drew from the random states of NumPy or Python; ``raised`` is what the model, the
    loss or the step said where the run ended by it, as it diverged.
    """

    losses: tuple[float, ...]
    test_losses: tuple[float, ...]
    cost: float
    moved: bool = False
    raised: str = ""


@dataclass(frozen=True, eq=False)
class Leg:
    """All that a worker needs to make one run of one arm; it can be pickled if its task can.

    Attributes:
        task: the user's.
        cure: None for the unchanged arm. One of the catalogue travels by its name.
        seed: of the order of the data, dropout and the cure's own draws; 0 is the user's state.
        evaluations: where the losses are looked at, 0 first.
        start: training and held-out loss where every arm starts.
        state: the random states that seed 0 starts from.
        negative: the step along negative curvature, for a cure that takes it.
        examination: of the task; made anew by another process.
    """

    task: Task
    cure: Cure | None
    seed: int
    evaluations: tuple[float, ...]
    start: tuple[float, float | None]
    state: RandomState
    negative: Tensor | None = None
    examination: Examination | None = field(default=None, repr=False)

    @property
    def trial(self) -> bool:
        """Whether it ends before the race does."""
        return len(self.evaluations) <= MARKS

    @property
    def name(self) -> str:
        """Of the arm."""
        return UNCHANGED if self.cure is None else self.cure.name

    def __getstate__(self) -> dict[str, Any]:
        parameters = list(self.task.model.parameters())
        if any(map(has_hooks, parameters)):
            raise UsageError(
                "map must keep a task in this process whose parameters have hooks, which no other "
                "process gets: leave map out"
            )
        # Parameters travel without their gradients, which a step of the user's may add to.
        grads = [p.grad for p in parameters] if self.task.step is not None else []
        kept = dict(vars(self)) | {"examination": None, "grads": grads}
        if self.cure is not None and named(self.cure.name) == self.cure:
            kept["cure"] = self.cure.name
        return kept

    def __setstate__(self, kept: dict[str, Any]) -> None:
        if isinstance(kept["cure"], str):
            kept["cure"] = named(kept["cure"])
        grads = kept.pop("grads")
        vars(self).update(kept)
        for p, grad in zip(self.task.model.parameters(), grads, strict=False):
            p.grad = grad


def run_leg(leg: Leg) -> Ran:
    """Make the run; the user's objects and the global random states are as before afterwards."""
    e = leg.examination or Examination.of(leg.task, budget=math.inf)
    training = forked(leg, e)
    try:
        _change(leg, training, e)
    except Exception as error:
        return _ended(leg, training, e, error, training.random_state, [], [], 0.0)
    return gone_on(leg, training, e)


def begun(leg: Leg, e: Examination) -> Training:
    """The fork that the leg goes on from, with its cure."""
    training = forked(leg, e)
    try:
        _change(leg, training, e)
    except _MISFITS as error:
        raise _unfit(leg, error) from error
    return training


def gone_on(leg: Leg, training: Training, e: Examination) -> Ran:
    """Steps and looks to the leg's end."""
    before = training.random_state
    losses: list[float] = []
    tests: list[float] = []
    looks = 0.0
    try:
        for goal in leg.evaluations[1:]:
            least = int(leg.trial and goal == leg.evaluations[-1])
            if math.isfinite([leg.start[0], *losses][-1]) and _advance(training, goal, e, least):
                loss, test, cost = look(training, e)
                looks += cost
            else:
                loss, test = math.nan, None if e.test is None else math.nan
            losses.append(loss)
            tests += [] if test is None else [test]
    except Exception as error:
        return _ended(leg, training, e, error, before, losses, tests, looks)
    return _ran(leg, training, before, losses, tests, looks)


def _ran(
    leg: Leg,
    training: Training,
    before: RandomState,
    losses: list[float],
    tests: list[float],
    looks: float,
    raised: str = "",
) -> Ran:
    start, held_out = leg.start
    return Ran(
        (start, *losses),
        () if held_out is None else (held_out, *tests),
        training.cost + looks,
        training.random_state.drew_elsewhere(before),
        raised,
    )


def forked(leg: Leg, e: Examination) -> Training:
    """The user's training as the leg begins it, before its cure."""
    outside = RandomState.now()
    leg.state.restore()
    try:
        return Training.of(e.task, seed=leg.seed or None, lent=e.objective.placed.restore)
    finally:
        outside.restore()


def look(training: Training, e: Examination) -> tuple[float, float | None, float]:
    """Training loss and held-out loss where a training stands, and the cost of looking."""
    loss = training.value(e.objective)
    cost = LOSS_COST * e.share
    if e.test is None:
        return _or_nan(loss), None, cost
    return (
        _or_nan(loss),
        _or_nan(training.evaluate(e.test)),
        cost + LOSS_COST * len(e.test) / e.population,
    )


def _change(leg: Leg, training: Training, e: Examination) -> None:
    if leg.cure is not None and leg.cure.change is not None:
        fresh = torch.Generator().manual_seed(7919 * leg.seed + 1)
        ground = Ground(fresh, leg.negative, fan_in_scales(leg.task.model), e.objective)
        leg.cure.change(training, ground)


def _advance(training: Training, goal: float, e: Examination, least: int) -> bool:
    """Steps until ``goal`` evaluations are spent, to half a step of the user's own.

    A longer step than that is left where it would pass the goal: a cure whose steps are long would
    else have more evaluations than the unchanged run. A trial's ``least`` steps are taken by then, if
    they cost no more than the goal again: what has not moved cannot be judged.
    """
    own = e.batch_size / e.population
    if len(training.losses) < least:
        size = training.batch_size or e.batch_size
        step = training.gradients_a_step * size / e.population
        if goal < training.cost + step - 0.5 * min(step, own) and training.cost + step <= 2 * goal:
            return training.advance(least)
    while training.cost < goal:
        size = training.batch_size or e.batch_size
        step = training.gradients_a_step * size / e.population
        steps = int((goal - training.cost + 0.5 * min(step, own)) / step)
        if steps < 1:
            break
        if asks_for_closure(type(training.optimizer)):
            steps = 1  # of as many evaluations as its line search takes
        if not training.advance(steps):
            return False
    return True


def _ended(
    leg: Leg,
    training: Training,
    e: Examination,
    error: Exception,
    before: RandomState,
    losses: list[float],
    tests: list[float],
    looks: float,
) -> Ran:
    """The run up to an error that tells where it has come to; raises any other."""
    if not _has_diverged(leg, training, e, error):
        raise _unfit(leg, error) from error
    missing = [math.nan] * (len(leg.evaluations) - 1 - len(losses))
    held_out = [math.nan] * (len(leg.evaluations) - 1 - len(tests))
    raised = first_line(error.__cause__ or error)
    return _ran(leg, training, before, losses + missing, tests + held_out, looks, raised)


def _has_diverged(leg: Leg, training: Training, e: Examination, error: Exception) -> bool:
    """Whether an error comes of where the weights are, rather than of a cure that does not fit.

    A model that raises does so at weights that are not finite, or where a cure has led: there have
    been steps, or its set-up has moved the weights or evaluated the loss elsewhere. What fails in the
    first step, or breaks a rule of the library's, would fail anywhere. Nothing is forgiven the user's
    own run at finite weights.
    """
    told = was_evaluated(error)
    if isinstance(error.__cause__ if told else error, _LACKS):
        return False
    if isinstance(error, ThalwegError) and not told:
        return False
    point = training.point()
    if not torch.isfinite(point).all():
        return True
    if leg.cure is None:
        return False
    led = bool(training.losses) or training.steps_of_twins > 0 or told
    return led or not torch.equal(point, forked(leg, e).point())


def _unfit(leg: Leg, error: Exception) -> Exception:
    if leg.cure is None or isinstance(error, (ThalwegError, *_LACKS)):
        return error
    if not isinstance(error, _MISFITS):
        return error
    return UsageError(f"cures must fit the training, but {leg.name} does not: {first_line(error)}")


def _or_nan(value: float) -> float:
    return value if math.isfinite(value) else math.nan
