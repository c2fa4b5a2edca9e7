"""What a diagnosis starts from: a Task, a factory, a run folder, a checkpoint."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.diagnose.stuck import everything, momentum, normalised, own_penalty, same, trained
from thalweg.diagnose.race import race
from thalweg.diagnose.source import HistoryOnly, task_of
from thalweg.diagnose.verdict import diagnose
from thalweg.errors import FolderError, UsageError
from thalweg.record.folder import RunFolder
from thalweg.task import Task


def weights_of(task: Any) -> list[torch.Tensor]:
    assert isinstance(task, Task)
    return list(task.model.state_dict().values())


def test_a_task_is_itself_and_a_factory_is_asked() -> None:
    task = momentum()
    assert task_of(task) is task
    assert task_of(lambda: task) is task
    assert diagnose(momentum, budget=60, probe=False).to_dict() == (
        diagnose(task, budget=60, probe=False).to_dict()
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (lambda: 3, "the factory must return a Task, but returned int"),
        (17, "source must be a Task, a factory of one or a run folder, not int"),
        (None, "source must be a Task, a factory of one or a run folder, not NoneType"),
        (nn.Linear(2, 2), "source must be a Task, a factory of one or a run folder, not Linear"),
        ("no/such/run", "must hold a run, but does not exist"),
    ],
)
def test_what_is_no_source_is_said_in_a_sentence(source: Any, said: str) -> None:
    for job in (diagnose, race):
        with pytest.raises(UsageError, match=said):
            job(source)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"budget": 0}, "budget must be a number above 0, not 0"),
        ({"budget": float("nan")}, "budget must be a number above 0"),
        ({"budget": "300"}, "budget must be a number above 0, not '300'"),
        ({"share": 0.0}, "share must be a number above 0, not 0.0"),
        ({"share": "a tenth"}, "share must be a number above 0, not 'a tenth'"),
    ],
)
def test_numbers_out_of_range_are_said_in_a_sentence(arguments: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        diagnose(momentum(), **arguments)


def test_a_share_is_one_of_what_the_run_computes() -> None:
    """12 steps of 16 of 96 examples are 2 evaluations; 3000 steps are 500."""
    long = dataclasses.replace(momentum(), steps=3000, history=None)
    whole = diagnose(long, budget=100, probe=False)
    assert diagnose(long, share=0.2, probe=False).to_dict() == whole.to_dict()
    by_history = dataclasses.replace(momentum(), history=[1.0] * 3000)
    assert diagnose(by_history, share=0.2, probe=False).cost == pytest.approx(whole.cost, rel=0.3)
    with pytest.raises(UsageError, match=r"share needs task\.steps or a history"):
        diagnose(dataclasses.replace(momentum(), history=None), share=0.1)


def test_a_small_budget_is_kept_by_a_small_sample() -> None:
    """5 evaluations of 3000 examples last for a sample of 150: the fewest, 256, are drawn."""
    torch.manual_seed(0)
    x = torch.randn(3000, 4)
    model = nn.Linear(4, 1)
    task = Task(
        model=model,
        loss=nn.functional.mse_loss,
        train=(x, x.sum(1, keepdim=True)),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        batch_size=32,
    )
    small, large = (diagnose(task, budget=budget, probe=False) for budget in (5.0, 300.0))
    assert any("measured on 256 of 3000 examples" in note for note in small.notes)
    assert any("measured on 2048 of 3000 examples" in note for note in large.notes)
    assert small.cost < 3 * 5.0 < large.cost
    took = f"it took {small.cost:.3g} gradient evaluations over the data, more than its budget of 5"
    assert any(took in note for note in small.notes) == (small.cost > 1.5 * 5.0)
    assert not any("more than its budget" in note for note in large.notes)


# Run folders -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of `normalised`, its history, and checkpoints after 12 and after 30 steps."""
    run = RunFolder.create(tmp_path / "mine")
    task = normalised()
    for step, loss in enumerate(task.history):
        run.append(step, loss=loss)
    run.save_checkpoint(12, task.model, task.optimizer, task.schedule)
    task = trained(task, 18)
    for step, loss in enumerate(task.history, start=12):
        run.append(step, loss=loss)
    run.save_checkpoint(30, task.model, task.optimizer, task.schedule)
    run.close()
    return tmp_path / "mine"


def test_a_run_without_a_task_is_its_history(folder: Path) -> None:
    found = task_of(folder)
    assert isinstance(found, HistoryOnly) and found.name == "mine"
    assert "history" in found.notes[0]
    with pytest.raises(UsageError, match="a race needs the run's task"):
        race(folder, ["adam"])


def test_a_run_with_its_task_stands_at_its_latest_checkpoint(folder: Path) -> None:
    task, latest = normalised(), trained(normalised(), 18)
    before = everything(task)
    found = task_of(str(folder), task=task)
    assert isinstance(found, Task)
    assert same(weights_of(found), weights_of(latest))
    assert same(found.optimizer.state_dict(), latest.optimizer.state_dict())
    assert found.schedule is not None and latest.schedule is not None
    assert same(found.schedule.state_dict(), latest.schedule.state_dict())
    held = [p for group in found.optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in held] == [id(p) for p in found.model.parameters()]
    assert found.schedule.optimizer is found.optimizer  # type: ignore[attr-defined]
    assert len(found.history["loss"].values) == 30 and found.name == "mine"
    assert same(before, everything(task)), "the task given stays where it was"
    finding = diagnose(folder, task=task, budget=60, probe=False)
    assert finding.notes == () or "history" not in finding.notes[0]
    assert finding.evidence.value("history_start") > 0
    assert same(before, everything(task))


