"""The short continuation that judges: the user's own steps, looked at now and then."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tests.diagnose.stuck import everything, loader, momentum, normalised, numbers, same, solved
from thalweg.diagnose.continuation import Continuation, continued, looks
from thalweg.estimate import LOSS_COST, Estimate
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.run.training import Training
from thalweg.task import Task


def objective_of(task: Task) -> Supervised:
    return Supervised(task.model, task.loss, task.train, batch_loss=task.batch_loss)


def run(task: Task, steps: int, **more: object) -> Continuation:
    objective = objective_of(task)
    start = objective.value(objective.point())
    return continued(Training.of(task), objective, steps=steps, start=start, **more)  # type: ignore[arg-type]


@given(st.integers(1, 5000))
def test_looks_are_in_order_within_the_run_and_end_with_pairs_of_neighbours(steps: int) -> None:
    marks = looks(steps)
    assert list(marks) == sorted(set(marks))
    assert marks[0] == 1 and marks[-1] == steps
    if steps > 48:
        late = [mark for mark in marks if mark > steps / 2]
        assert len(late) == 12 and abs(late[5] - 0.75 * steps) <= 1
        assert all(second - first == 1 for first, second in zip(late[::2], late[1::2], strict=True))


@pytest.mark.parametrize(
    ("losses", "level"),
    [
        ((1.0, 2.0, *[1.0] * 14), 1.0),  # thrown up once
        ((1.0, 2.0, 1.0, 2.0, *[1.0, 2.0] * 6), 1.5),  # in a two-cycle, from either of its points
        ((2.0, 1.0, 2.0, 1.0, *[2.0, 1.0] * 6), 1.5),
        ((2.0, 1.0, 0.5, 0.4, *[0.3] * 12), 2.0),  # falling
    ],
)
def test_the_start_is_a_mean_of_two_looks_only_where_the_run_alternates(
    losses: tuple[float, ...], level: float
) -> None:
    found = Continuation(Estimate(0.0), losses, (), (), torch.zeros(1), 0.0, 40)
    assert found.level == level


def test_it_takes_the_steps_of_the_users_own_loop() -> None:
    """Against the closed form of descent on a quadratic: e <- (1 - rate H) e."""
    task = solved(dtype=torch.float64)
    weight = task.model.get_parameter("weight")
    with torch.no_grad():
        weight.add_(0.5)
    x, y = numbers(dtype=torch.float64)
    hessian = 2 / len(x) * x.T @ x + 0.1 * torch.eye(4, dtype=x.dtype)
    best = torch.linalg.solve(hessian, 2 / len(x) * x.T @ y)
    error = weight.detach().T - best
    objective = Supervised(task.model, task.loss, task.train, decay=0.1)
    found = continued(
        Training.of(task), objective, steps=40, start=objective.value(objective.point())
    )
    matrix = torch.linalg.matrix_power(torch.eye(4, dtype=x.dtype) - 0.05 * hessian, 40)
    torch.testing.assert_close(found.point[:, None], best + matrix @ error)
    assert found.finite and found.steps == 40
    falls = [a - b for a, b in zip(found.losses, found.losses[1:], strict=False)]
    assert all(fall > 0 for fall in falls)
    assert found.fall.value == pytest.approx(found.losses[0] - sum(found.losses[-6:]) / 6)
    assert found.end == pytest.approx(sum(found.losses[-6:]) / 6)
    assert found.bounce == 0.0 and found.late > 0


def test_a_look_changes_no_step() -> None:
    task = normalised()
    before = everything(task)
    test = Examples.of(task.test, name="test")
    looked = run(task, 30, test=test)
    plain = Training.of(task)
    plain.advance(30)
    assert torch.equal(looked.point, plain.point())
    assert looked.batch_losses == tuple(plain.losses)
    assert len(looked.test_losses) == len(looked.losses) == len(looks(30)) + 1
    assert same(before, everything(task))


def test_the_cost_is_that_of_steps_and_looks() -> None:
    task = momentum()  # 96 examples in batches of 16
    found = run(task, 30)
    assert found.cost == pytest.approx(30 * 16 / 96 + LOSS_COST * len(looks(30)))
    assert found.fall.cost == found.cost
    test = Examples.of(tuple(part[:48] for part in task.train), name="test")
    with_test = run(task, 30, test=test)
    assert with_test.cost - found.cost == pytest.approx(LOSS_COST * (len(looks(30)) + 1) / 2)


def test_a_run_that_blows_up_ends_there_and_falls_by_minus_infinity() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 1e6)
    task = Task(model=model, loss=F.mse_loss, train=numbers(), optimizer=optimizer)
    found = run(task, 60)
    assert found.fall.value == -math.inf and not found.finite
    assert math.isnan(found.losses[-1]) or math.isinf(found.losses[-1])
    assert len(found.losses) <= len(looks(60)) + 1
    assert found.curve().x[0] == 0.0 and len(found.curve().x) == len(found.curve().y)


class Scripted:
    """In place of a training and of its objective: the looks see the losses given."""

    cost, population, losses, length = 0.0, 1, (), 1

    def __init__(self, losses: tuple[float, ...]) -> None:
        self.coming = iter(losses)
        self.data = self

    def advance(self, steps: int) -> bool:
        return True

    def point(self) -> torch.Tensor:
        return torch.zeros(1)

    def value(self, point: torch.Tensor) -> float:
        return next(self.coming)


def scripted(start: float, *losses: float) -> Continuation:
    script = Scripted(losses)
    assert len(losses) == len(looks(40)) == 15
    return continued(script, script, steps=40, start=start)  # type: ignore[arg-type]


def test_a_two_cycle_neither_falls_nor_hides() -> None:
    found = scripted(3.0, 1.0, 1.0, 1.0, *[1.0, 3.0] * 6)
    assert found.fall.value == 0.0 and found.late == 0.0 and found.bounce == 2.0


def test_a_steady_fall_is_no_scatter_and_noise_is() -> None:
    steady = [20.0 - 0.25 * step for step in looks(40)]
    told = scripted(20.0, *steady)
    assert told.fall.error == pytest.approx(0.0, abs=1e-12)
    assert told.late == pytest.approx(0.25 * 10)
    noisy = scripted(20.0, *(loss + (-1) ** (i // 2) for i, loss in enumerate(steady)))
    assert noisy.fall.error > 0.5


def test_the_same_fork_gives_the_same_run_and_a_loader_of_its_own_is_left_alone() -> None:
    task = loader()
    before = everything(task)
    assert run(task, 20).losses == run(task, 20).losses
    assert same(before, everything(task))
