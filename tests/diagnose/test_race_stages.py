"""A race that drops arms: what it costs, what it claims, wherever and whenever its runs are made."""

import json
import math
import pickle
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.diagnose.stuck import everything, momentum, same
from tests.run.test_own_step import FEATURES, Loop, states
from tests.run.test_own_step import same as identical
from thalweg.diagnose.cures import Cure, Ground
from thalweg.diagnose.examination import Examination
from thalweg.diagnose.race import race
from thalweg.diagnose.race_result import Race
from thalweg.diagnose.track import Leg, Ran
from thalweg.run.training import Training
from thalweg.task import Task

EIGHT = [
    "learning_rate x0.3",
    "learning_rate x3",
    "momentum 0.5",
    "adam 0.01",
    "batch_size x2",
    "perturb 0.1",
    "clip 1",
    "weight_decay 0.001",
]
RACES = 25
BUDGET = 20 * 16 / 96
"""A step of 16 of 96 examples for each of the twenty looks."""


def plain(result: Race) -> Any:
    return json.loads(json.dumps(result.to_dict(), allow_nan=False))


def raced(**options: Any) -> Race:
    torch.manual_seed(17)
    return race(momentum(), EIGHT, **{"budget": BUDGET, "seeds": 2} | options)


class Counting(nn.Module):
    """Counts the examples of which a gradient is taken."""

    seen = 0

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            Counting.seen += len(x)
        return x


