"""The main job on whole trainings: nothing is touched, the seed fixes all, units do not matter."""

import dataclasses
import json
import math
import random
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.diagnose.stuck import (
    STUCK,
    data,
    everything,
    fresh,
    momentum,
    normalised,
    numbers,
    own_penalty,
    same,
    small_start,
    solved,
    trained,
)
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.verdict import diagnose
from thalweg.estimate import Estimate
from thalweg.task import Task

ROOT = Path(__file__).resolve().parents[2]


@cache
def found(name: str) -> Finding:
    return diagnose(STUCK[name](), budget=100, probe=False, seed=1)


# Nothing is touched ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", STUCK)
def test_nothing_of_the_users_is_changed(name: str) -> None:
    task = STUCK[name]()
    before = everything(task)
    finding = diagnose(task, budget=100, probe=False, seed=1)
    assert same(before, everything(task))
    assert finding.to_dict() == found(name).to_dict()  # the same task made twice, the same answer


@pytest.mark.parametrize("name", ["normalised", "own_penalty", "solved"])
def test_an_interrupted_diagnosis_leaves_everything_as_it_was(name: str) -> None:
    ticks: list[str] = []
    diagnose(STUCK[name](), budget=60, progress=ticks.append)
    for stop in (1, len(ticks) // 2, len(ticks) - 1):
        task, left = STUCK[name](), [stop]
        before = everything(task)

        def interrupt(_: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            diagnose(task, budget=60, progress=interrupt)
        assert same(before, everything(task)), ticks[stop]


class Interrupts(nn.Module):
    """Passes its input on, and interrupts at one of the calls."""

    calls = 0
    at = math.inf

    def forward(self, x: Tensor) -> Tensor:
        Interrupts.calls += 1
        if Interrupts.calls == Interrupts.at:
            raise KeyboardInterrupt
        return x


@pytest.mark.parametrize("reads_the_model", [False, True])
def test_an_interruption_within_the_model_leaves_everything_as_it_was(
    reads_the_model: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> Task:
        task = own_penalty() if reads_the_model else normalised()
        model = task.model
        assert isinstance(model, nn.Sequential)
        model.insert(1, Interrupts())
        return task

    monkeypatch.setattr(Interrupts, "at", math.inf)
    monkeypatch.setattr(Interrupts, "calls", 0)
    task = make()
    began = Interrupts.calls
    diagnose(task, budget=60, probe=False)
    total = Interrupts.calls - began
    for share in (0.02, 0.3, 0.9):
        monkeypatch.setattr(Interrupts, "at", math.inf)
        task = make()
        before = everything(task)
        monkeypatch.setattr(Interrupts, "at", Interrupts.calls + 1 + int(share * total))
        with pytest.raises(KeyboardInterrupt):
            diagnose(task, budget=60, probe=False)
        assert same(before, everything(task)), f"interrupted after {share:.0%}"


# The seed fixes all ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["normalised", "loader", "small_start"])
def test_the_same_seed_says_the_same_whatever_the_global_random_state(name: str) -> None:
    torch.manual_seed(99)
    random.seed(99)
    finding = diagnose(STUCK[name](), budget=100, probe=False, seed=1)
    assert finding.to_dict() == found(name).to_dict()


def test_another_process_says_the_same() -> None:
    names = ["normalised", "small_start"]
    code = f"""
import json, random, numpy, torch
torch.manual_seed(12345); random.seed(3); numpy.random.seed(4)
torch.set_num_threads(1)
from tests.diagnose.stuck import STUCK
from thalweg.diagnose.verdict import diagnose
print(json.dumps([diagnose(STUCK[n](), budget=100, probe=False, seed=1).to_dict() for n in {names}]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    there = json.loads(result.stdout)
    assert there == [json.loads(json.dumps(found(name).to_dict())) for name in names]


def test_another_seed_draws_anew_and_comes_to_the_same_verdict() -> None:
    other = diagnose(STUCK["momentum"](), budget=100, probe=False, seed=2)
    first = found("momentum")
    assert other.cause == first.cause
    assert other.evidence.value("noise_trace") != first.evidence.value("noise_trace")
    assert other.evidence.value("loss") == first.evidence.value("loss")  # all examples: no draw


# Units do not matter ---------------------------------------------------------------------------


def dimensionless(finding: Finding) -> dict[str, float]:
    """The numbers of the evidence that have no unit of loss or of weights."""
    ours = {"1", "of the range", "spreads", "of the trials", "of a fresh weight", "steps", "trials"}
    return {n: e.value for n, e in finding.evidence.items() if e.unit in ours}


def agree(
    one: Finding, other: Finding, *, rtol: float, atol: float, apart: tuple[str, ...] = ()
) -> None:
    assert one.cause == other.cause, (one.sentence, other.sentence)
    first, second = dimensionless(one), dimensionless(other)
    assert set(first) == set(second)
    for name in set(first) - set(apart):
        assert first[name] == pytest.approx(second[name], rel=rtol, abs=atol, nan_ok=True), name


def double(make: Callable[..., Task]) -> Task:
    """A task in double precision, in which rounding hides nothing."""
    return make(dtype=torch.float64)


def falling(*, dtype: torch.dtype) -> Task:
    model = fresh(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), 0.3, momentum=0.5)
    return Task(
        model=model,
        loss=F.cross_entropy,
        train=data(dtype=dtype),
        optimizer=optimizer,
        batch_size=16,
        history=[1.2 - 0.002 * k + 0.01 * math.sin(7 * k) for k in range(60)],
    )


def crawling(*, dtype: torch.dtype) -> Task:
    task = falling(dtype=dtype)
    for group in task.optimizer.param_groups:
        group["lr"] = 1e-5
    return dataclasses.replace(task, history=None)


KINDS = [falling, crawling, small_start, solved]


@pytest.mark.parametrize("constant", [20.0])
@pytest.mark.parametrize("make", KINDS)
def test_a_constant_added_to_the_loss_changes_nothing(
    make: Callable[..., Task], constant: float
) -> None:
    task = double(make)
    loss = task.loss
    assert loss is not None
    history = task.history and [value + constant for value in task.history]
    shifted = dataclasses.replace(
        double(make), loss=lambda output, target: loss(output, target) + constant, history=history
    )
    # What is explained of a loss is a share of its distance from nought, and so of a loss that has a
    # natural zero: the one number that a constant changes. Which of two nudges that come to the same
    # end is told of is left to rounding.
    agree(
        diagnose(task, budget=100, probe=False),
        diagnose(shifted, budget=100, probe=False),
        rtol=1e-3,
        atol=1e-6,
        apart=("explained", "nudge_length"),
    )


@pytest.mark.parametrize("factor", [1 / 64])
@pytest.mark.parametrize("make", KINDS)
def test_the_unit_of_the_loss_changes_nothing(make: Callable[..., Task], factor: float) -> None:
    task, other = double(make), double(make)
    loss = task.loss
    assert loss is not None
    for group in other.optimizer.param_groups:
        group["lr"] /= factor
        group["weight_decay"] *= factor
    scaled = dataclasses.replace(
        other,
        loss=lambda output, target: factor * loss(output, target),
        history=other.history and [factor * value for value in other.history],
    )
    # The first step of L-BFGS and Adam's epsilon know a unit, so descents end a little elsewhere.
    agree(
        diagnose(task, budget=100, probe=False),
        diagnose(scaled, budget=100, probe=False),
        rtol=0.1,
        atol=2e-3,
        apart=("one_batch_fall", "one_batch_fresh_fall"),
    )


@pytest.mark.parametrize("make", KINDS)
def test_the_order_of_the_examples_changes_little(make: Callable[..., Task]) -> None:
    task = double(make)
    order = torch.randperm(len(task.train[0]), generator=torch.Generator().manual_seed(8))
    turned = dataclasses.replace(task, train=tuple(part[order] for part in task.train))
    one, other = (diagnose(each, budget=100, probe=False) for each in (task, turned))
    assert one.cause == other.cause
    for name in ("loss", "constant_loss", "gradient_norm", "top_eigenvalue", "stability"):
        first, second = one.evidence[name], other.evidence[name]
        assert second.value == pytest.approx(
            first.value, rel=1e-6, abs=4 * (first.error + second.error) + 1e-12
        ), name


# What goes wrong is a finding ------------------------------------------------------------------


def with_nan_inputs() -> Task:
    x, y = data()
    return dataclasses.replace(momentum(), train=(x.index_fill(0, torch.tensor([3]), math.nan), y))


def with_nan_loss() -> Task:
    return dataclasses.replace(
        momentum(), loss=lambda output, target: F.cross_entropy(output, target) * math.nan
    )


def with_infinite_weights() -> Task:
    task = momentum()
    with torch.no_grad():
        task.model.get_parameter("0.weight").fill_(math.inf)
    return task


def with_a_strange_optimizer() -> Task:
    return dataclasses.replace(
        momentum(), optimizer=torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)
    )


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (with_nan_inputs, Cause.NOT_FINITE),
        (with_nan_loss, Cause.NOT_FINITE),
        (with_infinite_weights, Cause.NOT_FINITE),
        (with_a_strange_optimizer, Cause.MISWIRED),
    ],
)
def test_what_is_broken_is_a_finding_and_no_error(make: Callable[[], Task], cause: Cause) -> None:
    task = make()
    before = everything(task)
    finding = diagnose(task)
    assert same(before, everything(task))
    assert finding.cause is cause and finding.confidence > 0.9
    assert any(m.explains is cause and m.line for m in finding.mechanisms)
    assert finding.cures
    assert Finding.from_dict(finding.to_dict()).to_dict() == finding.to_dict()


def test_a_saddle_a_minimum_and_a_fall_are_told_apart() -> None:
    task = small_start()
    with torch.no_grad():
        for p in task.model.parameters():
            p.zero_()
    assert diagnose(task, probe=False).cause is Cause.SADDLE
    assert found("solved").cause is Cause.MINIMUM  # though the plain loss has a gradient there
    assert found("momentum").cause is Cause.HEALTHY
    crawl = diagnose(double(crawling), probe=False)
    assert crawl.cause is Cause.STEP_TOO_SMALL and crawl.cures[0].name.startswith("learning_rate")


# The numbers themselves ------------------------------------------------------------------------


def test_the_vital_signs_of_a_quadratic_are_those_of_the_closed_form() -> None:
    """Ridge regression: everything about a step to second order is known without this library."""
    task = double(solved)
    with torch.no_grad():
        task.model.get_parameter("weight").add_(0.3)
    evidence = diagnose(task, probe=False).evidence
    x, y = numbers(dtype=torch.float64)
    w = task.model.get_parameter("weight").detach().T
    hessian = 2 / len(x) * x.T @ x + 0.1 * torch.eye(4, dtype=x.dtype)
    values = torch.linalg.eigvalsh(hessian)
    slope = (2 / len(x) * x.T @ (x @ w - y) + 0.1 * w).flatten()
    loss = float((x @ w - y).square().mean() + 0.05 * w.square().sum())
    assert evidence.value("loss") == pytest.approx(loss)
    assert evidence.value("constant_loss") == pytest.approx(float(y.var(correction=0)))
    assert evidence.value("gradient_norm") == pytest.approx(float(slope.norm()))
    assert evidence.value("top_eigenvalue") == pytest.approx(float(values[-1]), rel=1e-3)
    assert evidence.value("bottom_eigenvalue") == pytest.approx(float(values[0]), rel=1e-3)
    assert evidence.value("stability") == pytest.approx(0.05 * float(values[-1]) / 2, rel=1e-3)
    bend, squared = float(slope @ hessian @ slope), float(slope @ slope)
    assert evidence.value("step") == pytest.approx(0.05 * bend / squared)
    assert evidence.value("noise_share") == 0.0  # full batches
    best = float(0.5 * slope @ torch.linalg.solve(hessian, slope))
    scale = evidence.value("range")
    assert evidence.value("descent_fall") * scale == pytest.approx(best, rel=1e-6)
    assert evidence.value("krylov_drop") * scale == pytest.approx(best, rel=1e-6)
    assert evidence.value("gradient_drop") * scale == pytest.approx(squared**2 / bend / 2, rel=0.05)
    decay = 0.05 * float(w.square().sum())
    lowest = min(loss - best, evidence.value("reachable_loss") + decay)
    assert scale == pytest.approx(max(loss, float(y.var(correction=0))) - lowest, rel=1e-6)


def test_every_estimate_tells_its_unit_and_what_is_a_share_of_the_range_says_so() -> None:
    for name in STUCK:
        for key, estimate in found(name).evidence.items():
            assert isinstance(estimate, Estimate) and estimate.unit and estimate.cost >= 0
            if key.endswith(("_fall", "_drop")) and not key.startswith("one_batch"):
                assert estimate.unit == "of the range", key


def test_the_units_of_derivatives_are_those_of_their_order() -> None:
    evidence = found("momentum").evidence
    assert evidence["gradient_norm"].unit == "loss per unit"
    assert evidence["top_eigenvalue"].unit == evidence["bottom_eigenvalue"].unit
    assert evidence["top_eigenvalue"].unit == "loss per unit²"


@pytest.mark.parametrize("rate", [1e-4, 3e-2])
def test_a_raised_rate_is_told_where_it_was_tried(rate: float) -> None:
    """An adaptive step is not raised past a part of the weights: here the second one not at all."""
    model = fresh(lambda: nn.Linear(6, 3))
    with torch.no_grad():
        model.get_parameter("weight").mul_(0.1)
    task = Task(
        model=model,
        loss=lambda o, t: 1e-3 * F.cross_entropy(o, t),
        train=data(),
        optimizer=torch.optim.Adam(model.parameters(), rate, eps=1.0),
        batch_size=16,
    )
    evidence = diagnose(task, budget=60, probe=False).evidence
    assert ("raised_by" in evidence) == ("raised_rate_fall" in evidence) == (rate < 1e-3)


def test_a_raised_rate_that_blows_up_is_tried_lower() -> None:
    """Curvature of w⁴ is small at the start and large a step further: far steps overshoot."""

    class Weight(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([[0.2]], dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.w.expand(len(x), 1)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        w = output.mean()
        return w**2 / 2000 + (w - 30) ** 2 / 100 + w**8 / 1e4

    model = Weight()
    rows = torch.zeros(16, 1, dtype=torch.float64)
    task = Task(
        model=model,
        loss=loss,
        train=(rows, rows),
        optimizer=torch.optim.SGD(model.parameters(), 1e-4),
    )
    evidence = diagnose(task, budget=60, probe=False).evidence
    stability = evidence.value("stability")
    assert evidence.value("raised_by") < 0.2 / stability  # the first was 0.3 / stability
    assert evidence.value("raised_rate_fall") > 3 * evidence.value("unchanged_fall")


def test_a_dead_network_whose_offset_wobbles_is_a_plateau() -> None:
    """The wobble is all that the loss does from here: it must not be the unit of falls."""
    model = fresh(lambda: nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)))
    with torch.no_grad():
        model.get_parameter("0.bias").fill_(-30.0)
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    task = trained(
        Task(model=model, loss=F.cross_entropy, train=data(), optimizer=optimizer, batch_size=16),
        60,
    )
    finding = diagnose(task, budget=100, probe=False)
    assert finding.cause is Cause.PLATEAU
    assert finding.evidence.value("range") > 0.2 * finding.evidence.value("constant_loss")


def test_weight_decay_that_is_paid_for_is_no_earlier_and_lower_loss() -> None:
    """Descent of loss and decay together may raise the loss of the history."""
    model = fresh(lambda: nn.Linear(4, 1))
    x, y = numbers()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for decay, steps in ((0.0, 200), (0.2, 400)):
        optimizer.param_groups[0]["weight_decay"] = decay
        history = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            history.append(float(loss.detach()))
    low = [float(F.mse_loss(torch.zeros_like(y), y)) / 1e3] * 40
    task = Task(
        model=model, loss=F.mse_loss, train=(x, y), optimizer=optimizer, history=[*low, *history]
    )
    evidence = diagnose(task, budget=60, probe=False).evidence
    assert evidence.value("history_best") < 0.5 * evidence.value("plain_loss")
    assert evidence.value("earlier_fall") < 0


def test_the_global_random_states_are_those_of_before() -> None:
    def state() -> list[Any]:
        return [torch.random.get_rng_state(), np.random.get_state(), random.getstate()]  # noqa: NPY002

    before = state()
    diagnose(normalised(), budget=60)
    assert same(before, state())
