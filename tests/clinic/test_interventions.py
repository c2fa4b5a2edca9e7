"""Interventions: each does what it says, to a fork."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic import case
from thalweg.clinic.interventions import (
    Intervention,
    adam,
    clip,
    decay,
    fork,
    full_batch,
    momentum,
    nudge,
    objective,
    rate,
    reinitialise,
    restarts,
    together,
)
from thalweg.clinic.mends import centre_inputs, drop_bad_rows, hold_every_parameter, scale_inputs
from thalweg.task import Task

GENERIC = (
    adam(0.1),
    clip(1.0),
    decay(0.1),
    full_batch,
    momentum(0.9),
    nudge(0.1),
    rate(0.1),
    reinitialise,
    restarts(2),
    together(rate(2.0), nudge(0.1)),
)


def _task(columns: int = 3, spread: float = 1.0, shift: float = 0.0) -> Task:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, columns, generator=generator)
    targets = inputs.sum(1, keepdim=True)
    inputs = inputs * torch.logspace(0, 1, columns) ** spread + shift
    model = nn.Linear(columns, 1)
    with torch.no_grad():
        model.weight.fill_(0.3)
        model.bias.fill_(-0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return Task(
        model=model, loss=mse_loss, train=(inputs, targets), optimizer=optimizer, batch_size=8
    )


def _changed(task: Task, change: Intervention) -> Task:
    return change.apply(fork(task), torch.Generator().manual_seed(1))


@pytest.mark.parametrize("change", GENERIC, ids=str)
def test_the_original_is_untouched(change: Intervention) -> None:
    torch.manual_seed(0)
    task = _task()
    weights = copy.deepcopy(task.model.state_dict())
    groups = [{**g, "params": list(map(id, g["params"]))} for g in task.optimizer.param_groups]
    before = torch.get_rng_state()
    own = _changed(task, change)
    inputs, targets = own.train
    own.loss(own.model(inputs), targets).backward()  # type: ignore[misc]
    own.optimizer.step()
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in task.model.state_dict().items():
        assert torch.equal(value, weights[name])
    after = [{**g, "params": list(map(id, g["params"]))} for g in task.optimizer.param_groups]
    assert after == groups and all(p.grad is None for p in task.model.parameters())


def test_a_fork_goes_on_as_the_original_would() -> None:
    task = case("adam_midway", 2)
    ends = []
    for one in (fork(task), task):
        for _ in range(3):
            one.optimizer.zero_grad()
            cross_entropy(one.model(one.train[0]), one.train[1]).backward()
            one.optimizer.step()
        ends.append(torch.cat([p.detach().flatten() for p in one.model.parameters()]))
    assert torch.equal(*ends)


def test_the_objective_is_the_loss_and_its_decay() -> None:
    task = _changed(_task(), decay(0.5))
    expected = mse_loss(task.model(task.train[0]), task.train[1]) + 0.25 * (3 * 0.09 + 0.04)
    assert objective(task) == pytest.approx(expected.item())


def test_a_clipped_gradient_is_no_longer_than_that() -> None:
    task = _changed(_task(), clip(1e-3))
    before = torch.cat([p.detach().flatten() for p in task.model.parameters()]).clone()
    mse_loss(task.model(task.train[0]), task.train[1]).backward()
    task.optimizer.step()
    after = torch.cat([p.detach().flatten() for p in task.model.parameters()])
    assert (after - before).norm().item() == pytest.approx(1e-3 * 0.01, rel=1e-2)


@pytest.mark.parametrize("change", [scale_inputs, centre_inputs], ids=str)
def test_rescaled_inputs_leave_the_outputs_as_they_were(change: Intervention) -> None:
    task = _task(columns=4, spread=2.0, shift=5.0)
    own = _changed(task, change)
    assert not torch.allclose(own.train[0], task.train[0])
    torch.testing.assert_close(
        own.model(own.train[0]), task.model(task.train[0]), atol=1e-4, rtol=1e-4
    )


def test_bad_rows_are_dropped_with_their_targets() -> None:
    task = _task()
    task.train[0][3, 1], task.train[0][7, 0], task.train[1][9] = float("nan"), 1e9, float("inf")
    inputs, targets = _changed(task, drop_bad_rows()).train
    assert len(inputs) == len(targets) == 37
    assert inputs.isfinite().all() and targets.isfinite().all()


def test_an_optimizer_gets_the_models_own_parameters_once() -> None:
    for name in ("stale_optimizer", "replaced_head", "held_twice"):
        own = _changed(case(name), hold_every_parameter)
        held = [id(p) for group in own.optimizer.param_groups for p in group["params"]]
        assert sorted(held) == sorted(id(p) for p in own.model.parameters())
