"""The density of a spectrum and its distances: against SciPy and known measures."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from problems import Dense, symmetric
from thalweg.errors import UsageError
from thalweg.measure.density import Density, Rule, distance
from thalweg.measure.quadrature import density


def normal(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    weights = rng.random(count)
    return np.sort(rng.normal(size=count)), weights / weights.sum()


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 20), st.integers(1, 20))
def test_the_distance_is_scipys(seed: int, first: int, second: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = normal(rng, first), normal(rng, second)
    expected = wasserstein_distance(one[0], other[0], one[1], other[1])
    assert distance(one, other) == pytest.approx(expected, abs=1e-12)


def example() -> Density:
    rng = np.random.default_rng(0)
    few, many = np.zeros(3, dtype=bool), np.arange(5) == 2
    rules = tuple(Rule(*normal(rng, 5), many, Rule(*normal(rng, 3), few)) for _ in range(3))
    return Density(50, np.array([-4.0, 6.0]), rules, "1")


def test_the_measure_has_mass_one_and_counts_outliers_singly() -> None:
    values, weights = example().measure()
    assert weights.sum() == pytest.approx(1) and (np.diff(values) >= 0).all()
    assert weights[0] == weights[-1] == 1 / 50
    assert len(example().measure(0)[0]) == 2 + 10 and len(example().measure(coarse=True)[0]) == 11
    assert example().share_below(-3).value == pytest.approx(1 / 50)


def test_the_smoothed_density_has_mass_one() -> None:
    places = np.linspace(-10, 12, 4000)
    height = example().smoothed(places, 0.2)
    assert np.trapezoid(height, places) == pytest.approx(1, abs=1e-6)
    assert np.trapezoid(height * places, places) == pytest.approx(
        float(np.dot(*example().spread())), abs=1e-6
    )


def test_without_random_vectors_it_is_exact() -> None:
    known = Density(3, np.array([-1.0, 0.0, 2.0]), (), "1")
    assert known.error.value == 0
    found = known.functional(lambda v, w: float(w @ v))
    assert (found.value, found.error) == (pytest.approx(1 / 3), 0)


def test_one_random_vector_tells_no_error() -> None:
    one = Density(5, np.zeros(0), (Rule(np.ones(1), np.ones(1), np.ones(1, dtype=bool)),), "1")
    assert np.isnan(one.error.value) and np.isnan(one.share_below(0.5).error)


def test_few_different_eigenvalues_are_found_exactly() -> None:
    eigenvalues = np.r_[np.full(60, -1.0), np.zeros(120), np.full(20, 3.0)]
    matrix, _ = symmetric(eigenvalues, 0)
    found = density(Dense(matrix), torch.zeros(1).double(), probes=3)
    values, weights = found.measure()
    places = np.array([-1.0, 0.0, 3.0])
    assert np.abs(values[:, None] - places).min(1).max() < 1e-9
    shares = [weights[np.abs(values - place) < 0.1].sum() for place in places]
    assert shares == pytest.approx([0.3, 0.6, 0.1], abs=0.12)


@pytest.mark.parametrize("seed", range(3))
def test_single_outliers_are_known_and_do_not_blur_the_bulk(seed: int) -> None:
    eigenvalues = np.r_[np.linspace(-0.1, 0.1, 300), 5.0, 9.0]
    matrix, _ = symmetric(eigenvalues, seed)
    found = density(Dense(matrix), torch.zeros(1).double(), probes=3, budget=90)
    assert found.outliers[-2:] == pytest.approx([5.0, 9.0], abs=1e-6)
    off = distance(found.spread(), (np.sort(eigenvalues), np.full(302, 1 / 302)))
    assert off < 0.1 * 0.05  # of the mean size of the bulk
    assert off < found.error.value < 0.02


def test_a_value_of_many_equal_ones_is_no_outlier() -> None:
    matrix, _ = symmetric(np.r_[np.zeros(180), np.linspace(1, 2, 20)], 0)
    found = density(Dense(matrix), torch.zeros(1).double())
    assert found.outliers.min() > 0.5
    assert found.share_below(0.5).value == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("name", ["probes", "budget"])
def test_counts_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} must be a whole number of"):
        density(Dense(torch.eye(3)), **{name: 0})  # type: ignore[arg-type]
