"""Loggers get what was seen, at the steps that were looked at; one that fails is dropped."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from thalweg.errors import UsageError
from thalweg.record.adapters.loggers import tensorboard, wandb
from thalweg.record.watch import watch

Rows = list[tuple[int, dict[str, float]]]


class Writer:
    """Stands in for SummaryWriter and for a run of W&B."""

    def __init__(self) -> None:
        self.rows: Rows = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.rows.append((step, {name: value}))

    def log(self, numbers: Mapping[str, float]) -> None:
        self.rows.append((int(numbers["thalweg/step"]), dict(numbers)))


def train(*loggers: Any, steps: int = 6) -> Any:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, overhead=math.inf, loggers=loggers) as recorder:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = model(torch.ones(3, 2)).square().mean()
            loss.backward()
            optimizer.step()
            recorder.step(loss)
        return recorder.trajectory


@pytest.mark.parametrize("make", [tensorboard, wandb])
def test_loggers_get_the_numbers_of_the_record(make: Any) -> None:
    writer = Writer()
    seen = train(make(writer))
    steps = [step for step, _ in writer.rows]
    assert steps == sorted(steps) and set(steps) == set(range(1, 7))
    for name in ("loss", "learning_rate", "gradient_norm", "update_norm"):
        told = {
            step: row[f"thalweg/{name}"] for step, row in writer.rows if f"thalweg/{name}" in row
        }
        assert told == {int(step): float(value) for step, value in seen[name]}


def test_a_logger_that_fails_is_dropped_and_the_training_goes_on() -> None:
    def broken(step: int, numbers: Mapping[str, float]) -> None:
        raise ConnectionError("no network")

    writer = Writer()
    with pytest.warns(RuntimeWarning, match="broken failed.*ConnectionError: no network") as caught:
        assert train(broken, wandb(writer)).steps == 6
    assert len(caught) == 1 and len(writer.rows) == 6


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match="pip install wandb"):
        wandb()
    with pytest.raises(UsageError, match="pip install tensorboard"):
        tensorboard(tmp_path)
