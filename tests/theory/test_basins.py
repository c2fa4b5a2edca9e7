import math

import numpy as np
import pytest

from thalweg.objective.landscape import from_formula
from thalweg.theory.basins import basins, minima
from thalweg.theory.domain import read_domain


def test_the_four_minima_of_himmelblau() -> None:
    himmelblau = from_formula("(x**2 + y - 11)**2 + (x + y**2 - 7)**2")
    found = sorted(minima(himmelblau, read_domain("-5:5", 2)))
    known = [(-3.77931, -3.283186), (-2.805118, 3.131313), (3.0, 2.0), (3.584428, -1.848127)]
    assert np.array(found) == pytest.approx(np.array(known), abs=1e-5)


def test_a_basin_has_its_wall_towards_the_target() -> None:
    cosine = from_formula("cos(x)")  # minima at ±π, ±3π; walls of height 2 and slope 1
    found = basins(cosine, math.pi, read_domain("-10:10", 1))
    assert [b.minimum for b in found] == pytest.approx([-3 * math.pi, -math.pi, 3 * math.pi])
    assert [b.top for b in found] == pytest.approx([-2 * math.pi, 0, 2 * math.pi], abs=1e-9)
    assert [b.height for b in found] == pytest.approx([2, 2, 2])
    assert [b.noise for b in found] == pytest.approx([1, 1, 1], abs=1e-5)


def test_a_bowl_has_no_wall() -> None:
    bowl = from_formula("x**2")
    assert basins(bowl, 0.0, read_domain("-1:1", 1)) == []
    assert minima(bowl, read_domain("-1:1", 1)) == [pytest.approx((0.0,), abs=1e-12)]
