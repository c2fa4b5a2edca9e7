import math

import numpy as np
import pytest

from thalweg.objective.formula import Formula
from thalweg.objective.noise import parse
from thalweg.theory.constants import Constants
from thalweg.theory.domain import read_domain
from thalweg.theory.intervals import above, below, exact
from thalweg.theory.line import Line, prove_line

ETA = 0.1


def proved(text: str, noise: str, domain: str = "-3:3", target: float = 0.0) -> Constants:
    found = prove_line(
        Formula.parse(text), ETA, parse(noise), target, read_domain(domain, 1), tolerance=1e-3
    )
    assert found is not None
    return found


@pytest.mark.parametrize(("amplitude", "k", "a"), [(0.3, 20.0, 3.0), (0.2, 7.0, 4.0)])
def test_a_cosine_spike_agrees_with_its_closed_form(amplitude: float, k: float, a: float) -> None:
    """g′ = 2y − A k sinc(kρ) sin(ky) on a grid, its ratio within the Lipschitz slack of the proof."""
    found = proved(f"x**2 + {amplitude}*cos({k}*x)", f"uniform:{a}")
    rho = ETA * a
    damped = amplitude * k * math.sin(k * rho) / (k * rho)
    y = np.linspace(-3, 3, 600_001)
    y = y[np.abs(y) > 1e-9]
    ratio = 2 - damped * np.sin(k * y) / y
    c, steep = ratio.min(), np.abs(ratio).max()
    slack = abs(damped) * k**2 * 1e-5
    assert found.convexity.rigorous
    assert found.convexity.value <= c + slack and found.convexity.value >= c * (1 - 2e-3) - slack
    assert steep - slack <= found.slope.value <= steep * (1 + 2e-3) + slack
    assert found.convexity.value <= found.convexity.attained
    assert found.smoothness.value == pytest.approx(2 + amplitude * k**2, rel=2e-3)
    x = np.linspace(-rho, rho, 2001)
    landed = (lambda z: z - ETA * (2 * z - amplitude * k * np.sin(k * z)))(y[::2000, None] + x)
    assert landed.var(axis=1).max() <= found.variance.value <= 1.05 * landed.var(axis=1).max()


def test_two_point_noise_agrees_with_a_grid() -> None:
    found = proved("x**2 + 0.3*cos(20*x)", "sphere:3")
    y = np.linspace(-3, 3, 300_000)

    def slope(z: np.ndarray) -> np.ndarray:
        return 2 * z - 6 * np.sin(20 * z)

    e = y - found.target[0]  # the target itself is a maximum of the smoothed loss
    ratio = ((slope(y + 0.3) + slope(y - 0.3)) / 2 / e)[np.abs(e) > 1e-4]
    assert found.convexity.value <= ratio.min() <= found.convexity.value + 0.05
    apart = ((y + 0.3 - ETA * slope(y + 0.3)) - (y - 0.3 - ETA * slope(y - 0.3))) / 2
    assert (apart**2).max() <= found.variance.value <= 1.01 * (apart**2).max()


def test_a_kink_leaves_c_and_v_but_no_l() -> None:
    """x² + |x| under uniform noise: g′ = 2y + clip(y/ρ, −1, 1)."""
    found = proved("x**2 + abs(x)", "uniform:2")
    assert found.convexity.value == pytest.approx(2 + 1 / 3, rel=2e-3)
    assert found.slope.value == pytest.approx(2 + 1 / 0.2, rel=2e-3)
    assert found.smoothness.value == math.inf
    y, x = np.linspace(-1, 1, 401)[:, None], np.linspace(-0.2, 0.2, 4001)
    landed = (y + x) - ETA * (2 * (y + x) + np.sign(y + x))
    assert landed.var(axis=1).max() <= found.variance.value <= 1.06 * landed.var(axis=1).max()


def test_a_function_that_is_no_wave_is_proved_too() -> None:
    found = proved("x**2 - 0.5*exp(-8*(x - 1)**2)", "uniform:5")
    y = np.linspace(-3, 3, 300_000)

    def f(z: np.ndarray) -> np.ndarray:
        return z**2 - 0.5 * np.exp(-8 * (z - 1) ** 2)

    ratio = (f(y + 0.5) - f(y - 0.5)) / (y - found.target[0])
    far = np.abs(y - found.target[0]) > 1e-3
    assert found.convexity.value <= ratio[far].min() <= found.convexity.value + 0.02


def test_the_target_is_moved_to_a_zero_that_is_proved() -> None:
    found = proved("(x - 0.25)**2", "uniform:1", target=0.2)
    assert found.settled and found.target[0] == pytest.approx(0.25, abs=1e-12)
    assert found.convexity.value == pytest.approx(2, rel=1e-6)


def test_without_a_zero_the_pair_holds_everywhere() -> None:
    """g′ = 1: c = −1/ε outside ε, and 1·e ≥ ce² − δ, 1 ≤ C²e² + κ inside."""
    found = proved("x", "uniform:1")
    e = np.linspace(-3, 3, 10_001)
    assert not found.settled and found.gap > 0
    assert (e >= found.convexity.value * e**2 - found.excess - 1e-12).all()
    assert (found.slope.value**2 * e**2 + found.offset >= 1 - 1e-9).all()


@pytest.mark.parametrize("side", [1, -1])
def test_without_a_zero_no_slope_between_the_target_and_a_box_is_used(side: int) -> None:
    """At a target that is no zero the mean of g″ on the way to y is not g′(y)/(y − x*)."""
    line = Line(Formula.parse("x**2 - 2.5*x"), ETA, parse("uniform:0"))
    low, high = sorted((side * 0.02, side * 3.0))
    y = np.linspace(low, high, 1001)
    ratio = (2 * y - 2.5) / y
    for ends in [(low, high), *zip(y[:-1:50].tolist(), y[1::50].tolist())]:
        found = line.ratio((ends,), exact(0.0), settled=False)
        inside = ratio[(y >= ends[0]) & (y <= ends[1])]
        assert below(found) <= inside.min() and inside.max() <= above(found)


@pytest.mark.parametrize("part", ["0.01*sign(x)", "0.001/x**2", "-0.1*log(abs(x - 0.1))"])
def test_a_jump_or_a_pole_that_no_end_of_the_window_meets_is_seen(part: str) -> None:
    """With ρ = 3 on −1:1 every y ± ρ is beyond them, but E f′ is another thing than g′."""
    formula, domain = Formula.parse(f"x**2 + {part}"), read_domain("-1:1", 1)
    assert Line(formula, ETA, parse("uniform:30")).smoothed(exact(0.5))[0].is_finite()
    assert prove_line(formula, ETA, parse("uniform:30"), 0.0, domain) is None


def test_a_domain_that_no_step_leaves_is_known() -> None:
    assert proved("x**2", "uniform:1").closed
    assert not proved("x**2", "uniform:10").closed  # pushed back by ηf′ = 0.8 at 4, ρ = 1
    rng = np.random.default_rng(0)
    y = rng.uniform(-3, 3, 100_000)
    for _ in range(20):
        x = y - ETA * rng.uniform(-1, 1, len(y))
        y = x - ETA * 2 * x
        assert np.abs(y).max() <= 3


def test_noise_without_a_closed_form_is_not_taken() -> None:
    formula = Formula.parse("x**2")
    assert not Line.takes(formula, parse("gaussian:1"))
    assert Line.takes(formula, parse("gaussian:0"))
    assert prove_line(formula, ETA, parse("gaussian:1"), 0.0, read_domain("-1:1", 1)) is None
