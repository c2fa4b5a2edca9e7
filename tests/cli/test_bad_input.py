"""Input that cannot be used is one clear sentence and exit 2; a training gone wrong is a finding."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import Program
from tests.cli.test_program import CALL, ENVIRONMENT

TASKS = """
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
import thalweg as tw

torch.manual_seed(0)
X, Y = torch.randn(24, 3), torch.randn(24, 1)

def make(model=None, loss=mse_loss, train=(X, Y), over=None, **more):
    model = nn.Linear(3, 1) if model is None else model
    optimizer = torch.optim.SGD((model if over is None else over).parameters(), lr=0.05)
    return tw.Task(model=model, loss=loss, train=train, optimizer=optimizer, **more)

good = lambda: make()
number = lambda: 3
no_parameters = lambda: make(nn.Flatten(), over=nn.Linear(3, 1))
frozen = lambda: make(nn.Linear(3, 1).requires_grad_(False), over=nn.Linear(3, 1))
lengths = lambda: make(train=(X, Y[:-1]))
empty = lambda: make(train=(X[:0], Y[:0]))
no_data = lambda: make(train=None)
not_scalar = lambda: make(loss=nn.MSELoss(reduction="none"))
no_tensor = lambda: make(loss=lambda output, target: 1.0)
integers = lambda: make(train=(torch.randint(9, (24, 3)), Y))
wide = lambda: make(train=(torch.randn(24, 5), Y))
large_batch = lambda: make(batch_size=25)
no_batch = lambda: make(batch_size=0)
pairs = lambda: make(train=torch.utils.data.TensorDataset(X))
numbers = lambda: make(train=[1, 2, 3])
detached = lambda: make(loss=lambda output, target: mse_loss(output.detach(), target))

nan_data = lambda: make(train=(torch.where(X > 2, torch.nan, X), Y))
infinite_targets = lambda: make(train=(X, torch.where(Y > 1, torch.inf, Y)))
stale_optimizer = lambda: make(over=nn.Linear(3, 1))
classes_from_one = lambda: make(nn.Linear(3, 4), cross_entropy, (X, torch.randint(1, 5, (24,))))
"""


class Trap:
    """Writes a file where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("sprung", "w")


@pytest.fixture
def tasks(here: Path) -> Path:
    """A folder with a file of tasks and some checkpoints."""
    (here / "bad.py").write_text(TASKS)
    torch.manual_seed(0)
    fitting = torch.nn.Linear(3, 1).state_dict()
    save_file(fitting, here / "fitting.safetensors")
    save_file(torch.nn.Linear(4, 1).state_dict(), here / "other.safetensors")
    save_file({"weight": fitting["weight"]}, here / "half.safetensors")
    save_file(fitting | {"more": fitting["bias"].clone()}, here / "more.safetensors")
    (here / "noise.safetensors").write_bytes(b"\x00" * 64)
    (here / "noise.pt").write_bytes(b"not a checkpoint")
    torch.save(fitting | {"weight": torch.zeros(1, 4)}, here / "other.pt")
    torch.save(Trap(), here / "trap.pt")
    (here / "old_trap.pt").write_bytes(pickle.dumps(Trap()))
    return here


