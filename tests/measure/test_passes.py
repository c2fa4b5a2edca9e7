"""Critical points of a grid against those of functions that are known."""

import numpy as np
import pytest

from thalweg.measure.passes import spots

X, Y = np.meshgrid(np.linspace(-2, 2, 81), np.linspace(-2, 2, 81))


def test_two_wells_have_two_minima_and_a_pass_between_them() -> None:
    found = spots((X**2 - 1) ** 2 + Y**2, 0.01)
    told = sorted(
        (spot.kind, round(float(X[spot.index]), 2), round(float(Y[spot.index]), 2))
        for spot in found
    )
    assert told == [("minimum", -1.0, 0.0), ("minimum", 1.0, 0.0), ("saddle", 0.0, 0.0)]
    saddle = next(spot for spot in found if spot.kind == "saddle")
    assert saddle.prominence == pytest.approx(1.0)


def test_ripples_lower_than_asked_for_are_none() -> None:
    ripples = X**2 + Y**2 + 0.01 * np.cos(20 * X) * np.cos(20 * Y)
    assert len(spots(ripples, 0.05)) == 1
    assert len(spots(ripples, 1e-4)) > 5


def test_a_slope_and_a_bowl_cut_off_have_none_inside() -> None:
    assert spots(X + 2 * Y, 0.01) == []
    assert spots((X - 3) ** 2 + Y**2, 0.01) == []


def test_a_top_is_a_maximum_and_gaps_are_no_ground() -> None:
    heights = -(X**2) - Y**2
    assert [spot.kind for spot in spots(heights, 0.01)] == ["maximum"]
    assert X[spots(heights, 0.01)[0].index] == pytest.approx(0)
    heights[38:43, 38:43] = np.nan
    assert spots(heights, 0.01) == []