@pytest.mark.parametrize("seeds", [1, 3])
def test_eight_cures_cost_four_of_the_longest_run_at_most(
    seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = momentum()
    assert isinstance(task.model, nn.Sequential)
    task.model.append(Counting())
    monkeypatch.setattr(Counting, "seen", 0)
    result = race(task, EIGHT, budget=10, seeds=seeds, judged_by="train")
    longest = max(arm.evaluations[-1] for arm in result.arms)
    assert longest == 10
    assert 3.5 * longest < Counting.seen / 96 / seeds <= 4 * longest
    looks = 21 / 3  # beside each run; those of the longest count for it as well
    assert result.cost / seeds <= 4 * (longest + looks) + 1 / 3


def test_cures_that_pay_before_their_first_step_leave_stages_out() -> None:
    names = ["range_test 30", "range_test 20", "range_test 10", "batch_by_noise", "drop_erratic"]
    names += ["down_weight_erratic 0.1", "revive", "restart"]
    found = race(momentum(), names, budget=2 * BUDGET, seeds=2)
    assert found.cost <= 4 * sum(arm.gain.cost for arm in found.arms if arm.name == "unchanged")


def test_a_cure_whose_step_is_longer_than_its_trial_takes_one() -> None:
    names = ["saddle_free_newton 10", *EIGHT[:4]]
    found = race(momentum(), names, budget=100, seeds=1)
    newton = found.arm("saddle_free_newton 10")
    assert newton.losses[0][-1] != newton.losses[0][0]
    assert "saddle_free_newton 10 (up to" not in found.claim


def test_every_cure_has_its_floor_and_only_who_went_as_far_has_a_verdict() -> None:
    result = raced(seeds=3)
    assert {arm.name for arm in result.arms} >= {"unchanged", *EIGHT}
    for arm in result.arms:
        assert arm.evaluations[-1] >= 0.15 * BUDGET - 1e-9
        whole = arm.evaluations[-1] == BUDGET
        assert whole is (not arm.outcome.startswith("dropped at "))
        assert arm.seeds == ((0, 1, 2) if whole else (3, 4, 5))
        assert math.isfinite(arm.gain.value) is math.isfinite(arm.interval[0]) is whole
        assert len(arm.losses) == 3 and {len(row) for row in arm.losses} == {len(arm.evaluations)}
    assert sum(arm.evaluations[-1] == BUDGET for arm in result.arms) == 2
    assert f"{len(result.arms) - 2} arms were dropped on other seeds" in result.claim
    assert "nothing is claimed" in result.claim


def backwards(run: Callable[[Leg], Ran], legs: Iterable[Leg]) -> list[Ran]:
    """Last first, each on a copy that went through a pickle."""
    return [run(pickle.loads(pickle.dumps(leg))) for leg in list(legs)[::-1]][::-1]


def test_the_result_is_the_same_with_any_map() -> None:
    here = plain(raced(seeds=1))
    assert plain(raced(seeds=1, map=backwards)) == here
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert plain(raced(seeds=1, map=pool.map)) == here


def test_killed_anywhere_it_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole = plain(raced(folder=tmp_path / "whole"))
    runs = len((tmp_path / "whole" / "race.jsonl").read_text().splitlines()) - 1

    class Kill(Exception):
        pass

    for calls in (1, runs // 2, runs - 1):
        folder = tmp_path / str(calls)
        left = [calls]

        def interrupt(phrase: str, done: int, total: int, left: list[int] = left) -> None:
            assert done <= total
            left[0] -= 1
            if left[0] < 0:
                raise Kill

        with pytest.raises(Kill):
            raced(folder=folder, progress=interrupt)
        assert len((folder / "race.jsonl").read_text().splitlines()) == 1 + calls
        assert plain(raced(folder=folder)) == whole


# What is claimed -------------------------------------------------------------------------------


def level_task() -> Task:
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


def test_being_chosen_does_not_flatter_the_winner() -> None:
    """Eight cures that do nothing: one of them reads as help in a fortieth of races, not in a fifth.

    Where an arm ends on a seed is chance, so that the best of a stage owes it to its seeds.
    """
    task, arms, gains, helped = level_task(), [*EIGHT[:7], "momentum 0.9"], [], 0
    for k in range(RACES):

        def chance(run: Callable[[Leg], Ran], legs: Iterable[Leg], k: int = k) -> Iterable[Ran]:
            for leg in legs:
                draw = random.Random(f"{k}|{leg.name}|{leg.seed}")
                end = 1 + 0.1 * draw.gauss(0, 1)
                yield Ran((1.0, *[end] * (len(leg.evaluations) - 1)), (), 1.0)

        result = race(task, arms, budget=20, seeds=3, map=chance)
        helped += result.winner is not None
        gains += [arm.gain.value for arm in result.arms if arm.name != "unchanged"][:1]
    # More than 3 false helps of 25 would have a probability below 0.004 at 2.5%.
    assert helped <= 3
    # The gain of who was chosen is nought: its deviation is that of two means over three draws.
    assert abs(sum(gains) / RACES) < 3.3 * 0.1 * math.sqrt(2 / 3 / RACES)


def scripted(name: str, *levels: float) -> Cure:
    coming = iter(levels)

    def change(training: Training, ground: Ground) -> None:
        training.place(torch.full_like(training.point(), next(coming)))

    return Cure(name, "For a test.", "pass", change)


def test_a_gain_that_more_seeds_would_tell_says_how_many() -> None:
    """Mean 0.3, deviation 0.3: t(n − 1) · 0.3/√n < 0.3 first at n = 7 (2.447 < √7 = 2.646)."""
    result = race(level_task(), [scripted("moved", 0.4, 0.7, 1.0)], budget=20)
    arm = result.arm("moved")
    assert arm.outcome == "no difference" and arm.seeds_needed == 7
    assert arm.interval == pytest.approx(
        (0.3 - 4.3027 * 0.3 / 3**0.5, 0.3 + 4.3027 * 0.3 / 3**0.5), abs=1e-4
    )
    assert result.winner is None
    assert result.sentence.endswith(
        "moved ended 0.3 lower on average: about 7 seeds would tell that from none."
    )


def test_a_slow_starter_that_falls_goes_on_beside_the_best() -> None:
    """A kick that costs something at first and then gains steadily wins over quick small gains."""

    def falling(name: str, jump: float, rate: float) -> Cure:
        def change(training: Training, ground: Ground) -> None:
            training.place(training.point() + jump)
            for group in training.optimizer.param_groups:
                group["lr"] = rate

        return Cure(name, "For a test.", "pass", change)

    quick = [falling(f"quick {k}", -0.1 - 0.01 * k, 0.0) for k in range(7)]
    result = race(level_task(), [*quick, falling("slow", 0.2, 0.08)], budget=20)
    arm = result.arm("slow")
    assert result.winner == "slow"
    # Full batches, one step a look: 1.2 − 0.08 k, its last four looks k = 17..20.
    assert arm.gain.value == pytest.approx(-0.2 + 0.08 * 18.5)


# A user's own step -----------------------------------------------------------------------------


def test_the_unchanged_arm_of_a_users_own_step_is_the_run_to_come() -> None:
    """GradScaler, schedule, average, dropout and a shuffling loader with workers, within an epoch."""
    loop = Loop(FEATURES)
    loop.run(7)
    task = loop.task()
    before = states(loop.model, loop.optimizer, loop.parts)
    result = race(task, [], budget=20 * 5 / 23, seeds=1)
    assert identical(before, states(loop.model, loop.optimizer, loop.parts))
    losses = result.arm("unchanged").losses[0]
    objective = Examination.of(task, budget=math.inf).objective
    along = []
    for _ in range(25):
        weights = [p.detach().reshape(-1) for p in loop.model.parameters()]
        along.append(objective.value(torch.cat(weights)))
        loop.run(1)
    # An epoch's last batch has 3 examples: some looks are two steps after the one before.
    places = [along.index(seen) for seen in losses]
    assert places[0] == 0 and places == sorted(set(places)) and places[-1] >= 20


def test_a_step_may_be_given_to_the_race_itself() -> None:
    calls = []

    def step(model: nn.Module, batch: Any, optimizer: Any) -> Tensor:
        calls.append(len(batch[0]))
        optimizer.zero_grad()
        loss = 2 * F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    task = momentum()
    before = everything(task)
    twice = race(task, ["clip"], budget=BUDGET, seeds=1, step=step)
    assert same(before, everything(task)) and len(calls) == 2 * 20
    once = race(task, ["clip"], budget=BUDGET, seeds=1)
    assert twice.arm("unchanged").losses != once.arm("unchanged").losses


def test_weights_that_a_model_raises_at_are_a_divergence_not_an_error() -> None:
    class Strict(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            out = self.inner(x)
            if not torch.isfinite(out).all():
                raise ValueError("outputs must be finite")
            return out

    task = momentum()
    model = Strict(task.model)
    result = race(replace(task, model=model), ["learning_rate x1e+30"], budget=BUDGET, seeds=2)
    assert result.arm("learning_rate x1e+30").outcome == "diverged"
