"""A reference leads to a Task or a run folder, or one sentence says why not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from thalweg.clinic import CASES
from thalweg.errors import ReferenceError
from thalweg.record.folder import RunFolder
from thalweg.reference import load_task, resolve
from thalweg.task import Task

GOOD = """
import torch, thalweg as tw
from torch.nn.functional import mse_loss

def task():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.randn(8, 2), torch.randn(8, 1)
    return tw.Task(model=model, loss=mse_loss, train=data, optimizer=optimizer)

ready = task()

class Made:
    build = staticmethod(task)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to stand in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", None) or ""
        if path.startswith(str(tmp_path)):
            del sys.modules[name]


def said(text: str) -> str:
    with pytest.raises(ReferenceError) as caught:
        resolve(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "text", ["good.py:task", "./good.py:task", "good:task", "good.py:ready", "good.py:Made.build"]
)
def test_a_file_or_a_module_with_a_callable_leads_to_its_task(here: Path, text: str) -> None:
    (here / "good.py").write_text(GOOD)
    task = resolve(text)
    assert isinstance(task, Task) and isinstance(task.model, torch.nn.Linear)


def test_a_file_can_import_what_stands_beside_it(here: Path) -> None:
    (here / "inner").mkdir()
    (here / "inner" / "beside_reference.py").write_text(GOOD)
    (here / "inner" / "tasks_of_inner.py").write_text("from beside_reference import task\n")
    assert isinstance(resolve("inner/tasks_of_inner.py:task"), Task)


def test_a_file_is_read_anew_each_time_and_never_as_main(here: Path) -> None:
    (here / "twice.py").write_text(GOOD + "\nif __name__ == '__main__':\n    raise SystemExit(9)\n")
    resolve("twice.py:task")
    (here / "twice.py").write_text(GOOD.replace("Linear(2, 1)", "Linear(2, 1, bias=False)"))
    task = resolve("twice.py:task")
    assert isinstance(task, Task) and task.model.bias is None


def test_a_file_named_like_a_module_in_use_does_not_replace_it(here: Path) -> None:
    import json

    (here / "json.py").write_text(GOOD)
    assert isinstance(resolve("json.py:task"), Task)
    assert sys.modules["json"] is json


def test_a_case_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    def weights(text: str) -> torch.Tensor:
        task = load_task(text)
        return torch.cat([p.detach().reshape(-1) for p in task.model.parameters()])

    first = weights("case:least_squares")
    torch.testing.assert_close(first, weights("case:least_squares:0"), rtol=0, atol=0)
    other = weights("case:least_squares:1")
    assert other.shape != first.shape or not torch.equal(other, first)


def test_a_run_folder_is_a_path_of_which_nothing_is_run(here: Path) -> None:
    RunFolder.create(here / "runs" / "mine", task_reference="trap.py:task").close()
    (here / "trap.py").write_text("raise SystemExit('the task of a run folder was run')")
    assert resolve("runs/mine") == Path("runs/mine")
    with pytest.raises(ReferenceError, match="must lead to a task, but is a run folder"):
        load_task("runs/mine")


def test_a_folder_that_is_no_run_names_the_runs_in_it(here: Path) -> None:
    RunFolder.create(here / "runs" / "mine").close()
    assert said("runs") == (
        "runs must be a run folder, but has no run.toml; it holds the runs runs/mine"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("goood.py:task", "there is no file goood.py; did you mean good.py?"),
        ("goood.py", "there is no file goood.py; did you mean good.py?"),
        ("good.py", "good.py must name a callable in the file after a colon such as good.py:task"),
        ("good.py:tsk", "good.py has no tsk; did you mean task?"),
        ("good.py:xyzzy", "good.py has no xyzzy"),
        ("good:tsk", "good has no tsk; did you mean task?"),
        ("nowhere:task", "no module nowhere"),
        ("nowhere.inner:task", "no module nowhere"),
        ("good.py:", "must be file.py:callable, module:callable, case:NAME"),
        (":task", "must be file.py:callable, module:callable, case:NAME"),
        ("", "must be file.py:callable, module:callable, case:NAME"),
        ("xyzzy", "'xyzzy' leads nowhere"),
        ("x" * 5000, "leads nowhere"),
        ("x" * 5000 + ".py:task", "there is no file"),
        ("nul\0", "leads nowhere"),
        ("least_squares", "did you mean case:least_squares?"),
        ("case:least_square", "did you mean 'least_squares'?"),
        ("case:", "there are "),
        ("case:least_squares:-1", "must be a whole number of 0 or more, not '-1'"),
        ("case:least_squares:x", "must be a whole number of 0 or more, not 'x'"),
        ("weights.pt", "give the file with --checkpoint"),
        ("notes.txt", "notes.txt is a file, but must be"),
        ("notes.txt:task", "cannot be read as Python: "),
        ("bytes.py:task", "cannot be read as Python: "),
        ("broken.py:task", "cannot be read as Python: '(' was never closed (broken.py, line 2)"),
        ("raises.py:task", "raises.py:task failed: KeyError: 'lr' (raises.py, line 5)"),
        ("exits.py:task", "exits.py:task failed: SystemExit: 3 (exits.py, line 1)"),
        ("imports.py:task", "failed: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("imports:task", "failed: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("others.py:number", "must be a callable, but is an int"),
        ("others.py:none", "must return a thalweg.Task, but returned None"),
        ("others.py:model", "must return a thalweg.Task, but returned a Linear"),
        ("others.py:needs", "must be callable without arguments, but needs rate and steps"),
        ("others.py:empty_model", "model must have parameters, but Sequential has none to train"),
    ],
)
def test_a_reference_that_leads_nowhere_is_said_in_one_sentence(
    here: Path, text: str, expected: str
) -> None:
    (here / "good.py").write_text(GOOD)
    (here / "notes.txt").write_text("Not a line of this is Python, I am afraid.\n")
    (here / "bytes.py").write_bytes(b"\x00\xff\xfe")
    (here / "weights.pt").write_bytes(b"")
    (here / "broken.py").write_text("x = 1\ntask = (\n")
    (here / "raises.py").write_text(
        "def task():\n    return inner()\n\ndef inner():\n    {}['lr']\n"
    )
    (here / "exits.py").write_text("raise SystemExit(3)\n")
    (here / "imports.py").write_text("import no_such_thing\n")
    (here / "others.py").write_text(
        "import torch, thalweg\n"
        "number = 3\n"
        "none = lambda: None\n"
        "model = lambda: torch.nn.Linear(1, 1)\n"
        "needs = lambda rate, steps, more=1: None\n"
        "empty_model = lambda: thalweg.Task(model=torch.nn.Sequential(), train=(), optimizer=None)\n"
    )
    assert expected in said(text)


def test_the_line_named_is_the_users_even_where_a_library_raises(here: Path) -> None:
    (here / "deep.py").write_text(
        "import torch\n\ndef task():\n    return torch.zeros(2).view(3)\n"
    )
    assert said("deep.py:task").endswith("(deep.py, line 4)")


def test_a_module_with_an_error_names_the_line(here: Path) -> None:
    (here / "faulty_reference.py").write_text("x = 1\ny = x / 0\n")
    message = said("faulty_reference:task")
    assert message.endswith(
        "failed: ZeroDivisionError: division by zero (faulty_reference.py, line 2)"
    )


def test_a_suggestion_is_a_case_that_exists() -> None:
    near = said("case:tiny_strat").rpartition("did you mean ")[2].strip("'?")
    assert near in CASES
