"""Descent against closed forms: recursions of quadratics, stationary noise, escape from a saddle."""

import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from thalweg.errors import DataError, UsageError
from thalweg.objective import landscapes
from thalweg.objective.supervised import Supervised
from thalweg.run.descend import descend
from thalweg.run.optimizer import OPTIMIZERS, ROW_MIXING
from thalweg.run.plan import Plan
from thalweg.run.schedule import SCHEDULES
from thalweg.run.statistics import ExitTime

EIGENVALUES = (0.3, 2.0, 11.0)
START = (1.0, -2.0, 0.5)
BOWL = landscapes.quadratic(EIGENVALUES)


def network(examples: int = 24) -> Supervised:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
        x = torch.randn(examples, 3, dtype=torch.float64)
    return Supervised(model, nn.functional.mse_loss, (x, x.prod(1, keepdim=True)))


def test_gradient_descent_on_a_quadratic_has_a_closed_form() -> None:
    rate, steps = 0.05, 40
    seen = descend(BOWL, Plan(learning_rate=rate, steps=steps, starts=START, points_every=1))
    t = np.arange(steps + 1)[:, None]
    exact = (1 - rate * np.array(EIGENVALUES)) ** t * np.array(START)
    np.testing.assert_allclose(seen["points"].values[:, 0], exact, rtol=1e-12, atol=1e-15)
    losses = 0.5 * (exact**2 * np.array(EIGENVALUES)).sum(1)
    np.testing.assert_allclose(seen["loss"].values, losses, rtol=1e-12)
    assert seen["loss"].steps.tolist() == list(range(steps + 1))
    assert seen["learning_rate"].values.tolist() == [rate] * steps
    np.testing.assert_allclose(seen.end["losses"], losses[-1:], rtol=1e-12)
    assert int(seen.end["steps"]) == steps and seen.end["diverged_at"].tolist() == [-1]


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_follows_its_recursion(nesterov: bool) -> None:
    rate, beta, steps = 0.03, 0.8, 30
    plan = Plan(
        learning_rate=rate,
        options={"momentum": beta, "nesterov": nesterov},
        steps=steps,
        starts=START,
    )
    end = descend(BOWL, plan).end["points"][0]
    for value, first, last in zip(EIGENVALUES, START, end):
        # One step of (x, v): v' = βv + λx; x' = x − η v', with Nesterov x' = x − η(λx + βv').
        velocity = np.array([value, beta])
        if nesterov:
            position = np.array([1 - rate * (value + beta * value), -rate * beta * beta])
        else:
            position = np.array([1 - rate * value, -rate * beta])
        matrix = np.stack([position, velocity])
        assert last == pytest.approx(
            (np.linalg.matrix_power(matrix, steps) @ [first, 0.0])[0], rel=1e-10, abs=1e-14
        )


@pytest.mark.parametrize(("noise", "variance"), [("gaussian:0.7", 0.49), ("uniform:1.5", 0.75)])
def test_noisy_descent_on_a_quadratic_has_its_stationary_variance(
    noise: str, variance: float
) -> None:
    """x' = (1 − ηλ)x − ηω is stationary at variance η²s²/(1 − (1 − ηλ)²)."""
    rate, trials = 0.1, 20_000
    plan = Plan(
        learning_rate=rate, noise=noise, steps=200, trials=trials, starts=(0.0, 0.0), seed=5
    )
    end = descend(landscapes.quadratic((1.0, 8.0)), plan).end["points"]
    for value, column in zip((1.0, 8.0), end.T):
        exact = rate**2 * variance / (1 - (1 - rate * value) ** 2)
        error = exact * math.sqrt(2 / trials)  # of a variance; uniform noise has a smaller one
        assert abs(column.var() - exact) < 4 * error
        assert abs(column.mean()) < 4 * math.sqrt(exact / trials)


def _near(far: float, points: torch.Tensor) -> torch.Tensor:
    return points[:, 1].abs() <= far


def test_a_perturbed_saddle_is_left_after_the_time_that_theory_gives() -> None:
    """E T ≈ [log(Y/s∞) + (γ_E + log 2)/2]/log(1+ηγ) + 1/2, s∞ = ηs/√((1+ηγ)²−1)."""
    rate, noise, curvature, exit_at, trials = 0.02, 0.01, 2.0, 1.0, 4000
    growth = 1 + rate * curvature
    spread = rate * noise / math.sqrt(growth**2 - 1)
    expected = (math.log(exit_at / spread) + (np.euler_gamma + math.log(2)) / 2) / math.log(
        growth
    ) + 0.5
    plan = Plan(
        learning_rate=rate,
        noise=f"gaussian:{noise}",
        steps=700,
        trials=trials,
        starts=(0.0, 0.0),
    )
    y = partial(_near, exit_at)
    times = descend(landscapes.saddle(), plan, statistics=[ExitTime(y)]).end["exit_time"]
    assert (times > 0).all()
    assert abs(times.mean() - expected) < 4 * times.std() / math.sqrt(trials) + 0.5