def test_an_optimizer_that_keeps_more_than_its_state_comes_along(tmp_path: Path) -> None:
    task = momentum()
    task = dataclasses.replace(
        task, optimizer=torch.optim.LBFGS(task.model.parameters(), max_iter=3), history=None
    )
    torch.save(task.model.state_dict(), tmp_path / "weights.pt")
    finding = diagnose(task, checkpoint=tmp_path / "weights.pt", budget=60, probe=False)
    assert "unchanged_fall" in finding.evidence


def test_a_schedule_that_the_run_did_not_keep_stays_as_given(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "mine")
    task = normalised()
    run.save_checkpoint(12, task.model, task.optimizer)
    found = task_of(tmp_path / "mine", task=normalised())
    assert isinstance(found, Task) and found.schedule is not None and task.schedule is not None
    assert same(found.schedule.state_dict(), task.schedule.state_dict())


def test_a_run_without_checkpoints_is_its_task_and_its_history(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "mine").append(0, loss=1.0)
    task = momentum()
    found = task_of(tmp_path / "mine", task=task)
    assert isinstance(found, Task) and found.model is task.model
    assert list(found.history["loss"].values) == [1.0]


def test_a_checkpoint_goes_before_the_latest_of_the_run(folder: Path) -> None:
    found = task_of(folder, task=normalised(), checkpoint=folder / "checkpoints" / "step-00000012")
    assert same(weights_of(found), weights_of(normalised()))


# Checkpoints -----------------------------------------------------------------------------------


def moved(task: Task) -> dict[str, torch.Tensor]:
    return {
        name: value + 1 if value.is_floating_point() else value.clone()
        for name, value in task.model.state_dict().items()
    }


SAVED: dict[str, Callable[[dict[str, torch.Tensor], Path], object]] = {
    "safetensors": lambda state, path: save_file(state, path.with_suffix(".safetensors")),
    "pt": lambda state, path: torch.save(state, path.with_suffix(".pt")),
    "nested.pt": lambda state, path: torch.save(
        {"epoch": 3, "model_state_dict": state}, path.with_suffix(".nested.pt")
    ),
}


@pytest.mark.parametrize("kind", SAVED)
def test_weights_of_a_checkpoint_are_examined_and_the_task_stays_where_it_is(
    kind: str, tmp_path: Path
) -> None:
    task = normalised()
    before, state = everything(task), moved(task)
    SAVED[kind](state, tmp_path / "weights")
    found = task_of(lambda: task, checkpoint=tmp_path / f"weights.{kind}")
    assert same(weights_of(found), list(state.values()))
    assert same(before, everything(task))


def test_a_diagnosis_of_a_checkpoint_is_that_of_a_model_with_its_weights(tmp_path: Path) -> None:
    task = normalised()
    before, state = everything(task), moved(task)
    torch.save(state, tmp_path / "weights.pt")
    there = copy.deepcopy(task)
    there.model.load_state_dict(state)
    finding = diagnose(task, checkpoint=tmp_path / "weights.pt", budget=60, probe=False)
    assert finding.evidence.value("loss") == pytest.approx(
        diagnose(there, budget=60, probe=False).evidence.value("loss")
    )
    assert same(before, everything(task))


def test_weights_are_not_put_into_a_copy_that_the_loss_does_not_read(tmp_path: Path) -> None:
    """Its penalty would stay that of the user's own weights, and the verdict be one on another loss."""
    task = own_penalty()
    torch.save(task.model.state_dict(), tmp_path / "weights.pt")
    before = everything(task)
    with pytest.raises(UsageError, match="the loss reads the model's own objects"):
        diagnose(task, checkpoint=tmp_path / "weights.pt")
    assert same(before, everything(task))


class Trap:
    def __reduce__(self) -> Any:
        return (open, ("sprung", "w"))


def test_a_checkpoint_that_does_not_fit_or_carries_code_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = normalised()
    state = task.model.state_dict()
    spoiled = {
        "shape": (state | {"0.weight": torch.zeros(12, 7)}, r"0\.weight of shape \(12, 7\)"),
        "missing": ({k: v for k, v in state.items() if k != "3.bias"}, "lacks|no 3"),
        "extra": (state | {"more": torch.zeros(1)}, "has no more"),
        "trap": ({"0.weight": Trap()}, "carries code"),
    }
    spoiled["missing"][0].pop("0.bias")
    before = everything(task)
    for name, (content, said) in spoiled.items():
        torch.save(content, tmp_path / f"{name}.pt")
        with pytest.raises(FolderError, match=said):
            diagnose(task, checkpoint=tmp_path / f"{name}.pt")
    with pytest.raises(FolderError, match="does not exist"):
        diagnose(task, checkpoint=tmp_path / "nowhere.pt")
    assert not (tmp_path / "sprung").exists()
    assert same(before, everything(task))
