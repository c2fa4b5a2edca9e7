"""Paths from sketches: exact where parameters are kept, within their stated error where they are not."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.problems import classes, network, vectors
from thalweg.errors import FolderError
from thalweg.measure import path_of_run, path_of_sketches
from thalweg.record.folder import RunFolder
from thalweg.record.sketch import FoldSketch
from thalweg.record.sketchbook import SketchBook
from thalweg.task import Task

STEPS = (0, 1, 4, 9)


def sketched(
    path: Path, points: Tensor, gradients: Tensor, sketch: FoldSketch, names: dict[str, tuple]
) -> RunFolder:
    run = RunFolder.create(path, facts={"steps_an_epoch": 2})
    run.append_block([1, 2, 5, 10], {"learning_rate": [0.4, 0.3, 0.2, 0.1]})
    book = SketchBook(run.sketches_path, sketch, list(names), list(names.values()))
    where, slopes = (torch.stack([sketch.sketch(v) for v in many]) for many in (points, gradients))
    book.append(list(STEPS), where, slopes, [2.0, 1.5, 1.0, math.nan])
    return run


def test_what_is_kept_whole_is_exact(tmp_path: Path) -> None:
    points, gradients = vectors(4, 20).float(), vectors(4, 20, seed=2).float()
    run = sketched(tmp_path / "run", points, gradients, FoldSketch(20), {"w": (4, 5)})
    found = path_of_sketches(run.path)
    for row, w in enumerate(found.waypoints):
        onward = points[3] - points[row]
        inner = float(-gradients[row] @ onward)
        assert w.step == STEPS[row] and w.epoch == STEPS[row] / 2
        assert w.learning_rate == (0.4, 0.3, 0.2, 0.1)[row]
        assert w.inner.value == pytest.approx(inner, rel=1e-5, abs=1e-9) and w.inner.error == 0
        assert w.from_start.value == pytest.approx(float((points[row] - points[0]).norm()))
        if row < 3:
            assert w.convexity.value == pytest.approx(inner / float(onward @ onward), rel=1e-5)
    assert len(found.before_the_end) == 3 and "sketched" not in found.notes[0]
    assert path_of_sketches(run, points=2).table()["step"].tolist() == [0, 9]


def test_sketches_err_as_much_as_they_say() -> None:
    from thalweg.measure.sketched import _seen_from_end

    dim = 3000
    slope, onward = vectors(2, dim).float()
    slope -= 0.5 * onward
    exact = float(-slope @ onward)
    truth = (
        exact,
        exact / float(slope.norm() * onward.norm()),
        exact / float(onward @ onward),
    )
    away = []
    for seed in range(200):
        sketch = FoldSketch(dim, 101, seed)
        found = _seen_from_end(sketch, sketch.sketch(slope), sketch.sketch(onward))
        away.append([(e.value - value) / e.error for e, value in zip(found, truth)])
    spread = np.array(away)
    assert np.all(np.abs(spread.mean(0)) < 0.35)
    assert np.all((spread.std(0) > 0.8) & (spread.std(0) < 1.25))


def test_with_its_task_a_small_run_is_exact_at_every_kept_point(tmp_path: Path) -> None:
    model, x, y = network(), vectors(30, 5), classes(30)
    names = {name: tuple(p.shape) for name, p in model.named_parameters()}
    dim = sum(p.numel() for p in model.parameters())
    points = vectors(4, dim, seed=3)
    run = sketched(tmp_path / "run", points, points, FoldSketch(dim), names)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.save_checkpoint(0, model, optimizer)
    task = Task(model=model, loss=cross_entropy, train=(x, y), optimizer=optimizer)
    found = path_of_run(run, task, curvature=False)
    assert [w.step for w in found.waypoints] == list(STEPS)
    kept = points.float().double()
    for row, w in enumerate(found.waypoints):
        torch.nn.utils.vector_to_parameters(kept[row], list(model.parameters()))
        loss = cross_entropy(model(x), y)
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        slope = torch.cat([s.flatten() for s in slopes])
        assert w.loss.value == pytest.approx(loss.item())
        assert w.inner.value == pytest.approx(float(-slope @ (kept[3] - kept[row])), abs=1e-9)


def test_sketches_of_another_model_leave_the_checkpoints(tmp_path: Path) -> None:
    model, x, y = network(), vectors(30, 5), classes(30)
    points = vectors(4, 20)
    run = sketched(tmp_path / "run", points, points, FoldSketch(20), {"w": (20,)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in (0, 7):
        run.save_checkpoint(step, model, optimizer)
    task = Task(model=model, loss=cross_entropy, train=(x, y), optimizer=optimizer)
    assert [w.step for w in path_of_run(run, task).waypoints] == [0, 7]


def test_a_run_without_sketches_is_said(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "bare")
    with pytest.raises(FolderError, match="must have sketches of two steps at least"):
        path_of_sketches(tmp_path / "bare")
