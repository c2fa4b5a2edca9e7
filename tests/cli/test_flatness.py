"""``thalweg flatness`` and ``thalweg connect``: what they print and answer."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import Program
from thalweg.record.folder import RunFolder
from thalweg.reference import load_task

TASK = """
import torch
from torch import nn
import thalweg as tw

def task():
    torch.manual_seed(0)
    x = torch.randn(60, 3)
    y = (x[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return tw.Task(model=model, loss=nn.functional.cross_entropy, train=(x[:40], y[:40]),
                   test=(x[40:], y[40:]), optimizer=optimizer, batch_size=10, steps=50, name="sign")
"""

FLATNESS = ("--draws", "2", "--probes", "2")
CONNECT = ("--curve", "10", "--points", "5")


@pytest.fixture
def task(here: Path) -> str:
    (here / "sign.py").write_text(TASK)
    return "sign.py:task"


@pytest.fixture
def run(here: Path, task: str) -> str:
    loaded = load_task(task)
    folder = RunFolder.create("run", task_reference=task)
    for step in (0, 10):
        folder.save_checkpoint(step, loaded.model, loaded.optimizer)
        with torch.no_grad():
            for p in loaded.model.parameters():
                p.mul_(1.5)
    return "run"


def test_flatness_is_told(thalweg_program: Program, task: str) -> None:
    status, out, _ = thalweg_program("flatness", task, *FLATNESS)
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "sign: flatness, without weight decay"
    for words in (
        "largest eigenvalue",
        "relative flatness",
        "the worst direction",
        "sharpest direct",
    ):
        assert any(line.startswith(words) for line in lines), words
    assert "no rescaling of layers can fake" in out


def test_flatness_as_json_and_as_a_page(thalweg_program: Program, task: str, here: Path) -> None:
    status, out, _ = thalweg_program("flatness", task, *FLATNESS, "--json", "--report", "f.html")
    told = json.loads(out)
    assert status == 0 and told["name"] == "sign"
    assert told["measures"]["lambda_max"]["value"] > 0 and len(told["shift"]) == 4
    page = (here / "f.html").read_text()
    assert "http://" not in page.split('id="plotly"')[0] and "relative flatness" in page
    assert "plot-flatness-profile" in page and f"thalweg flatness {task}" in page


def test_flatness_of_a_checkpoint_and_of_a_run(
    thalweg_program: Program, run: str, task: str
) -> None:
    def loss(*arguments: str) -> float:
        told = json.loads(thalweg_program("flatness", *arguments, *FLATNESS, "--json").out)
        return told["measures"]["loss"]["value"]

    weights = f"{run}/checkpoints/step-00000000/model.safetensors"
    first, last = loss(task, "--checkpoint", weights), loss(run, "--own-task")
    assert first == pytest.approx(loss(task)) and first != pytest.approx(last)


def test_connect_is_told(thalweg_program: Program, task: str) -> None:
    status, out, _ = thalweg_program("connect", task, *CONNECT)
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "sign: between seed:1 and seed:2, without weight decay"
    assert lines[1].split() == ["seed:1", "seed:2"]
    for words in ("training loss", "same class, held-out data", "Bézier curve of low loss"):
        assert any(line.startswith(words) for line in lines), words
    assert lines[-1].startswith("They predict the same class")


def test_connect_between_what_there_is(
    thalweg_program: Program, task: str, run: str, here: Path
) -> None:
    save_file(
        {n: 2 * v for n, v in load_task(task).model.state_dict().items()}, here / "w.safetensors"
    )

    def distance(source: str, *between: str) -> float:
        out = thalweg_program("connect", *([source, *between]), *CONNECT, "--json").out
        return json.loads(out)["comparison"]["distance"]["value"]

    ends = ("--between", "here", "w.safetensors")
    size = distance(task, *ends)
    assert size > 0 and distance(task, "--between", "here", "here") == 0
    steps = distance(run, "--own-task", "--between", "step:0", "step:10")
    assert steps == pytest.approx(size / 2)  # 1.5 − 1 against 2 − 1
    assert distance(run, "--own-task", "--between", "step:0", run) == pytest.approx(steps)


def test_connect_writes_a_page(thalweg_program: Program, task: str, here: Path) -> None:
    thalweg_program("connect", task, *CONNECT, "--steps", "5", "--quiet", "--report", "c.html")
    page = (here / "c.html").read_text()
    assert "plot-connection-ways" in page and "--between seed:1 seed:2" in page


def test_a_model_without_anything_to_train_is_refused(
    thalweg_program: Program, task: str, here: Path
) -> None:
    frozen = "    for p in model.parameters():\n        p.requires_grad_(False)\n    return"
    (here / "still.py").write_text(TASK.replace("    return", frozen))
    for between in (("seed:1", "seed:2"), ("here", "here")):
        status, _, err = thalweg_program("connect", "still.py:task", "--between", *between)
        assert status == 2 and "model must have a parameter that requires a gradient" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("flatness", "run"), "RUN must come with --task or --own-task"),
        (("flatness", "sign.py:task", "--noise", "brown:1"), "--noise must be uniform:A"),
        (("flatness", "sign.py:task", "--draws", "1"), "--draws must be a whole number of 2"),
        (("flatness", "sign.py:task", "--report", "no/f.html"), "--report must be in a folder"),
        (("connect", "run"), "RUN must come with --task or --own-task"),
        (("connect", "sign.py:task", "--between", "here", "there"), "but there is no file there"),
        (("connect", "sign.py:task", "--between", "seed:x", "here"), "must have a whole number"),
        (("connect", "sign.py:task", "--between", "step:1", "here"), "must go with a RUN"),
        (
            ("connect", "run", "--own-task", "--between", "step:7", "here"),
            "has no checkpoint at step 7; the nearest is 10",
        ),
    ],
    ids=lambda value: "-".join(value[:1]) if isinstance(value, tuple) else None,
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], message: str, thalweg_program: Program, run: str
) -> None:
    status, out, err = thalweg_program(*arguments)
    assert status == 2 and out == ""
    assert message in err and err.splitlines()[-1].startswith("thalweg: ")
