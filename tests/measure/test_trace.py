"""The trace: closed forms, dense matrices, and intervals that hold as often as they say."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import Dense, Quadratic, classes, network, redrawn, symmetric, vectors
from thalweg.errors import UsageError
from thalweg.measure.trace import trace
from thalweg.objective.derivatives import Hessian
from thalweg.objective.gauss_newton import GaussNewton
from thalweg.objective.supervised import Supervised

LIKE = torch.zeros(1, dtype=torch.float64)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def true_trace(operator: Hessian | GaussNewton) -> float:
    return float((operator @ torch.eye(operator.dim, dtype=operator.point.dtype)).trace())


def relu_network() -> nn.Module:
    layers = (nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.LeakyReLU(), nn.Linear(6, 3))
    return redrawn(nn.Sequential(*layers).double())


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("loss", ["cross-entropy", "squares"])
def test_of_a_piecewise_linear_network_it_is_exact_for_a_few_gradients(
    loss: str, decay: float
) -> None:
    function, target = (
        (F.cross_entropy, classes(40))
        if loss == "cross-entropy"
        else (F.mse_loss, vectors(40, 3, seed=9))
    )
    objective = Supervised(relu_network(), function, (vectors(40, 5), target), decay=decay, chunk=9)
    found = trace(objective, objective.point())
    assert found.value == pytest.approx(true_trace(Hessian(objective, objective.point())), rel=1e-9)
    assert found.error < 1e-9 * found.value and found.cost < 6


def test_of_a_two_layer_linear_network_it_is_the_closed_form() -> None:
    """Loss ½‖W₂W₁x − y‖²: trace = (‖W₂‖² E‖x‖²·1 + outputs · E‖W₁x‖²)."""
    first, second = vectors(4, 6), vectors(2, 4, seed=3)
    model = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 2, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(first)
        model[1].weight.copy_(second)
    x, y = vectors(30, 6, seed=5), vectors(30, 2, seed=6)
    objective = Supervised(model, lambda o, t: 0.5 * ((o - t) ** 2).sum(1).mean(), (x, y))
    closed = second.square().sum() * x.square().sum(1).mean()
    closed += 2 * (x @ first.T).square().sum(1).mean()
    for matrix in ("hessian", "gauss-newton"):
        found = trace(objective, objective.point(), matrix=matrix)
        assert found.value == pytest.approx(float(closed), rel=1e-9)


@pytest.mark.parametrize("chunk", [None, 7])
def test_of_a_smooth_network_the_parts_hold_their_interval(chunk: int | None) -> None:
    objective = Supervised(network(), F.cross_entropy, (vectors(60, 5), classes(60)), chunk=chunk)
    point = objective.point()
    true = true_trace(Hessian(objective, point))
    gauss_newton = true_trace(GaussNewton(objective, point))
    assert abs(true - gauss_newton) > 0.02 * true  # there is something to estimate
    found = [trace(objective, point, rtol=0.1, generator=seeded(seed)) for seed in range(30)]
    held = sum(abs(e.value - true) <= 1.96 * e.error for e in found)
    assert held >= 26
    assert all(e.error <= 0.1 * abs(e.value) for e in found)
    exact = trace(objective, point, matrix="gauss-newton")
    assert exact.value == pytest.approx(gauss_newton, rel=1e-9)


def test_of_many_outputs_random_combinations_do() -> None:
    model = redrawn(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 50)).double())
    data = (vectors(40, 5), classes(40, 50))
    objective = Supervised(model, F.cross_entropy, data)
    true = true_trace(Hessian(objective, objective.point()))
    found = [trace(objective, objective.point(), generator=seeded(s)) for s in range(30)]
    assert sum(abs(e.value - true) <= 1.96 * e.error for e in found) >= 25
    assert float(np.std([e.value for e in found])) < 0.05 * true


SPECTRA = {
    "outliers": np.r_[np.linspace(-0.2, 0.3, 75), 5, 3, 2, -1, 8],
    "flat": np.linspace(0.5, 1.5, 80),
    "low rank": np.r_[np.linspace(1, 4, 12), np.zeros(68)],
}


@pytest.mark.parametrize("kind", SPECTRA)
def test_intervals_hold_in_nine_of_ten_of_two_hundred_draws(kind: str) -> None:
    eigenvalues = SPECTRA[kind]
    true = float(eigenvalues.sum())
    operator = Dense(symmetric(eigenvalues, 0)[0])
    held = 0
    for seed in range(200):
        found = trace(operator, LIKE, rtol=0.02, budget=40, generator=seeded(seed))
        held += abs(found.value - true) <= 1.96 * found.error
    assert held >= 180


def test_deflation_saves_products_where_few_eigenvalues_are_large() -> None:
    operator = Dense(symmetric(SPECTRA["outliers"], 0)[0])
    found = trace(operator, LIKE, rtol=0.1, budget=100, generator=seeded(0))
    deflated = operator.cost / 2
    alone = 2 * float((SPECTRA["outliers"] ** 2).sum()) / (0.1 * found.value) ** 2
    assert found.error <= 0.1 * found.value and deflated < alone / 2


def test_a_krylov_space_that_is_all_of_it_is_exact() -> None:
    matrix, _ = symmetric(np.array([1.0, -2.0, 4.0, 0.5]), 0)
    found = trace(Dense(matrix), LIKE, rtol=1e-12, budget=50)
    assert found.value == pytest.approx(3.5, rel=1e-9) and found.error < 1e-9


def test_the_budget_is_kept_and_the_error_says_what_is_left() -> None:
    objective = Quadratic(symmetric(np.linspace(-1, 1.1, 150), 0)[0])
    found = trace(objective, torch.zeros(150).double(), budget=30)
    assert found.cost <= 1 + 2 * 30
    assert found.error > 0.02 * abs(found.value)
    assert abs(found.value - 7.5) <= 3 * found.error


class Embedded(nn.Module):
    """A layer that the parts do not know."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(7, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.table(x).tanh())


def test_of_layers_that_are_not_known_products_do() -> None:
    model = redrawn(Embedded().double())
    objective = Supervised(model, F.cross_entropy, (classes(30, 7), classes(30)))
    true = true_trace(Hessian(objective, objective.point()))
    found = trace(objective, objective.point())
    assert abs(found.value - true) <= 3 * found.error <= 0.07 * true


def test_what_makes_no_sense_is_refused() -> None:
    operator = Dense(torch.eye(3))
    for rtol in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="rtol must be a number above 0"):
            trace(operator, rtol=rtol)
    with pytest.raises(UsageError, match="budget must be a whole number of 2 or more"):
        trace(operator, budget=1)
