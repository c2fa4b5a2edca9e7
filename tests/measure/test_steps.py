"""Steps on quadratics, whose falls have closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from problems import Dense, Formula, Quadratic, half_square, least_squares, symmetric, vectors
from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST, Estimate
from thalweg.measure.steps import krylov_step, largest_drop, loss_and_error, predicted_change
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised


def bowl(seed: int, low: float = 0.1, n: int = 12) -> tuple[Quadratic, torch.Tensor, torch.Tensor]:
    matrix, _ = symmetric(np.random.default_rng(seed).uniform(low, 4, n), seed)
    point = vectors(1, n, seed=seed)[0]
    return Quadratic(matrix), point, matrix @ point


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0.4, 2.5))
def test_the_drop_along_the_gradient_is_that_of_the_parabola(seed: int, off: float) -> None:
    objective, point, slope = bowl(seed)
    best = float(slope @ slope / (slope @ objective.matrix @ slope))
    fall = 0.5 * best * float(slope @ slope)
    exact = largest_drop(objective, point, -slope, scales=[best])
    assert math.isclose(exact.drop.value, fall, rel_tol=1e-9) and math.isclose(exact.step, best)
    near = largest_drop(
        objective, point, -slope, scales=[off * best / 2, off * best, off * best * 2]
    )
    assert 0.8 * fall <= near.drop.value <= fall * (1 + 1e-9)


def test_a_saddle_falls_to_either_side() -> None:
    matrix = torch.diag(torch.tensor([1.0, -0.5], dtype=torch.float64))
    objective = Quadratic(matrix)
    point = torch.tensor([0.0, -0.1], dtype=torch.float64)
    down = torch.tensor([0.0, 1.0], dtype=torch.float64)
    found = largest_drop(objective, point, down, scales=[0.5, 1.0], both=True)
    step = found.step
    assert step < -1
    assert math.isclose(found.drop.value, 0.25 * ((step - 0.1) ** 2 - 0.01), rel_tol=1e-12)
    one = largest_drop(objective, point, down, scales=[0.5, 1.0])
    assert one.step > 0 and one.drop.value < found.drop.value


def test_at_a_minimum_nothing_falls() -> None:
    objective, point, _ = bowl(0)
    found = largest_drop(objective, 0 * point, vectors(1, 12)[0], scales=[1e-3, 1.0], both=True)
    assert found.drop.value == 0 and found.step == 0


def test_rounding_is_no_drop() -> None:
    huge = Formula(1, lambda x: 1e6 - 1e-7 * x.sum(-1))
    found = largest_drop(huge, torch.zeros(1), torch.ones(1), scales=[1.0])
    assert found.drop.value == 0 and found.drop.error > 0.1


def test_every_loss_taken_is_paid_and_drawn() -> None:
    objective, point, slope = bowl(1)
    found = largest_drop(objective, point, -slope, scales=[0.01, 0.1])
    assert len(found.curve.x) == 1 + 2 + 4  # the point, the scales, two pairs about the best
    assert found.drop.cost == pytest.approx(LOSS_COST * len(found.curve.x))
    assert list(found.curve.x) == sorted(found.curve.x)
    for step, loss in zip(found.curve.x, found.curve.y):
        assert loss == float(objective.loss(point - step * slope))
    start = float(objective.loss(point))
    known = largest_drop(objective, point, -slope, scales=[0.01, 0.1], start=start)
    assert known.drop.cost == pytest.approx(found.drop.cost - LOSS_COST)
    assert known.drop.value == found.drop.value


def test_gaps_in_the_loss_are_passed_over_and_kept() -> None:
    objective = Formula(1, lambda x: torch.where(x > 1, x.log() * math.nan, -x).sum(-1))
    found = largest_drop(objective, torch.zeros(1), torch.ones(1), scales=[0.5, 2.0, 8.0])
    assert 0.5 <= found.drop.value <= 1
    assert any(math.isnan(y) for y in found.curve.y)
    nowhere = largest_drop(objective, torch.full((1,), 3.0), torch.ones(1), scales=[1.0])
    assert math.isnan(nowhere.drop.value)


@pytest.mark.parametrize("scales", [(), (0.0, 1.0), (-1.0,), (math.nan,), (math.inf,)])
def test_scales_must_be_positive(scales: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="scales must be positive"):
        largest_drop(Quadratic(torch.eye(2)), torch.ones(2), torch.ones(2), scales=scales)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 12))
def test_the_krylov_step_is_the_minimiser_over_its_space(seed: int, products: int) -> None:
    """By a dense solve in an orthonormal basis of span(g, Hg, H²g, ...)."""
    objective, point, slope = bowl(seed)
    matrix = objective.matrix
    powers = [slope / slope.norm()]
    for _ in range(products - 1):
        ahead = matrix @ powers[-1]
        for row in powers * 2:
            ahead = ahead - (row @ ahead) * row
        powers.append(ahead / ahead.norm())
    basis = torch.stack(powers)
    best = basis.T @ torch.linalg.solve(basis @ matrix @ basis.T, basis @ slope)
    step, fall = krylov_step(Dense(matrix), slope, products=products)
    torch.testing.assert_close(step, best, rtol=1e-7, atol=1e-9)
    measured = float(objective.loss(point) - objective.loss(point - step))
    assert math.isclose(fall.value, measured, rel_tol=1e-9)
    assert fall.cost == 2 * products


def test_all_of_the_space_is_the_newton_step() -> None:
    objective, point, slope = bowl(3)
    step, fall = krylov_step(Dense(objective.matrix), slope, products=50)
    torch.testing.assert_close(step, point)
    assert math.isclose(fall.value, float(objective.loss(point)), rel_tol=1e-9)


def test_negative_and_vanishing_curvature_are_left_out() -> None:
    matrix = torch.diag(torch.tensor([2.0, 1.0, -1.0, 0.0], dtype=torch.float64))
    slope = torch.ones(4, dtype=torch.float64)
    step, fall = krylov_step(Dense(matrix), slope, products=4)
    expected = torch.tensor([0.5, 1.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(step, expected, rtol=1e-9, atol=1e-9)
    assert math.isclose(fall.value, 0.5 * (0.5 + 1.0), rel_tol=1e-9)
    step, fall = krylov_step(Dense(-torch.eye(3)), torch.ones(3))
    assert fall.value == 0 and float(step.norm()) == 0


def test_without_a_gradient_there_is_no_step_and_nan_stays_nan() -> None:
    step, fall = krylov_step(Dense(torch.eye(3)), torch.zeros(3))
    assert fall.value == 0 and not step.any()
    for matrix, slope in (
        (torch.eye(3), torch.full((3,), math.nan)),
        (torch.full((3, 3), math.nan), torch.ones(3)),
    ):
        step, fall = krylov_step(Dense(matrix), slope)
        assert math.isnan(fall.value) and not step.any()


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_the_predicted_change_is_the_expectation_on_a_quadratic(rate: float) -> None:
    """Every mini-batch step of a least-squares fit, averaged: exact, with any curvature and noise."""
    model, x, y = least_squares(7, 3)
    point = model.weight.detach()[0]
    gradients = (x @ point[:, None] - y) * x
    hessian = x.T @ x / 7
    full = gradients.mean(0)

    def loss(at: torch.Tensor) -> float:
        return float(0.5 * ((x @ at[:, None] - y) ** 2).mean())

    pairs = [(i, j) for i in range(7) for j in range(i)]
    after = [loss(point - rate * gradients[list(p)].mean(0)) for p in pairs]
    noise = [gradients[list(p)].mean(0) - full for p in pairs]
    found = predicted_change(
        rate,
        float(full @ full),
        Estimate(float(full @ hessian @ full), 0.3),
        Estimate(float(np.mean([float(d @ hessian @ d) for d in noise])), 0.4),
    )
    assert math.isclose(found.value, float(np.mean(after)) - loss(point), rel_tol=1e-9)
    assert math.isclose(found.error, 0.5 * rate**2 * 0.5)


def test_the_loss_of_a_subsample_has_a_standard_error() -> None:
    model, x, y = least_squares(400, 4)
    everything = Examples.of((x, y))
    whole = Supervised(model, half_square, everything)
    true = loss_and_error(whole, whole.point())
    assert true.error == 0 and true.cost == pytest.approx(LOSS_COST)
    covered = 0
    for seed in range(200):
        some = everything.subsample(100, torch.Generator().manual_seed(seed))
        found = loss_and_error(whole.on(some), whole.point())
        covered += abs(found.value - true.value) <= 1.96 * found.error
    assert 180 <= covered <= 199
    one = Supervised(model, half_square, everything.subsample(1, torch.Generator().manual_seed(0)))
    assert math.isinf(loss_and_error(one, one.point()).error)
    assert loss_and_error(Quadratic(torch.eye(2)), torch.ones(2)).value == 1.0
