"""The catalogue: what it holds, what its names lead to, and that making a case leaves no trace."""

import subprocess
import sys
import warnings

import pytest
import torch

from thalweg.clinic import CASES, Case, case
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks import check_state, check_wiring
from thalweg.errors import ReferenceError
from thalweg.estimate import Estimate
from thalweg.measure.fit import constant_loss
from thalweg.measure.layers import layers
from thalweg.measure.signal import label_signal
from thalweg.objective.supervised import Supervised
from thalweg.task import Task

EVERY = pytest.mark.parametrize("entry", CASES.values(), ids=CASES)
QUICK = ("fresh_network", "tiny_start", "held_twice", "xor_poor_minimum", "decayed_too_early")


def _numbers(task: Task) -> list[torch.Tensor]:
    state = task.optimizer.state_dict()["state"].values()
    return [
        *task.model.state_dict().values(),
        *task.train,
        *(task.test or ()),
        *(value for one in state for value in one.values() if isinstance(value, torch.Tensor)),
        torch.tensor(task.history or ()),
    ]


def test_every_reachable_cause_has_a_case() -> None:
    held = {entry.cause for entry in CASES.values()}
    assert held == set(Cause) - {Cause.UNDETERMINED}
    assert sum(entry.cause is Cause.HEALTHY for entry in CASES.values()) >= 4


@EVERY
def test_an_entry_says_what_it_is(entry: Case) -> None:
    assert CASES[entry.name] is entry
    assert entry.name.isidentifier() and entry.name == entry.name.lower()
    assert entry.summary.endswith(".") and ". " not in entry.summary
    assert str(entry.helps) and str(entry.hurts_or_not) and entry.steps > 0


@EVERY
def test_making_a_case_leaves_no_trace_and_repeats_itself(entry: Case) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = entry.make(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert one.name == entry.name
    assert one.model.training or "eval" in entry.name
    assert all(p.grad is None for p in one.model.parameters())
    torch.manual_seed(6)
    two = entry.make(3)
    for a, b in zip(_numbers(one), _numbers(two), strict=True):
        assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


@pytest.mark.parametrize("name", QUICK)
def test_a_seed_varies_the_case(name: str) -> None:
    one, two = case(name, 0), case(name, 1)
    assert one.train[0].shape != two.train[0].shape or not torch.equal(one.train[0], two.train[0])
    assert one.optimizer.param_groups[0]["lr"] != two.optimizer.param_groups[0]["lr"]


def test_the_default_type_and_the_gradient_mode_of_the_caller_do_not_matter() -> None:
    plain = case("momentum_midway", 1)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            other = case("momentum_midway", 1)
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(_numbers(plain)[:-1], _numbers(other)[:-1], strict=True):
        assert a.dtype is b.dtype and torch.equal(a, b)


@pytest.mark.parametrize("entry", [c for c in CASES.values() if c.mechanisms], ids=lambda c: c.name)
def test_the_mechanisms_of_a_case_are_called_as_the_checks_call_them(entry: Case) -> None:
    task = entry.make(0)
    found = check_wiring(task)
    if not {m.explains for m in found} & {Cause.MISWIRED, Cause.NOT_FINITE}:
        objective = Supervised(task.model, task.loss, task.train)
        loss = Estimate(objective.value(objective.point()), 0.0)
        constant, signal = constant_loss(objective), label_signal(objective)
        report = layers(objective, objective.point())
        found += check_state(task, objective, report, constant, loss=loss, signal=signal)
    assert set(entry.mechanisms) <= {m.name for m in found}


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(ReferenceError, match="not 'tiny_strat': did you mean 'tiny_start'"):
        case("tiny_strat")
    with pytest.raises(ReferenceError, match="there are fresh_network, "):
        case("zzzz")


def test_importing_the_clinic_loads_no_data() -> None:
    code = "import sys, thalweg.clinic; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
