"""Statistics gathered while trials run, against the same taken from whole paths."""

import pickle

import numpy as np
import pytest
import torch

from thalweg.errors import UsageError
from thalweg.objective import landscapes
from thalweg.run.basins import Basins
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.run.statistics import ExitTime, RMSDistance, Within

WELL = landscapes.double_well(tilt=0.0)
PLAN = Plan(
    learning_rate=0.05, noise="gaussian:3", starts=(-1.0,), steps=60, trials=50, points_every=1
)


def test_exit_times_are_those_of_the_paths() -> None:
    asked = [
        ExitTime.of_interval(-np.inf, 0.0, name="over_the_top"),
        ExitTime.of_ball((-1.0,), 0.4, name="ball"),
        ExitTime.of_basin(WELL, 0, name="basin"),
        ExitTime.of_ball((-1.0,), 0.4, name="rarely", every=7),
    ]
    seen = descend(WELL, PLAN, statistics=pickle.loads(pickle.dumps(asked)))
    x = seen["points"].values[:, :, 0]

    def first(outside: np.ndarray, every: int = 1) -> np.ndarray:
        outside = outside[::every]
        return np.where(outside.any(0), every * outside.argmax(0), -1)

    left = int(np.argmin(np.array(WELL.minima)[:, 0]))
    basin = x > 0 if left == 0 else x < 0
    np.testing.assert_array_equal(seen.end["over_the_top"], first(x > 0))
    np.testing.assert_array_equal(seen.end["ball"], first(abs(x + 1) > 0.4))
    np.testing.assert_array_equal(seen.end["basin"], first(basin))
    np.testing.assert_array_equal(seen.end["rarely"], first(abs(x + 1) > 0.4, 7))
    assert seen.end["over_the_top"].max() > -1 and (seen.end["over_the_top"] == -1).any()


def test_series_are_those_of_the_paths() -> None:
    asked = [Within((1.0,), (0.2, 0.7), every=3), RMSDistance((1.0,), every=5)]
    seen = descend(WELL, PLAN, statistics=asked)
    far = abs(seen["points"].values[:, :, 0] - 1)
    assert seen["within"].steps.tolist() == list(range(0, 61, 3))
    np.testing.assert_allclose(seen["within"].values[:, 0], (far[::3] <= 0.2).mean(1))
    np.testing.assert_allclose(seen["within"].values[:, 1], (far[::3] <= 0.7).mean(1))
    np.testing.assert_allclose(seen["rms"].values, np.sqrt((far[::5] ** 2).mean(1)))


def test_a_diverged_trial_is_within_nothing_and_counts_in_no_mean() -> None:
    starts = [[0.0, 0.5], [0.0, 6.0]]
    plan = Plan(learning_rate=0.3, starts=starts, trials=2, steps=20)
    seen = descend(
        landscapes.bounded_saddle(),
        plan,
        statistics=[Within((0.0, 1.0), (1e300,)), RMSDistance((0.0, 1.0))],
    )
    assert seen.end["diverged_at"][1] > 0
    assert seen["within"].values[-1, 0] == 0.5 and seen["rms"].values[-1] < 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ExitTime.of_ball((0.0,), 0), "radius"),
        (lambda: ExitTime.of_interval(1, 1), "low must be below high"),
        (lambda: ExitTime.of_basin(WELL, 2), "of which there are 2, not 2"),
        (lambda: ExitTime.of_basin_around(Basins.of(WELL), (np.nan,)), "finite"),
        (lambda: Within((0.0,), ()), "radii"),
        (lambda: Within((0.0,), (-1.0,)), "radii"),
        (lambda: RMSDistance(()), "target"),
        (lambda: descend(WELL, PLAN, statistics=[RMSDistance((0.0, 0.0))]), "1 coordinates"),
        (
            lambda: descend(
                landscapes.saddle(), Plan(steps=1), statistics=[ExitTime.of_interval(0, 1)]
            ),
            "one dimension",
        ),
    ],
)
def test_a_broken_rule_is_named(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]


def test_nothing_is_kept_of_the_steps() -> None:
    plan = Plan(**{**PLAN.to_dict(), "points_every": None})
    seen = descend(WELL, plan, statistics=[ExitTime.of_interval(-np.inf, 0)])
    assert "points" not in seen and torch.is_tensor(torch.tensor(seen.end["exit_time"]))
