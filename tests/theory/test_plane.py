import numpy as np
import pytest

from thalweg.objective.formula import Formula
from thalweg.objective.noise import parse
from thalweg.theory.constants import Constants
from thalweg.theory.domain import read_domain
from thalweg.theory.plane import prove_waves

ETA = 0.1


def proved(text: str, noise: str, domain: str = "-2:2", **options: float) -> Constants:
    formula = Formula.parse(text)
    target = (0.0,) * formula.dim
    found = prove_waves(
        formula, ETA, parse(noise), target, read_domain(domain, formula.dim), **options
    )
    assert found is not None
    return found


@pytest.fixture(scope="module")
def product() -> Constants:
    """x² + 2y² + 0.2 cos(8x) cos(8y) under square noise: both factors are damped by sinc(8ρ)."""
    return proved("x**2 + 2*y**2 + 0.2*cos(8*x)*cos(8*y)", "uniform:3")


def test_a_proof_in_two_dimensions_agrees_with_a_dense_grid(product: Constants) -> None:
    found = product
    damped = 0.2 * (np.sin(8 * 0.3) / (8 * 0.3)) ** 2
    x, y = np.meshgrid(*[np.linspace(-2, 2, 801)] * 2)
    far = np.hypot(x, y) > 1e-3
    slopes = (
        2 * x - 8 * damped * np.sin(8 * x) * np.cos(8 * y),
        4 * y - 8 * damped * np.cos(8 * x) * np.sin(8 * y),
    )
    square = x**2 + y**2
    ratio = ((slopes[0] * x + slopes[1] * y)[far] / square[far]).min()
    steep = np.sqrt((slopes[0] ** 2 + slopes[1] ** 2)[far] / square[far]).max()
    assert found.convexity.rigorous and found.slope.rigorous and found.variance.rigorous
    assert found.convexity.value <= ratio <= found.convexity.attained + 1e-3
    assert ratio - found.convexity.value <= 0.02
    assert found.slope.value * 0.98 <= steep <= found.slope.value
    assert found.closed


def test_the_variance_in_two_dimensions_is_that_of_draws(product: Constants) -> None:
    found = product
    rng = np.random.default_rng(1)
    u = rng.uniform(-0.3, 0.3, (50_000, 2))
    spreads = []
    for y in rng.uniform(-2, 2, (40, 2)):
        x = y - u
        slope_x = 2 * x[:, 0] - 1.6 * np.sin(8 * x[:, 0]) * np.cos(8 * x[:, 1])
        slope_y = 4 * x[:, 1] - 1.6 * np.cos(8 * x[:, 0]) * np.sin(8 * x[:, 1])
        spreads.append(np.var(x[:, 0] - ETA * slope_x) + np.var(x[:, 1] - ETA * slope_y))
    assert max(spreads) <= found.variance.value * 1.01
    assert found.variance.value <= 1.15 * max(spreads)


@pytest.mark.parametrize("noise", ["ball:3", "sphere:3"])
def test_round_noise_is_proved_by_bessel_functions(noise: str) -> None:
    found = proved("x**2 + y**2 + 0.1*cos(6*x)", noise)
    rng = np.random.default_rng(2)
    angle, radius = rng.uniform(0, 2 * np.pi, 400_000), np.sqrt(rng.uniform(0, 1, 400_000))
    u = 0.3 * np.cos(angle) * (radius if noise.startswith("ball") else 1)
    damped = np.cos(6 * u).mean()
    x = np.linspace(-2, 2, 4001)
    x = x[np.abs(x) > 1e-3]
    ratio = (2 - 0.6 * damped * np.sin(6 * x) / x).min()  # lowest on the axis y = 0
    assert found.convexity.value == pytest.approx(ratio, rel=0.02)


def test_gaussian_noise_is_proved_in_one_dimension() -> None:
    found = proved("x**2 + 0.3*cos(20*x)", "gaussian:1.5")
    damped = 6 * np.exp(-(20**2) * 0.15**2 / 2)
    y = np.linspace(1e-4, 2, 100_000)
    ratio = 2 - damped * np.sin(20 * y) / y
    assert found.convexity.value == pytest.approx(ratio.min(), rel=2e-3)
    assert found.convexity.value <= ratio.min() + 1e-6
    assert found.smoothness.value == pytest.approx(122, rel=1e-6)  # over the whole line
    assert not found.closed


def test_a_cosine_spike_takes_few_boxes() -> None:
    assert proved("x**2 + 0.3*cos(20*x)", "uniform:3").convexity.work < 300


def test_other_formulas_and_noises_are_left_to_others() -> None:
    domain = read_domain("-1:1", 1)
    for text, noise in (("exp(x**2)", "uniform:1"), ("x**2", "student-t:1:3")):
        assert prove_waves(Formula.parse(text), ETA, parse(noise), (0.0,), domain) is None
