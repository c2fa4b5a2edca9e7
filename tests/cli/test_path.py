"""`thalweg path`: what it prints and answers."""

import json
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Program
from thalweg.record.folder import RunFolder
from thalweg.reference import resolve

TASK = """
import torch
from torch.nn.functional import mse_loss
import thalweg as tw

def task():
    torch.manual_seed(0)
    x, y = torch.randn(50, 3), torch.randn(50, 1)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return tw.Task(model=model, loss=mse_loss, train=(x, y), optimizer=optimizer, batch_size=10)
"""


@pytest.fixture
def runs(here: Path) -> Path:
    (here / "line.py").write_text(TASK)
    for seed in (1, 2):
        task = resolve("line.py:task")
        (x, y), model, optimizer = task.train, task.model, task.optimizer  # type: ignore[union-attr]
        generator = torch.Generator().manual_seed(seed)
        run = RunFolder.create(f"run{seed}", task_reference="line.py:task")
        for step in range(17):
            if step in (0, 1, 2, 4, 8, 16):
                run.save_checkpoint(step, model, optimizer)
            rows = torch.randperm(50, generator=generator)[:10]
            loss = torch.nn.functional.mse_loss(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return here


def test_a_run_is_told_by_checkpoint(thalweg_program: Program, runs: Path) -> None:
    status, out, err = thalweg_program("path", "run1", "--task", "line.py:task")
    lines = out.splitlines()
    assert status == 0 and err == ""
    assert lines[0] == "run1, seen from where it stood last, at step 16"
    assert lines[1].split()[:4] == ["step", "epoch", "loss", "‖∇f‖"]
    assert [line.split()[0] for line in lines[2:8]] == ["0", "1", "2", "4", "8", "16"]
    assert lines[8].startswith("Minus the gradient points towards the end at all")
    assert lines[9].startswith("c = ") and "root mean square" in lines[9]


def test_several_runs_end_with_the_least(thalweg_program: Program, runs: Path) -> None:
    out = thalweg_program("path", "run1", "run2", "--own-task", "--neighbours", "5").out
    assert "The least over 2 runs" in out and "neighbours" in out
    told = json.loads(thalweg_program("path", "run1", "run2", "--own-task", "--json").out)
    assert [run["name"] for run in told["runs"]] == ["run1", "run2"]
    ways = [w for run in told["runs"] for w in run["waypoints"] if w["from_end"] > 0]
    assert [row["epoch"] for row in told["least"]] == [0, 1, 2]  # five steps each
    for row in told["least"]:
        there = [w["inner"] for w in ways if round(w["step"] / 5) == row["epoch"]]
        assert row["inner"] == min(there)


def test_quiet_leaves_the_sentences(thalweg_program: Program, runs: Path) -> None:
    out = thalweg_program("path", "run1", "--own-task", "--quiet").out
    assert out.startswith("Minus the gradient") and "epoch" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run1",), "must have sketches of two steps at least"),
        (("run1", "--end", "best"), "must be left out without a task"),
        (("run1", "--neighbours", "5"), "must be left out without a task"),
        (("line.py:task",), "RUN must be the path of a run folder"),
        (("run1", "--own-task", "--end", "first"), "end must be one of last, average, best"),
        (("run1", "--own-task", "--points", "1"), "--points must be a whole number of 2 or more"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], message: str, thalweg_program: Program, runs: Path
) -> None:
    status, out, err = thalweg_program("path", *arguments)
    assert status == 2 and out == ""
    assert message in err and err.splitlines()[-1].startswith("thalweg: ")
