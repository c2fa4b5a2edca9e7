"""The race: arms from one state at equal cost, judged over seeds, kept in a folder."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.diagnose.stuck import (
    everything,
    fresh,
    frozen,
    loader,
    momentum,
    normalised,
    own_penalty,
    same,
    small_start,
    solved,
)
from thalweg.diagnose import cures
from thalweg.diagnose.cures import Cure, Ground
from thalweg.diagnose.race import race
from thalweg.diagnose.race_result import Race
from thalweg.errors import FolderError, UsageError
from thalweg.objective.supervised import Supervised
from thalweg.run.training import Training
from thalweg.run.view import OptimizerView
from thalweg.task import Task

LOOKS = 20
SHORT = 2 * LOOKS * 16 / 96
"""Evaluations in which 40 batches of 16 of 96 examples are seen: two steps a look."""


def plain(result: Race) -> Any:
    return json.loads(json.dumps(result.to_dict()))


# The unchanged arm is the user's own run -------------------------------------------------------


def batches(task: Task) -> Iterator[Any]:
    train = task.train
    if not isinstance(train, DataLoader):
        size = task.batch_size or len(train[0])
        train = DataLoader(TensorDataset(*train), size, shuffle=size < len(train[0]))
    while True:
        yield from train


def users_own_loop(task: Task, steps: int, every: int) -> list[float]:
    """Plain torch on the user's own objects; the loss over all the data now and then."""
    decay = OptimizerView.of(task).decay
    measured = any(isinstance(m, nn.BatchNorm1d) and m.training for m in task.model.modules())
    mode: dict[str, Any] = {"mode": "batch", "chunk": task.batch_size} if measured else {}

    def look() -> float:
        with torch.random.fork_rng(devices=[]):
            here = Supervised(task.model, task.loss, task.train, decay=decay, **mode)
            return here.value(here.point())

    losses, source = [look()], batches(task)
    assert task.loss is not None
    for step in range(1, steps + 1):
        x, y = next(source)
        task.optimizer.zero_grad()
        task.loss(task.model(x), y).backward()
        task.optimizer.step()
        if task.schedule is not None:
            task.schedule.step()
        if step % every == 0:
            losses.append(look())
    return losses


@pytest.mark.parametrize("make", [momentum, normalised, loader, frozen, own_penalty, solved])
def test_the_unchanged_arm_takes_the_users_own_steps_to_the_bit(make: Callable[[], Task]) -> None:
    """Shuffling, dropout, BatchNorm, momentum, Adam, schedule, decay, a loader's generator."""
    task = make()
    full = task.batch_size is None and not isinstance(task.train, DataLoader)
    torch.manual_seed(31)
    before = everything(task)
    result = race(task, ["learning_rate x0.5"], budget=2 * LOOKS if full else SHORT, seeds=1)
    assert same(before, everything(task))
    arm = result.arm("unchanged")
    assert list(arm.losses[0]) == users_own_loop(task, 2 * LOOKS, 2)
    assert arm.outcome == "no difference" and arm.gain.value == 0.0


@pytest.mark.parametrize("make", [normalised, loader])
def test_another_seed_is_another_run_from_the_same_state(make: Callable[[], Task]) -> None:
    """Else the spread over the seeds would be nought, and any difference a certain one."""
    result = race(make(), ["perturb"], budget=SHORT, seeds=3)
    for arm in result.arms:
        assert len(set(arm.losses)) == 3
        assert len({row[0] for row in arm.losses}) == 1


# Equal cost, one start -------------------------------------------------------------------------


