"""The winner of a race gone on with: on copies, saved in a folder that reads as a run."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.diagnose.stuck import everything, normalised, same, solved
from tests.run.test_own_step import Loop, states
from thalweg.diagnose.examination import Examination
from thalweg.diagnose.race import race
from thalweg.diagnose.race_result import Race
from thalweg.diagnose.verdict import diagnose
from thalweg.errors import FolderError
from thalweg.record.folder import RunFolder
from thalweg.task import Task


def slow() -> Task:
    """A quadratic far from its minimum, at a rate that is far too low."""
    task = solved(dtype=torch.float64)
    task.optimizer.param_groups[0]["lr"] = 1e-3
    with torch.no_grad():
        task.model.get_parameter("weight").add_(0.5)
    return task


def applied(folder: Path, task: Task | None = None, **options: Any) -> Race:
    torch.manual_seed(17)
    return race(task or slow(), ["learning_rate x10"], budget=40, apply=folder, seeds=2, **options)


def test_the_weights_saved_are_those_of_the_cured_run(tmp_path: Path) -> None:
    """A quadratic's own closed form: w* + (1 − rate H)^40 (w − w*)."""
    task = slow()
    torch.manual_seed(17)
    before = everything(task)
    result = applied(tmp_path / "cured", task)
    assert same(before, everything(task))
    assert result.applied is not None and result.applied.cure == result.winner
    x = task.train[0]
    hessian = 2 / len(x) * x.T @ x + 0.1 * torch.eye(4, dtype=x.dtype)
    best = solved(dtype=torch.float64).model.get_parameter("weight").detach()
    shrink = torch.linalg.matrix_power(torch.eye(4, dtype=x.dtype) - 1e-2 * hessian, 40)
    start = task.model.get_parameter("weight").detach()
    expected = best + (shrink @ (start - best).T).T
    saved = load_file(result.applied.weights)
    assert saved["weight"] == pytest.approx(expected.numpy(), abs=1e-9)
    # Before, after, and the arm of the first seed, which is the same run.
    arm = result.arm("learning_rate x10")
    assert result.applied.before == (arm.losses[0][0], None)
    assert result.applied.after == (arm.losses[0][-1], None)
    objective = Examination.of(task, budget=math.inf).objective
    assert result.applied.after[0] == objective.value(saved["weight"].reshape(-1))


def test_the_folder_reads_as_a_run(tmp_path: Path) -> None:
    result = applied(tmp_path / "cured", task_reference="file.py:task")
    run = RunFolder.open(tmp_path / "cured")
    assert run.checkpoints() == [0, 40] and run.task_reference == "file.py:task"
    assert run.facts["cure"] == "learning_rate x10"
    start = slow().model.get_parameter("weight").detach()
    assert torch.equal(run.read_weights(0)["weight"], start)
    seen = run.metrics()
    assert len(seen["loss"].values) == 40 and set(seen["learning_rate"].values) == {1e-2}
    assert json.loads((tmp_path / "cured" / "race.json").read_text()) == result.to_dict()
    finding = diagnose(tmp_path / "cured", task=slow(), budget=20)
    assert finding.evidence["loss"].value == pytest.approx(result.applied.after[0])  # type: ignore[union-attr]


def test_a_run_of_another_optimizer_says_so_and_its_weights_serve_alone(tmp_path: Path) -> None:
    torch.manual_seed(17)
    result = race(slow(), ["adam 0.05"], budget=40, seeds=2, apply=tmp_path / "cured")
    assert result.applied is not None
    with pytest.raises(FolderError, match=r"run of SGD, but another .* after the cure adam 0\.05"):
        diagnose(tmp_path / "cured", task=slow(), budget=20)
    weights = result.applied.weights
    finding = diagnose(tmp_path / "cured", task=slow(), checkpoint=weights, budget=20)
    assert finding.evidence["loss"].value == pytest.approx(result.applied.after[0])


def test_an_applied_race_says_before_and_after(tmp_path: Path) -> None:
    result = applied(tmp_path / "cured", normalised())
    assert result.applied is None or result.applied.before[1] is not None
    plain = applied(tmp_path / "other").to_dict()["applied"]
    assert plain["before"]["train"] > plain["after"]["train"] and plain["after"]["test"] is None
    json.dumps(plain, allow_nan=False)


def noisy() -> Task:
    """A quadratic at its noise floor, where an average of the weights is nearer to the minimum."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    y = x @ torch.ones(3, 1, dtype=torch.float64)
    y = y + torch.randn(64, 1, generator=generator, dtype=torch.float64)
    model = torch.nn.Linear(3, 1, bias=False).double()
    torch.nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), 0.15)
    loss = torch.nn.functional.mse_loss
    return Task(model=model, loss=loss, train=(x, y), optimizer=optimizer, batch_size=2)


def test_what_answers_is_what_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(3)
    task = noisy()
    result = race(task, ["ema 0.98"], budget=10, seeds=3, apply=tmp_path / "cured")
    assert result.applied is not None
    objective = Examination.of(task, budget=math.inf).objective
    saved = load_file(result.applied.weights)["weight"].reshape(-1)
    assert objective.value(saved) == result.applied.after[0] == result.arm("ema 0.98").losses[0][-1]


def test_several_that_answer_together_are_saved_each(tmp_path: Path) -> None:
    torch.manual_seed(3)
    result = race(noisy(), ["snapshots over 40"], budget=10, seeds=3, apply=tmp_path / "cured")
    assert result.applied is not None and result.applied.weights == tmp_path / "cured" / "answers"
    members = sorted(result.applied.weights.iterdir())
    assert len(members) > 1 and all(
        load_file(member)["weight"].shape == (1, 3) for member in members
    )


def test_without_a_winner_nothing_is_saved(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "new" / "cured", tmp_path / "there"):
        result = race(slow(), ["learning_rate x0.1"], budget=40, seeds=2, apply=folder)
        assert result.winner is None and result.applied is None
    assert [each.name for each in tmp_path.rglob("*")] == ["there"]


def test_a_folder_that_holds_a_run_is_refused_before_the_race(tmp_path: Path) -> None:
    RunFolder.create(tmp_path)
    started: list[str] = []
    with pytest.raises(FolderError, match="apply must be a folder without a run"):
        applied(tmp_path, progress=lambda phrase, *_: started.append(phrase))
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot be written"):
        applied(tmp_path / "file", progress=lambda phrase, *_: started.append(phrase))
    assert not started


def test_a_users_own_step_is_applied_on_copies(tmp_path: Path) -> None:
    loop = Loop(["scaler", "average"])
    loop.run(3)
    before = states(loop.model, loop.optimizer, loop.parts)
    cures = ["learning_rate x0.001", "learning_rate x0.01"]
    result = race(loop.task(), cures, budget=4, seeds=2, apply=tmp_path / "cured")
    now = states(loop.model, loop.optimizer, loop.parts)
    assert [
        torch.equal(one[k], two[k])
        for one, two in zip(before[:1], now[:1], strict=True)
        for k in one
    ]
    assert (result.applied is None) is (result.winner is None)
