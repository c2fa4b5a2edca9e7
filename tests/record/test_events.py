"""Live rules: asked seldom, told once, written where a kill cannot spoil them."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from thalweg.record.events import (
    EVENTS,
    Event,
    LiveRules,
    append_events,
    read_events,
)
from thalweg.record.watch import watch
from thalweg.trajectory import Trajectory


def always(history: Trajectory) -> Event:
    return Event(history.steps, "always", "it is so", {"steps": float(history.steps)})


def at(step: int) -> Trajectory:
    return Trajectory.of_losses([1.0] * step)


def test_the_same_is_said_again_at_twice_the_step() -> None:
    said: list[str] = []
    rules = LiveRules([always], said.append)
    steps = [step for step in range(1, 200) if rules.ask(at(step))]
    assert steps == [1, 2, 4, 8, 16, 32, 64, 128]
    assert said[3] == "step 8: it is so"


def test_asking_takes_a_hundredth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def slow(history: Trajectory) -> None:
        now[0] += 0.5

    rules = LiveRules([slow])
    assert rules.is_due(now[0])
    rules.ask(at(3))
    assert not rules.is_due(now[0] + 49) and rules.is_due(now[0] + 51)
    assert rules.is_due(now[0], closing=True)
    assert not LiveRules([]).is_due(1e9, closing=True)


def test_a_rule_that_fails_is_asked_no_more() -> None:
    asked = []

    def broken(history: Trajectory) -> Event | None:
        asked.append(1)
        raise ZeroDivisionError("of what")

    rules = LiveRules([broken, always], lambda line: None)
    with pytest.warns(RuntimeWarning, match="rule broken failed and is asked no more: ZeroDiv"):
        assert len(rules.ask(at(1))) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rules.ask(at(2))
    assert len(asked) == 1


def test_an_answer_that_is_no_event_does_not_end_the_training(tmp_path: Path) -> None:
    rules = LiveRules([lambda history: "it rises"], lambda line: None)  # type: ignore[list-item, return-value]
    with pytest.warns(RuntimeWarning, match=r"must answer with an Event or None, not str"):
        assert rules.ask(at(1)) == []
    event = Event(np.int64(3), "seen", "seen.", {"a": np.float32(0.5)})  # type: ignore[arg-type, dict-item]
    append_events(tmp_path, LiveRules([lambda history: event], lambda line: None).ask(at(3)))
    assert read_events(tmp_path) == [Event(3, "seen", "seen.", {"a": 0.5})]


def test_events_are_read_back_and_torn_lines_left_out(tmp_path: Path) -> None:
    assert read_events(tmp_path) == []
    events = [Event(step, "rising", f"says {step}", {"rise": math.inf}) for step in (3, 9)]
    append_events(tmp_path, events)
    append_events(tmp_path, [])
    assert read_events(tmp_path) == events
    with open(tmp_path / EVENTS, "ab") as file:
        file.write(b'{"step": 12, "na')
    assert read_events(tmp_path) == events
    append_events(tmp_path, events[:1])
    assert read_events(tmp_path) == [*events, events[0]]


Train = Callable[..., list[torch.Tensor]]


@pytest.fixture
def train() -> Train:
    def run(folder: Path | None, **options: object) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        x, y = torch.randn(20, 3), torch.randn(20, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with watch(model, optimizer, folder=folder, **options) as recorder:  # type: ignore[arg-type]
            for _ in range(600):
                loss = (model(x) - y).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                recorder.step(loss)
        return [p.detach().clone() for p in model.parameters()]

    return run


def test_a_watched_training_writes_them_and_says_them(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(None)
    watched = train(tmp_path / "run", rules=[always])
    assert all(torch.equal(a, b) for a, b in zip(plain, watched))
    events = read_events(tmp_path / "run")
    assert events and events[0].step == events[0].numbers["steps"] <= 600
    said = capsys.readouterr().err.splitlines()
    assert said == [f"thalweg: step {event.step}: it is so" for event in events]


def test_a_folder_that_is_gone_is_warned_of_once(train: Train, tmp_path: Path) -> None:
    def removes(history: Trajectory) -> Event:
        (tmp_path / "run" / EVENTS).mkdir(exist_ok=True)
        return always(history)

    with pytest.warns(RuntimeWarning, match="cannot be written"):
        train(tmp_path / "run", rules=[removes])
