"""`thalweg spectrum`: what it prints, answers and writes."""

import csv
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
    x, y = torch.randn(50, 3), torch.randn(50, 2)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return tw.Task(model=model, loss=mse_loss, train=(x, y), optimizer=optimizer, batch_size=10)
"""


@pytest.fixture
def task(here: Path) -> Path:
    (here / "net.py").write_text(TASK)
    return here


@pytest.fixture
def run(task: Path) -> Path:
    found = resolve("net.py:task")
    (x, y), model, optimizer = found.train, found.model, found.optimizer  # type: ignore[union-attr]
    folder = RunFolder.create("run", task_reference="net.py:task")
    for step in range(5):
        folder.save_checkpoint(step, model, optimizer)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    return task


def test_a_task_is_told_in_a_table_and_a_sentence(thalweg_program: Program, task: Path) -> None:
    status, out, err = thalweg_program("spectrum", "net.py:task", "--top", "3")
    lines = out.splitlines()
    assert status == 0 and err == ""
    assert lines[0].split() == ["value", "95%", "within"]
    assert [line.split()[0] for line in lines[1:5]] == ["λ1", "λ2", "λ3", "λ26"]
    assert lines[-1].startswith("The Hessian of 26 rows spreads over about")
    assert thalweg_program("spectrum", "net.py:task", "--quiet").out == lines[-1] + "\n"


def test_json_csv_and_page(thalweg_program: Program, task: Path) -> None:
    arguments = ("--json", "--csv", "a.csv", "--report", "a.html", "--matrix", "gauss-newton")
    status, out, err = thalweg_program("spectrum", "net.py:task", *arguments)
    assert status == 0 and "Numbers: a.csv" in err and "Report: a.html" in err
    (told,) = json.loads(out)["spectra"]
    assert told["matrix"] == "gauss-newton" and told["dim"] == 26 and len(told["top"]) == 5
    with open("a.csv", newline="") as file:
        total = sum(float(r["eigenvalue"]) * float(r["weight"]) for r in csv.DictReader(file))
    assert 26 * total == pytest.approx(told["trace"]["value"])
    assert "<h1>Spectrum</h1>" in Path("a.html").read_text()


def test_by_layer_and_along_a_run(thalweg_program: Program, run: Path) -> None:
    out = thalweg_program("spectrum", "net.py:task", "--by-layer").out
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["0", "2"]
    told = json.loads(
        thalweg_program("spectrum", "run", "--own-task", "--points", "3", "--json").out
    )
    assert [each["name"] for each in told["spectra"]] == ["step 0", "step 1", "step 4"]
    last = thalweg_program("spectrum", "run", "--task", "net.py:task", "--quiet").out
    assert last.startswith("step 4: the Hessian")
    assert thalweg_program("spectrum", "run", "--own-task", "--by-layer").status == 0


def test_a_model_with_nan_weights_is_said_to_be_such(thalweg_program: Program, task: Path) -> None:
    broken = TASK.replace(
        "    optimizer =", "    model[0].weight.data[0, 0] = float('nan')\n    optimizer ="
    )
    (task / "lost.py").write_text(broken)
    status, out, err = thalweg_program("spectrum", "lost.py:task")
    assert status == 0 and "The second derivatives are not finite here." in out
    assert "budget" not in out + err


def test_a_checkpoint_is_where_it_is_measured(thalweg_program: Program, run: Path) -> None:
    weights = "run/checkpoints/step-00000004/model.safetensors"
    arguments = ("--checkpoint", weights, "--json")
    at = json.loads(thalweg_program("spectrum", "net.py:task", *arguments).out)["spectra"][0]
    last = json.loads(thalweg_program("spectrum", "run", "--own-task", "--json").out)["spectra"][0]
    assert at["top"][0]["value"] == pytest.approx(last["top"][0]["value"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "--own-task does"),
        (("net.py:task", "--matrix", "fisher"), "matrix must be one of hessian, gauss-newton"),
        (("net.py:task", "--points", "3"), "--points must go with a RUN"),
        (("net.py:task", "--budget", "1"), "--budget must be a whole number of 2 or more"),
        (("net.py:task", "--accuracy", "0"), "--accuracy must be a number above 0"),
        (("net.py:task", "--report", "no/a.html"), "--report must be in a folder that exists"),
        (("net.py:task", "--csv", "no/a.csv"), "--csv must be in a folder that exists"),
        (("nowhere",), "nowhere"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], message: str, thalweg_program: Program, run: Path
) -> None:
    status, out, err = thalweg_program("spectrum", *arguments)
    assert status == 2 and out == ""
    assert message in err and err.splitlines()[-1].startswith("thalweg: ")
