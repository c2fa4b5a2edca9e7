"""Compiled steps against torch's own, on the same random numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from thalweg.objective import landscapes
from thalweg.run import compiled
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.run.statistics import ExitTime

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def both(landscape: Any, plan: Plan, **more: Any) -> Any:
    return descend(landscape, plan, **more), descend(landscape, plan, compile=True, **more)


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}, "dtype": "float64"},
        {"schedule": "one-cycle", "options": {"momentum": 0.5, "dampening": 0.2}},
        {"noise": "gaussian:1", "dtype": "float32"},
        {"optimizer": "adam", "noise": "ball:1"},
    ],
    ids=["momentum", "one-cycle", "single precision", "adam"],
)
def test_the_compiled_run_is_the_run(changes: dict[str, Any]) -> None:
    given = {"noise": "uniform:2", "learning_rate": 0.01, "trials": 6, "steps": 15, **changes}
    eager, fast = both(landscapes.bounded_saddle(), Plan(**given, points_every=3))
    assert fast.notes == ()
    tolerance = 1e-4 if changes.get("dtype") == "float32" else 1e-9
    for name in ("points", "losses"):
        np.testing.assert_allclose(fast.end[name], eager.end[name], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        fast["points"].values, eager["points"].values, rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(fast["learning_rate"].values, eager["learning_rate"].values)
    some = np.isin(eager["loss"].steps, fast["loss"].steps)
    np.testing.assert_allclose(fast["loss"].values, eager["loss"].values[some], rtol=tolerance)


def test_statistics_see_every_step_and_divergence_spoils_nothing() -> None:
    starts = [[0.3, 0.2], [0.0, 5.0], [0.1, 0.1], [0.2, 0.3], [0.0, 0.4], [0.1, -0.2]]
    plan = Plan(learning_rate=0.3, noise="uniform:0.1", trials=6, steps=21, starts=starts)
    exits = [ExitTime.of_ball((0.0, 0.0), 0.8)]
    eager, fast = both(landscapes.bounded_saddle(), plan, statistics=exits)
    np.testing.assert_array_equal(fast.end["exit_time"], eager.end["exit_time"])
    assert fast.end["diverged_at"][1] >= eager.end["diverged_at"][1] > 0
    left = eager.end["diverged_at"] < 0
    np.testing.assert_allclose(fast.end["points"][left], eager.end["points"][left], rtol=1e-9)
    assert left.sum() == 5 and (fast.end["diverged_at"][left] == -1).all()


@pytest.mark.parametrize("plan", [Plan(batch=2, steps=9), Plan(optimizer="lbfgs", steps=9)])
def test_what_is_not_compiled_runs_and_says_so(plan: Plan) -> None:
    eager, fast = both(landscapes.least_squares(), plan)
    assert eager == fast and fast.notes[0].startswith("not compiled: ")


def test_without_a_compiler_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C++ compiler found\nand much more")

    monkeypatch.setattr(compiled.torch, "compile", broken)
    eager, fast = both(landscapes.quadratic(), Plan(noise="uniform:1", steps=12, trials=3))
    assert eager == fast
    assert fast.notes == ("not compiled: RuntimeError: no C++ compiler found",)


def test_a_compiled_step_that_is_not_the_step_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(function: Any) -> Any:
        return lambda *inputs: [
            leaf + 1 if isinstance(leaf, torch.Tensor) else leaf
            for leaf in compiled.tree_leaves(function(*inputs))
        ]

    monkeypatch.setattr(compiled.torch, "compile", wrong)
    eager, fast = both(landscapes.quadratic(), Plan(steps=12, trials=3))
    assert eager == fast and "is not the step" in fast.notes[0]
