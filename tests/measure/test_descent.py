"""Descent to known minima, past walls, and never to worse than what was seen."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from problems import Formula, Quadratic, rosenbrock, symmetric, vectors
from thalweg.measure.descent import descend_from, nudged


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e6])
def test_it_reaches_the_minimum_of_a_quadratic(scale: float) -> None:
    matrix, _ = symmetric(np.logspace(-3, 0, 15), 0)
    centre = vectors(1, 15, seed=5)[0]
    objective = Quadratic(matrix, centre, scale=scale)
    start = vectors(1, 15)[0]
    found = descend_from(objective, start, evaluations=150)
    assert found.loss.value < 1e-9 * float(objective.loss(start))
    assert float(objective.loss(found.point)) == found.loss.value
    assert found.loss.cost == len(found.losses) <= 150


def test_it_follows_a_curved_valley() -> None:
    objective = Formula(4, rosenbrock)
    found = descend_from(objective, torch.tensor([-1.2, 1.0, -1.2, 1.0]).double(), evaluations=200)
    assert found.loss.value < 1e-12
    torch.testing.assert_close(found.point, torch.ones(4).double(), rtol=1e-5, atol=1e-5)


def test_it_leaves_the_neighbourhood_of_a_weak_saddle() -> None:
    """Curvature −10⁻⁴ beside 1, from a nudge of 10⁻⁵: down to −2.5e-9 at y = ±0.01."""
    objective = Formula(
        2, lambda x: 0.5 * x[..., 0] ** 2 - 5e-5 * x[..., 1] ** 2 + x[..., 1] ** 4 / 4
    )
    found = descend_from(objective, torch.tensor([0.0, 1e-5]).double(), evaluations=60)
    assert math.isclose(abs(float(found.point[1])), 0.01, rel_tol=1e-3)
    assert math.isclose(found.loss.value, -2.5e-9, rel_tol=1e-3)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_it_never_returns_worse_than_the_best_seen(seed: int, evaluations: int) -> None:
    def rugged(x: torch.Tensor) -> torch.Tensor:
        return (x**2 + torch.cos(9 * x) + (x > 1.5) * 3.0).sum(-1)

    objective = Formula(3, rugged)
    start = 2 * vectors(1, 3, seed=seed)[0]
    before = start.clone()
    found = descend_from(objective, start, evaluations=evaluations)
    assert torch.equal(start, before)
    assert len(found.losses) <= evaluations
    assert found.losses[0] == float(objective.loss(start))
    assert found.loss.value == min(found.losses) == float(objective.loss(found.point))


@pytest.mark.parametrize("wall", [math.nan, math.inf])
def test_it_turns_back_where_the_loss_is_not_finite(wall: float) -> None:
    """√(1 + x²), nearly straight far out, and a wall to the left of −1, behind the minimum."""

    def walled(x: torch.Tensor) -> torch.Tensor:
        inside = float(x.detach()) > -1
        return (1 + x * x).sqrt().sum(-1) if inside else x.sum() * wall

    start = torch.tensor([20.0]).double()
    found = descend_from(Formula(1, walled), start, evaluations=60)
    assert not all(map(math.isfinite, found.losses))
    assert math.isclose(found.loss.value, 1.0, rel_tol=1e-12)


def test_where_nothing_is_finite_nothing_is_claimed() -> None:
    objective = Formula(2, lambda x: (x * math.nan).sum(-1))
    start = torch.ones(2)
    found = descend_from(objective, start, evaluations=20)
    assert math.isnan(found.loss.value) and torch.equal(found.point, start)
    assert found.loss.cost == len(found.losses) == 1


def test_a_nudge_has_its_length_in_every_direction() -> None:
    point = torch.zeros(4000)
    moved = nudged(point, 0.3, torch.Generator().manual_seed(0))
    assert math.isclose(float(moved.norm()), 0.3, rel_tol=0.05) and not point.any()
    assert torch.equal(moved, nudged(point, 0.3, torch.Generator().manual_seed(0)))
