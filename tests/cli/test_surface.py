"""`thalweg surface`: what it prints, answers and writes."""

import json
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Program
from thalweg.record.folder import RunFolder
from thalweg.reference import resolve

TASK = """
import torch
from torch.nn.functional import cross_entropy
import thalweg as tw

def task():
    torch.manual_seed(0)
    x, y = torch.randn(90, 3), torch.randint(2, (90,))
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return tw.Task(model=model, loss=cross_entropy, train=(x[:60], y[:60]),
                   test=(x[60:], y[60:]), optimizer=optimizer, batch_size=10, name="small")
"""
SMALL = ("--size", "21")


@pytest.fixture
def run(here: Path) -> str:
    (here / "small.py").write_text(TASK)
    task = resolve("small.py:task")
    (x, y), model, optimizer = task.train, task.model, task.optimizer  # type: ignore[union-attr]
    folder = RunFolder.create("mine", task_reference="small.py:task")
    for step in range(13):
        if step % 3 == 0:
            folder.save_checkpoint(step, model, optimizer)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return "mine"


def test_a_task_is_told_with_its_error(thalweg_program: Program, run: str) -> None:
    status, out, _ = thalweg_program("surface", "small.py:task", *SMALL)
    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith(
        "small. Random directions, filter-normalised: random 1 (1 displaces by"
    )
    assert [line.split("  ")[0] for line in lines[2:6]] == [
        "loss",
        "accuracy",
        "held-out loss",
        "held-out accuracy",
    ]
    assert lines[6].startswith("The loss is 0.") and "the lowest shown is at (" in lines[6]
    assert "of 441 values were evaluated" in lines[7] and "held back" in lines[7]


def test_a_run_is_seen_in_the_plane_of_its_path(thalweg_program: Program, run: str) -> None:
    status, out, _ = thalweg_program(
        "surface", run, "--own-task", "--directions", "path", "--json", *SMALL
    )
    told = json.loads(out)
    assert status == 0
    assert told["walk"]["steps"] == [0, 3, 6, 9, 12]
    assert 0.5 < told["walk"]["share"] <= 1
    assert max(abs(c) for row in told["walk"]["coordinates"] for c in row) <= 1
    assert told["centre"] == pytest.approx(told["walk"]["loss"][-1])


def test_a_path_of_too_few_checkpoints_is_refused(
    thalweg_program: Program, run: str, here: Path
) -> None:
    task = resolve("small.py:task")
    RunFolder.create("short", task_reference="small.py:task").save_checkpoint(
        0,
        task.model,  # type: ignore[union-attr]
        task.optimizer,  # type: ignore[union-attr]
    )
    status, _, err = thalweg_program("surface", "short", "--own-task", "--directions", "path")
    assert status == 2 and "run must have more than 2 checkpoints for its path, but has 1" in err


def test_a_dead_network_has_the_same_loss_everywhere(
    thalweg_program: Program, run: str, here: Path
) -> None:
    stuck = "    model[0].bias.data.fill_(-100.0)\n    optimizer ="
    (here / "dead.py").write_text(TASK.replace("Tanh", "ReLU").replace("    optimizer =", stuck))
    page = ("--report", "dead.html")
    status, out, _ = thalweg_program("surface", "dead.py:task", *SMALL, *page)
    assert status == 0
    assert "at the centre.\nThe loss is the same everywhere shown: " in out
    assert (here / "dead.html").exists()


@pytest.mark.parametrize("directions", ["eigen", "gradient"])
def test_lines_in_other_directions(thalweg_program: Program, run: str, directions: str) -> None:
    how = ("--directions", directions, "--line", "--log", "--exact", *SMALL)
    told = json.loads(thalweg_program("surface", "small.py:task", "--json", *how).out)
    assert "y" not in told and len(told["loss"]["values"]) == 21
    assert told["loss"]["saved"] == 1 and told["loss"]["logarithm"]


def test_a_page_and_a_folder_are_written_and_the_folder_gone_on_from(
    thalweg_program: Program, run: str, here: Path
) -> None:
    how = ("--own-task", "--folder", "kept", "--report", "page.html", *SMALL)
    first = thalweg_program("surface", run, *how)
    again = thalweg_program("surface", run, *how)
    assert first.out == again.out
    page = (here / "page.html").read_text()
    assert "The ground" in page and "surface-held-out-accuracy" in page
    other = thalweg_program("surface", run, *how, "--span", "2")
    assert other.status == 2
    assert other.err == "thalweg: folder must be of the same surface, but kept holds another\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("small.py:task", "--directions", "up"), "directions must be one of random, eigen"),
        (
            ("small.py:task", "--directions", "path"),
            "directions must be random, eigen or gradient without a run",
        ),
        (("mine",), "a surface must have its loss, but mine is a run alone"),
        (("small.py:task", "--size", "2"), "--size must be a whole number of 3 or more, not 2"),
    ],
    ids=["unknown", "no path", "no task", "size"],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    thalweg_program: Program, run: str, arguments: tuple[str, ...], sentence: str
) -> None:
    status, out, err = thalweg_program("surface", *arguments)
    assert (status, out) == (2, "")
    assert sentence in err.splitlines()[-1]