class Counting(nn.Module):
    """Counts the examples that training passes through it, and how many it had at each look."""

    seen = 0
    looks: ClassVar[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            Counting.seen += len(x)
        else:
            Counting.looks.append(Counting.seen)
        return x


def counted() -> Task:
    task = momentum()
    model = task.model
    assert isinstance(model, nn.Sequential)
    model.append(Counting())
    return task


def test_arms_are_compared_where_they_have_spent_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches eight times as large (here the whole data, six times) take as many steps fewer."""
    spent: dict[str, int] = {}
    names = ["batch_size x8", "batch_size x2", "adam"]

    def progress(phrase: str, done: int, total: int) -> None:
        spent[str(done)] = Counting.seen

    monkeypatch.setattr(Counting, "seen", 0)
    result = race(counted(), names, budget=30, seeds=1, progress=progress)
    each = [after - before for before, after in pairwise(spent.values())]
    assert each == [30 * 96] * len(result.arms) and len(result.arms) >= 4
    assert len({arm.evaluations for arm in result.arms}) == 1
    assert result.arms[0].evaluations[-1] == 30


@pytest.mark.parametrize("name", ["newton_cg 5", "basin_hopping 12", "sharpness_aware 0.05"])
def test_a_cure_whose_steps_are_long_spends_no_more_than_the_unchanged_run(name: str) -> None:
    """A step of Newton's takes 14.7 evaluations here, and one of basin hopping 12.3: of 20, one."""
    named = [name, "perturb"]
    result = race(momentum(), named, budget=20, seeds=1)
    looks = LOOKS / 3
    assert result.arm("unchanged").gain.cost == pytest.approx(20 + looks)
    assert result.arm(name).gain.cost <= 20 + looks + 0.5 / 6 + 1e-9
    short = race(momentum(), named, budget=8, seeds=1)
    assert short.arm(name).gain.cost <= 8 + looks + 0.5 / 6 + 1e-9


def test_a_cure_that_never_took_a_step_is_told_and_one_that_did_is_not() -> None:
    """A step of Newton's takes 25 evaluations, and a range test that blows up half-way 25."""
    result = race(momentum(), ["newton_cg 10", "range_test 300", "perturb"], budget=10, seeds=2)
    told = "costs more, or as steps change nothing here: "
    moved, _, still = result.claim.partition(told)
    assert sorted(still.rstrip(".").split(", ")) == [
        "newton_cg 10 (up to 10)",
        "range_test 300 (up to 10)",
    ]
    assert "perturb" not in moved and told in str(result).replace("\n    ", " ")
    assert told not in race(momentum(), ["perturb"], budget=2, seeds=2).claim


def test_an_optimizer_of_many_evaluations_a_step_is_looked_at_where_the_others_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = solved(dtype=torch.float64)
    with torch.no_grad():
        task.model.get_parameter("weight").add_(1.0)
    lbfgs = torch.optim.LBFGS(
        task.model.parameters(), 1e-3, max_iter=10, tolerance_grad=0, tolerance_change=0
    )
    task = dataclasses.replace(task, model=nn.Sequential(Counting(), task.model), optimizer=lbfgs)
    monkeypatch.setattr(Counting, "seen", 0)
    monkeypatch.setattr(Counting, "looks", [])
    arm = race(task, [], budget=200, seeds=1).arm("unchanged")
    spent = [0.0, *(seen / 96 for seen in Counting.looks[-LOOKS:])]
    for goal, seen in zip(arm.evaluations, spent, strict=True):
        assert goal - 0.5 <= seen <= goal + 13  # the last step's evaluations may pass the mark


def test_all_arms_of_all_seeds_start_from_the_loss_where_the_training_stands() -> None:
    task = momentum()
    named = ["restart", "perturb 3", "negative_curvature", "adam", "batch_size x8", "clip"]
    result = race(task, named, budget=SHORT, seeds=2)
    here = Supervised(task.model, task.loss, task.train, decay=OptimizerView.of(task).decay)
    assert {row[0] for arm in result.arms for row in arm.losses} == {here.value(here.point())}
    assert {arm.name for arm in result.arms} >= {"unchanged", "perturb 3", "clip 1"}


def test_the_cost_is_that_of_all_steps_and_looks() -> None:
    result = race(momentum(), ["perturb"], budget=SHORT, seeds=2)
    one_run = SHORT + LOOKS / 3
    assert result.cost == pytest.approx(4 * one_run + 1 / 3)  # and one look where all start
    assert sum(arm.gain.cost for arm in result.arms) == pytest.approx(4 * one_run)


# Who wins --------------------------------------------------------------------------------------


def test_a_cure_that_helps_wins_by_the_difference_of_the_closed_form() -> None:
    """Full-batch descent on a quadratic has no noise: (1 - rate H)^k against (1 - 10 rate H)^k."""
    task = solved(dtype=torch.float64)
    weight = task.model.get_parameter("weight")
    task.optimizer.param_groups[0]["lr"] = 1e-3
    best = weight.detach().clone()
    with torch.no_grad():
        weight.add_(0.5)
    x = task.train[0]
    hessian = 2 / len(x) * x.T @ x + 0.1 * torch.eye(4, dtype=x.dtype)
    start = (weight.detach() - best).T

    def excess(rate: float, steps: int) -> float:
        shrink = torch.eye(4, dtype=x.dtype) - rate * hessian
        error = torch.linalg.matrix_power(shrink, steps) @ start
        return float(0.5 * error.T @ hessian @ error)

    result = race(task, ["learning_rate x10", "learning_rate x0.1"], budget=2 * LOOKS)
    expected = sum(excess(1e-3, 2 * k) - excess(1e-2, 2 * k) for k in range(17, 21)) / 4
    assert result.winner == "learning_rate x10"
    arm = result.arm("learning_rate x10")
    assert arm.gain.value == pytest.approx(expected) and arm.outcome == "helps"
    assert arm.spread == pytest.approx((expected, expected))
    assert arm.gain.error == pytest.approx(0, abs=1e-12)
    assert [a.name for a in result.arms] == ["learning_rate x10", "unchanged", "learning_rate x0.1"]
    assert result.arm("learning_rate x0.1").outcome == "harms"
    assert result.sentence.startswith("learning_rate x10 wins: ")
    assert result.sentence.endswith(", the same in all 3 seeds.")
    pair = race(task, ["learning_rate x10"], budget=2 * LOOKS, seeds=2)
    assert pair.sentence.endswith(", the same in both seeds.")


def scripted(name: str, *levels: float) -> Cure:
    """A cure after which the runs of each seed stand at the levels given, whatever their steps."""
    coming = iter(levels)

    def change(training: Training, ground: Ground) -> None:
        for group in training.optimizer.param_groups:
            group["lr"] = 0.0
        training.place(torch.full_like(training.point(), next(coming)))

    return Cure(name, "For a test.", "pass", change)


def flat_task() -> Task:
    """A loss that is the parameter itself, and a user's run that stands still at 1."""

    class Level(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.level.expand(len(x))

    model = Level()
    return Task(
        model=model,
        loss=lambda output, target: output.mean(),
        train=(torch.zeros(8, 1), torch.zeros(8)),
        optimizer=torch.optim.SGD(model.parameters(), 0.0),
    )


@pytest.mark.parametrize(
    ("levels", "outcome"),
    [
        # Gains 0.30, 0.31, 0.29: mean 0.3, t(2) · s/√3 = 4.303 · 0.00577 = 0.025.
        ((0.70, 0.69, 0.71), "helps"),
        # Gains 0.3, 0.6, 0.0: mean 0.3, half-width 4.303 · 0.173 = 0.745.
        ((0.70, 0.40, 1.00), "no difference"),
        # Twice the scatter that still helps by a Gaussian's 1.96 does not by Student's 4.30.
        ((0.70, 0.57, 0.83), "no difference"),
        ((1.30, 1.31, 1.29), "harms"),
        ((1.0, 1.0, 1.0), "no difference"),
        ((1.0 - 1e-9, 1.0 - 1e-9, 1.0 - 1e-9), "no difference"),
        ((0.5, math.inf, 0.5), "diverged"),
        ((math.nan, math.nan, math.nan), "diverged"),
    ],
)
def test_an_outcome_is_told_by_the_interval_of_student_over_the_seeds(
    levels: tuple[float, ...], outcome: str
) -> None:
    result = race(flat_task(), [scripted("moved", *levels)], budget=20)
    arm = result.arm("moved")
    assert arm.outcome == outcome
    assert result.winner == ("moved" if outcome == "helps" else None)
    if outcome != "diverged":
        gains = [1.0 - level for level in levels]
        mean = sum(gains) / 3
        assert arm.gain.value == pytest.approx(mean, abs=1e-9)
        deviation = math.sqrt(sum((gain - mean) ** 2 for gain in gains) / 2)
        assert arm.gain.error == pytest.approx(deviation / math.sqrt(3), abs=1e-9)
        assert arm.spread == pytest.approx((min(gains), max(gains)))


def test_one_seed_decides_nothing() -> None:
    result = race(flat_task(), [scripted("moved", 0.1)], budget=20, seeds=1)
    assert result.arm("moved").outcome == "no difference" and result.winner is None


def test_a_cure_that_diverges_is_told_and_stands_last() -> None:
    result = race(momentum(), ["learning_rate x1000000", "learning_rate x2"], budget=SHORT, seeds=2)
    assert result.arms[-1].name == "learning_rate x1e+06"
    assert result.arms[-1].outcome == "diverged"
    assert math.isnan(result.arms[-1].gain.value)
    row = result.arms[-1].losses[0]
    assert len(row) == LOOKS + 1 and math.isfinite(row[0]) and math.isnan(row[-1])
    assert not any(map(math.isinf, row))
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["arms"][-1]["gain"]["value"] is None


def blowing_up() -> Task:
    task = solved()
    task.optimizer.param_groups[0]["lr"] = 50.0
    with torch.no_grad():
        task.model.get_parameter("weight").add_(1.0)
    return task


def test_where_the_users_run_blows_up_the_cure_that_ends_lowest_wins() -> None:
    result = race(
        blowing_up(), ["learning_rate x0.0001", "learning_rate x0.001", "learning_rate x2"]
    )
    assert result.arm("unchanged").outcome == "diverged"
    assert result.winner == "learning_rate x0.001"
    assert [arm.name for arm in result.arms[:2]] == [
        "learning_rate x0.001",
        "learning_rate x0.0001",
    ]
    assert result.arm("learning_rate x2").outcome == "diverged"
    assert "diverged" in result.sentence and "nan" not in result.sentence


def test_staying_finite_is_no_help_where_it_rises_as_well() -> None:
    result = race(blowing_up(), ["learning_rate x0.02"], budget=40)
    arm = result.arm("learning_rate x0.02")
    assert result.arm("unchanged").outcome == "diverged"
    assert math.isfinite(arm.losses[0][-1]) and arm.losses[0][-1] > arm.losses[0][0]
    assert arm.outcome == "no difference" and result.winner is None


def test_judged_by_held_out_loss_where_there_is_some() -> None:
    task = normalised()
    result = race(task, ["weight_decay"], budget=SHORT, seeds=1)
    assert result.judged_by == "test"
    assert len(result.arms[0].test_losses[0]) == LOOKS + 1
    assert race(task, ["clip"], budget=SHORT, seeds=1).judged_by == "train"
    with pytest.raises(UsageError, match="needs the task's test data"):
        race(momentum(), ["clip"], judged_by="test")


def test_without_cures_those_of_a_diagnosis_are_raced() -> None:
    task = small_start()
    with torch.no_grad():
        for p in task.model.parameters():
            p.zero_()
    result = race(task, budget=30, seeds=2)
    arms = {arm.name for arm in result.arms}
    assert arms >= {"unchanged", "perturb 1", "restart"}
    assert result.winner is not None
    assert set(result.winner.split(" + ")) <= arms | {"negative_curvature", "adam 0.01"}
    assert result.cost > sum(arm.gain.cost for arm in result.arms) + 50  # and so was it


# The same call, the same race ------------------------------------------------------------------

CURES = ["learning_rate x0.3", "perturb", "restart", "batch_size x2"]


def test_the_same_call_gives_the_same_race() -> None:
    results = []
    for _ in range(2):
        task = normalised()
        torch.manual_seed(17)
        before = everything(task)
        results.append(plain(race(task, CURES, budget=SHORT, seeds=2)))
        assert same(before, everything(task))
    assert results[0] == results[1]


def test_a_cure_runs_the_same_whatever_runs_beside_it() -> None:
    torch.manual_seed(17)
    together = race(momentum(), CURES, budget=SHORT, seeds=2)
    torch.manual_seed(17)
    alone = race(momentum(), "perturb", budget=SHORT, seeds=2)
    assert alone.arm("perturb 0.1") == together.arm("perturb 0.1")


def test_an_interruption_leaves_the_users_objects_and_the_race_goes_on_from_it(
    tmp_path: Path,
) -> None:
    torch.manual_seed(17)
    whole = plain(race(normalised(), CURES, budget=SHORT, seeds=2, folder=tmp_path / "whole"))
    calls: list[str] = []

    def interrupt(phrase: str, done: int, total: int) -> None:
        calls.append(phrase)
        if len(calls) == 5:
            raise KeyboardInterrupt

    task = normalised()
    torch.manual_seed(17)
    before = everything(task)
    with pytest.raises(KeyboardInterrupt):
        race(task, CURES, budget=SHORT, seeds=2, folder=tmp_path / "torn", progress=interrupt)
    assert same(before, everything(task))
    file = tmp_path / "torn" / "race.jsonl"
    finished = file.read_text().splitlines()
    assert len(finished) == 1 + 4
    with file.open("a") as torn:  # and the power failed while the fifth was written
        torn.write('{"key": "perturb 0.1|0|3", "losses": [1.0, 0.')
    resumed = plain(race(task, CURES, budget=SHORT, seeds=2, folder=tmp_path / "torn"))
    assert resumed == whole
    assert file.read_text().splitlines()[:5] == finished
    assert same(before, everything(task))
    kept = file.read_text()
    assert plain(race(task, CURES, budget=SHORT, seeds=2, folder=tmp_path / "torn")) == whole
    assert file.read_text() == kept  # the torn line took no other with it


def test_what_is_finished_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = momentum()
    torch.manual_seed(17)
    first = plain(race(task, CURES, budget=SHORT, seeds=2, folder=tmp_path))

    def refuse(self: Training, steps: int) -> bool:
        raise AssertionError("a finished arm was run again")

    with monkeypatch.context() as patch:
        patch.setattr(Training, "advance", refuse)
        assert plain(race(task, CURES, budget=SHORT, seeds=2, folder=tmp_path)) == first
    before = len((tmp_path / "race.jsonl").read_text().splitlines())
    more = race(task, [*CURES, "clip"], budget=SHORT, seeds=2, folder=tmp_path)
    kept = [json.loads(line) for line in (tmp_path / "race.jsonl").read_text().splitlines()]
    assert {line["arm"] for line in kept[before:]} >= {"clip 1"}
    assert not {line["arm"] for line in kept[before:]} & {"unchanged", *CURES}
    assert {arm.name for arm in more.arms} >= {"clip 1", "perturb 0.1", "batch_size x2"}


def another_weight(task: Task) -> Task:
    with torch.no_grad():
        next(iter(task.model.parameters())).flatten()[0] += 1e-6
    return task


def another_example(task: Task) -> Task:
    x, y = task.train
    return dataclasses.replace(task, train=(x.index_fill(0, torch.tensor([5]), 0.25), y))


def another_label(task: Task) -> Task:
    x, y = task.train
    return dataclasses.replace(task, train=(x, y.flip(0)))


def another_rate(task: Task) -> Task:
    task.optimizer.param_groups[0]["lr"] *= 1.5
    return task


def another_momentum(task: Task) -> Task:
    task.optimizer.param_groups[0]["momentum"] = 0.8
    return task


def another_optimizer_state(task: Task) -> Task:
    for state in task.optimizer.state.values():
        state["momentum_buffer"] *= 2
    return task


def another_batch_size(task: Task) -> Task:
    return dataclasses.replace(task, batch_size=12)


def another_random_state(task: Task) -> Task:
    torch.manual_seed(18)
    return task


def another_mode(task: Task) -> Task:
    task.model.eval()
    return task


def another_schedule(task: Task) -> Task:
    for p in task.model.parameters():
        p.grad = None
    schedule = torch.optim.lr_scheduler.ExponentialLR(task.optimizer, 0.9)
    task.optimizer.step()  # without gradients: nothing but that a schedule may step after it
    schedule.step()
    task.optimizer.param_groups[0]["lr"] /= 0.9
    return dataclasses.replace(task, schedule=schedule)


def another_loss(task: Task) -> Task:
    loss = task.loss
    assert loss is not None
    return dataclasses.replace(task, loss=lambda o, t: 2 * loss(o, t))


def another_step(task: Task) -> Task:
    def step(model: nn.Module, batch: Any, optimizer: Any) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    return dataclasses.replace(task, step=step)


@pytest.mark.parametrize(
    "change",
    [
        another_step,
        another_weight,
        another_example,
        another_label,
        another_rate,
        another_momentum,
        another_optimizer_state,
        another_batch_size,
        another_random_state,
        another_mode,
        another_schedule,
        another_loss,
    ],
)
def test_the_folder_of_another_race_is_refused(
    change: Callable[[Task], Task], tmp_path: Path
) -> None:
    torch.manual_seed(17)
    race(momentum(), ["clip"], budget=2, seeds=1, folder=tmp_path)
    kept = (tmp_path / "race.jsonl").read_text()
    torch.manual_seed(17)
    race(momentum(), ["clip"], budget=2, seeds=1, folder=tmp_path)
    assert (tmp_path / "race.jsonl").read_text() == kept  # the very same state: nothing new
    torch.manual_seed(17)
    with pytest.raises(FolderError, match="holds one of another state or budget"):
        race(change(momentum()), ["clip"], budget=2, seeds=1, folder=tmp_path)
    assert (tmp_path / "race.jsonl").read_text() == kept


def test_a_folder_whose_first_line_was_torn_is_no_other_race(tmp_path: Path) -> None:
    """A kill while the race was being named; whoever comes next names it."""
    (tmp_path / "race.jsonl").write_text('{"format": 2, "sta')
    for _ in range(2):
        torch.manual_seed(17)
        race(momentum(), ["clip"], budget=2, seeds=1, folder=tmp_path)
        assert len((tmp_path / "race.jsonl").read_text().splitlines()) == 1 + 1 + 2
    with pytest.raises(FolderError, match="name another folder"):
        race(momentum(), ["clip"], budget=3, seeds=1, folder=tmp_path)


def test_another_budget_is_another_race_and_another_strength_another_run(tmp_path: Path) -> None:
    torch.manual_seed(17)
    race(momentum(), ["clip"], budget=2, seeds=1, folder=tmp_path)
    torch.manual_seed(17)
    with pytest.raises(FolderError, match="name another folder"):
        race(momentum(), ["clip"], budget=3, seeds=1, folder=tmp_path)
    race(momentum(), ["clip 0.5"], budget=2, seeds=1, folder=tmp_path)
    assert len((tmp_path / "race.jsonl").read_text().splitlines()) == 1 + 2 + 1


def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    started: list[str] = []
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FolderError, match="cannot keep the race"):
            race(
                momentum(),
                ["clip"],
                folder=folder,
                progress=lambda phrase, *_: started.append(phrase),
            )
    (tmp_path / "taken" / "race.jsonl").mkdir(parents=True)
    with pytest.raises(FolderError, match="cannot"):
        race(momentum(), ["clip"], folder=tmp_path / "taken")
    assert started == []


# What cannot be raced --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["adma"], r"not 'adma': did you mean 'adam 0.01'\?"),
        (["Adma"], r"not 'Adma': did you mean 'adam 0.01'\?"),
        (["learning_rate"], r"not 'learning_rate': did you mean 'learning_rate x0.1'\?"),
        (["learning rate x0.1"], r"not 'learning rate x0.1': did you mean 'learning_rate x0.1'\?"),
        (["batch_size x-2"], "not 'batch_size x-2': factor must be a number above 0, not -2"),
        (["clip + ema 1"], "not 'clip \\+ ema 1': decay must be a number between 0 and 1, not 1"),
        (["perturb", "levitate"], "not 'levitate': there are learning_rate x0.1, "),
        ([""], "not '': there are learning_rate x0.1"),
        ([" "], "not ' ': there are learning_rate x0.1"),
        ([None], "not None: there are learning_rate x0.1"),
        ([3], "not 3: there are learning_rate x0.1"),
        (["adam 0.01 + adamw 0.01"], "not 'adam 0.01 \\+ adamw 0.01': the second would undo"),
        (["clip + perturb 0.1 + adam"], "known ones or pairs of them, not .*: no more than two"),
        (["clip 1 + scale_inputs"], "scale_inputs is advice that only a person can follow"),
        (["adam 0.01 + adma"], r"did you mean 'adam 0.01'\?"),
        (["scale_inputs", "larger_model"], "only advice was given: scale_inputs, larger_model"),
        ([cures.clean_data()], "only advice was given: clean_data"),
    ],
)
def test_cures_that_cannot_be_raced_are_said_in_one_sentence(named: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        race(momentum(), named, budget=2, seeds=1)
    assert "\n" not in str(caught.value)


def test_advice_beside_cures_is_left_out_and_each_cure_is_raced_once() -> None:
    named = ["scale_inputs", "clip", "clip 1", cures.clip()]
    result = race(momentum(), named, budget=2, seeds=1)
    assert sorted(arm.name for arm in result.arms) == ["clip 1", "unchanged"]


def test_a_cure_that_does_not_fit_the_training_is_said_in_one_sentence() -> None:
    model = fresh(lambda: nn.Sequential(nn.Embedding(9, 3, sparse=True), nn.Flatten()))
    tokens = torch.randint(9, (32, 1), generator=torch.Generator().manual_seed(1))
    task = Task(
        model=model,
        loss=F.cross_entropy,
        train=(tokens, tokens[:, 0] % 3),
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
    )
    assert race(task, ["learning_rate x3"], budget=4, seeds=1).arms
    with pytest.raises(UsageError, match=r"cures must fit the training, but adam 0\.01 does not: "):
        race(task, ["adam"], budget=4, seeds=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"seeds": 0}, "seeds must be a whole number of at least 1, not 0"),
        ({"seeds": 1.5}, "seeds must be a whole number of at least 1, not 1.5"),
        ({"budget": 0}, "budget must be a number above 0, not 0"),
        ({"budget": math.inf}, "budget must be a number above 0, not inf"),
        ({"budget": "much"}, "budget must be a number above 0, not 'much'"),
        ({"judged_by": "eye"}, "judged_by must be train or test, not 'eye'"),
    ],
)
def test_numbers_out_of_range_are_said_in_one_sentence(arguments: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        race(momentum(), ["clip"], **arguments)


# The user's own objects, lent ------------------------------------------------------------------


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_loss_that_reads_the_users_model_is_raced_on_it_and_put_back(interrupted: bool) -> None:
    """An explicit penalty must move with the fork: it is part of what each arm goes down."""
    task = own_penalty()
    before = everything(task)
    calls = [0]

    def progress(phrase: str, done: int, total: int) -> None:
        calls[0] += 1
        if interrupted and calls[0] == 4:
            raise KeyboardInterrupt

    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            race(task, CURES, budget=SHORT, seeds=1, progress=progress)
    else:
        result = race(task, CURES, budget=SHORT, seeds=1, progress=progress)
        assert all(len(set(arm.losses[0])) > len(arm.losses[0]) // 2 for arm in result.arms)
    assert same(before, everything(task))


def test_the_result_shows_and_saves_itself() -> None:
    result = race(momentum(), ["clip", "adam"], budget=SHORT, seeds=2)
    assert result.arm("clip 1").code == cures.clip().code
    with pytest.raises(KeyError):
        result.arm("clip 7")
    assert "unchanged" in str(result) and "<" in result._repr_html_()
