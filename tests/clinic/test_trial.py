"""The trial by experiments, judged by cases whose cause other experiments have established."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from thalweg.clinic import CASES, case
from thalweg.clinic.interventions import fork, nothing, rate
from thalweg.clinic.mends import hold_every_parameter
from thalweg.clinic.training import mlp
from thalweg.clinic.truth import Battery, tried
from thalweg.clinic.truth.battery import fresh, push
from thalweg.clinic.truth.trial import (
    _lower_wins,
    _thrown,
    every,
    negated,
    over,
    some,
    under,
)
from thalweg.diagnose.cause import Cause
from thalweg.task import Task


def test_between_its_thresholds_an_answer_is_open() -> None:
    assert over(3.0, 1.0, 2.0) is True and over(0.5, 1.0, 2.0) is False
    assert over(1.5, 1.0, 2.0) is None and over(math.nan, 1.0, 2.0) is None
    assert under(0.5, 1.0, 2.0) is True and under(2.5, 1.0, 2.0) is False
    assert under(1.5, 1.0, 2.0) is None


def test_one_no_decides_over_what_is_open() -> None:
    assert every(True, None, False) is False and every(True, None) is None and every(True) is True
    assert some(False, None, True) is True and some(False, None) is None and some(False) is False
    assert negated(None) is None


def _line() -> Task:
    """Least squares in one column: the loss is a parabola of curvature 2 in the weight."""
    rows = torch.ones(20, 1)
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    targets = torch.cat([torch.ones(10, 1), -torch.ones(10, 1)])
    return Task(model=model, loss=mse_loss, train=(rows, targets), optimizer=optimizer)


def _built() -> nn.Module:
    return nn.Linear(1, 1, bias=False)


def test_falls_are_shares_of_the_range() -> None:
    """Loss 1 + w²: at w = 1 it is 2, a constant gives 1, the lowest is 1."""
    battery = Battery(_line(), _built)
    assert battery.start == pytest.approx(2.0)
    assert battery.constant == pytest.approx(1.0)
    assert battery.range == pytest.approx(1.0, abs=1e-3)
    shrink = 1 - 2 * 0.05
    looks = range(0, battery.steps + 1, max(1, battery.steps // 16))
    ends = [shrink ** (2 * step) for step in looks][-(len(looks) // 4) :]
    assert battery.fall(nothing) == pytest.approx(1 - sum(ends) / len(ends), abs=2e-3)
    assert battery.descent() == pytest.approx(1.0, abs=1e-3)
    assert battery.fall(rate(100)) == -math.inf or battery.fall(rate(100)) < -1e3
    curvature = battery.spectrum
    assert curvature is not None and curvature.tolist() == pytest.approx([2.0])
    assert battery.flat == 0.0


def test_rates_are_raised_as_long_as_that_helps() -> None:
    """At a rate of 5e-6 forty steps take away 0.0008 of the loss w², at ten times that 0.008."""
    task = _line()
    task.optimizer.param_groups[0]["lr"] = 5e-6
    falls = Battery(task, _built).raised()
    assert falls[10.0] < 0.01 < falls[100.0] < 0.5 < falls[1000.0]


def test_a_push_gains_nothing_where_descent_alone_gets_as_far() -> None:
    assert Battery(_line(), _built).gain_of_push == pytest.approx(0.0, abs=1e-4)


def test_a_push_and_a_fresh_start_are_what_they_say_and_the_task_stays() -> None:
    task = case("fresh_network")
    before = copy.deepcopy(task.model.state_dict())
    pushed = push(0.5).apply(fork(task), torch.Generator().manual_seed(0))
    moved = pushed.model.state_dict()["0.weight"] - before["0.weight"]
    assert float(moved.std()) == pytest.approx(0.5 / 8, rel=0.1)  # fan-in 64
    other = fresh(lambda: mlp((64, 32, 10))).apply(fork(task), torch.Generator().manual_seed(0))
    assert type(other.optimizer) is type(task.optimizer) and not other.optimizer.state
    assert other.optimizer.param_groups[0]["lr"] == task.optimizer.param_groups[0]["lr"]
    held = [id(p) for p in other.optimizer.param_groups[0]["params"]]
    assert held == [id(p) for p in other.model.parameters()]
    for name, value in task.model.state_dict().items():
        assert torch.equal(value, before[name])


def _build_of(task: Task) -> nn.Module:
    model = copy.deepcopy(task.model)
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return model


@pytest.mark.parametrize(
    "name",
    [
        "diverging_regression",
        "ill_conditioned",
        "factorisation",
        "wrong_frequency",
        "least_squares",
        "line_on_rings",
        "nan_inputs",
    ],
)
def test_a_case_is_found_to_be_what_it_was_made_to_be(name: str) -> None:
    task = CASES[name].make(1)
    truth = tried(Battery(task, lambda: _build_of(task), None, 1))
    assert truth.cause is CASES[name].cause, (truth.reason, truth.numbers)


def test_a_fault_of_the_wiring_is_one_where_its_mend_helps() -> None:
    task = case("stale_optimizer")
    truth = tried(Battery(task, lambda: _build_of(task), hold_every_parameter, 0))
    assert truth.cause is Cause.MISWIRED
    sound = case("fresh_network")
    truth = tried(Battery(sound, lambda: _build_of(sound), hold_every_parameter, 0))
    assert truth.cause is None and "costs little" in truth.reason


class _Told:
    """A battery whose experiments ended as told."""

    start, constant, build = 1.0, 1.0, nn.Module

    def __init__(self, late: float, anew: float) -> None:
        self._late, self._anew = late, anew

    def late(self) -> float:
        return self._late

    def fall(self, change: object) -> float:
        return self._anew


@pytest.mark.parametrize(
    ("own", "lower", "late", "anew", "answer"),
    [
        (0.02, 0.3, 0.0, 0.5, True),
        (0.28, 0.3, 0.0, 0.5, False),  # what the lower rate adds is little beside its own fall
        (0.02, 0.3, 0.2, 0.5, False),  # still falling
        (0.3, 0.1, 0.0, 0.5, False),
        (-0.2, 0.02, 0.0, 0.9, False),  # fresh weights go far further than the lower rate
    ],
)
def test_a_lower_rate_wins_where_it_is_the_rate_that_holds_the_run(
    own: float, lower: float, late: float, anew: float, answer: bool
) -> None:
    assert _lower_wins(_Told(late, anew), own, lower) is answer  # type: ignore[arg-type]


def test_the_slope_is_what_one_step_along_the_gradient_gains() -> None:
    """On the parabola 1 + w² of curvature 2 half the longest stable step takes all; at the bottom none."""
    battery = Battery(_line(), _built)
    assert battery.slope == pytest.approx(1.0, abs=1e-3)
    task = _line()
    with torch.no_grad():
        task.model.get_parameter("weight").zero_()
    assert Battery(task, _built).slope == 0.0


class _Standing:
    """A battery whose run begins and ends where told; a constant predictor has 1."""

    constant, range = 1.0, 4.0

    def __init__(self, start: float) -> None:
        self.start = start


@pytest.mark.parametrize(
    ("start", "end", "answer"),
    [
        (3.0, 2.5, True),
        (3.0, 0.5, False),  # it comes down
        (0.9, 2.0, False),  # it had not been thrown up
        (3.0, 1.1, None),
        (1.2, 2.0, None),
    ],
)
def test_a_run_is_thrown_up_that_stands_above_a_constant_predictor_and_stays_there(
    start: float, end: float, answer: bool | None
) -> None:
    assert _thrown(_Standing(start), (start - end) / 4.0) is answer  # type: ignore[arg-type]
