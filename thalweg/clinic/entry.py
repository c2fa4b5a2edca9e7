"""Case: a run that is stuck in a known way, with its true Cause."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from thalweg.clinic.interventions import Intervention
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["Case", "Draw"]

Option = TypeVar("Option")


@dataclass(frozen=True)
class Case:
    """A training in a state whose cause is known, because an intervention has shown it.

    Attributes:
        name: what ``case:NAME`` says.
        cause: the true one.
        summary: what is stuck and why we know, in one sentence.
        build: makes the Task, in the state where it is stuck, from what the seed draws: data,
            width, initialisation, rate and batch within the range where the truth holds.
        helps: the change that must help, by the experiment of :mod:`thalweg.clinic.truth`.
        hurts_or_not: the change that must not help.
        steps: length of the user's own run that the experiment continues with.
        mechanisms: names of the mechanisms expected among those beside the cause.
    """

    name: str
    cause: Cause
    summary: str
    build: "Callable[[Draw], Task]"
    helps: Intervention
    hurts_or_not: Intervention
    steps: int = 200
    mechanisms: tuple[str, ...] = ()

    def make(self, seed: int = 0) -> Task:
        """The Task in its stuck state; it depends on the case's name and ``seed`` alone.

        torch's own initialisers draw from the global generator, so it is seeded for the length of
        ``build`` and put back: the caller's random state and default type do not change.
        """
        number = zlib.crc32(f"{self.name}:{seed}".encode())
        before = torch.get_default_dtype()
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.default_generator.manual_seed(number)
            torch.set_default_dtype(torch.float32)
            try:
                return replace(self.build(Draw(number)), name=self.name)
            finally:
                torch.set_default_dtype(before)


class Draw:
    """Seeded choices of one instance of a case, each from its ``generator``."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        """A number between ``low`` and ``high``."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def log_uniform(self, low: float, high: float) -> float:
        """A number between ``low`` and ``high``, its logarithm uniform."""
        return low * (high / low) ** self.uniform(0.0, 1.0)

    def integer(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def one_of(self, *options: Option) -> Option:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]
