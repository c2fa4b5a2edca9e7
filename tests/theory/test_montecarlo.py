"""Bounds against simulations: on whole guarantees, and over thousands of random functions at once."""

import math

import numpy as np

from thalweg.objective.landscape import from_formula
from thalweg.theory.bounds import EscapeBounds, OnePointBounds
from thalweg.theory.guarantee import guarantee
from thalweg.theory.montecarlo import Check, check_bounds

FUNCTIONS, TRIALS, STEPS = 3000, 64, 120


def test_no_bound_is_violated_over_thousands_of_random_functions() -> None:
    """f = hx²/2 + A cos(kx + φ) with uniform noise; constants on a grid of the whole line's period.

    3000 functions × 64 trials: the mean square and the tail of each against (6), the largest
    against (7), pooled over the functions by the bound's own probability.
    """
    rng = np.random.default_rng(5)
    h, k = rng.uniform(0.2, 2, FUNCTIONS), rng.uniform(1, 25, FUNCTIONS)
    size = rng.uniform(0, 0.6, FUNCTIONS)
    phase = rng.uniform(0, 2 * np.pi, FUNCTIONS)
    eta, rho = rng.uniform(0.01, 0.9, FUNCTIONS) / h, rng.uniform(0.02, 0.8, FUNCTIONS)
    damped = size * k * np.sin(k * rho) / (k * rho)

    def smoothed(y: np.ndarray) -> np.ndarray:
        return h * y - damped * np.sin(k * y + phase)

    target = np.zeros(FUNCTIONS)
    for _ in range(200):  # monotone where the ratio below is positive
        target -= 0.3 * smoothed(target) / (h + np.abs(damped) * k)
    e = np.concatenate([-np.geomspace(20, 1e-3, 1500), np.geomspace(1e-3, 20, 1500)])[:, None]
    ratio = smoothed(target + e) / e
    slack = np.abs(damped) * k * 0.05
    c, steep = ratio.min(axis=0) - slack, np.abs(ratio).max(axis=0) + slack
    stretch = np.maximum(np.abs(1 - eta * (h + size * k**2)), np.abs(1 - eta * (h - size * k**2)))
    variance = rho**2 / 3 * stretch**2
    bounds = [
        EscapeBounds(convexity=float(a), slope=float(b), variance=float(v), learning_rate=float(n))
        for a, b, v, n in zip(c, steep, variance, eta)
    ]
    certified = np.array([b.factor < 1 for b in bounds])
    assert certified.sum() > 500
    y = np.repeat((target + 3)[None], TRIALS, axis=0)
    largest = (y - target) ** 2
    for _ in range(STEPS):
        x = y + rng.uniform(-1, 1, y.shape) * rho
        y = x - eta * (h * x - size * k * np.sin(k * x + phase))
        largest = np.maximum(largest, (y - target) ** 2)
    squares = (y - target) ** 2
    tails, sevens = [], []
    for i in np.nonzero(certified)[0]:
        mean, limit = squares[:, i].mean(), bounds[i].expected_square(STEPS, 3.0)
        error = squares[:, i].std() / math.sqrt(TRIALS)
        assert mean - 5 * error <= limit
        tails.append(((squares[:, i] >= 2 * limit).mean(), 0.5))
        sevens.append(((largest[:, i] >= 36).mean(), bounds[i].leaving(STEPS, 3.0, 6.0)))
    for pairs in (tails, sevens):
        seen, allowed = np.mean(pairs, axis=0)
        assert seen <= allowed + 4 / math.sqrt(TRIALS * len(pairs))


def test_the_five_bounds_of_one_point_convexity_hold_over_random_functions() -> None:
    rng = np.random.default_rng(6)
    h, k = rng.uniform(0.2, 2, FUNCTIONS), rng.uniform(1, 10, FUNCTIONS)
    size = rng.uniform(0, 0.9, FUNCTIONS) * h / k**2  # convex, minimum at 0
    smooth, c = h + size * k**2, h - size * k**2
    eta = c / smooth**2 * rng.uniform(0.05, 0.95, FUNCTIONS)
    r = rng.uniform(0.1, 3, FUNCTIONS)
    y = np.full((TRIALS, FUNCTIONS), 2.0)
    for _ in range(STEPS):
        before = np.abs(y)
        x = y - eta * rng.uniform(-1, 1, y.shape) * r
        y = x - eta * (h * x + size * k * np.sin(k * x))
    squares = y**2
    over = 0.0
    for i in range(FUNCTIONS):
        bounds = OnePointBounds(
            convexity=float(c[i]),
            smoothness=float(smooth[i]),
            radius=float(r[i]),
            second_moment=float(r[i]) ** 2 / 3,
            learning_rate=float(eta[i]),
        )
        error = squares[:, i].std() / math.sqrt(TRIALS)
        assert squares[:, i].mean() - 5 * error <= bounds.expected_square(STEPS, 2.0)
        over += (squares[:, i] > bounds.quantile(STEPS, 2.0, 0.1)).mean()
        assert (np.abs(x[:, i]) <= [bounds.point_distance(d) for d in before[:, i]]).all()
    assert over / FUNCTIONS <= 0.1


def test_a_guarantee_holds_against_simulation_and_a_wrong_one_does_not() -> None:
    spiky = from_formula("x**2 + 0.3*cos(20*x)")
    made = guarantee(spiky, 0.1, "uniform:3", 0, "-3:3")
    checks = check_bounds(spiky, made, trials=1000)
    assert len(checks) > 10 and all(check.holds for check in checks)
    elsewhere = from_formula("(x - 4)**2")  # not the function that the guarantee is about
    assert not all(check.holds for check in check_bounds(elsewhere, made, trials=1000))


def test_every_kind_of_bound_is_checked_where_all_hold() -> None:
    gentle = from_formula("x**2 + 0.01*cos(3*x)")
    made = guarantee(gentle, 0.01, "uniform:3", 0, "-3:3")
    names = [check.name[:3] for check in check_bounds(gentle, made, trials=500)]
    assert set(names) == {"(1)", "(2)", "(3)", "(6)", "(7)"}
    assert all(check.holds for check in check_bounds(gentle, made, trials=500))


def test_a_check_allows_for_its_own_error() -> None:
    assert Check("", 1.0, 1.3, 0.1).holds and not Check("", 1.0, 1.5, 0.1).holds
