import math

import pytest
from scipy.optimize import brentq

from thalweg.objective.landscape import from_formula
from thalweg.theory.table import RADII, certificates, placed


def test_each_kind_has_its_place() -> None:
    assert placed(from_formula("x**2 + y**2"), (0, 0), "-2:2").kind == "convex"
    # f′ = 2x(1 + 0.35 cos 5x) − 1.75x² sin 5x: bends down in places, falls towards 0 everywhere near it
    bent = placed(from_formula("x**2*(1 + 0.35*cos(5*x))"), 0, "-1:1")
    assert bent.kind == "one-point convex" and bent.radius == 0
    assert placed(from_formula("x**2 - y**2"), (0, 0), "-1:1").kind == "neither"


def test_a_spike_takes_the_radius_that_its_closed_form_says() -> None:
    """2 − Ak sinc(kρ) sin(ky)/y > 0 first holds where A k² sinc(kρ) falls below 2."""
    found = placed(from_formula("x**2 + 0.1*cos(10*x)"), 0, "-2:2")
    first = brentq(lambda r: 10 * math.sin(10 * r) / (10 * r) - 2, 0.01, 0.3)
    assert found.kind == "one-point convex after smoothing"
    assert found.radius is not None
    step = RADII[1] / RADII[0]
    assert first <= found.radius <= first * step**1.01


def test_the_table_over_rates_and_radii() -> None:
    spiky = from_formula("x**2 + 0.3*cos(20*x)")
    rows = certificates(spiky, 0, "-3:3", rates=(0.1, 0.002), radii=(0.3, 0.05))
    assert [row["radius"] for row in rows] == [0.3, 0.3, 0.05, 0.05]
    large, small, *weak = rows
    assert large["status"] == "rigorous" and large["excluded"] == 12
    assert small["excluded"] == 0 and small["c"] == pytest.approx(large["c"], rel=1e-3)
    assert all("not one-point convex" in row["sentence"] for row in weak)
