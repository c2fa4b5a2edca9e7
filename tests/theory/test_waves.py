import numpy as np
import pytest
import torch

from thalweg.objective.formula import Formula
from thalweg.objective.noise import parse
from thalweg.theory.intervals import above, below, exact
from thalweg.theory.waves import evaluator, expanded, smoothed

TEXTS = ["x**2*y + 0.3*cos(5*x - 2*y + 1)*y", "x**4 + sin(3*x)*cos(2*y)*x", "(x + cos(y))**2"]
PLAIN = ["x**4*y**2 - x + cos(3*x + 2*y + 1)", "sin(4*x)*sin(y)"]
POINT = [0.3, -0.7]


def value(waves: object) -> tuple[float, float]:
    (found,) = evaluator([waves])([exact(p) for p in POINT])  # type: ignore[list-item]
    return below(found), above(found)


@pytest.mark.parametrize("text", TEXTS)
def test_an_expansion_encloses_the_formula_and_its_derivatives(text: str) -> None:
    formula = Formula.parse(text)
    waves = expanded(formula)
    assert waves is not None
    for axis, name in enumerate("xy"):
        low, high = value(waves.derivative(axis))
        truth = float(formula.derivative(name).evaluate(POINT))
        assert low - 1e-12 <= truth <= high + 1e-12 and high - low < 1e-12
    low, high = value(waves)
    assert low - 1e-12 <= float(formula.evaluate(POINT)) <= high + 1e-12


@pytest.mark.parametrize(
    ("text", "noise"),
    [(t, n) for t in TEXTS for n in ("uniform:4", "gaussian:3")]
    + [(t, n) for t in PLAIN for n in ("ball:4", "sphere:4")]
    + [("x*cos(3*x + y)", "ball:4"), ("x*cos(3*x + y)", "sphere:4")],
)
def test_the_mean_is_that_of_draws(text: str, noise: str) -> None:
    formula = Formula.parse(text)
    waves = expanded(formula)
    assert waves is not None
    mean = smoothed(waves, parse(noise), 0.1)
    assert mean is not None
    draws = parse(noise).draw((200_000, 2), torch.Generator().manual_seed(0)).numpy()
    values = np.asarray(formula.evaluate(list((np.array(POINT) - 0.1 * draws).T)))
    error = values.std() / np.sqrt(len(values))
    assert sum(value(mean)) / 2 == pytest.approx(values.mean(), abs=4.5 * error)


def test_what_is_no_sum_of_waves_is_left_alone() -> None:
    for text in ("exp(x)", "cos(x**2)", "1/x", "x**0.5"):
        assert expanded(Formula.parse(text)) is None
