import math

import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.theory.bounds import EscapeBounds, OnePointBounds, PaperTheorem, step_limit

ONE = OnePointBounds(
    convexity=1.0, smoothness=2.0, radius=3.0, second_moment=4.0, learning_rate=0.1
)


def test_the_numbers_by_hand() -> None:
    assert ONE.rate == pytest.approx(2 * 0.1 - 0.01 * 4)
    assert ONE.gain == pytest.approx(1.2)
    assert ONE.noise == pytest.approx(0.01 * 9 * 1.44)
    assert ONE.mean_noise == pytest.approx(0.01 * 4 * 1.44)
    assert ONE.expected_square(0, 5.0) == pytest.approx(25)
    assert ONE.expected_square(10**6, 5.0) == pytest.approx(ONE.mean_noise / ONE.rate)
    assert ONE.point_distance(1.0) == pytest.approx(1.3)
    paper = PaperTheorem(bounds=ONE)
    assert paper.rate_limit == pytest.approx(0.25)
    assert paper.applies
    assert paper.radius == pytest.approx(math.sqrt(20 * ONE.noise / ONE.rate))
    assert paper.steps(5.0) == pytest.approx(math.log(0.16 * 25 / 0.1296) / 0.16)
    assert paper.window_radius(1) == pytest.approx(
        42 * math.sqrt(math.log(2.25)) * math.sqrt(ONE.noise / ONE.rate)
    )
    third = ONE.quantile(7, 5.0, 0.01, window=3)
    spread = 2.3 + 8 * 1.44 * math.log(300)
    assert third == pytest.approx(0.92**7 * 25 + ONE.noise / ONE.rate * spread)


def test_the_window_bound_is_far_below_the_papers() -> None:
    """About a hundred times for small ηL, as squares."""
    small = OnePointBounds(
        convexity=1.0, smoothness=2.0, radius=1.0, second_moment=1.0, learning_rate=1e-3
    )
    ours = small.quantile(10**6, 1.0, 0.5, window=10_000)
    assert 50 < PaperTheorem(bounds=small).window_radius(10_000) ** 2 / ours < 400


def test_the_papers_hypotheses_put_critical_points_inside_its_ball() -> None:
    """D ≤ Lηr/c < √(b/λ)/K, over random constants that meet the hypotheses."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        smooth = rng.uniform(0.1, 10)
        c = smooth * rng.uniform(0.01, 1)
        limit = min(1 / (2 * smooth), c / smooth**2, 1 / (2 * c))
        bounds = OnePointBounds(
            convexity=c,
            smoothness=smooth,
            radius=rng.uniform(0.1, 5),
            second_moment=0.1,
            learning_rate=limit * rng.uniform(0.01, 0.99),
        )
        distance = smooth * bounds.learning_rate * bounds.radius / c
        assert distance < math.sqrt(bounds.noise / bounds.rate) / bounds.gain


def test_without_contraction_nothing_is_promised() -> None:
    bad = OnePointBounds(
        convexity=-1.0, smoothness=2.0, radius=3.0, second_moment=4.0, learning_rate=0.1
    )
    assert bad.expected_square(5, 1.0) == bad.quantile(5, 1.0, 0.1) == math.inf
    assert bad.tail(5, 1.0, 2.0) == 1
    paper = PaperTheorem(bounds=bad)
    assert (paper.applies, paper.radius, paper.steps(1.0)) == (False, math.inf, math.inf)
    escape = EscapeBounds(convexity=-1.0, slope=2.0, variance=0.1, learning_rate=0.1)
    assert escape.stationary == math.inf and escape.tail(5, 1.0, 2.0) == 1
    assert escape.leaving(5, 1.0, 2.0) == 1


def test_one_dimension_has_the_better_factor() -> None:
    line, plane = (
        EscapeBounds(convexity=1.0, slope=12.0, variance=0.1, learning_rate=0.1, dim=dim)
        for dim in (1, 2)
    )
    assert line.factor == pytest.approx(0.81)
    assert plane.factor == pytest.approx(1 - 0.2 + 1.44)
    assert line.stationary == pytest.approx(0.1 / 0.19)


@pytest.mark.parametrize("dim", [1, 3])
def test_escape_bounds_hold_on_quadratics_and_are_sharp(dim: int) -> None:
    """f = hx²/2 with Gaussian noise: E‖e_t‖² and its limit are known, and (6) is exact."""
    h, eta, s = 0.8, 0.3, 1.5
    variance = dim * (eta * s * (1 - eta * h)) ** 2
    bounds = EscapeBounds(convexity=h, slope=h, variance=variance, learning_rate=eta, dim=dim)
    square = 4.0
    for t in range(1, 30):
        square = (1 - eta * h) ** 2 * square + variance
        assert bounds.expected_square(t, 2.0) == pytest.approx(square)


def test_a_full_step_beyond_the_limit_comes_no_closer() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        x, gradient = rng.normal(size=(2, 3))
        limit = step_limit(float(np.linalg.norm(gradient)), float(gradient @ x))
        for eta in (0.999 * limit, 1.001 * limit):
            if eta > 0:
                closer = np.linalg.norm(x - eta * gradient) < np.linalg.norm(x)
                assert closer == (eta < limit)


def test_bad_arguments_are_told() -> None:
    with pytest.raises(UsageError, match="distance must be a number of at least 0, not -1"):
        ONE.expected_square(3, -1.0)
    with pytest.raises(UsageError, match="probability must be between 0 and 1, not 0"):
        ONE.quantile(3, 1.0, 0)