UNUSABLE = [
    ("nowhere.py:good", "there is no file nowhere.py"),
    ("bad.py:goood", "bad.py has no goood; did you mean good?"),
    ("bad.py:number", "bad.py:number must return a thalweg.Task, but returned an int"),
    ("bad.py:no_parameters", "model must have parameters, but Flatten has none to train"),
    ("bad.py:lengths", "train must have as many targets as inputs, but has lengths 24 and 23"),
    ("bad.py:empty", "train must have at least one example, but is empty"),
    ("bad.py:no_data", "train must be given: tensors, a Dataset or a DataLoader"),
    (
        "bad.py:not_scalar",
        "loss must return a scalar, the mean over the batch, but returned shape ",
    ),
    ("bad.py:integers", "inputs must be float32 like the model's weights, but are int64: convert"),
    ("bad.py:wide", "the loss cannot be evaluated on a batch of train (input of shape "),
    ("bad.py:large_batch", "batch_size must not exceed the 24 examples of train, but is 25"),
    ("bad.py:no_batch", "batch_size must be a whole number above 0, not 0"),
    ("bad.py:pairs", "train must give pairs (input, target) for loss(output, target), but gives "),
    (
        "bad.py:numbers",
        "a batch must hold at least one tensor whose first axis counts the examples",
    ),
    ("bad.py:good --checkpoint no.safetensors", "checkpoint no.safetensors does not exist"),
    ("bad.py:good --checkpoint other.safetensors", "weight of shape (1, 4) where the model has"),
    ("bad.py:good --checkpoint other.pt", "weight of shape (1, 4) where the model has (1, 3)"),
    ("bad.py:good --checkpoint half.safetensors", "must hold every weight of the model, but lacks"),
    ("bad.py:good --checkpoint more.safetensors", "must fit the model, which has no more"),
    ("bad.py:good --checkpoint noise.safetensors", "noise.safetensors cannot be read"),
    ("bad.py:good --checkpoint noise.pt", "checkpoint noise.pt cannot be read"),
    ("bad.py:good --checkpoint trap.pt", "carries code (io.open), which is never run"),
    ("bad.py:good --checkpoint old_trap.pt", "carries code (io.open), which is never"),
    ("bad.py:good --share 0.5", "share needs task.steps or a history"),
    ("bad.py:good --report .", "--report must be a file, but . is a folder"),
]


@pytest.mark.parametrize(("arguments", "expected"), UNUSABLE)
def test_what_cannot_be_used_is_one_sentence(
    arguments: str, expected: str, thalweg_program: Program, tasks: Path
) -> None:
    status, out, err = thalweg_program("diagnose", *arguments.split())
    assert err.startswith("thalweg: ") and expected in err and err.count("\n") == 1
    assert (status, out) == (2, "")
    assert not (tasks / "sprung").exists()


@pytest.mark.parametrize("cures", [[], ["--cures", "Adam"]])
@pytest.mark.parametrize(
    "arguments", ["bad.py:lengths", "bad.py:not_scalar", "bad.py:good --checkpoint trap.pt"]
)
def test_a_race_of_what_cannot_be_used_is_one_sentence(
    arguments: str, cures: list[str], thalweg_program: Program, tasks: Path
) -> None:
    status, out, err = thalweg_program("race", *arguments.split(), *cures)
    assert err.startswith("thalweg: ") and err.count("\n") == 1
    assert (status, out) == (2, "")
    assert not (tasks / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("nan_data", "not_finite"),
        ("infinite_targets", "not_finite"),
        ("stale_optimizer", "miswired"),
        ("classes_from_one", "miswired"),
        ("detached", "miswired"),
        ("no_tensor", "miswired"),
        ("frozen", "miswired"),
    ],
)
def test_a_training_gone_wrong_is_a_finding(
    name: str, cause: str, thalweg_program: Program, tasks: Path
) -> None:
    status, out, err = thalweg_program("diagnose", f"bad.py:{name}", "--quiet")
    assert (status, err) == (1, "") and out.startswith(f"{cause} (")


def test_a_mistake_leaves_no_traceback_in_a_process_of_its_own(tasks: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", CALL, "diagnose", "bad.py:lengths", "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "thalweg: train must have as many targets as inputs, but has lengths 24 and 23\n"
    )


def test_a_report_that_cannot_be_written_in_the_end_is_one_sentence(
    thalweg_program: Program, tasks: Path
) -> None:
    status, _, err = thalweg_program("diagnose", "bad.py:stale_optimizer", "--report", "x" * 300)
    assert status == 2 and "path must be a file that can be written" in err


def test_a_checkpoint_is_where_the_diagnosis_stands(thalweg_program: Program, tasks: Path) -> None:
    save_file(
        {"weight": torch.full((1, 3), torch.nan), "bias": torch.zeros(1)}, tasks / "nan.safetensors"
    )
    status, out, _ = thalweg_program(
        "diagnose", "bad.py:good", "--quiet", "--checkpoint", "nan.safetensors"
    )
    assert status == 1 and out.startswith("not_finite (")
