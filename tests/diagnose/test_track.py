"""A run that raises where its cure has led it has diverged; what would fail anywhere is an error."""

import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from problems import vectors
from tests.diagnose.stuck import everything, momentum, same
from thalweg.diagnose.cures import Cure, Ground
from thalweg.diagnose.race import race
from thalweg.diagnose.track import Leg
from thalweg.errors import ModelError, UsageError
from thalweg.objective.random_state import RandomState
from thalweg.run.training import Training
from thalweg.task import Task

BUDGET = 10.0


class Covariance(nn.Module):
    """The factor of a matrix that steps too large leave without one: its entries stay finite."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = nn.Parameter(torch.tensor([1.0, 0.1, 1.0]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b, c = self.entries
        return torch.linalg.cholesky(torch.stack([a, b, b, c]).view(2, 2)), x


def likelihood(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    factor, x = output
    z = torch.linalg.solve_triangular(factor, x.T, upper=False)
    return 0.5 * z.square().sum(0).mean() + factor.diagonal().log().sum()


def fitted() -> Task:
    torch.manual_seed(5)
    x = vectors(64, 2).float() @ torch.tensor([[2.0, 0.0], [1.5, 0.5]])
    model = Covariance()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    return Task(
        model=model, loss=likelihood, train=(x, torch.zeros(64)), optimizer=optimizer, batch_size=16
    )


RAISED = "diverged: linalg.cholesky: The factorization could not be completed"


@pytest.mark.parametrize(
    "name",
    [
        "learning_rate x30",  # after some steps
        "adam 3",
        "perturb 10",  # in the first step: the cure moved the weights
        "range_test 100",  # in the set-up, on a copy
    ],
)
def test_a_cure_that_leads_where_the_model_raises_has_diverged(name: str) -> None:
    task = fitted()
    before = everything(task)
    result = race(task, [name, "learning_rate x0.5"], budget=BUDGET, seeds=2)
    assert same(before, everything(task))
    worst = result.arms[-1]
    assert worst.name == name and worst.outcome.startswith(RAISED) and "\n" not in worst.outcome
    assert any(math.isnan(row[-1]) for row in worst.losses)
    assert all(len(row) == len(worst.evaluations) for row in worst.losses)
    assert math.isfinite(worst.gain.cost) and math.isnan(worst.gain.value)
    assert result.arm("learning_rate x0.5").outcome in ("helps", "harms", "no difference")
    assert "diverged: linalg" in str(result)


def raising(kind: type[Exception]) -> Callable[..., Tensor]:
    """A step of the user's own that raises where its loss is large."""

    def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        if loss > 50:
            raise kind("the loss has blown up\nlook at the rate")
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


@pytest.mark.parametrize("kind", [AssertionError, OverflowError, KeyError, ValueError])
def test_a_step_that_raises_where_the_loss_is_large_has_diverged(kind: type[Exception]) -> None:
    task = replace(momentum(), step=raising(kind))
    result = race(task, ["learning_rate x1e5"], budget=BUDGET, seeds=2)
    assert result.arms[-1].outcome.startswith("diverged: ")
    assert "the loss has blown up" in result.arms[-1].outcome


class Stop(KeyboardInterrupt):
    """Somebody has asked for the end."""


@pytest.mark.parametrize("kind", [Stop, MemoryError, torch.OutOfMemoryError, OSError])
def test_what_is_no_divergence_goes_through(kind: type[Exception]) -> None:
    task = replace(momentum(), step=raising(kind))
    before = everything(task)
    with pytest.raises(kind):
        race(task, ["learning_rate x1e5"], budget=BUDGET, seeds=1)
    assert same(before, everything(task))


def scripted(change: Callable[[Training], None]) -> Cure:
    def wholly(training: Training, ground: Ground) -> None:
        change(training)

    return Cure("scripted", "", "", wholly)


def fails(training: Training) -> None:
    raise ValueError("it has no such layer")


def fails_in_a_step(training: Training) -> None:
    training.before_update.append(fails)


def moves_and_fails(training: Training) -> None:
    training.place(training.point() + 1)
    fails(training)


@pytest.mark.parametrize("change", [fails, fails_in_a_step])
def test_what_fails_before_anything_has_moved_does_not_fit(
    change: Callable[[Training], None],
) -> None:
    said = "cures must fit the training, but scripted does not: it has no such layer"
    with pytest.raises(UsageError, match=said):
        race(momentum(), [scripted(change)], budget=BUDGET, seeds=1)


def test_what_fails_once_its_set_up_has_moved_the_weights_has_diverged() -> None:
    result = race(momentum(), [scripted(moves_and_fails)], budget=BUDGET, seeds=2)
    assert result.arm("scripted").outcome == "diverged: it has no such layer"


def test_a_loss_that_cannot_be_evaluated_elsewhere_is_no_misfit() -> None:
    """A line search, in the first step, at weights that are not those of the training."""

    def change(training: Training, ground: Ground) -> None:
        def look_away(which: Training) -> None:
            ground.objective.value(-which.point())

        training.before_update.append(look_away)

    result = race(fitted(), [Cure("scripted", "", "", change)], budget=BUDGET, seeds=2)
    assert result.arm("scripted").outcome.startswith(RAISED)


def test_what_the_unchanged_run_raises_is_told_as_it_is() -> None:
    """At finite weights, in a later step: that is the user's, not a cure's."""
    task = fitted()
    task.optimizer.param_groups[0]["lr"] *= 30
    with pytest.raises((RuntimeError, ModelError), match=r"linalg\.cholesky"):
        race(task, ["learning_rate x0.1"], budget=BUDGET, seeds=1)


def test_a_race_in_a_folder_knows_what_was_raised(tmp_path: Path) -> None:
    for _ in range(2):
        result = race(fitted(), ["learning_rate x30"], budget=BUDGET, seeds=2, folder=tmp_path)
        assert result.arms[-1].outcome.startswith(RAISED)


def accumulating(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> Tensor:
    """One of a few batches whose gradients add up: it never comes to the step here."""
    loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    return loss.detach()


def test_a_leg_takes_its_gradients_to_another_process() -> None:
    task = replace(momentum(), step=accumulating)
    accumulating(task.model, task.train, task.optimizer)
    leg = Leg(task, None, 0, (0.0, 1.0), (0.0, None), RandomState.now())
    sent = pickle.loads(pickle.dumps(leg))
    pairs = zip(task.model.parameters(), sent.task.model.parameters(), strict=True)
    for mine, theirs in pairs:
        assert mine.grad is not None and torch.equal(mine.grad, theirs.grad)


def test_a_leg_whose_hooks_another_process_would_not_have_is_refused() -> None:
    task = momentum()
    next(task.model.parameters()).register_hook(torch.sign)
    leg = Leg(task, None, 0, (0.0, 1.0), (0.0, None), RandomState.now())
    with pytest.raises(UsageError, match="map must keep a task in this process whose parameters"):
        pickle.dumps(leg)
