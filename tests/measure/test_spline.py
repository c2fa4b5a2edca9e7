"""Polyharmonic splines: against scipy's cubic, polynomials, and splines fitted anew."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline, RBFInterpolator

from thalweg.measure.spline import Spline

KERNELS = {3: "cubic", 5: "quintic"}


def scattered(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    places = rng.uniform(-1, 1, (count, 2))
    return places, np.sin(3 * places[:, 0]) * np.exp(places[:, 1])


def test_of_one_coordinate_it_is_the_natural_cubic_spline() -> None:
    x = np.array([-1.0, -0.7, -0.1, 0.2, 0.6, 1.0])
    y = np.exp(x) + x**3
    between = np.linspace(-1, 1, 33)
    expected = CubicSpline(x, y, bc_type="natural")(between)
    assert Spline(x[:, None], y)(between[:, None]) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("power", [3, 5])
def test_of_two_coordinates_it_is_what_scipy_fits(power: int) -> None:
    places, values = scattered(0)
    between = np.random.default_rng(1).uniform(-1, 1, (50, 2))
    theirs = RBFInterpolator(places, values, kernel=KERNELS[power], degree=(power - 1) // 2)
    told = Spline(places, values, power)(between)
    assert told == pytest.approx(theirs(between), abs=1e-8)


@pytest.mark.parametrize("power", [3, 5])
def test_errors_of_values_left_out_are_those_of_fitting_without_them(power: int) -> None:
    places, values = scattered(2, 25)
    spline = Spline(places, values, power)
    for left in (0, 7, 24):
        rest = np.arange(25) != left
        told = Spline(places[rest], values[rest], power)(places[left : left + 1])
        assert spline.left_out[left] == pytest.approx(values[left] - told[0], rel=1e-6)


@pytest.mark.parametrize("power", [3, 5])
def test_polynomials_are_exact_and_nothing_is_unsure_about_them(power: int) -> None:
    places, _ = scattered(3)
    degree = (power - 1) // 2
    values = (1 + places[:, 0] - 2 * places[:, 1]) ** degree
    between = np.random.default_rng(4).uniform(-1, 1, (20, 2))
    spline = Spline(places, values, power)
    told, unsure = spline.with_deviation(between)
    assert (told == spline(between)).all()
    expected = (1 + between[:, 0] - 2 * between[:, 1]) ** degree
    assert told == pytest.approx(expected, abs=1e-6)
    assert unsure.max() < 1e-6


def test_it_is_less_sure_farther_from_values_and_where_the_surface_is_rough() -> None:
    lines = np.linspace(-1, 1, 9)
    places = np.stack(np.meshgrid(lines, lines), -1).reshape(-1, 2)
    rough = np.where(places[:, 0] > 0.3, np.random.default_rng(5).normal(size=len(places)), 0.0)
    spline = Spline(places, rough + places[:, 1])
    near, far = np.array([[0.76, 0.76]]), np.array([[0.88, 0.88]])
    calm = np.array([[-0.88, 0.88]])
    (near_off,), (far_off,), (calm_off,) = (spline.with_deviation(p)[1] for p in (near, far, calm))
    assert far_off > 3 * near_off
    assert far_off > 2 * calm_off
