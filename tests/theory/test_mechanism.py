import math

import numpy as np
import pytest

from thalweg.objective.landscape import from_formula
from thalweg.theory.mechanism import mechanism

SPIKY = from_formula("x**2 + 0.3*cos(20*x)")


def test_thermal_activation_reaches_the_centre_without_smoothing() -> None:
    """99.8% within 1, though the smoothed loss is not one-point convex; and so it goes in trials."""
    found = mechanism(SPIKY, 0.002, "uniform:25", 0, "-3:3", radius=1.0)
    assert not found.smoothing
    assert found.diffusion == pytest.approx(0.002 * 25**2 / 3 / 2)
    assert found.share == pytest.approx(0.998, abs=0.001)
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 2000)
    for _ in range(4000):
        x = x - 0.002 * (2 * x - 6 * np.sin(20 * x) + rng.uniform(-25, 25, len(x)))
    assert (abs(x) <= 1).mean() == pytest.approx(found.share, abs=0.005)


def test_smoothing_is_told_from_it() -> None:
    assert mechanism(SPIKY, 0.1, "uniform:3", 0, "-3:3").smoothing
    frozen = mechanism(SPIKY, 0.002, "uniform:5", 0, "-3:3")
    assert frozen.barrier is not None and frozen.barrier > 50
    assert "practically never" in frozen.sentence


def test_the_share_of_a_gaussian_law() -> None:
    """f = x²/2: e^{−f/D} is normal with variance D."""
    found = mechanism(from_formula("0.5*x**2"), 0.1, "gaussian:2", 0, "-5:5", radius=0.5)
    assert found.share == pytest.approx(math.erf(0.5 / math.sqrt(2 * 0.2)), abs=1e-3)
    assert found.barrier == 0
