"""What losses tell that were recorded: levels, jumps, and a verdict from the history alone."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.history import history_estimates, jumps
from thalweg.diagnose.verdict import diagnose, judge
from thalweg.estimate import Evidence
from thalweg.record.folder import RunFolder
from thalweg.trajectory import Column, Trajectory


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length)


def recorded(losses: np.ndarray | list[float], **columns: float) -> Trajectory:
    steps = np.arange(len(losses))
    extra = {name: Column(steps, np.full(len(losses), value)) for name, value in columns.items()}
    return Trajectory({"loss": Column(steps, np.asarray(losses, float)), **extra})


# Jumps -----------------------------------------------------------------------------------------


def test_noise_has_no_jumps_and_a_fall_is_none() -> None:
    for losses in (1 + 0.1 * noise(400), np.linspace(5, 1, 400) + 0.1 * noise(400)):
        size, _, share, count, _ = jumps(list(losses))
        assert 0 < size < 8 and count == 0 and share == 0.0


def test_a_jump_that_comes_back_is_counted_where_one_that_stays_is_not() -> None:
    quiet = 1 + 0.01 * noise(300)
    up = quiet.copy()
    up[[60, 130, 200]] += 2.0
    size, height, share, count, kick = jumps(list(up))
    assert count == 3 and share == pytest.approx(3 / 270)
    assert height == pytest.approx(2.0, abs=0.1) and size > 50
    assert abs(kick) < 4  # the losses after it are as before: the batch was hard, no more
    stays = quiet.copy()
    stays[150:] += 2.0
    assert jumps(list(stays))[3] == 0
    down = quiet.copy()
    down[[60, 130, 200]] -= 2.0
    assert jumps(list(down))[3] == 0


def test_a_step_that_throws_the_run_out_leaves_a_kick() -> None:
    thrown = 1 + 0.01 * noise(300)
    for place in (60, 130, 200):
        thrown[place : place + 8] += 2.0 * 0.7 ** np.arange(8)
    assert jumps(list(thrown))[4] > 20


@given(st.lists(st.floats(-1e3, 1e3), min_size=45, max_size=80), st.floats(0.01, 100))
def test_jumps_are_told_in_spreads(losses: list[float], unit: float) -> None:
    size, height, share, count, _ = jumps(losses)
    assert size >= 0 and height >= 0 and 0 <= share <= 1 and count >= 0
    shifted = jumps([value + 128.0 for value in losses])
    assert shifted[1] == pytest.approx(height, abs=1e-9)
    scaled = jumps([unit * value for value in losses])
    assert scaled[1] == pytest.approx(unit * height, rel=1e-6, abs=1e-9)


def test_too_few_losses_say_nothing() -> None:
    assert all(math.isnan(value) for value in jumps([1.0] * 10)[:3])
    nans = [math.nan] * 100
    assert jumps(nans)[3] == 0


def test_what_is_not_finite_is_left_out() -> None:
    losses = list(1 + 0.1 * noise(200))
    assert jumps([math.nan, *losses, math.inf]) == jumps(losses)


# The verdict from the history alone ------------------------------------------------------------


def alone(losses: np.ndarray | list[float], **columns: float) -> Evidence:
    return Evidence(*history_estimates(recorded(losses, **columns)))


def test_levels_are_those_of_the_smoothed_losses() -> None:
    evidence = alone(np.r_[np.full(20, 4.0), np.full(180, 1.0)])
    assert evidence.value("history_start") == 4.0
    assert evidence.value("history_best") == pytest.approx(1.0)
    assert evidence.value("history_end") == pytest.approx(1.0)
    assert evidence.value("range") == pytest.approx(3.0)
    assert evidence.value("unchanged_fall") == 0.0


def test_a_falling_history_is_healthy_and_says_what_it_rests_on() -> None:
    losses = 3 * np.exp(-np.arange(400) / 200) + 0.01 * noise(400)
    finding = judge(alone(losses))
    assert finding.cause is Cause.HEALTHY
    assert "anything tried" not in finding.sentence  # nothing was
    assert set(finding.relied_on) <= set(finding.evidence)


def test_a_history_alone_is_never_sure_to_be_healthy() -> None:
    slow = 3 - 1e-6 * np.arange(2000)  # at a rate a thousand times as large it would be 1
    finding = judge(alone(slow))
    assert finding.cause is Cause.HEALTHY and finding.confidence < 0.75


def test_a_history_that_ends_in_nan_is_not_finite() -> None:
    assert judge(alone([1.0] * 30 + [math.nan] * 5)).cause is Cause.NOT_FINITE
    assert judge(alone([1.0] * 5 + [math.inf])).cause is Cause.NOT_FINITE


def test_a_history_that_grows_is_neither_healthy_nor_done() -> None:
    finding = judge(alone(np.exp(np.arange(200) / 20)))
    assert finding.cause in (Cause.DIVERGING, Cause.LOCAL_MINIMUM, Cause.UNDETERMINED)
    assert finding.evidence.value("unchanged_fall") < -0.3


def test_gradients_that_pile_up_are_a_fault_of_wiring() -> None:
    finding = judge(alone([1.0] * 40, gradients_accumulate=1.0))
    assert finding.cause is Cause.MISWIRED


@given(st.lists(st.floats(allow_subnormal=False), max_size=60))
def test_whatever_was_recorded_there_is_an_answer(losses: list[float]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        finding = judge(alone(losses))
    assert finding.sentence.endswith(".") and 0 <= finding.confidence <= 1
    assert "nan" not in finding.sentence and "inf" not in finding.sentence.replace("infin", "")


def test_a_run_without_its_task_says_so(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "mine")
    for step, loss in enumerate(3 * np.exp(-np.arange(80) / 40)):
        folder.append(step, loss=float(loss))
    folder.close()
    finding = diagnose(tmp_path / "mine")
    assert any("history of the run alone" in note for note in finding.notes)
    assert finding.name == "mine" and finding.cost == 0.0
    assert finding.to_dict() == diagnose(str(tmp_path / "mine")).to_dict()


def test_an_empty_run_is_undetermined(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "empty")
    finding = diagnose(tmp_path / "empty")
    assert finding.cause is Cause.UNDETERMINED
    assert any("history of the run alone" in note for note in finding.notes)
