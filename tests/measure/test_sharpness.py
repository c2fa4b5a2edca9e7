"""Sharpness in one number against closed forms of quadratics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.problems import Quadratic, symmetric, vectors
from thalweg.errors import UsageError
from thalweg.measure import epsilon_sharpness, sam_sharpness

MATRIX, _ = symmetric(np.array([5.0, 3.0, 1.0, 0.5, 0.1, 0.0]), seed=0)
ORIGIN = torch.zeros(6, dtype=torch.float64)


@settings(max_examples=30)
@given(st.integers(0, 50), st.floats(0.01, 1.0))
def test_sam_sharpness_of_a_quadratic(seed: int, rho: float) -> None:
    point = vectors(6, seed=seed)
    g = MATRIX @ point
    norm = float(g.norm())
    expected = rho * norm + 0.5 * rho**2 * float(g @ MATRIX @ g) / norm**2
    found = sam_sharpness(Quadratic(MATRIX), point, rho=rho)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert sam_sharpness(Quadratic(MATRIX), ORIGIN, rho=rho).value == 0


def test_epsilon_sharpness_of_a_diagonal_quadratic_is_at_a_corner() -> None:
    diagonal = torch.tensor([4.0, 1.0, 0.5], dtype=torch.float64)
    point, epsilon = torch.tensor([0.3, -0.2, 0.0], dtype=torch.float64), 0.05
    room = epsilon * (point.abs() + 1)
    start = 0.5 * (diagonal * point**2).sum()
    top = 0.5 * (diagonal * (point.abs() + room) ** 2).sum()
    found = epsilon_sharpness(Quadratic(torch.diag(diagonal)), point, epsilon=epsilon)
    assert found.value == pytest.approx(float(100 * (top - start) / (1 + start)), rel=1e-9)
    assert found.unit == "%"


def test_mistakes_are_one_sentence() -> None:
    with pytest.raises(UsageError, match="rho must be a number above 0, not -1"):
        sam_sharpness(Quadratic(MATRIX), ORIGIN, rho=-1.0)
    with pytest.raises(UsageError, match="epsilon must be a number above 0, not 'a'"):
        epsilon_sharpness(Quadratic(MATRIX), ORIGIN, epsilon="a")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="points must have shape"):
        epsilon_sharpness(Quadratic(MATRIX), ORIGIN[:2])
