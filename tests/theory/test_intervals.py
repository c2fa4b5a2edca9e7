import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.objective.formula import Formula
from thalweg.theory.intervals import above, ball, below, exact, jet_at, minimum, value_at

FORMULAS = [
    "x**2 + 0.3*cos(20*x)",
    "abs(x - 0.1) + max(x, 0.5*x**3)",
    "exp(-x**2)*sin(3*x) + tanh(x)/(1 + x**2)",
    "sqrt(2 + x) + log(3 + x)",
]


@pytest.mark.parametrize("text", FORMULAS)
@given(st.floats(-1.5, 1.5), st.floats(0, 0.5), st.floats(0, 1))
def test_an_enclosure_holds_the_value_and_the_slope_everywhere(
    text: str, low: float, width: float, share: float
) -> None:
    formula = Formula.parse(text)
    x = min(low + share * width, low + width)
    box = ball(low, low + width)
    slope = formula.derivative("x")
    jet = jet_at(formula, [box])
    for enclosure, inside in ((jet.value, formula), (value_at(formula, [box]), formula)):
        value = float(inside.evaluate([x]))
        assert below(enclosure) - 1e-9 <= value <= above(enclosure) + 1e-9
    assert below(jet.slopes[0]) - 1e-9 <= float(slope.evaluate([x])) <= above(jet.slopes[0]) + 1e-9


def test_a_kink_and_a_jump_have_no_second_derivative_and_no_value() -> None:
    jet = jet_at(Formula.parse("abs(x)"), [ball(-1.0, 2.0)])
    assert (below(jet.slopes[0]), above(jet.slopes[0])) == pytest.approx((-1, 1))
    assert not jet.bends[0][0].is_finite()
    assert not jet_at(Formula.parse("sign(x)"), [ball(-1.0, 2.0)]).value.is_finite()
    assert not value_at(Formula.parse("sign(x)"), [ball(-1.0, 2.0)]).is_finite()


def test_what_is_not_finite_bounds_nothing() -> None:
    nothing = ball(-1.0, 1.0) / ball(-1.0, 1.0)
    assert (below(nothing), above(nothing)) == (-math.inf, math.inf)


def test_a_fraction_is_enclosed() -> None:
    third = exact(Fraction(1, 3))
    assert below(third) < 1 / 3 < above(third) and above(third) - below(third) < 1e-15


def test_branch_and_bound_encloses_the_minimum() -> None:
    formula = Formula.parse("x**2 + 0.3*cos(20*x)")
    found = minimum(lambda box: value_at(formula, [ball(*box[0])]), [((-3.0, 2.0),)])
    truth = float(formula.evaluate([np.linspace(-0.2, 0.2, 2_000_001)]).min())
    assert found.lower <= truth <= found.upper + 1e-9
    assert found.upper - found.lower <= 2e-3 * abs(found.lower)
    assert float(formula.evaluate([found.where[0]])) == pytest.approx(found.upper)


def test_branch_and_bound_never_proves_what_it_cannot_enclose() -> None:
    """A ball that is no number must not be taken for a high value."""
    found = minimum(lambda box: ball(*box[0]) / ball(*box[0]), [((-1.0, 1.0),)], most=50)
    assert found.lower == -math.inf
    left = minimum(lambda box: 1 / ball(*box[0]), [((-1.0, 1.0),)], most=50)
    assert left.lower == -math.inf
