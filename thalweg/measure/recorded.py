"""A run folder and its task as a path: its points, its learning rates, where it ended."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import FolderError, UsageError
from thalweg.measure.kept_points import points_of
from thalweg.measure.path import path
from thalweg.measure.waypoint import RunPath
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.record.folder import RunFolder
from thalweg.run.sampled import sample_note, sampled, step_size
from thalweg.task import Task
from thalweg.trajectory import Trajectory

__all__ = ["ENDS", "path_of_run"]

ENDS = ("last", "average", "best")
"""``last``: the last of its points. ``average``: the mean of those in the second half of the run.
``best``: that of the lowest loss, held out where the task has such data."""

EXAMPLES = 2048
"""Measured on, unless more are asked for."""


def path_of_run(
    run: RunFolder | Path | str,
    task: Task,
    *,
    end: str = "last",
    points: int | None = 25,
    examples: int = EXAMPLES,
    batches: int = 16,
    smoothed: int = 8,
    neighbours: int = 0,
    radius: float = 0.5,
    curvature: bool = True,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> RunPath:
    """The path of a recorded run and its task, from its checkpoints or the parameters it kept whole.

    The loss is that of the optimizer's own view: with its weight decay, and with batch statistics
    where the model has them. Its learning rates are those recorded.

    Args:
        run: the folder that :func:`thalweg.watch` wrote.
        task: model, loss, data and optimizer as they were trained; its weights play no part.
        end: what x_T is: one of :data:`ENDS`.
        points: how many at most; ``None`` for all.
        examples: measured on; of more a sample is drawn, and errors say what it leaves open.
        batches, smoothed, neighbours, radius, curvature, seed, progress: as in
            :func:`thalweg.measure.path.path`.

    Raises:
        UsageError: an ``end`` that is none of these; a run without two checkpoints, or whose
            checkpoints do not fit the model.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    if end not in ENDS:
        raise UsageError(f"end must be one of {', '.join(ENDS)}, not {end!r}")
    for name, value, least in (("examples", examples, 1), ("points", points or 2, 2)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(f"{name} must be a whole number of {least} or more, not {value!r}")
    saved = points_of(folder, task.model, points)
    if len(saved) < 2:
        raise FolderError(
            f"run {folder.path} must have two checkpoints at least to be a path, but has {len(saved)}"
        )
    objective, batch_size, notes = _objective(task, examples, seed)
    target, name = _end(saved, objective, task, end)
    metrics = folder.metrics()
    found = path(
        objective,
        saved,
        end=target,
        end_name=name,
        batch_size=batch_size,
        rates=_rates(metrics, task),
        batches=batches,
        smoothed=smoothed,
        neighbours=neighbours,
        radius=radius,
        curvature=curvature,
        seed=seed,
        progress=progress,
    )
    return replace(found, name=folder.name, notes=(*found.notes, *notes, *metrics.notes))


def _objective(task: Task, examples: int, seed: int) -> tuple[Supervised, int, list[str]]:
    everything = Examples.of(task.train)
    batch_size = step_size(task, everything.population)
    generator = torch.Generator().manual_seed(seed)
    objective, view = sampled(
        task, everything, examples, generator, batch_size=batch_size, seed=seed
    )
    notes = sample_note(objective, everything, seed)
    if view.adaptive or view.momentum:
        notes.append(
            "the smoothed gradient and the ball are those of plain descent at the run's learning "
            f"rate; its {type(task.optimizer).__name__} "
            + ("scales each coordinate" if view.adaptive else f"has momentum {view.momentum:g}")
        )
    return objective, batch_size, notes


def _end(
    saved: Mapping[int, Tensor], objective: Supervised, task: Task, end: str
) -> tuple[Tensor | None, str]:
    steps: Sequence[int] = tuple(saved)
    if end == "last":
        return None, f"where it stood last, at step {steps[-1]}"
    if end == "average":
        late = [step for step in steps if step >= steps[-1] / 2]
        mean = saved[late[0]].double()
        for count, step in enumerate(late[1:], start=2):
            mean += (saved[step] - mean) / count
        name = f"the average of the {len(late)} points from step {late[0]} on"
        return mean.to(saved[late[0]]), name
    judge, where = objective, "training data"
    if task.test is not None:
        judge, where = objective.on(task.test, decay=False), "held-out data"
    losses = {step: judge.value(saved[step]) for step in steps}
    finite = {step: loss for step, loss in losses.items() if math.isfinite(loss)}
    if not finite:
        raise UsageError("end must not be best for a run whose loss is finite nowhere")
    best = min(finite, key=lambda step: finite[step])
    name = f"the point of the lowest loss on {where}, of step {best}"
    return saved[best], name


def _rates(metrics: Trajectory, task: Task) -> Callable[[int], float]:
    """The learning rate of the step after one: recorded, or else the task's own."""
    column = metrics["learning_rate"]
    own: Any = task.optimizer.param_groups[0]["lr"] if task.optimizer.param_groups else math.nan

    def rate(step: int) -> float:
        if not len(column):
            return float(own)
        place = min(int(np.searchsorted(column.steps, step + 1)), len(column) - 1)
        return float(column.values[place])

    return rate
