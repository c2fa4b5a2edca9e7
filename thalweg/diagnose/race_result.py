"""What a race found: its arms, best first, and who won by how much."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.estimate import Estimate

__all__ = ["LAST", "UNCHANGED", "Applied", "Arm", "Race", "last_looks"]

UNCHANGED = "unchanged"
"""Name of the arm that goes on as the user's run would."""

LAST = 4
"""Looks whose mean is the level at which an arm ends; half of its looks where it has fewer than 8."""


@dataclass(frozen=True)
class Arm:
    """One cure's runs in a race.

    Attributes:
        name: of the cure; ``unchanged`` for the run as it stands.
        code: the lines to paste.
        evaluations: gradient evaluations over the training data, at which losses were taken.
        losses: training loss (with the user's weight decay), one row per seed, one column per
            ``evaluations``; NaN once an arm has diverged.
        test_losses: held-out loss in the same shape; empty where there is no test data.
        gain: how much lower than the unchanged run of the same seed it ended: mean over the seeds
            and its standard error; positive is better.
        spread: smallest and largest gain over the seeds.
        outcome: ``helps``, ``no difference``, ``harms``, ``diverged`` (and after a colon what the
            model, the loss or the step raised, if that ended it), or ``dropped at`` as many gradient
            evaluations: then nothing is said of its gain, which is NaN.
        interval: 95% interval of the gain, Student's t over the seeds; infinite for one seed.
        seeds_needed: where the outcome is ``no difference``: about how many seeds would tell a gain
            of this size and scatter from none; None where no number up to 200 would.
        seeds: of its rows. Arms are dropped on other seeds than those that judge the rest.
    """

    name: str
    code: str
    evaluations: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    test_losses: tuple[tuple[float, ...], ...]
    gain: Estimate
    spread: tuple[float, float]
    outcome: str
    interval: tuple[float, float] = (math.nan, math.nan)
    seeds_needed: int | None = None
    seeds: tuple[int, ...] = ()

    def level(self, judged_by: str = "train") -> float:
        """Where it ended: the mean of its last looks over the seeds; NaN where it was not looked at."""
        rows = self.test_losses if judged_by == "test" else self.losses
        ends = [last_looks(row) for row in rows if row]
        return math.fsum(ends) / len(ends) if ends else math.nan


def last_looks(losses: tuple[float, ...]) -> float:
    """The level at which a run ended: the mean of its last LAST looks, or the last half of fewer."""
    last = min(LAST, max(1, len(losses) // 2))
    return math.fsum(losses[-last:]) / last if losses else math.nan


@dataclass(frozen=True)
class Applied:
    """The winner of a race, gone on with and saved.

    Attributes:
        folder: a run folder; its last checkpoint holds what the training came to.
        weights: the safetensors file in it; the folder ``answers`` of several where those answer
            together.
        cure: its name, and ``code`` the lines to paste.
        steps, evaluations: that it went on for.
        before, after: training loss and held-out loss (None without held-out data).
        cost: gradient evaluations over the training data.
    """

    folder: Path
    weights: Path
    cure: str
    code: str
    steps: int
    evaluations: float
    before: tuple[float, float | None]
    after: tuple[float, float | None]
    cost: float


@dataclass(frozen=True)
class Race:
    """What :func:`thalweg.race` returns: the arms, best first, and what came out.

    Attributes:
        arms: every arm, the unchanged one among them, best first.
        winner: name of the cure that won, or None where none beats the unchanged run.
        sentence: who won by how much, in plain words.
        seeds: of the data orders and the noise that the arms shared that were judged; the first
            is the user's own random state.
        cost: gradient evaluations over the training data that the race spent, with those of the
            diagnosis where one was made for its cures.
        judged_by: ``train`` or ``test``: the loss that the gains are of.
        name: of the task.
        claim: what the intervals say, and what they do not.
        applied: the winner gone on with and saved, where that was asked for and there was one.
    """

    arms: tuple[Arm, ...]
    winner: str | None
    sentence: str
    seeds: tuple[int, ...]
    cost: float
    judged_by: str = "train"
    name: str = "task"
    claim: str = ""
    applied: Applied | None = None

    def arm(self, name: str) -> Arm:
        """The arm of that name; KeyError if there is none."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(name)

    def __str__(self) -> str:
        from thalweg.show.text import plain_race

        return plain_race(self)

    def _repr_html_(self) -> str:
        from thalweg.show.notebook import notebook_race

        return notebook_race(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: not-finite numbers become None."""
        return {
            "name": self.name,
            "winner": self.winner,
            "sentence": self.sentence,
            "claim": self.claim,
            "judged_by": self.judged_by,
            "seeds": list(self.seeds),
            "cost": self.cost,
            "arms": [_plain_arm(arm) for arm in self.arms],
            "applied": None if self.applied is None else _plain_applied(self.applied),
        }


def _plain_arm(arm: Arm) -> Mapping[str, Any]:
    return {
        "name": arm.name,
        "code": arm.code,
        "outcome": arm.outcome,
        "gain": {
            "value": _plain(arm.gain.value),
            "error": _plain(arm.gain.error),
            "unit": arm.gain.unit,
            "cost": _plain(arm.gain.cost),
        },
        "spread": [_plain(value) for value in arm.spread],
        "interval": [_plain(value) for value in arm.interval],
        "seeds_needed": arm.seeds_needed,
        "seeds": list(arm.seeds),
        "evaluations": list(arm.evaluations),
        "losses": [[_plain(value) for value in row] for row in arm.losses],
        "test_losses": [[_plain(value) for value in row] for row in arm.test_losses],
    }


def _plain_applied(applied: Applied) -> Mapping[str, Any]:
    names = ("train", "test")
    return {
        "folder": str(applied.folder),
        "weights": str(applied.weights),
        "cure": applied.cure,
        "code": applied.code,
        "steps": applied.steps,
        "evaluations": applied.evaluations,
        "before": dict(zip(names, map(_plain, applied.before), strict=True)),
        "after": dict(zip(names, map(_plain, applied.after), strict=True)),
        "cost": applied.cost,
    }


def _plain(value: float | None) -> float | None:
    if value is None:
        return None
    return value if math.isfinite(value) else None
