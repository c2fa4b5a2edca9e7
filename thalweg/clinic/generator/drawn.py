"""Drawn: one generated run, and how it came about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from thalweg.clinic.architectures import Build
from thalweg.clinic.entry import Draw
from thalweg.clinic.generator.setting import Setting, optimizer_of
from thalweg.clinic.interventions import Intervention
from thalweg.clinic.training import train
from thalweg.task import Task

__all__ = ["Drawn", "Family", "run"]


@dataclass(frozen=True)
class Drawn:
    """A run at the point where it stands. Its cause is not known yet: experiments tell it.

    Attributes:
        task: what a user would hand over.
        build: the same network with a fresh start.
        family: what was done to the run; nobody is told before its cause is established.
        words: data, architecture, optimizer, rate and batch, for a table.
        mend: what undoes a fault of the wiring or the data, where one was put in.
    """

    task: Task
    build: Build
    family: str
    words: Mapping[str, Any] = field(default_factory=dict)
    mend: Intervention | None = None


Family = Callable[[Draw], Drawn]


def run(
    setting: Setting,
    draw: Draw,
    *,
    rate: float,
    steps: int,
    model: torch.nn.Module | None = None,
    schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
    stop: Callable[[list[float]], bool] | None = None,
    before: list[float] | None = None,
    family: str = "",
    mend: Intervention | None = None,
    **others: Any,
) -> Drawn:
    """Train a user's run of this setting for ``steps`` steps and keep where it stands.

    Args:
        model: at its start; a fresh one unless given.
        schedule: makes the schedule of the optimizer.
        stop: ends the run early, told the losses so far.
        before: losses of an earlier stretch of the same run.
        others: for the optimizer, such as weight decay.
    """
    model = setting.build() if model is None else model
    optimizer = optimizer_of(setting.kind, model, rate, **others)
    plan = None if schedule is None else schedule(optimizer)
    history = train(
        model,
        setting.loss,
        setting.data.train,
        optimizer,
        steps=steps,
        generator=draw.generator,
        batch_size=setting.batch_size,
        schedule=plan,
        stop=stop,
    )
    task = Task(
        model=model,
        loss=setting.loss,
        train=setting.data.train,
        test=setting.data.test,
        optimizer=optimizer,
        batch_size=setting.batch_size,
        schedule=plan,
        history=[*(before or ()), *history],
    )
    words = {
        "data": setting.data_name,
        "architecture": setting.architecture,
        "optimizer": setting.kind,
        "rate": rate,
        "batch": setting.batch_size,
        "steps": len(task.history or ()),
    }
    drawn = Drawn(task, setting.build, family, words, mend)
    kept = {
        name: draw.uniform(0, 1) < chance for name, chance in (("history", 0.85), ("test", 0.85))
    }
    return replace(
        drawn,
        task=replace(
            task,
            history=task.history if kept["history"] else None,
            test=task.test if kept["test"] else None,
        ),
    )
