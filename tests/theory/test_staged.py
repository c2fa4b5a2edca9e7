import itertools

import pytest

from thalweg.errors import UsageError
from thalweg.objective.landscape import from_formula
from thalweg.theory.staged import run_stages, staged

SPIKY = from_formula("x**2 + 0.1*cos(20*x)")


def test_stages_shrink_and_keep_their_promise_when_run() -> None:
    stages = staged(SPIKY, (0.3, 0.1, 0.09), "uniform:1.6", 0, "-3:3")
    assert len(stages) >= 2
    for earlier, later in itertools.pairwise(stages):
        assert later.learning_rate < earlier.learning_rate
        assert later.radius < earlier.radius == later.start
    outcomes = run_stages(SPIKY, stages, "uniform:1.6", trials=500)
    assert all(outcome.holds for outcome in outcomes)


def test_nothing_is_staged_without_a_certificate() -> None:
    assert staged(SPIKY, (0.001,), "uniform:1", 0, "-3:3") == ()
    assert run_stages(SPIKY, (), "uniform:1") == ()


def test_rates_must_fall() -> None:
    with pytest.raises(UsageError, match="rates must fall from one to the next"):
        staged(SPIKY, (0.1, 0.2), "uniform:1", 0, "-3:3")
