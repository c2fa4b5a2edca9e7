"""A number is shown by one rule: four digits at most, and no digit of an error that says nothing."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.estimate import Estimate, number, rounded

RANGE = "of the range"


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(2.2986, 0.0004), "2.299"),
        (Estimate(2.2986, 0.004), "2.299 ± 0.004"),
        (Estimate(0.83, 0.31), "0.8 ± 0.3"),
        (Estimate(0.114, 0.0096), "0.11 ± 0.01"),
        (Estimate(12345.6, 17.3), "12350 ± 20"),
        (Estimate(4.2e-6, 1.1e-6), "4e-6 ± 1e-6"),
        (Estimate(1.0, 6.7e-9), "1"),
        (Estimate(0.0, 5e-7), "0 ± 5e-7"),
        (Estimate(1e-9, 0.5), "0 ± 0.5"),
        (Estimate(-0.0, 0.0), "0"),
        (Estimate(2.07412, 0.0, "loss"), "2.074 loss"),
        (Estimate(-3.0, math.inf), "-3 ± unknown"),
        (Estimate(math.nan, math.nan, "loss"), "not measured"),
        (Estimate(math.nan, 0.1), "not a number"),
        (Estimate(-math.inf, 0.1), "minus infinite"),
        (Estimate(0.1992236, 5e-7, RANGE), "19.9% of the range"),
        (Estimate(0.372, 0.011, RANGE), "37% ± 1% of the range"),
        (Estimate(0.0, 5e-7, RANGE), "0% of the range"),
        (Estimate(3e-7, 1e-9, RANGE), "<0.001% of the range"),
        (Estimate(-0.0012, 0.0002, RANGE), "-0.12% ± 0.02% of the range"),
        (Estimate(9.44, 0.02, RANGE), "9.44 ± 0.02 times the range"),
        (Estimate(-math.inf, 0.0, RANGE), "not finite"),
        (Estimate(0.5, 0.0, "of the trials"), "50% of the trials"),
        (Estimate(0.1, 0.0, "of a fresh weight"), "0.1 times a fresh weight"),
        (Estimate(1500.0, 0.0, "steps"), "1500 steps"),
        (Estimate(1.0, 0.0, "steps"), "1 step"),
        (Estimate(14.26, 0.0, "spreads"), "14.26 spreads"),
    ],
)
def test_a_number_shows_the_digits_that_its_error_leaves(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text


def test_a_share_without_such_a_unit_is_told_in_per_cent_when_asked() -> None:
    assert Estimate(0.985, 0.002).shown(share=True) == ("98.5%", "0.2%", "")
    assert Estimate(-20.0, 0.3).shown(share=True) == ("-20.0", "0.3", "")


@pytest.mark.parametrize(
    ("value", "text"),
    [(19999.0, "19999"), (75512.3, "75510"), (1234567.0, "1.235e6"), (1.25e-7, "1.25e-7")],
)
def test_a_whole_number_is_written_out(value: float, text: str) -> None:
    assert number(value) == text


finite = st.floats(-1e12, 1e12).filter(lambda v: v == 0 or abs(v) > 1e-12)


@given(finite, st.floats(1e-12, 1e12))
def test_what_is_shown_is_near_what_was_measured(value: float, error: float) -> None:
    told, apart = rounded(value, error)
    assert abs(float(told) - value) <= 0.51 * max(error, 1e-3 * abs(value))
    digits = re.sub(r"e.*|[-.]", "", told).strip("0")
    assert len(digits) <= 4 or float(told) == value
    if apart:
        assert len(re.sub(r"e.*|[.]", "", apart).strip("0")) == 1
        assert error / 2 <= float(apart) <= max(2 * error, 1e-3 * abs(value))
