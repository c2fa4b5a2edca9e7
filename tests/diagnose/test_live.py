"""Live rules: what they see in histories made to be seen, and that they leave healthy ones alone."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.problems import symmetric, vectors
from thalweg.diagnose.live import latest_signal, live_rules, what_is_seen
from thalweg.trajectory import Column, Trajectory


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length)


def history(losses: np.ndarray, **columns: np.ndarray) -> Trajectory:
    every = {
        name: Column(np.arange(2, 2 * len(values) + 1, 2), values)
        for name, values in columns.items()
    }
    return Trajectory({"loss": Column(np.arange(1, len(losses) + 1), losses), **every})


def names(seen: Trajectory) -> set[str]:
    return {event.name for event in what_is_seen(seen)}


def fall(length: int, seed: int = 0, scatter: float = 0.05) -> np.ndarray:
    return 2 * np.exp(-np.arange(length) / length * 3) + scatter * noise(length, seed)


@settings(max_examples=30, deadline=None)
@given(
    length=st.integers(0, 3000), seed=st.integers(0, 10**6), scatter=st.sampled_from([0, 0.05, 0.3])
)
def test_a_loss_that_falls_under_noise_is_left_alone(
    length: int, seed: int, scatter: float
) -> None:
    assert names(history(fall(length, seed, scatter))) == set()


def test_a_loss_that_is_not_finite() -> None:
    losses = fall(300)
    losses[280:] = math.nan
    (event,) = what_is_seen(history(losses))
    assert event.name == "not_finite" and "since step 281" in event.sentence
    losses[290] = 1.0
    assert "19 of the last losses are not finite" in what_is_seen(history(losses))[0].sentence


@pytest.mark.parametrize("length", [150, 1000])
def test_a_loss_that_rises(length: int) -> None:
    losses = np.r_[fall(length), 0.1 + np.linspace(0, 2, 200)] + 0.05 * noise(length + 200, 1)
    assert names(history(losses)) == {"rising"}


def test_a_level_loss_is_flat_only_after_a_while() -> None:
    losses = np.r_[fall(300, scatter=0), 0.1 + np.zeros(1500)] + 0.005 * noise(1800)
    assert names(history(losses)) == {"flat"}
    assert names(history(losses[:500])) == set()


def test_spikes_that_throw_the_run_out() -> None:
    losses = fall(1000, scatter=0.01)
    for place in range(50, 950, 100):
        losses[place : place + 8] += 3.0 * 0.7 ** np.arange(8)
    assert names(history(losses)) == {"spiking"}


def pairs(share: float, scatter: float, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Products and norms of gradients with ‖∇f‖² = share and E‖g‖² = 1."""
    return {
        "gradient_product": share + scatter * noise(count, seed),
        "gradient_norm": np.ones(count),
    }


def test_gradients_tell_noise_and_the_rate() -> None:
    losses = fall(400)
    assert names(history(losses, **pairs(0.2, 0.1, 40))) == {"signal_below_one"}
    assert names(history(losses, **pairs(0.8, 0.05, 40))) == set()
    assert names(history(losses, **pairs(0.2, 0.1, 5))) == set()
    large = history(losses, **pairs(-0.6, 0.1, 40))
    assert names(large) == {"rate_too_large"}
    assert "unless an epoch has 2 batches" in what_is_seen(large)[0].sentence
    assert names(history(losses, **pairs(0.9999, 1e-6, 40))) == {"rate_too_small"}
    micro = pairs(0.9999, 1e-6, 40) | {"micro_batches": np.full(40, 4.0)}
    assert names(history(losses, **micro)) == set()


@pytest.mark.parametrize("batches", [2, 4, 6])
def test_batches_that_share_out_an_epoch_are_named_as_what_may_oppose(batches: int) -> None:
    random = np.random.default_rng(0)
    examples = random.normal(size=(20 * batches, 30))
    examples -= examples.mean(0)  # a minimum, where every gradient is noise
    parts = [
        examples[random.permutation(20 * batches)].reshape(batches, 20, 30).mean(1)
        for _ in range(200)
    ]
    product = np.concatenate([(epoch[1:] * epoch[:-1]).sum(1) for epoch in parts])
    norm = np.concatenate([np.linalg.norm(epoch[1:], axis=1) for epoch in parts])
    seen = history(fall(400), gradient_product=product, gradient_norm=norm)
    (event,) = [event for event in what_is_seen(seen) if event.name == "rate_too_large"]
    assert event.numbers["product"] == pytest.approx(-1 / (batches - 1), rel=0.3)
    most = int(event.sentence.partition("an epoch has ")[2].split()[0])
    assert batches <= most <= 2 * batches


def descended(matrix: Tensor, rate: float, steps: int) -> Trajectory:
    x = vectors(1, len(matrix), seed=5)[0]
    slopes, losses = [], []
    for _ in range(steps):
        slopes.append(matrix @ x)
        losses.append(float(0.5 * x @ matrix @ x))
        x = x - rate * slopes[-1]
    products = np.array([float(a @ b) for a, b in pairwise(slopes)])
    norms = np.array([float(s.norm()) for s in slopes])
    return Trajectory(
        {
            "loss": Column(np.arange(1, steps + 1), np.array(losses)),
            "gradient_product": Column(np.arange(2, steps + 1), products),
            "gradient_norm": Column(np.arange(1, steps + 1), norms),
        }
    )


def test_descent_on_a_quadratic_is_told_by_its_rate_over_the_limit() -> None:
    matrix, _ = symmetric(np.geomspace(0.1, 2, 10), 0)  # the limit is 2/2 = 1
    assert names(descended(matrix, 0.002, 300)) == {"rate_too_small"}
    assert "rate_too_small" not in names(descended(matrix, 0.2, 300))
    assert names(descended(matrix, 0.2, 300)) <= {"flat"}
    assert "rate_too_large" in names(descended(matrix, 0.999, 300))
    assert {"rate_too_large", "rising"} <= names(descended(matrix, 1.01, 300))


def test_the_signal_is_that_of_the_latest_pairs() -> None:
    early, late = pairs(0.9, 0.01, 60), pairs(0.2, 0.01, 50)
    both = {name: np.r_[early[name], late[name]] for name in early}
    found = latest_signal(history(np.ones(300), **both))
    assert found.value == pytest.approx(0.25, abs=4 * found.error)
    assert math.isnan(latest_signal(history(np.ones(50))).value)


def test_every_rule_bears_an_empty_history() -> None:
    assert what_is_seen(Trajectory()) == []
    assert all(rule.__doc__ for rule in live_rules())
