"""The surface around a task's point, or around where a run ended: its directions chosen by name."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.measure.directions import (
    Flat,
    eigen_directions,
    gradient_directions,
    path_directions,
    random_directions,
)
from thalweg.measure.kept_points import points_of
from thalweg.measure.readings import classifies
from thalweg.measure.surface import Surface, surface
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.record.folder import RunFolder
from thalweg.run.sampled import sample_note, sampled, step_size
from thalweg.task import Task

__all__ = ["DIRECTIONS", "survey"]

DIRECTIONS = ("random", "eigen", "gradient", "path")
"""``random``: filter-normalised. ``eigen``: of the largest curvature. ``gradient``: along it, and at
right angles to it. ``path``: the principal components of where a run went."""

EXAMPLES = 2048
"""Measured on, unless more are asked for."""

POINTS = 50
"""Of a run's path at most."""


def survey(
    task: Task,
    run: RunFolder | Path | str | None = None,
    *,
    directions: str = "random",
    line: bool = False,
    examples: int = EXAMPLES,
    held_out: bool = True,
    accuracy: bool | None = None,
    seed: int = 0,
    size: int = 51,
    span: float = 1.0,
    tolerance: float = 0.01,
    logarithm: bool = False,
    exact: bool = False,
    folder: Path | str | None = None,
    map: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]] = map,
    progress: Callable[[int, int], None] | None = None,
) -> Surface:
    """The loss around the weights of a task's model, or around the last point that a run kept.

    The loss is that of the optimizer's own view: with its weight decay, and with batch statistics
    where the model stands in training mode and has such layers.

    Args:
        task: model, loss, data and optimizer; read only.
        run: a run folder: its path is projected on the surface, whose centre is its last point.
        directions: one of :data:`DIRECTIONS`.
        line: along the first direction only.
        examples: measured on; of more a sample is drawn.
        held_out: the loss on the task's held-out data too, where it has such.
        accuracy: the share classified right too; None for where there is such a thing.
        seed: of the sample, the directions and the places held back.
        size, span, tolerance, logarithm, exact, folder, map, progress: as in
            :func:`thalweg.measure.surface.surface`.
    """
    if directions not in DIRECTIONS:
        raise UsageError(f"directions must be one of {', '.join(DIRECTIONS)}, not {directions!r}")
    generator = torch.Generator().manual_seed(seed)
    everything = Examples.of(task.train)
    batch_size = step_size(task, everything.population)
    objective, _ = sampled(task, everything, examples, generator, batch_size=batch_size, seed=seed)
    others = None
    if held_out and task.test is not None:
        unseen = Examples.of(task.test)
        others = objective.on(unseen.subsample(examples, generator), decay=False)
    walk, point = None, objective.point()
    if run is not None:
        opened = run if isinstance(run, RunFolder) else RunFolder.open(run)
        saved = points_of(opened, task.model, POINTS)
        walk = {step: saved[step] for step in saved}
        if walk:
            point = walk[max(walk)]
    flat = _flat(objective, point, walk, directions, 1 if line else 2, generator)
    found = surface(
        objective,
        flat,
        size=size,
        span=span,
        tolerance=tolerance,
        logarithm=logarithm,
        exact=exact,
        accuracy=classifies(objective) if accuracy is None else accuracy,
        held_out=others,
        walk=walk or None,
        folder=folder,
        map=map,
        seed=seed,
        name=task.name,
        progress=progress,
    )
    told = [note.split(": the errors")[0] for note in sample_note(objective, everything, seed)]
    if objective.mode != "eval":
        told.append(
            "the model stands in training mode: BatchNorm takes the statistics of each batch"
        )
    return replace(found, notes=(*found.notes, *told))


def _flat(
    objective: Supervised,
    point: Tensor,
    walk: Mapping[int, Tensor] | None,
    directions: str,
    count: int,
    generator: torch.Generator,
) -> Flat:
    match directions:
        case "random":
            return random_directions(objective, point, generator=generator, count=count)
        case "eigen":
            return eigen_directions(objective, point, count=count)
        case "gradient":
            return gradient_directions(objective, point, generator=generator, count=count)
        case _:
            if walk is None:
                raise UsageError(
                    "directions must be random, eigen or gradient without a run, not path"
                )
            if len(walk) <= count:
                raise UsageError(
                    f"run must have more than {count} checkpoints for its path, but has {len(walk)}"
                )
            return path_directions(walk, count=count)
