"""How a measured number against a threshold becomes a probability."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.diagnose import thresholds as t
from thalweg.estimate import Estimate

THRESHOLDS = st.floats(1e-9, 1e9)
VALUES = st.floats(-1e12, 1e12) | st.sampled_from([0.0, -0.0, math.inf, -math.inf, 1e-300])
ERRORS = st.floats(0.0, 1e12) | st.just(math.inf)
NEAR_NOUGHT, FAR_OUT = 1e-4, 0.013
"""Far below a threshold the margin is told in another form (a logarithm has no place for 0): where
the two meet, they differ by so little, without and with an error."""


@given(VALUES, ERRORS | st.just(math.nan), THRESHOLDS)
def test_above_and_below_are_probabilities_and_each_others_contrary(
    value: float, error: float, threshold: float
) -> None:
    found = Estimate(value, error)
    assert 0.0 <= t.above(found, threshold) <= 1.0
    assert t.below(found, threshold) == pytest.approx(1 - t.above(found, threshold), abs=1e-15)


@given(VALUES, VALUES, THRESHOLDS)
def test_an_exact_number_is_more_surely_above_the_higher_it_is(
    one: float, other: float, threshold: float
) -> None:
    low, high = sorted((one, other))
    assert t.above(Estimate(low), threshold) <= t.above(Estimate(high), threshold) + NEAR_NOUGHT


@given(VALUES, VALUES, st.floats(0.0, 1e6), THRESHOLDS)
def test_a_number_with_an_error_is_more_surely_above_the_higher_it_is(
    one: float, other: float, error: float, threshold: float
) -> None:
    low, high = (Estimate(value, error) for value in sorted((one, other)))
    assert t.above(low, threshold) <= t.above(high, threshold) + FAR_OUT


@given(VALUES, ERRORS, THRESHOLDS, THRESHOLDS)
def test_a_number_is_less_surely_above_a_higher_threshold(
    value: float, error: float, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    found = Estimate(value, error)
    assert t.above(found, low) >= t.above(found, high) - 1e-12


@given(THRESHOLDS, st.floats(0.0, 10.0))
def test_at_the_threshold_it_is_an_even_chance(threshold: float, relative: float) -> None:
    found = Estimate(threshold, relative * threshold)
    assert t.above(found, threshold) == pytest.approx(0.5)
    assert t.below(found, threshold) == pytest.approx(0.5)


@given(st.floats(0.0, 1e12) | st.just(math.nan) | st.just(math.inf), THRESHOLDS)
def test_what_was_not_measured_is_neither_above_nor_below(error: float, threshold: float) -> None:
    unknown = Estimate(math.nan, error)
    assert t.above(unknown, threshold) == t.below(unknown, threshold) == 0.0


@given(ERRORS | st.just(math.nan), THRESHOLDS)
def test_infinities_are_certain(error: float, threshold: float) -> None:
    assert t.above(Estimate(math.inf, error), threshold) == 1.0
    assert t.below(Estimate(math.inf, error), threshold) == 0.0
    assert t.above(Estimate(-math.inf, error), threshold) == 0.0
    assert t.below(Estimate(-math.inf, error), threshold) == 1.0


@given(st.floats(0.0, 1e9), ERRORS, ERRORS, THRESHOLDS)
def test_a_wider_error_makes_less_sure(
    value: float, one: float, other: float, threshold: float
) -> None:
    narrow, wide = (t.above(Estimate(value, error), threshold) for error in sorted((one, other)))
    assert abs(wide - 0.5) <= abs(narrow - 0.5) + FAR_OUT
    assert (wide - 0.5) * (narrow - 0.5) >= -1e-12  # never to the other side


@given(VALUES, ERRORS)
def test_nothing_lies_above_a_threshold_that_is_no_number(value: float, error: float) -> None:
    """Some thresholds are multiples of another measured number, which may be unknown or overflow."""
    for threshold in (math.nan, math.inf):
        assert t.above(Estimate(value, error), threshold) == 0.0


def test_an_error_counts_beside_the_softness_of_the_threshold() -> None:
    """At twice the threshold, exactly, give or take 0.9 of it, and 1.3."""
    assert t.above(Estimate(2.0), 1.0) == pytest.approx(0.9972, abs=1e-3)
    assert t.above(Estimate(2.0, 0.9), 1.0) == pytest.approx(0.911, abs=1e-3)
    assert t.above(Estimate(2.0, 1.3), 1.0) < 0.8


def test_a_number_of_unknown_size_says_nothing() -> None:
    assert t.above(Estimate(100.0, math.inf), 1.0) == 0.5


@given(st.floats(1e-3, 1e3), st.floats(0.0, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_only_ratios_to_the_threshold_count(
    value: float, error: float, threshold: float, unit: float
) -> None:
    told = t.above(Estimate(value, error), threshold)
    other_unit = t.above(Estimate(unit * value, unit * error), unit * threshold)
    # A rounding may bring a value from one side of twice its error to the other.
    assert told == pytest.approx(other_unit, abs=1e-9) or math.isclose(value, 2 * error)


def test_an_exact_number_far_from_the_threshold_is_nearly_certain() -> None:
    """SOFTNESS: three quarters over a threshold is over it in 98 of 100, double in 99.7."""
    assert t.above(Estimate(2.0), 1.0) > 0.99 > t.above(Estimate(1.25), 1.0) > 0.75
    assert t.above(Estimate(0.5), 1.0) < 0.01 < t.above(Estimate(0.8), 1.0) < 0.25


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5))
def test_signs_together(probabilities: list[float]) -> None:
    assert t.both(*probabilities) == min(probabilities)
    assert t.either(*probabilities) == max(probabilities)
    contrary = [t.opposite(p) for p in probabilities]
    assert t.opposite(t.both(*probabilities)) == pytest.approx(t.either(*contrary))


def test_every_threshold_is_a_positive_number_with_a_reason() -> None:
    source = t.__spec__.loader.get_source(t.__name__)  # type: ignore[union-attr]
    numbers = {n: v for n, v in vars(t).items() if n.isupper() and isinstance(v, float | int)}
    assert len(numbers) > 20
    for name, value in numbers.items():
        assert value > 0 and math.isfinite(value)
        _, _, after = source.partition(f"{name} = " if f"\n{name} = " in source else f"{name}, ")
        after = after or source.partition(f", {name} = ")[2]
        assert after.split("\n")[1].startswith('"""'), f"{name} has no reason beside it"
