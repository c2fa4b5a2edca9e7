"""Blocks of trials: the chunk changes no bit, more trials change no earlier one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_lyapunov

from thalweg.errors import UsageError
from thalweg.objective import landscapes
from thalweg.objective.noise import Uniform
from thalweg.run import block
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.run.statistics import ExitTime, RMSDistance, Within

NOISES = ("uniform:3", "gaussian:0.5", "ball:2", "student-t:0.3:3", None)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "SIZE", 16)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(NOISES),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([("sgd", {"momentum": 0.9}), ("adam", {}), ("rmsprop", {})]),
    st.sampled_from(["bounded_saddle", "spiky", "least_squares"]),
    st.integers(1, 60),
    st.integers(0, 2**40),
)
def test_the_chunk_changes_no_bit(
    noise: str | None,
    dtype: str,
    optimizer: tuple[str, dict[str, Any]],
    name: str,
    chunk: int,
    seed: int,
) -> None:
    landscape = landscapes.get(name)
    plan = Plan(
        optimizer=optimizer[0],
        options=optimizer[1],
        schedule="cosine",
        noise=noise,
        dtype=dtype,
        batch=3 if name == "least_squares" else None,
        steps=9,
        trials=45,
        points_every=4,
        points_of=(44, 3, 17),
        seed=seed,
    )
    target = (0.0,) * landscape.dim
    statistics = [ExitTime.of_ball(target, 0.5), Within(target, (0.5, 2)), RMSDistance(target, 2)]
    together = descend(landscape, plan, statistics=statistics)
    assert descend(landscape, plan, statistics=statistics, chunk=chunk) == together
    assert together["points"].values.shape == (3, 3, landscape.dim)


@pytest.mark.parametrize("noise", NOISES)
def test_a_trial_is_the_same_however_many_run_beside_it(noise: str | None) -> None:
    """Up to the last block, whose size it is that differs."""
    plan = Plan(noise=noise, steps=6, trials=48, seed=7)
    many = descend(landscapes.spiky(), plan).end["points"]
    few = descend(landscapes.spiky(), Plan(**{**plan.to_dict(), "trials": 32})).end["points"]
    np.testing.assert_array_equal(many[:32], few)
    assert len(np.unique(many)) == 48


def test_blocks_share_no_random_number() -> None:
    plan = Plan(noise="uniform:1", starts=(0.0,), steps=1, trials=160)
    assert len(np.unique(descend(landscapes.spiky(), plan).end["points"])) == 160


def test_kept_points_are_those_of_the_trials_named() -> None:
    plan = Plan(noise="uniform:1", steps=4, trials=40, points_every=2)
    every = descend(landscapes.spiky(), plan)["points"]
    named = Plan(**{**plan.to_dict(), "points_of": (39, 0, 20)})
    some = descend(landscapes.spiky(), named)["points"]
    assert every.steps.tolist() == some.steps.tolist() == [0, 2, 4]
    np.testing.assert_array_equal(some.values, every.values[:, [39, 0, 20]])


def test_divergence_in_one_block_spoils_no_other() -> None:
    starts = np.full((40, 2), 0.3)
    starts[[3, 21]] = (0.0, 5.0)
    plan = Plan(learning_rate=0.3, noise="uniform:0.1", steps=30, trials=40, starts=starts, seed=1)
    for chunk in (None, 8, 16):
        seen = descend(landscapes.bounded_saddle(), plan, chunk=chunk)
        lost = seen.end["diverged_at"] >= 0
        assert np.flatnonzero(lost).tolist() == [3, 21]
        assert np.isfinite(seen.end["points"][~lost]).all()
        assert seen["diverged"].values[-1] == 2 and len(seen["loss"]) == 31
        assert np.isfinite(seen["loss"].values).all()
    calm = Plan(**{**plan.to_dict(), "starts": (0.3, 0.3)})
    same = descend(landscapes.bounded_saddle(), calm).end["points"]
    np.testing.assert_array_equal(seen.end["points"][~lost], same[~lost])


def test_where_all_of_a_chunk_diverge_the_others_go_on() -> None:
    starts = [[0.0, 9.0]] * 8 + [[0.0, 0.5]] * 8
    plan = Plan(
        learning_rate=0.3, schedule="cosine", steps=20, trials=16, starts=starts, points_every=5
    )
    seen = descend(landscapes.bounded_saddle(), plan, chunk=1)
    assert seen == descend(landscapes.bounded_saddle(), plan)
    rates = 0.15 * (1 + np.cos(np.pi * np.arange(20) / 20))
    np.testing.assert_allclose(seen["learning_rate"].values, rates)
    assert int(seen.end["steps"]) == 20 and seen["points"].steps.tolist() == [0, 5, 10, 15, 20]


def test_an_interrupted_chunk_is_left_out() -> None:
    plan = Plan(noise="uniform:1", steps=10, trials=64, seed=3)
    asked = iter(range(1000))
    part = descend(landscapes.spiky(), plan, chunk=32, interrupt=lambda: next(asked) == 15)
    whole = descend(landscapes.spiky(), Plan(**{**plan.to_dict(), "trials": 32}))
    assert part == whole and "the first 32 of 64" in part.notes[0]


def test_progress_counts_all_chunks() -> None:
    told: list[tuple[int, int]] = []
    plan = Plan(steps=50, trials=64)
    descend(landscapes.spiky(), plan, chunk=16, progress=lambda *done: told.append(done))
    assert told[-1] == (50, 50) and [done for done, _ in told] == sorted({d for d, _ in told})


@pytest.mark.parametrize("chunk", [0, -1, 2.5, True])
def test_a_chunk_is_a_number_of_trials(chunk: Any) -> None:
    with pytest.raises(UsageError, match="chunk must be a whole number of 1 or more"):
        descend(landscapes.spiky(), Plan(steps=1), chunk=chunk)


@pytest.mark.parametrize("beta", [0.0, 0.8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_stationary_covariance_with_momentum(
    beta: float, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(x, v) is a linear recursion v' = βv + λx + ω, x' = x − ηv': Lyapunov's equation."""
    monkeypatch.setattr(block, "SIZE", 2**14)
    rate, trials, noise, curvatures = 0.05, 20_000, Uniform(2.0), (0.7, 3.0, 9.0)
    plan = Plan(
        options={"momentum": beta},
        learning_rate=rate,
        noise=noise,
        dtype=dtype,
        starts=(0.0,) * 3,
        steps=200,
        trials=trials,
    )
    end = descend(landscapes.quadratic(curvatures), plan).end["points"].astype(float)
    for curvature, column in zip(curvatures, end.T):
        step = np.array([[1 - rate * curvature, -rate * beta], [curvature, beta]])
        push = np.array([[-rate], [1.0]]) * np.sqrt(noise.variance(1))
        variance = solve_discrete_lyapunov(step, push @ push.T)[0, 0]
        assert column.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / trials))
    assert abs(np.corrcoef(end.T) - np.eye(3)).max() < 4 / np.sqrt(trials)
