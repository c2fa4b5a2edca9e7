"""The arms of the continuation: a second order of the data where noise rules, and what few examples pull."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.diagnose.stuck import fresh, momentum, numbers
from thalweg.diagnose.arms import _add_rare, _add_unchanged, _mean, take_continuation
from thalweg.diagnose.continuation import Continuation, looks
from thalweg.diagnose.examination import WATCHED, Examination
from thalweg.diagnose.ground import take_eigenvalues, take_noise, take_stability
from thalweg.diagnose.vitals import take_vitals
from thalweg.estimate import Estimate
from thalweg.measure.fit import constant_loss
from thalweg.objective.derivatives import Hessian, gradient
from thalweg.run.view import OptimizerView
from thalweg.task import Task


def regression(
    rate: float, batch: int | None, *, wild: float = 0.0, noise: float = 0.0, rows: int = 96
) -> Task:
    """Least squares with noisy targets and the last one moved, at its optimum without that."""
    x, y = numbers(rows)
    y = y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(5))
    model = fresh(lambda: nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        model.weight.copy_(torch.linalg.lstsq(x, y).solution.T)
    y = y.clone()
    y[-1] += wild
    optimizer = torch.optim.SGD(model.parameters(), rate)
    return Task(model=model, loss=F.mse_loss, train=(x, y), optimizer=optimizer, batch_size=batch)


def examined(task: Task, budget: float = 300.0) -> Examination:
    e = Examination.of(task, budget=budget)
    take_vitals(e, constant=constant_loss(e.objective))
    return e


def prepared(task: Task) -> Examination:
    """As far as the continuation needs."""
    e = Examination.of(task, budget=300.0)
    value = e.objective.value(e.point)
    for name in ("loss", "plain_loss", "loss_spread"):
        e.add(name, Estimate(value if name != "loss_spread" else 0.01, 0.0, "loss"))
    e.add("constant_loss", constant_loss(e.objective))
    slope = gradient(e.objective, e.point)
    e.add("gradient_norm", Estimate(float(slope.norm()), 0.0, "loss per unit"))
    hessian = Hessian(e.objective, e.point)
    take_eigenvalues(e, hessian)
    take_noise(e, hessian, slope)
    take_stability(e, hessian)
    return e


def test_where_noise_rules_the_run_is_continued_in_two_orders() -> None:
    noisy, plain = prepared(regression(0.1, 4, noise=2.0)), prepared(regression(0.1, None))
    for e in (noisy, plain):
        take_continuation(e)
    steps = noisy.estimates["continuation_steps"].value
    once = steps * 4 / 96 + len(looks(int(steps))) / 3
    assert noisy.falls["unchanged_fall"].cost == pytest.approx(2 * once)
    assert noisy.falls["lower_rate_fall"].cost == pytest.approx(once)
    assert plain.falls["unchanged_fall"].cost == plain.falls["lower_rate_fall"].cost
    assert noisy.estimates["blown_up"].value == 0
    calm = prepared(regression(1e-5, 4, noise=2.0))
    take_continuation(calm)  # at so low a rate there is nothing to average
    assert calm.falls["unchanged_fall"].cost == pytest.approx(once)


def test_the_error_of_two_orders_holds_their_distance() -> None:
    found = _mean([Estimate(1.0, 0.3), Estimate(2.0, 0.4)])
    assert found.value == 1.5
    # Twice the standard error of the mean of two, 0.5, as there is one degree of freedom.
    assert found.error == pytest.approx(math.sqrt((0.3**2 + 0.4**2) / 4 + 1.0))
    assert _mean([Estimate(1.0, 0.3)]) == Estimate(1.0, 0.3)
    assert _mean([Estimate(-math.inf), Estimate(2.0)]).value == -math.inf


def ran(*losses: float) -> Continuation:
    """A continuation of 40 steps whose looks in the second half are these, in turn."""
    every = (1.0, 1.0, 1.0, 1.0, *(losses[i % len(losses)] for i in range(12)))
    fall = Estimate(1.0 - sum(every[-6:]) / 6 if all(map(math.isfinite, every)) else -math.inf)
    return Continuation(fall, every, (), tuple(every), torch.zeros(1), 10.0, 40)


def test_of_two_orders_the_one_that_blows_up_is_told_and_does_not_hide_the_other() -> None:
    e = prepared(regression(0.1, 4))
    e.estimates["loss"] = e.estimates["plain_loss"] = Estimate(1.0)
    spent = e.spent
    _add_unchanged(e, [ran(math.inf), ran(0.5)])
    assert e.estimates["blown_up"].value == 0.5
    assert e.falls["unchanged_fall"].value == pytest.approx(0.5)
    assert e.falls["unchanged_rise"].value == math.inf
    assert e.spent - spent == 20.0
    evidence = e.evidence()
    assert evidence.value("unchanged_above") < 0 < 1


def test_a_rise_above_a_constant_predictor_is_told_in_ranges() -> None:
    e = prepared(regression(0.1, None))
    constant = e.estimates["constant_loss"].value
    e.estimates["loss"] = e.estimates["plain_loss"] = Estimate(5 * constant)
    _add_unchanged(e, [ran(4 * constant)])
    e.lowest = 0.0
    assert e.evidence().value("unchanged_above") == pytest.approx(3 / 5)


def test_a_few_wild_examples_have_most_of_the_squared_gradients() -> None:
    wild = examined(regression(0.05, 4, wild=60.0))
    assert wild.estimates["jump"].value > 5
    assert wild.estimates["rare_share"].value > 0.9
    calm = examined(momentum())
    assert "rare_share" not in calm.estimates or calm.estimates["rare_share"].value < 0.4


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_how_far_a_step_overshoots_a_long_example(momentum: float) -> None:
    task = regression(0.1, 8, noise=1.0)
    x, y = task.train
    x[3] *= 30.0
    optimizer = torch.optim.SGD(task.model.parameters(), 0.1, momentum=momentum)
    e = prepared(replace(task, train=(x, y), optimizer=optimizer))
    _add_rare(e)
    # Of (xᵢ·w - yᵢ)² the curvature along its own gradient is 2‖xᵢ‖².
    with torch.no_grad():
        losses = (task.model(x) - y).double().square()[:, 0]
    above = losses - losses.min()
    factors = 0.1 / (1 - momentum) / 8 * 2 * x.double().square().sum(1)
    factors *= losses / above.clamp_min(0.1 * above.mean())
    assert factors[3] > 10
    assert e.estimates["overstep"].value == pytest.approx(float(factors.max()), rel=1e-4)
    assert e.estimates["overstep_share"].value == float((factors > 1).double().mean())


def test_where_a_step_is_no_multiple_of_the_gradient_none_is_said_to_overshoot() -> None:
    e = prepared(momentum())
    adam = torch.optim.Adam(e.task.model.parameters())
    e.view = OptimizerView.of(replace(e.task, optimizer=adam))
    _add_rare(e)
    assert "rare_share" in e.estimates
    assert "overstep" not in e.estimates


def test_held_out_examples_are_looked_at_about_as_often_as_there_are_to_train_on() -> None:
    task = momentum()
    many = tuple(part.repeat(20, *[1] * (part.ndim - 1)) for part in task.train)
    task = Task(
        model=task.model, loss=task.loss, train=task.train, test=many, optimizer=task.optimizer,
        batch_size=16,
    )  # fmt: skip
    e = Examination.of(task, budget=300.0)
    assert e.test is not None and len(e.test) == 1920
    assert e.watched is not None and len(e.watched) == WATCHED
    take_vitals(e, constant=constant_loss(e.objective))
    assert e.spent <= 300


@pytest.mark.parametrize("batch", [2, 16, None])
def test_a_diagnosis_keeps_to_its_budget(batch: int | None) -> None:
    assert examined(regression(1e-4, batch, rows=40)).spent <= 300
