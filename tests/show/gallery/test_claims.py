"""The claims of exhibits fail on data that do not bear them out; their own arithmetic has other proofs."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from thalweg.objective import landscapes
from thalweg.run.ends import Proportion
from thalweg.show.gallery import (
    batches,
    escape_times,
    flat_minimum,
    one_example,
    ravine,
    schedules,
    two_escapes,
)

TIMES = [escape_times._Time(t, 1.0, t, 0.8 * t) for t in (400.0, 340.0, 280.0, 220.0, 160.0)]


def test_times_that_are_off_refute_the_formula() -> None:
    assert escape_times._saddle_agrees(TIMES).holds
    late = [*TIMES[:4], replace(TIMES[4], seen=1.1 * TIMES[4].expected)]
    assert not escape_times._saddle_agrees(late).holds
    assert escape_times._logarithmic(TIMES).holds
    assert not escape_times._logarithmic([replace(t, seen=t.seen**2 / 100) for t in TIMES]).holds


def test_times_at_the_limit_refute_that_the_limit_is_off() -> None:
    assert escape_times._kramers_is_off(TIMES).holds
    assert not escape_times._kramers_is_off([replace(t, seen=t.limit) for t in TIMES]).holds


def test_a_trial_that_has_not_left_counts_with_the_whole_run() -> None:
    """Of exponential times cut off at the mean, total time over exits is the mean itself."""
    times = np.random.default_rng(0).exponential(1000.0, 100_000)
    cut = np.where(times < 1000, times, -1).astype(int)
    mean, error = escape_times._mean(cut, 1000)
    assert abs(mean - 1000) < 15
    assert 0 < error < 15


@pytest.mark.parametrize("time", [0.75, 1.2])
def test_trials_as_fast_as_smoothed_descent_do_not_climb(time: float) -> None:
    arrival = two_escapes._Arrival(0.004, time, 0.02, np.zeros((0, 0)))
    assert not two_escapes._thermal(arrival, 2.0, math.inf).holds
    assert two_escapes._thermal(replace(arrival, time=2.05), 2.0, math.inf).holds
    assert not two_escapes._thermal(replace(arrival, time=2.05), 2.0, 0.7).holds
    assert not two_escapes._smoothing(replace(arrival, time=2.05), 2.0, 0.7).holds


def test_the_expected_end_of_a_schedule_is_the_variance_of_the_sum_of_its_noise() -> None:
    """Written out: x_n = Π(1 − η) x₀ − Σ η_t Π_{later}(1 − η) ω_t."""
    rates = np.random.default_rng(1).uniform(0.01, 0.3, 60)
    kept = np.cumprod((1 - rates)[::-1])[::-1]
    later = np.append(kept[1:], 1.0)
    square = (schedules.START * kept[0]) ** 2 + ((rates * later * schedules.NOISE) ** 2).sum()
    run = schedules._Run(rates, np.zeros(61), 0.0, 0.0)
    assert run.expected == pytest.approx(math.sqrt(square))


def test_the_scatter_of_a_batch_is_that_of_draws_without_replacement() -> None:
    values = np.random.default_rng(2).normal(size=batches.EXAMPLES)
    generator = np.random.default_rng(3)
    means = [generator.permutation(values)[:100].mean() for _ in range(4000)]
    assert batches._expected(100, float(values.std())) == pytest.approx(np.std(means), rel=0.04)
    assert batches._expected(batches.EXAMPLES, 1.0) == 0


def test_the_long_run_share_is_an_integral() -> None:
    landscape = landscapes.flat_and_sharp()
    formula = landscape.expression
    assert formula is not None
    spread = flat_minimum.RATE * 20.0**2 / 6

    def weight(x: float) -> float:
        return math.exp(-float(formula.evaluate([x], {"exp": math.exp})) / spread)

    wall = flat_minimum._wall(landscape)
    left = quad(weight, -9, wall, limit=200)[0]
    right = quad(weight, wall, 9, limit=200, points=[1.5])[0]
    assert flat_minimum._at_rest(landscape, 20.0) == pytest.approx(left / (left + right), rel=1e-3)


def test_shares_that_do_not_differ_refute_that_more_noise_is_worse() -> None:
    some = Proportion(300, 400)
    ends = [
        flat_minimum._Ends(noise, some, some, np.zeros((0, 0))) for noise in flat_minimum.NOISES
    ]
    assert not flat_minimum._too_much(ends).holds
    assert not flat_minimum._too_little(ends).holds


def test_an_example_is_at_its_own_minimum_there_and_nowhere_else() -> None:
    total = landscapes.finite_sum()
    (place,) = total.example(2).minima[4]
    assert one_example._at_their_own(total, np.array([place]))[0] >= 1
    everywhere = one_example._at_their_own(total, np.linspace(-1, 1, 50_001)).mean()
    spacing = 2 * math.pi / 20  # about: one minimum of each example in each wave
    assert everywhere / total.examples == pytest.approx(2 * one_example.NEAR / spacing, rel=0.15)


def test_growth_as_the_condition_number_is_told_from_its_root() -> None:
    linear = {name: [3.0 * c for c in ravine.CONDITIONS] for name in ravine.COLOURS}
    assert ravine._power(linear, "descent").holds
    assert not ravine._power(linear, "momentum").holds
    assert not ravine._power(linear, "Nesterov").holds
