import math

import mpmath
import pytest

from thalweg.objective.formula import Formula
from thalweg.theory.jets import Arithmetic, functions_on_jets, variables

FLOATS = Arithmetic(
    functions={
        **{name: getattr(math, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt")},
        **{name: getattr(math, name) for name in ("tanh", "sinh", "cosh", "atan")},
        "power": pow,
    },
    sign=lambda x: (x > 0) - (x < 0),
    number=float,
    undefined=math.nan,
    greater=max,
    hull=lambda a, b: (a + b) / 2,
)


@pytest.mark.parametrize(
    "text",
    [
        "x**3*y - y**-2 + 3",
        "sin(x*y)*exp(-x**2) + tan(x)",
        "log(x)*sqrt(y) + x**2.5",
        "tanh(x)*sinh(y)*cosh(x) + atan(x*y)",
        "abs(x - 2*y) + max(x, y) * min(x, 3) + sign(y)*x",
    ],
)
def test_a_jet_has_the_derivatives_that_mpmath_finds(text: str) -> None:
    formula = Formula.parse(text)
    jet = formula.evaluate(variables(FLOATS, (0.7, 1.3), 1.0), functions_on_jets(FLOATS))
    own = {name: getattr(mpmath, name) for name in FLOATS.functions if name != "power"}
    own |= {"abs": abs, "sign": mpmath.sign, "min": min, "max": max}

    def f(x: float, y: float) -> mpmath.mpf:
        return formula.evaluate([x, y], own)

    def derivative(i: int, j: int) -> float:
        return float(mpmath.diff(f, (0.7, 1.3), (i, j)))

    assert jet.value == pytest.approx(float(f(0.7, 1.3)))
    assert jet.slopes == pytest.approx([derivative(1, 0), derivative(0, 1)], rel=1e-6)
    found = [jet.bends[0][0], *jet.bends[1]]
    assert found == pytest.approx(
        [derivative(2, 0), derivative(1, 1), derivative(0, 2)], rel=1e-5, abs=1e-9
    )
