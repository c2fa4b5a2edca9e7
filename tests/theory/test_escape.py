import math

import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.theory.escape import (
    eyring_kramers,
    first_passage_time,
    saddle_exit_time,
    thermal_diffusion,
)


def double_well(x: np.ndarray) -> np.ndarray:
    return (x**2 - 1) ** 2 / 4


def test_flat_ground_between_a_wall_and_an_exit() -> None:
    """Brownian motion of diffusion D from a reflecting wall: L²/(2D)."""
    time = first_passage_time(lambda x: 0 * x, 0.0, 2.0, 0.5, wall=0.0)
    assert time == pytest.approx(4.0, rel=1e-12)


def test_down_a_slope_behind_a_wall() -> None:
    """f = −x: L − D(1 − e^{−L/D})."""
    time = first_passage_time(lambda x: -x, 1.0, 4.0, 0.7, wall=1.0)
    assert time == pytest.approx(3 - 0.7 * (1 - math.exp(-3 / 0.7)), rel=1e-10)


def test_eyring_kramers_is_the_limit_of_small_noise() -> None:
    excess = [
        first_passage_time(double_well, -1.0, 1.0, d) / eyring_kramers(2.0, -1.0, 0.25, d) - 1
        for d in (0.1, 0.02, 0.005)
    ]
    assert excess[0] == pytest.approx(0.22, abs=0.01)
    assert 0 < excess[2] < excess[1] < 0.05


def test_left_and_right_are_alike() -> None:
    there = first_passage_time(double_well, -1.0, 0.3, 0.1)
    assert there == pytest.approx(first_passage_time(double_well, 1.0, -0.3, 0.1), rel=1e-12)


def test_escape_from_a_well_against_simulation() -> None:
    """Well to well under SGD: steps = time/η, D = ηs²/2."""
    eta, s, trials = 0.05, 2.4, 4000
    rng = np.random.default_rng(0)
    x, when = np.full(trials, -1.0), np.zeros(trials)
    alive, step = np.ones(trials, dtype=bool), 0
    while alive.any():
        step += 1
        here = x[alive]
        x[alive] = here - eta * (here**3 - here + s * rng.standard_normal(len(here)))
        out = alive & (x >= 1)
        when[out], alive = step, alive & ~out
    theory = first_passage_time(double_well, -1.0, 1.0, thermal_diffusion(eta, s**2)) / eta
    assert when.mean() == pytest.approx(theory, rel=0.06)


@pytest.mark.parametrize(("gamma", "eta"), [(1.0, 0.1), (3.0, 0.02)])
def test_leaving_a_saddle_against_simulation(gamma: float, eta: float) -> None:
    rng = np.random.default_rng(1)
    trials, y = 20_000, np.zeros(20_000)
    when, alive, step = np.zeros(trials), np.ones(trials, dtype=bool), 0
    while alive.any():
        step += 1
        y = (1 + eta * gamma) * y + eta * 0.7 * rng.standard_normal(trials)
        out = alive & (np.abs(y) >= 40)
        when[out], alive = step, alive & ~out
    theory = saddle_exit_time(gamma, eta, 0.7, 40.0)
    assert abs(when.mean() - theory) < 4 * when.std() / math.sqrt(trials) + 0.01 * theory


def test_bad_arguments_are_told() -> None:
    with pytest.raises(UsageError, match="exit_at must be well above the noise"):
        saddle_exit_time(1.0, 0.1, 1.0, 0.2)
    with pytest.raises(UsageError, match="curvature must be a number above 0"):
        saddle_exit_time(-1.0, 0.1, 1.0, 5.0)
    with pytest.raises(UsageError, match="wall must be given"):
        first_passage_time(lambda x: 0 * x, 0.0, 1.0, 1.0)
    with pytest.raises(UsageError, match="wall must lie behind"):
        first_passage_time(double_well, 0.0, 1.0, 1.0, wall=0.5)
