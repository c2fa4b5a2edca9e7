"""Batch statistics, dropout and draws: what each mode means, and that a seed fixes it."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import classes, plain_derivatives, redrawn, vectors
from thalweg.errors import UsageError
from thalweg.objective.derivatives import Hessian
from thalweg.objective.supervised import Supervised

X, Y = vectors(12, 5), classes(12)


def normed(*, momentum: float | None = 0.1) -> nn.Sequential:
    model = nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6, momentum=momentum), nn.Tanh(), nn.Linear(6, 3)
    )
    model = redrawn(model.double())
    model[1].running_mean = vectors(1, 6, seed=20)[0]
    model[1].running_var = vectors(1, 6, seed=21)[0].abs() + 0.5
    return model


def dropping() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3))
    return redrawn(model.double())


def chunked_mean(model: nn.Module, size: int) -> Tensor:
    """The loss as a mean over batches of ``size``, each with its own statistics."""
    parts = [(X[i : i + size], Y[i : i + size]) for i in range(0, len(X), size)]
    return torch.stack([len(x) / len(X) * F.cross_entropy(model(x), y) for x, y in parts]).sum()


def agree(objective: Supervised, model: nn.Module, size: int) -> None:
    point = 0.9 * objective.point()
    value, slope, hessian = plain_derivatives(model, lambda m: chunked_mean(m, size), point)
    found = objective.value_and_gradient(point)
    torch.testing.assert_close(found[0], value)
    torch.testing.assert_close(found[1], slope)
    vector = vectors(1, objective.dim)[0]
    for keep in (True, False):
        torch.testing.assert_close(Hessian(objective, point, keep=keep) @ vector, hessian @ vector)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("size", [12, 4])
def test_batch_norm_takes_running_statistics_or_those_of_a_chunk(
    size: int, momentum: float | None
) -> None:
    model = normed(momentum=momentum)
    data = (X, Y)
    agree(Supervised(model, F.cross_entropy, data, mode="eval", chunk=size), model.eval(), 12)
    agree(Supervised(model, F.cross_entropy, data, mode="batch", chunk=size), model.train(), size)
    agree(Supervised(model, F.cross_entropy, data, mode="train", chunk=size), model.train(), size)


def test_statistics_of_one_example_are_not_asked_for() -> None:
    """13 examples in chunks of 4 leave one, which joins the chunk before."""
    data = (vectors(13, 5), classes(13))
    objective = Supervised(normed(), F.cross_entropy, data, mode="batch", chunk=4)
    assert [len(batch[1]) for batch, _ in objective.weighted_chunks()] == [4, 4, 5]
    assert sum(weight for _, weight in objective.weighted_chunks()) == pytest.approx(1)
    assert np.isfinite(objective.value(objective.point()))


def test_batch_mode_drops_nothing() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.drop = nn.BatchNorm1d(5), nn.Dropout(0.5)
            self.body = nn.LSTM(5, 4, num_layers=2, dropout=0.5, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.dropout(self.drop(self.norm(x)), 0.5, self.training)
            return self.head(self.body(x[:, None])[0][:, 0])

    model = redrawn(Both().double())
    twin = redrawn(Both().double()).eval()
    twin.norm.train()
    agree(Supervised(model, F.cross_entropy, (X, Y), mode="batch", chunk=12), twin, 12)


@pytest.mark.parametrize("chunk", [12, 5])
def test_masks_are_those_of_the_seed(chunk: int) -> None:
    model = dropping()
    data = (X, Y)
    one = Supervised(model, F.cross_entropy, data, mode="train", chunk=chunk, seed=3)
    same = Supervised(model, F.cross_entropy, data, mode="train", chunk=chunk, seed=3)
    other = Supervised(model, F.cross_entropy, data, mode="train", chunk=chunk, seed=4)
    point = one.point()
    assert one.value(point) == one.value(point) == same.value(point) != other.value(point)
    assert float(one.value_and_gradient(point)[0]) == one.value(point)

    def masked(model: nn.Module) -> Tensor:
        torch.manual_seed(3)
        return chunked_mean(model, chunk)

    with torch.random.fork_rng():
        value, slope, hessian = plain_derivatives(model.train(), masked, point)
    torch.testing.assert_close(one.value_and_gradient(point)[0], value)
    torch.testing.assert_close(one.value_and_gradient(point)[1], slope)
    vector = vectors(1, one.dim)[0]
    torch.testing.assert_close(Hessian(one, point) @ vector, hessian @ vector)
    torch.testing.assert_close(Hessian(one, point, keep=False) @ vector, hessian @ vector)


@pytest.mark.parametrize("source", ["torch", "numpy", "python"])
def test_draws_in_every_pass_are_fixed(source: str) -> None:
    """A model that draws in evaluation too is a function all the same, and moves nobody's state."""

    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            noise: Any = {
                "torch": lambda: torch.rand(()),
                "numpy": lambda: np.random.rand(),  # noqa: NPY002
                "python": random.random,
            }[source]()
            return super().forward(x) * (1 + noise)

    model = redrawn(Noisy(5, 3).double())
    objective = Supervised(model, F.cross_entropy, (X, Y), chunk=5)
    point = objective.point()
    assert objective.value(point) == objective.value(point)
    assert abs(float(objective.value_and_gradient(point)[0]) - objective.value(point)) < 1e-12
    step = 1e-6 * vectors(1, objective.dim)[0]
    slope = (objective.value(point + step) - objective.value(point - step)) / 2
    assert slope == pytest.approx(float(objective.value_and_gradient(point)[1] @ step), rel=1e-4)


def test_statistics_that_a_user_keeps_frozen_stay_so() -> None:
    """In a model that trains, a BatchNorm that does not is meant; in one that does not, none is."""
    model = normed().train()
    model[1].eval()
    agree(Supervised(model, F.cross_entropy, (X, Y), mode="batch", chunk=12), model, 12)
    resting = normed().eval()
    objective = Supervised(resting, F.cross_entropy, (X, Y), mode="batch", chunk=12)
    agree(objective, normed().train(), 12)


def test_no_other_mode() -> None:
    with pytest.raises(UsageError, match="mode must be one of eval, batch, train, not 'test'"):
        Supervised(normed(), F.cross_entropy, (X, Y), mode="test")
