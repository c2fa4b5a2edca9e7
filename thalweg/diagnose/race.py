"""The race: the cures tried from one and the same state."""

from dataclasses import dataclass
from typing import Any

from thalweg.estimate import Estimate

__all__ = ["Arm", "Race"]


@dataclass(frozen=True)
class Arm:
    """One cure's run in a race.

    Attributes:
        name: of the cure; ``unchanged`` for the run as it stands.
        code: the lines to paste.
        evaluations: gradient evaluations over the training data, at which losses were taken.
        losses: training loss (with weight decay), one row per seed, one column per ``evaluations``.
        test_losses: held-out loss in the same shape; empty where there is no test data.
        gain: how much lower than the unchanged run of the same seed it ended: mean over the seeds
            and its standard error; positive is better.
        spread: smallest and largest gain over the seeds.
        outcome: ``helps``, ``no difference``, ``harms`` or ``diverged``.
    """

    name: str
    code: str
    evaluations: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    test_losses: tuple[tuple[float, ...], ...]
    gain: Estimate
    spread: tuple[float, float]
    outcome: str


@dataclass(frozen=True)
class Race:
    """What :func:`race` returns: the arms, best first, and what came out.

    Attributes:
        arms: every arm, the unchanged one among them, best first.
        winner: name of the cure that won, or None where none beats the unchanged run.
        sentence: who won by how much, in plain words.
        seeds: the data orders and noise that the arms shared.
        cost: gradient evaluations over the training data that the race spent.
        name: of the task.
    """

    arms: tuple[Arm, ...]
    winner: str | None
    sentence: str
    seeds: tuple[int, ...]
    cost: float
    name: str = "task"

    def __str__(self) -> str:
        from thalweg.show.text import plain_race

        return plain_race(self)

    def _repr_html_(self) -> str:
        from thalweg.show.report import notebook_race

        return notebook_race(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: not-finite numbers become None."""
        raise NotImplementedError
