"""Examples by themselves: against a plain loop, and wrong labels that were planted."""

import math
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.problems import classes, half_square, least_squares, network, redrawn, vectors
from thalweg.clinic import case
from thalweg.errors import UsageError
from thalweg.measure import PerExample, per_example
from thalweg.objective.supervised import Supervised
from thalweg.task import Task


class Refuses(nn.Module):
    """Looks at a number in the data, which vmap cannot."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if x.sum().item() == x.sum().item() else x


def plain_loop(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    weights = [p for p in model.parameters() if p.requires_grad]
    losses, slopes = [], []
    for i in range(len(x)):
        loss = cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        losses.append(loss.detach())
        slopes.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
    return torch.stack(losses), torch.stack(slopes)


def check(found: PerExample, losses: Tensor, slopes: Tensor, rtol: float) -> None:
    n = len(losses)
    others = (slopes.sum(0) - slopes) / (n - 1)
    np.testing.assert_allclose(found.losses, losses, rtol=rtol)
    np.testing.assert_allclose(found.gradient_norms, slopes.norm(dim=1), rtol=rtol)
    expected = (slopes * others).sum(1)
    np.testing.assert_allclose(found.pull, expected, atol=rtol * float(expected.abs().max()))
    cosine = torch.cosine_similarity(slopes, others, dim=1)
    np.testing.assert_allclose(found.agreement, cosine, atol=10 * rtol)
    assert found.gradient_norm == pytest.approx(float(slopes.mean(0).norm()), rel=10 * rtol)
    variance = float((slopes - slopes.mean(0)).square().sum()) / (n - 1)
    assert found.variance.value == pytest.approx(variance, rel=10 * rtol)


@pytest.mark.parametrize("refuses", [False, True])
def test_they_are_those_of_a_plain_loop(refuses: bool) -> None:
    model: nn.Module = Refuses(network()) if refuses else network()
    x, y = vectors(40, 5), classes(40)
    found = per_example(Supervised(model, cross_entropy, (x, y), decay=0.3))
    assert found.vectorised is not refuses
    check(found, *plain_loop(model, x, y), rtol=1e-9)
    assert found.rows.tolist() == list(range(40)) and found.cost == 2
    assert found.at_own_minimum.error == found.erratic.error == found.variance.error == 0


def test_a_convolution_with_frozen_parts_running_statistics_and_dropout() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(48, 3),
    )
    model = redrawn(model.double())
    model[0].requires_grad_(False)
    x, y = vectors(12, 1, 6, 6), classes(12)
    model(x)
    task = Task(
        model=model, loss=cross_entropy, train=(x, y), optimizer=torch.optim.SGD(model.parameters())
    )
    found = per_example(task)
    assert found.vectorised
    model.eval()
    check(found, *plain_loop(model, x, y), rtol=1e-9)


def test_a_loss_of_the_users_own_goes_one_after_the_other() -> None:
    model, x, y = network(), vectors(10, 5), classes(10)

    def batch_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(model(batch[0]), batch[1])

    found = per_example(Supervised(model, data=(x, y), batch_loss=batch_loss))
    assert not found.vectorised
    check(found, *plain_loop(model, x, y), rtol=1e-9)


def blobs(wrong: int, seed: int) -> tuple[Tensor, Tensor, set[int]]:
    """Three classes apart from each other; the labels of some are another class's."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (300,), generator=generator)
    centres = 4 * torch.eye(3, 8)
    x = centres[y] + torch.randn(300, 8, generator=generator)
    rows = torch.randperm(300, generator=generator)[:wrong]
    y[rows] = (y[rows] + 1) % 3
    return x, y, set(rows.tolist())