@settings(max_examples=25)
@given(
    st.integers(0, 2**40),
    st.sampled_from(["sgd", "adam", "rmsprop"]),
    st.sampled_from(["constant", "cosine", "step"]),
    st.sampled_from([None, "gaussian:0.5", "uniform:2"]),
    st.integers(1, 5),
)
def test_the_same_plan_gives_the_same_trajectory(
    seed: int, optimizer: str, schedule: str, noise: str | None, trials: int
) -> None:
    plan = Plan(
        optimizer=optimizer,
        learning_rate=0.01,
        schedule=schedule,
        noise=noise,
        steps=12,
        trials=trials,
        seed=seed,
        points_every=5,
    )
    state = torch.random.get_rng_state()
    first = descend(landscapes.spiky(), plan)
    torch.rand(3)
    assert descend(landscapes.spiky(), pickle.loads(pickle.dumps(plan))) == first
    torch.random.set_rng_state(state)
    other = descend(landscapes.spiky(), Plan(**{**plan.to_dict(), "seed": seed + 1}))
    assert other != first


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ROW_MIXING])
def test_trials_are_independent_rows(name: str) -> None:
    starts = [[1.0, -1.0, 0.2], [0.1, 0.0, 3.0], [math.pi, 1e-3, -2.0]]
    plan = {"optimizer": name, "learning_rate": 0.01, "steps": 15}
    together = descend(BOWL, Plan(**plan, trials=3, starts=starts)).end["points"]
    for start, row in zip(starts, together):
        alone = descend(BOWL, Plan(**plan, starts=start)).end["points"][0]
        np.testing.assert_allclose(row, alone, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(ROW_MIXING.keys() & OPTIMIZERS.keys()))
def test_optimizers_that_mix_rows_run_one_trial(name: str) -> None:
    seen = descend(BOWL, Plan(optimizer=name, learning_rate=0.1, steps=10, starts=START))
    assert seen.end["losses"][0] < seen["loss"].values[0]


def test_lbfgs_solves_a_quadratic() -> None:
    options = {"line_search_fn": "strong_wolfe"}
    plan = Plan(optimizer="lbfgs", learning_rate=1.0, options=options, steps=4, starts=START)
    assert descend(BOWL, plan).end["losses"][0] < 1e-9


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_runs(schedule: str) -> None:
    seen = descend(BOWL, Plan(learning_rate=0.05, schedule=schedule, steps=24, starts=START))
    rates = seen["learning_rate"].values
    assert len(rates) == 24 and (rates > 0).all() and rates.max() <= 0.05 * (1 + 1e-9)
    if schedule != "plateau":
        assert len(set(rates.tolist())) > 1
    if schedule == "cosine":
        exact = 0.05 * (1 + np.cos(np.pi * np.arange(24) / 24)) / 2
        np.testing.assert_allclose(rates, exact, rtol=1e-9)


def test_a_trial_that_diverges_is_counted_and_spoils_no_other() -> None:
    """On x² − y² + y⁴/2 a step of 0.3 from y = 3 overshoots for good; from y = 1.2 it does not."""
    plan = Plan(learning_rate=0.3, steps=60, trials=3, starts=[[0, 1.2], [0, 3.0], [0, 0.5]])
    seen = descend(landscapes.bounded_saddle(), plan)
    at = seen.end["diverged_at"]
    assert at[0] == at[2] == -1 and 0 < at[1] < 60
    assert not np.isfinite(seen.end["losses"][1]) and np.isfinite(seen.end["losses"][[0, 2]]).all()
    assert list(seen["diverged"]) == [(at[1], 1)]
    assert np.isfinite(seen["loss"].values[at[1] :]).all()
    alone = descend(
        landscapes.bounded_saddle(), Plan(learning_rate=0.3, steps=60, starts=(0.0, 0.5))
    )
    np.testing.assert_allclose(seen.end["points"][2], alone.end["points"][0])


def test_when_all_have_diverged_the_run_ends() -> None:
    seen = descend(BOWL, Plan(learning_rate=1e6, steps=500, starts=START))
    at = int(seen.end["diverged_at"][0])
    assert 0 < at < 60 and int(seen.end["steps"]) == at
    assert seen["loss"].steps[-1] == at and not np.isfinite(seen["loss"].values[-1])
    assert len(seen["learning_rate"]) == at and np.isfinite(seen["loss"].values[:-1]).all()
    assert not np.isfinite(seen.end["losses"][0])


def test_a_network_is_descended_like_any_objective() -> None:
    objective = network()
    whole = descend(objective, Plan(learning_rate=0.1, steps=30))
    assert whole.end["losses"][0] < whole["loss"].values[0]
    plan = Plan(learning_rate=0.1, steps=10, batch=7, seed=2, points_every=1)
    seen = descend(objective, plan)
    assert seen == descend(objective, plan)
    # 7 of 24 examples a step, so three batches an epoch; the loss seen is that of the batch.
    generator = plan.generators().batches
    rows = torch.randperm(24, generator=generator)[:7].tolist()
    batch = objective.on(objective.data.fetch(rows))
    assert seen["loss"].values[0] == pytest.approx(batch.value(objective.point()), rel=1e-12)
    full = objective.value(torch.tensor(seen.end["points"][0]))
    assert seen.end["losses"][0] == pytest.approx(full, rel=1e-12)


def test_progress_and_interrupt() -> None:
    plan = Plan(learning_rate=0.01, steps=200, starts=START, points_every=10)
    seen: list[tuple[int, int]] = []
    whole = descend(BOWL, plan, progress=lambda done, all_: seen.append((done, all_)))
    assert seen[-1] == (200, 200) and len(seen) == 100
    asked = iter(range(1000))
    part = descend(BOWL, plan, interrupt=lambda: next(asked) == 70)
    assert int(part.end["steps"]) == 70
    assert part["loss"] == whole["loss"].until(70)
    assert part["points"] == whole["points"].until(70)
    none = descend(BOWL, plan, interrupt=lambda: True)
    assert none["loss"].steps.tolist() == [0]


def test_what_cannot_run_is_said() -> None:
    with pytest.raises(UsageError, match="3 coordinates"):
        descend(BOWL, Plan(starts=(1.0, 2.0)))
    with pytest.raises(UsageError, match="batch must be None"):
        descend(BOWL, Plan(batch=3))
    with pytest.raises(DataError, match="at most the number of examples, 24"):
        descend(network(), Plan(batch=25))
