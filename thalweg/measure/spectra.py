"""Several spectra: of each layer, along the checkpoints of a run; and their numbers as files."""

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import FolderError, UsageError
from thalweg.measure.kept_points import points_of
from thalweg.measure.operators import Block, operator_of
from thalweg.measure.spectrum import Spectrum, spectrum
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.record.folder import RunFolder
from thalweg.run.sampled import sampled, step_size
from thalweg.task import Task

__all__ = ["objective_of_task", "save_spectra", "spectra_by_layer", "spectra_of_run"]

EXAMPLES = 2048
"""Measured on, unless more are asked for."""


def spectra_by_layer(
    objective: Supervised,
    point: Tensor,
    *,
    matrix: str = "hessian",
    generator: torch.Generator | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> tuple[Spectrum, ...]:
    """The spectrum of each layer's own block of the matrix, all other parameters held fixed.

    A layer is a module that owns trainable parameters; its name is the one in the model. All blocks
    share one graph, and the options (``top``, ``rtol``, ``budget``, ...) hold for each of them.

    Cost: that of a spectrum for each layer.
    """
    operator, like, _ = operator_of(objective, point, matrix)
    generator = generator or torch.Generator().manual_seed(0)
    found = []
    for name, begin, end in _layers(objective):
        if progress is not None:
            progress(f"layer {name}")
        block = Block(operator, begin, end)
        found.append(spectrum(block, like, generator=generator, **options))
        found[-1] = replace(found[-1], name=name, matrix=matrix)
    return tuple(found)


def _layers(objective: Supervised) -> Iterator[tuple[str, int, int]]:
    """The name of each layer that is not empty, and where its parameters begin and end in a point."""
    placed = objective.placed
    names = {id(p): name for name, p in placed.model.named_parameters()}
    begin = end = 0
    before = None
    for p, size in zip(placed.parameters, placed.sizes, strict=True):
        owner = names[id(p)].rpartition(".")[0] or names[id(p)]
        if before is not None and owner != before:
            if end > begin:
                yield before, begin, end
            begin = end
        before, end = owner, end + size
    if before is not None and end > begin:
        yield before, begin, end


def spectra_of_run(
    run: RunFolder | Path | str,
    task: Task,
    *,
    points: int | None = 5,
    examples: int = EXAMPLES,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> tuple[Spectrum, ...]:
    """The spectrum at several checkpoints of a recorded run; named after their steps.

    Args:
        run: the folder that :func:`thalweg.watch` wrote.
        task: model, loss, data and optimizer as they were trained; its weights play no part.
        points: how many checkpoints at most, the last among them; ``None`` for all.
        examples: measured on; of more a sample is drawn.
        seed: of every draw, the same at each checkpoint.
        options: as for :func:`~thalweg.measure.spectrum.spectrum`.

    Raises:
        FolderError: a run without checkpoints.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    saved = points_of(folder, task.model, None if points == 1 else points)
    if not len(saved):
        raise FolderError(
            f"run {folder.path} must have a checkpoint for its spectrum, but has none"
        )
    objective = objective_of_task(task, examples=examples, seed=seed)
    found = []
    for step in list(saved)[-1:] if points == 1 else saved:
        if progress is not None:
            progress(f"step {step}")
        generator = torch.Generator().manual_seed(seed)
        at = spectrum(objective, saved[step], generator=generator, **options)
        found.append(replace(at, name=f"step {step}"))
    return tuple(found)


def objective_of_task(
    task: Task, *, examples: int = EXAMPLES, seed: int = 0, memory: int = 2**30
) -> Supervised:
    """The loss that a task's optimizer descends, its decay included, on a sample of its examples."""
    if not isinstance(examples, int) or isinstance(examples, bool) or examples < 1:
        raise UsageError(f"examples must be a whole number of 1 or more, not {examples!r}")
    everything = Examples.of(task.train)
    generator = torch.Generator().manual_seed(seed)
    size = step_size(task, everything.population)
    objective, _ = sampled(
        task, everything, examples, generator, batch_size=size, seed=seed, memory=memory
    )
    return objective


def save_spectra(spectra: Sequence[Spectrum], path: Path | str) -> Path:
    """Every eigenvalue and its weight, in the columns ``name, single, eigenvalue, weight``.

    ``single`` is 1 for an eigenvalue that is known for itself, 0 for a place of a quadrature; the
    weights of a spectrum sum to 1. A name that ends in ``.npz`` makes a NumPy file with an array
    for each column, any other a CSV file. It appears under its name only when it is whole.

    Raises:
        FolderError: the path cannot be written.
    """
    path = Path(path)
    columns = _columns(spectra)
    memory = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(memory, **columns)  # pyright: ignore[reportArgumentType]
    else:
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(columns)
        rows.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        memory.write(text.getvalue().encode())
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(memory.getvalue())
        temporary.replace(path)
    except OSError as error:
        raise FolderError(
            f"path must be a file that can be written; {path}: {error.strerror}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _columns(spectra: Sequence[Spectrum]) -> dict[str, np.ndarray]:
    names, single, values, weights = [], [], [], []
    for each in spectra:
        places, shares = each.density.measure()
        alone = np.isin(places, each.density.outliers)
        names += [each.name] * len(places)
        single.append(alone.astype(int))
        values.append(places)
        weights.append(shares)
    joined = [np.concatenate([*column, []]) for column in (single, values, weights)]
    return {
        "name": np.array(names, dtype=str),
        "single": joined[0].astype(int),
        "eigenvalue": joined[1],
        "weight": joined[2],
    }