def trained(x: Tensor, y: Tensor, steps: int) -> nn.Module:
    model = redrawn(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_wrong_labels_are_found(seed: int) -> None:
    x, y, wrong = blobs(12, seed)
    found = per_example(Supervised(trained(x, y, 60), cross_entropy, (x, y)))
    erratic = set(found.erratic_rows().tolist())
    assert len(erratic & wrong) >= 11 and len(erratic - wrong) <= 8
    assert set(found.erratic_rows()[:8].tolist()) <= wrong | set(found.hardest(14).tolist())
    assert len(set(found.hardest(12).tolist()) & wrong) >= 10
    assert found.erratic.value == len(erratic) / 300


def test_examples_that_are_fitted_are_at_their_own_minimum() -> None:
    x, y, _ = blobs(0, 0)
    x *= 3
    early, late = (
        per_example(Supervised(trained(x, y, steps), cross_entropy, (x, y))) for steps in (0, 1500)
    )
    assert early.at_own_minimum.value < 0.1 < 0.5 < late.at_own_minimum.value


def test_the_smoothing_radius_is_that_of_all_batches() -> None:
    model, x, y = least_squares(7, 3)
    found = per_example(Supervised(model, half_square, (x, y)))
    theta = model.weight.detach()[0]
    slopes = (x @ theta - y[:, 0])[:, None] * x
    for size in (1, 3, 7):
        means = [slopes[list(rows)].mean(0) for rows in combinations(range(7), size)]
        square = float((torch.stack(means) - slopes.mean(0)).square().sum(1).mean())
        radius = found.smoothing_radius(0.4, size)
        assert radius.value == pytest.approx(0.4 * math.sqrt(square), abs=1e-9)
    radii = found.smoothing_radii([0.1, 0.2], [1, 2, 7])
    np.testing.assert_allclose(radii[1], 2 * radii[0])
    assert radii[0, 0] > radii[0, 1] > radii[0, 2] == 0


def test_a_sample_is_seeded_and_its_errors_cover_the_whole() -> None:
    x, y, _ = blobs(30, 4)
    objective = Supervised(trained(x, y, 40), cross_entropy, (x, y))
    whole = per_example(objective)
    away, some = [], whole
    for seed in range(60):
        some = per_example(objective, sample=80, seed=seed)
        assert len(some) == 80 and np.all(np.diff(some.rows) > 0)
        np.testing.assert_allclose(some.losses, whole.losses[some.rows], rtol=1e-5)
        for name in ("variance", "at_own_minimum"):
            one, truth = getattr(some, name), getattr(whole, name)
            assert one.error > 0
            away.append((one.value - truth.value) / one.error)
    assert 0.6 < float(np.std(away)) < 1.4
    again = per_example(objective, sample=80, seed=59)
    assert np.array_equal(again.rows, some.rows) and np.array_equal(again.losses, some.losses)
    assert list(some.table()) == ["row", "loss", "gradient_norm", "agreement", "pull"]


def test_nothing_of_the_users_changes() -> None:
    model, x, y = network(), vectors(10, 5), classes(10)
    before = [p.detach().clone() for p in model.parameters()]
    state = torch.get_rng_state()
    task = Task(
        model=model, loss=cross_entropy, train=(x, y), optimizer=torch.optim.SGD(model.parameters())
    )
    per_example(task)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters())) and model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_mistakes_are_said() -> None:
    objective = Supervised(network(), cross_entropy, (vectors(4, 5), classes(4)))
    with pytest.raises(UsageError, match="sample must be a whole number of 2 or more, not 1"):
        per_example(objective, sample=1)
    with pytest.raises(UsageError, match="shape"):
        per_example(objective, torch.zeros(3).double())
    found = per_example(objective)
    with pytest.raises(UsageError, match="batch_size must be from 1 to the 4 examples, not 5"):
        found.smoothing_radius(0.1, 5)
    with pytest.raises(UsageError, match="learning_rate must be a number of 0 or more"):
        found.smoothing_radius(-1, 2)


def test_attention_is_gone_through_side_by_side_without_a_warning() -> None:
    task = case("transformer_midway")
    told = per_example(task, sample=6)
    assert told.vectorised
    one = tuple(part[torch.from_numpy(told.rows[:1])] for part in task.train)
    alone = Supervised(task.model, task.loss, one)
    assert told.losses[0] == pytest.approx(alone.value(alone.point()), rel=1e-5)
    slope = alone.value_and_gradient(alone.point())[1]
    assert told.gradient_norms[0] == pytest.approx(float(slope.norm()), rel=1e-4)


class Recurrent(nn.Module):
    """The last output of an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Sequences ``(n, t, 3)`` to ``(n, 2)``."""
        return self.out(self.cell(x)[0][:, -1])


def test_what_torch_has_to_say_of_its_speed_is_kept_from_the_user() -> None:
    model = Recurrent()
    data = torch.randn(6, 5, 3), torch.arange(6) % 2
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert per_example(Supervised(model, cross_entropy, data)).vectorised
    finally:
        torch.set_warn_always(always)
