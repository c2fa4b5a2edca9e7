import numpy as np
import pytest
import torch

from thalweg.errors import UsageError
from thalweg.objective.landscape import from_callable, from_formula
from thalweg.objective.noise import parse
from thalweg.theory.domain import read_domain
from thalweg.theory.sampled import Sampled, estimate_constants


def test_a_quadratic_in_three_dimensions() -> None:
    """xᵀHx/2: c and C are the extreme eigenvalues, V = η²s² Σ (1 − ηh)²."""
    h = np.array([1.0, 2.0, 3.0])
    bowl = from_callable(lambda p: 0.5 * (p**2 * torch.from_numpy(h)).sum(-1), 3)
    found = estimate_constants(bowl, 0.1, parse("uniform:2"), (0.0,) * 3, read_domain("-1:1", 3))
    assert found.settled and not found.rigorous
    assert found.convexity.value == pytest.approx(1, rel=0.02)
    assert found.slope.value == pytest.approx(3, rel=0.02)
    assert found.smoothness.value == pytest.approx(3, rel=0.02)
    variance = 0.01 * 4 / 3 * ((1 - 0.1 * h) ** 2).sum()
    assert found.variance.value == pytest.approx(variance, rel=0.15)


def test_the_smoothed_gradient_is_that_of_the_closed_form() -> None:
    sampled = Sampled(from_formula("x**2 + 0.3*cos(20*x)"), 0.1, parse("uniform:3"))
    y = np.linspace(-1, 1, 11)[:, None]
    damped = 6 * np.sin(6) / 6
    assert sampled.smoothed(y) == pytest.approx(2 * y - damped * np.sin(20 * y), abs=1e-9)


def test_without_a_zero_the_pair_holds() -> None:
    slope = from_callable(lambda p: p[..., 0], 1)
    found = estimate_constants(slope, 0.1, parse("uniform:1"), (0.0,), read_domain("-3:3", 1))
    e = np.linspace(-3, 3, 10_001)
    assert not found.settled
    assert (e >= found.convexity.value * e**2 - found.excess - 1e-3).all()
    assert (found.slope.value**2 * e**2 + found.offset >= 1 - 1e-3).all()


def test_a_gradient_that_is_not_finite_is_told() -> None:
    log = from_formula("log(x)")
    with pytest.raises(UsageError, match="domain must be where the loss has a finite gradient"):
        estimate_constants(log, 0.1, parse("uniform:1"), (1.0,), read_domain("-1:3", 1))
