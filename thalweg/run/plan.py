"""Plan: the frozen description of one run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.noise import Noise
from thalweg.objective.noise import parse as parse_noise
from thalweg.run.optimizer import make_optimizer, suggestion
from thalweg.run.schedule import make_schedule

__all__ = ["DTYPES", "Distribution", "Plan"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}
"""The precisions that a plan may ask for."""


@dataclass(frozen=True)
class Distribution:
    """A distribution of independent coordinates, written as text.

    ``uniform:a`` is uniform on [−a, a], ``uniform:a:b`` on [a, b], ``gaussian:s`` is normal with
    mean 0 and standard deviation s.
    """

    kind: str
    numbers: tuple[float, ...]

    @classmethod
    def parse(cls, text: str, argument: str) -> "Distribution":
        """Read the text. Raises UsageError that names ``argument``."""
        rule = f"{argument} must be uniform:A, uniform:LOW:HIGH or gaussian:S, not {text!r}"
        if not isinstance(text, str):
            raise UsageError(rule)
        kind, *rest = text.split(":")
        if kind not in ("uniform", "gaussian"):
            raise UsageError(rule + suggestion(kind, ("uniform", "gaussian")))
        try:
            numbers = tuple(float(number) for number in rest)
        except ValueError:
            raise UsageError(rule) from None
        if not all(math.isfinite(number) for number in numbers):
            raise UsageError(f"{argument} must have finite numbers, not {text!r}")
        if len(numbers) == 1 and numbers[0] >= 0:
            return cls(kind, numbers)
        if kind == "uniform" and len(numbers) == 2 and numbers[0] < numbers[1]:
            return cls(kind, numbers)
        raise UsageError(rule)

    def draw_into(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        """Fill the tensor with independent draws and return it."""
        if self.kind == "gaussian":
            return tensor.normal_(0.0, self.numbers[0], generator=generator)
        low, high = self.numbers if len(self.numbers) == 2 else (-self.numbers[0], self.numbers[0])
        return tensor.uniform_(low, high, generator=generator)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to descend: the same Plan gives the same Trajectory.

    Attributes:
        optimizer: a name of :data:`thalweg.run.optimizer.OPTIMIZERS`.
        options: arguments of that optimizer other than the learning rate.
        learning_rate: η, above 0.
        schedule: ``constant`` or a name of :data:`thalweg.run.schedule.SCHEDULES`.
        schedule_options: arguments of that scheduler.
        noise: distribution of ω, which is added to the gradient, or its text, such as
            ``uniform:25`` or ``gaussian:0.3``. The step's noise is η·ω.
        batch: examples a step, for objectives that have examples; ``None`` takes all of them. Every
            trial has batches of its own.
        replacement: draw the examples of a batch with replacement; else every trial goes through
            all of them in an order of its own before it sees one again.
        steps: number of updates.
        trials: number of independent runs; each is a row of a tensor.
        starts: where they start: the objective's own start distribution, a text such as
            ``uniform:-3:3``, one point ``(dim,)`` or one for each trial ``(trials, dim)``.
        dtype: ``float32`` or ``float64``; ``None`` for that of the objective's own starts.
        points_every: keep the points at every so many steps; ``None`` keeps only the end.
        points_of: numbers of the trials whose points are kept; ``None`` for all.
        seed: of every random draw.

    Raises:
        UsageError: an argument that breaks a rule, in a sentence that names it.
    """

    optimizer: str = "sgd"
    options: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 0.01
    schedule: str = "constant"
    schedule_options: Mapping[str, Any] = field(default_factory=dict)
    noise: str | Noise | None = None
    batch: int | None = None
    replacement: bool = False
    steps: int = 1000
    trials: int = 1
    starts: Any = None
    dtype: str | None = None
    points_every: int | None = None
    points_of: tuple[int, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "trials"):
            _check_whole(name, getattr(self, name), least=1)
        for name in ("batch", "points_every"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name), least=1)
        _check_whole("seed", self.seed, least=0)
        rate = self.learning_rate
        if not isinstance(rate, float | int) or isinstance(rate, bool) or not 0 < rate < math.inf:
            raise UsageError(f"learning_rate must be a number above 0, not {rate!r}")
        if self.noise is not None and not isinstance(self.noise, Noise):
            object.__setattr__(self, "noise", parse_noise(self.noise))
        if not isinstance(self.replacement, bool):
            raise UsageError(f"replacement must be True or False, not {self.replacement!r}")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UsageError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if self.points_of is not None:
            object.__setattr__(self, "points_of", _numbers(self.points_of, self.trials))
        if isinstance(self.starts, str):
            Distribution.parse(self.starts, "starts")
        elif self.starts is not None:
            object.__setattr__(self, "starts", _points(self.starts, self.trials))
        for name in ("options", "schedule_options"):
            value = getattr(self, name)
            if not isinstance(value, Mapping):
                raise UsageError(f"{name} must be a mapping of names to values, not {value!r}")
            object.__setattr__(self, name, MappingProxyType(dict(value)))
        if "lr" in self.options:
            raise UsageError("options must leave the learning rate to learning_rate, but has lr")
        self._try_a_step()

    def __hash__(self) -> int:
        return hash(repr(self.to_dict()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """The arguments that make this Plan, as plain data."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["noise"] = None if self.noise is None else str(self.noise)
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}

    def make_optimizer(self, points: Tensor) -> torch.optim.Optimizer:
        """torch's optimizer over points ``(trials, dim)``."""
        return make_optimizer(
            self.optimizer, [points], self.learning_rate, self.options, trials=self.trials
        )

    def make_schedule(self, optimizer: torch.optim.Optimizer) -> Any | None:
        """torch's scheduler on that optimizer; ``None`` for a constant rate."""
        return make_schedule(
            self.schedule,
            optimizer,
            steps=self.steps,
            learning_rate=self.learning_rate,
            options=self.schedule_options,
            trials=self.trials,
        )

    def _try_a_step(self) -> None:
        """A step at rest: torch looks at some of its arguments only when it steps."""
        point = torch.zeros(1, 1, requires_grad=True)
        point.grad = torch.zeros(1, 1)
        optimizer = self.make_optimizer(point)
        schedule = self.make_schedule(optimizer)
        try:
            optimizer.step(lambda: 0.0)
            if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
                schedule.step(0.0)
            elif schedule is not None:
                schedule.step()
        except (ValueError, TypeError, IndexError, ZeroDivisionError, RuntimeError) as error:
            raise UsageError(
                f"options and schedule_options must be such that torch can step, but {self.optimizer} "
                f"with schedule {self.schedule} cannot step: {error}"
            ) from error

    def generators(self, block: int = 0) -> "Generators":
        """Fresh generators for a block of trials, one for each purpose, independent of all others."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(block,))
        states = sequence.generate_state(3, np.uint64)
        return Generators(*(torch.Generator().manual_seed(int(state >> 1)) for state in states))


@dataclass(frozen=True)
class Generators:
    """The sources of randomness of a block of trials."""

    starts: torch.Generator
    noise: torch.Generator
    batches: torch.Generator


def _restored(values: dict[str, Any]) -> Plan:
    return Plan(**values)


def _check_whole(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} must be a whole number of {least} or more, not {value!r}")


def _numbers(trials: Any, most: int) -> tuple[int, ...]:
    try:
        numbers = tuple(int(number) for number in trials)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or len(set(numbers)) < len(numbers) or not all(0 <= n < most for n in numbers):
        raise UsageError(
            f"points_of must be different numbers of trials from 0 to {most - 1}, not {trials!r}"
        )
    return numbers


def _points(starts: Any, trials: int) -> tuple[Any, ...]:
    """Starting points as nested tuples, which are frozen, picklable and equal by value."""
    try:
        if isinstance(starts, Tensor):
            starts = starts.detach().cpu().numpy()
        array = np.asarray(starts, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"starts must be a text or an array of numbers, not {starts!r}") from None
    if array.ndim not in (1, 2) or (array.ndim == 2 and len(array) != trials):
        raise UsageError(
            f"starts must have shape (dim,) or (trials, dim) with {trials} trials, but has shape "
            f"{array.shape}"
        )
    if not np.isfinite(array).all():
        raise UsageError("starts must be finite, but holds NaN or an infinity")
    rows = array.tolist()
    return tuple(rows) if array.ndim == 1 else tuple(tuple(row) for row in rows)
