"""Flatness where a task stands: its loss, its examples, its held-out data."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from thalweg.measure.flatness import Flatness, flatness
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.run.sampled import sample_note, step_size
from thalweg.task import Task

__all__ = ["flatness_of_task", "loss_of_task"]


def loss_of_task(
    task: Task, *, examples: int, seed: int, batch_statistics: bool = False
) -> tuple[Supervised, Examples | None, list[str]]:
    """The loss of a task's model on a sample of its examples, its held-out examples, and notes.

    In evaluation mode and without weight decay: it is the ground that the model as it would be used
    stands on.

    Args:
        examples: to measure on at most, and of the held-out data as many.
        seed: of the samples.
        batch_statistics: normalise by the statistics of each batch where the model normalises at
            all: of weights that were put together, nobody has kept others.
    """
    everything = Examples.of(task.train)
    generator = torch.Generator().manual_seed(seed)
    some = everything.subsample(examples, generator)
    normalises = any(isinstance(m, _BatchNorm) for m in task.model.modules())
    mode = "batch" if batch_statistics and normalises else "eval"
    size = step_size(task, everything.population)
    objective = Supervised(
        task.model,
        task.loss,
        some,
        batch_loss=task.batch_loss,
        mode=mode,
        chunk=min(some.length, max(size, 256)) if mode == "batch" else None,
        seed=seed,
        unit=size,
    )
    notes = sample_note(objective, everything, seed)
    if task.test is None:
        return objective, None, notes
    held_out = Examples.of(task.test, name="test")
    return objective, held_out.subsample(examples, generator), notes


def flatness_of_task(
    task: Task,
    *,
    examples: int = 2048,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    **how: Any,
) -> Flatness:
    """:func:`thalweg.measure.flatness` where a task's model stands, in evaluation mode.

    Args:
        examples: measured on at most; of more a sample is drawn, and errors say what it leaves open.
        how: the other arguments of that function.
    """
    objective, held_out, notes = loss_of_task(task, examples=examples, seed=seed)
    if held_out is not None and min(held_out.length, objective.data.length) < 20:
        held_out = None
        notes.append("fewer than 20 examples: no shift test")
    found = flatness(objective, test=held_out, seed=seed, progress=progress, **how)
    return replace(found, name=task.name, notes=(*found.notes, *notes))
