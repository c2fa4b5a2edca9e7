"""Restarts of a network in one pass against one row after another."""

import numpy as np
import pytest
import torch
from torch import nn

from thalweg.objective.supervised import Supervised
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.run.restarts import Restarts


def objective(**options: object) -> Supervised:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.randn(20, 2, dtype=torch.float64)
        model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    y = (x[:, :1] * x[:, 1:]).sign()
    return Supervised(model, nn.functional.mse_loss, (x, y), **options)  # type: ignore[arg-type]


def test_rows_at_once_are_rows_one_by_one() -> None:
    network = objective(decay=0.1)
    points = torch.randn(7, network.dim, dtype=torch.float64).requires_grad_()
    restarts = Restarts.of(network, points)
    assert restarts.vectorised
    chosen = torch.randint(20, (7, 5))
    for batch in (None, chosen):
        values = restarts.loss(points, batch)
        (slopes,) = torch.autograd.grad(values.sum(), points)
        for row, point in enumerate(points.detach()):
            part = network if batch is None else network.on(network.data.fetch(batch[row].tolist()))
            value, slope = part.value_and_gradient(point)
            assert float(values[row].detach()) == pytest.approx(float(value), rel=1e-12)
            torch.testing.assert_close(slopes[row], slope, rtol=1e-10, atol=1e-12)


def test_a_restart_ends_where_it_would_alone() -> None:
    network = objective()
    starts = np.random.default_rng(0).normal(size=(5, network.dim))
    plan = Plan(optimizer="adam", learning_rate=0.05, steps=30, trials=5, starts=starts)
    ends = descend(network, plan).end
    for start, point, loss in zip(starts, ends["points"], ends["losses"]):
        alone = Plan(optimizer="adam", learning_rate=0.05, steps=30, starts=start)
        alone_end = descend(network, alone).end
        np.testing.assert_allclose(point, alone_end["points"][0], rtol=1e-6, atol=1e-9)
        assert loss == pytest.approx(alone_end["losses"][0], rel=1e-6)


def test_what_cannot_be_vectorised_goes_row_by_row() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1).double()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.layer(x)
            return out * (1 + float(out.detach().mean() > 1e9))  # no number under vmap

    x = torch.ones(4, 2, dtype=torch.float64)
    network = Supervised(Counting(), nn.functional.mse_loss, (x, x[:, :1]))
    points = torch.randn(3, network.dim, dtype=torch.float64)
    restarts = Restarts.of(network, points)
    assert not restarts.vectorised
    torch.testing.assert_close(restarts.loss(points), network.loss(points))
    chosen = torch.tensor([[0, 1], [2, 3], [1, 1]])
    torch.testing.assert_close(restarts.loss(points, chosen), network.loss(points))
