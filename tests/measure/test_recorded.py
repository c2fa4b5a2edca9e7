"""The path of a run folder: its checkpoints, its rates, its ends."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.problems import classes, network, vectors
from thalweg.errors import FolderError, UsageError
from thalweg.measure import path_of_run
from thalweg.measure.kept_points import SavedPoints
from thalweg.record.folder import RunFolder
from thalweg.task import Task

DECAY = 0.01
SAVED = (1, 2, 4, 8, 16, 24, 32, 40)


def task() -> Task:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, weight_decay=DECAY)
    data, held_out = (vectors(60, 5), classes(60)), (vectors(30, 5, seed=8), classes(30, seed=9))
    return Task(
        model=model,
        loss=cross_entropy,
        train=data,
        test=held_out,
        optimizer=optimizer,
        batch_size=12,
    )


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    given = task()
    model, optimizer = given.model, given.optimizer
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 20, gamma=0.5)
    x, y = given.train
    generator = torch.Generator().manual_seed(0)
    run = RunFolder.create(tmp_path / "mine")
    run.save_checkpoint(0, model, optimizer)
    for step in range(1, 41):
        rows = torch.randperm(60, generator=generator)[:12]
        loss = cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        run.append(step, loss=loss.item(), learning_rate=optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        if step in SAVED:
            run.save_checkpoint(step, model, optimizer)
    run.close()
    return run.path


def plain_slope(run: RunFolder, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and the gradient of the loss with its decay, by plain torch."""
    given = task()
    run.load_checkpoint(step, given.model)
    weights = list(given.model.parameters())
    x, y = given.train
    penalty = 0.5 * DECAY * sum((p * p).sum() for p in weights)
    slopes = torch.autograd.grad(cross_entropy(given.model(x), y) + penalty, weights)
    point = torch.cat([p.detach().flatten() for p in weights])
    return point, torch.cat([s.flatten() for s in slopes])


def test_checkpoints_give_the_exact_path(trained: Path) -> None:
    run = RunFolder.open(trained)
    found = path_of_run(trained, task(), curvature=False)
    steps = run.checkpoints()
    assert [w.step for w in found.waypoints] == steps and len(steps) >= 6
    last, _ = plain_slope(run, 40)
    for w in found.waypoints:
        x, slope = plain_slope(run, w.step)
        assert w.inner.value == pytest.approx(float(-slope @ (last - x)), rel=1e-9, abs=1e-12)
        assert w.epoch == pytest.approx(w.step / 5)
        assert w.learning_rate == (0.3 if w.step < 20 else 0.15)
        assert w.stochastic is not None and w.stochastic.draws == 16
    assert found.name == "mine" and found.end == "where it stood last, at step 40"
    assert found.positive_from() == 0


def test_the_end_may_be_the_average_or_the_best(trained: Path) -> None:
    run = RunFolder.open(trained)
    points = SavedPoints(run, task().model)
    late = [points[step] for step in run.checkpoints() if step >= 20]
    average = path_of_run(trained, task(), end="average", batches=0, curvature=False)
    mean = torch.stack(late).mean(0)
    assert average.waypoints[-1].from_end.value == pytest.approx(float((late[-1] - mean).norm()))
    assert average.end_gradient.value > 0
    best = path_of_run(trained, task(), end="best", batches=0, curvature=False)
    given = task()
    losses = {}
    for step in run.checkpoints():
        run.load_checkpoint(step, given.model)
        losses[step] = cross_entropy(given.model(given.test[0]), given.test[1]).item()
    step = min(losses, key=lambda s: losses[s])
    assert best.end == f"the point of the lowest loss on held-out data, of step {step}"
    assert next(w for w in best.waypoints if w.step == step).from_end.value == 0


def test_points_and_examples_may_be_fewer(trained: Path) -> None:
    found = path_of_run(trained, task(), points=3, examples=40, curvature=False)
    steps = RunFolder.open(trained).checkpoints()
    assert [w.step for w in found.waypoints][:: len(found.waypoints) - 1] == [steps[0], steps[-1]]
    assert [w.step for w in found.waypoints] == [0, 8, 40]
    assert found.waypoints[0].inner.error > 0
    assert found.notes[0].startswith("measured on 40 of 60 examples")


def test_the_task_and_its_weights_stay_as_they_are(trained: Path) -> None:
    given = task()
    before = {name: value.clone() for name, value in given.model.state_dict().items()}
    state = torch.get_rng_state()
    path_of_run(trained, given)
    assert all(torch.equal(before[n], v) for n, v in given.model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_frozen_parameters_are_no_coordinates_and_batch_statistics_count(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).double()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = vectors(32, 4), classes(32, 2)
    run = RunFolder.create(tmp_path / "bn")
    recorded = []
    for step in range(4):
        run.save_checkpoint(step, model, optimizer)
        loss = cross_entropy(model(x), y)
        recorded.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    given = Task(model=model, loss=cross_entropy, train=(x, y), optimizer=optimizer)
    found = path_of_run(tmp_path / "bn", given, curvature=False)
    assert [w.loss.value for w in found.waypoints] == pytest.approx(recorded)
    assert any("momentum 0.9" in note for note in found.notes)


def test_mistakes_are_said(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="end must be one of last, average, best, not 'first'"):
        path_of_run(trained, task(), end="first")
    with pytest.raises(UsageError, match="points must be a whole number of 2 or more, not 1"):
        path_of_run(trained, task(), points=1)
    RunFolder.create(tmp_path / "empty")
    with pytest.raises(FolderError, match="must have two checkpoints at least"):
        path_of_run(tmp_path / "empty", task())
