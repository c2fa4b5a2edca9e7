"""What the runs of a race say of its arms."""

import math

import pytest

from thalweg.diagnose import cures
from thalweg.diagnose.judging import Ended, going_on, ranked
from thalweg.diagnose.race_result import last_looks
from thalweg.diagnose.track import Ran


def ended(name: str, *losses: float, dropped: bool = True) -> Ended:
    """Two seeds of one arm, whose means are ``losses``; each starts from 1."""
    runs = tuple(Ran((1.0, *(loss + d for loss in losses)), (), 1.0) for d in (-0.01, 0.01))
    cure = cures.Cure(name, "", "")
    return Ended(cure, runs, tuple(range(len(losses) + 1)), (2, 3), dropped)


BEST = ended("best", 0.8, 0.7, 0.6)
SECOND = ended("second", 0.9, 0.9, 0.9)
NUDGE = ended("nudge", 1.3, 1.2, 1.1)
WILD = ended("wild", 900.0, 500.0, 300.0)
GONE = ended("gone", 2.0, math.nan, math.nan)


def names(arms: list[Ended]) -> list[str]:
    return [arm.name for arm in arms]


def test_the_best_comes_first_and_who_diverged_is_out() -> None:
    assert names(ranked([WILD, GONE, NUDGE, SECOND, BEST], "train")) == [
        "best",
        "second",
        "nudge",
        "wild",
    ]


def test_who_falls_from_within_reach_goes_on_beside_the_best() -> None:
    arms = [SECOND, WILD, NUDGE, GONE, BEST]
    assert names(going_on(arms, 1, "train")) == ["best"]
    assert names(going_on(arms, 2, "train")) == ["best", "nudge"]
    assert names(going_on(arms, 3, "train")) == ["best", "nudge", "second"]
    assert names(going_on([SECOND, WILD, BEST], 2, "train")) == ["best", "second"]
    assert names(going_on([SECOND, ended("rising", 0.8, 0.95, 0.95), BEST], 2, "train")) == [
        "best",
        "second",
    ]
    assert names(going_on([WILD, BEST], 2, "train")) == ["best", "wild"]
    assert going_on([GONE], 2, "train") == []


@pytest.mark.parametrize(
    ("losses", "level"),
    [((), math.nan), ((5.0,), 5.0), ((9.0, 3.0, 1.0), 1.0), ((9.0, 7.0, 3.0, 1.0), 2.0)],
)
def test_the_level_is_the_mean_of_the_last_looks(losses: tuple[float, ...], level: float) -> None:
    assert last_looks(losses) == pytest.approx(level, nan_ok=True)
    assert last_looks((100.0,) * 9 + (1.0, 2.0, 3.0, 4.0)) == 2.5
