"""Several spectra: by layer, along a run, and as files."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from problems import classes, network, vectors
from thalweg.errors import FolderError, UsageError
from thalweg.measure.spectra import (
    objective_of_task,
    save_spectra,
    spectra_by_layer,
    spectra_of_run,
)
from thalweg.measure.spectrum import spectrum
from thalweg.objective.derivatives import Hessian
from thalweg.objective.supervised import Supervised
from thalweg.record.folder import RunFolder
from thalweg.task import Task


@pytest.mark.parametrize("matrix", ["hessian", "gauss-newton"])
def test_by_layer_they_are_those_of_the_blocks(matrix: str) -> None:
    objective = Supervised(network(), F.mse_loss, (vectors(20, 5), vectors(20, 3, seed=4)))
    point = objective.point()
    found = spectra_by_layer(objective, point, matrix=matrix)
    assert [(each.name, each.dim, each.matrix) for each in found] == [
        ("0", 42, matrix),
        ("2", 24, matrix),
    ]
    assert {each.top[0].unit for each in found} == {"loss per unit²"}
    if matrix == "hessian":
        dense = Hessian(objective, point).dense()
        for each, part in zip(found, (dense[:42, :42], dense[42:, 42:])):
            assert each.trace.value == pytest.approx(float(part.trace()))
            assert each.top[0].value == pytest.approx(float(torch.linalg.eigvalsh(part)[-1]))


def a_task() -> Task:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=0.01)
    return Task(
        model=model,
        loss=F.cross_entropy,
        train=(vectors(60, 5), classes(60)),
        optimizer=optimizer,
        batch_size=20,
    )


def test_along_a_run_they_are_those_at_its_checkpoints(tmp_path: Path) -> None:
    task = a_task()
    run, points = RunFolder.create(tmp_path / "run"), {}
    for step in range(9):
        if step % 2 == 0:
            run.save_checkpoint(step, task.model, task.optimizer)
            points[step] = nn.utils.parameters_to_vector(task.model.parameters()).detach().clone()
        task.optimizer.zero_grad()
        x, y = task.train
        F.cross_entropy(task.model(x), y).backward()
        task.optimizer.step()
    found = spectra_of_run(run, task, points=3)
    assert [each.name for each in found] == ["step 0", "step 2", "step 8"]
    objective = objective_of_task(task)
    for each in found:
        alone = spectrum(objective, points[int(each.name[5:])])
        assert each.top[0].value == pytest.approx(alone.top[0].value)
    (last,) = spectra_of_run(run.path, task, points=1, top=2)
    assert last.name == "step 8" and len(last.top) == 2


def test_the_objective_has_the_decay_and_a_sample() -> None:
    objective = objective_of_task(a_task(), examples=25)
    assert objective.examples == 25 and float(torch.as_tensor(objective.decay).max()) == 0.01
    with pytest.raises(UsageError, match="examples must be a whole number of 1 or more, not 0"):
        objective_of_task(a_task(), examples=0)


def test_a_run_without_checkpoints_is_refused(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    with pytest.raises(FolderError, match="must have a checkpoint"):
        spectra_of_run(run, a_task())


def test_the_files_hold_every_eigenvalue_and_its_weight(tmp_path: Path) -> None:
    objective = Supervised(network(), F.cross_entropy, (vectors(20, 5), classes(20)))
    found = spectra_by_layer(objective, objective.point())
    path = save_spectra(found, tmp_path / "numbers.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = np.load(save_spectra(found, tmp_path / "numbers.npz"))
    assert list(rows[0]) == list(kept) == ["name", "single", "eigenvalue", "weight"]
    assert len(rows) == 42 + 24 and all(row["single"] == "1" for row in rows)
    for name, each in (("0", found[0]), ("2", found[1])):
        mine = kept["name"] == name
        assert kept["weight"][mine].sum() == pytest.approx(1)
        total = (kept["weight"] * kept["eigenvalue"])[mine].sum() * each.dim
        assert total == pytest.approx(each.trace.value)
        assert [float(r["eigenvalue"]) for r in rows if r["name"] == name] == list(
            kept["eigenvalue"][mine]
        )
    with pytest.raises(FolderError, match="path must be a file that can be written"):
        save_spectra(found, tmp_path / "none" / "numbers.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["numbers.csv", "numbers.npz"]


def test_a_layer_without_parameters_is_left_out() -> None:
    model = network()
    model.register_parameter("none", nn.Parameter(torch.zeros(0)))
    data = (vectors(20, 5), classes(20))
    objective = Supervised(model, F.cross_entropy, data)
    found = spectra_by_layer(objective, objective.point())
    assert len(found) > 1 and "none" not in [each.name for each in found]
