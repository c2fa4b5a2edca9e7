"""What a diagnosis or a race starts from: a Task, a factory, a run folder, a checkpoint."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from thalweg.diagnose.history import history_estimates
from thalweg.diagnose.live import latest_signal, what_is_seen
from thalweg.errors import FolderError, UsageError
from thalweg.estimate import Evidence
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.record.checkpoint import REST
from thalweg.record.events import read_events
from thalweg.record.folder import RunFolder, read_weights
from thalweg.record.weights import read_plain
from thalweg.run.copies import Copies
from thalweg.task import Task
from thalweg.trajectory import Trajectory

__all__ = ["HistoryOnly", "task_of"]


@dataclass(frozen=True)
class HistoryOnly:
    """What a run folder tells without its task."""

    evidence: Evidence
    notes: tuple[str, ...]
    name: str


def task_of(
    source: Task | Callable[[], Task] | str | Path,
    *,
    task: Task | None = None,
    checkpoint: str | Path | None = None,
) -> Task | HistoryOnly:
    """The Task that a source means, at the state that it means; a run's history without one.

    The models and optimizers of tasks given are copied before other weights are loaded.
    """
    if isinstance(source, Task):
        found = source
    elif isinstance(source, str | Path):
        return _of_folder(Path(source), task, checkpoint)
    elif callable(source) and not isinstance(source, torch.nn.Module):
        found = source()
        if not isinstance(found, Task):
            raise UsageError(f"the factory must return a Task, but returned {type(found).__name__}")
    else:
        raise UsageError(
            f"source must be a Task, a factory of one or a run folder, not {type(source).__name__}"
        )
    return found if checkpoint is None else _with_weights(found, Path(checkpoint))


def _of_folder(path: Path, task: Task | None, checkpoint: str | Path | None) -> Task | HistoryOnly:
    run = RunFolder.open(path)
    metrics = run.metrics()
    if task is None:
        estimates, curves = history_estimates(metrics)
        note = (
            "judged from the history of the run alone, as its task was not given: pass task= or "
            "--task for a whole diagnosis"
        )
        signal = latest_signal(metrics)
        if not math.isnan(signal.value):
            estimates["gradient_signal"] = signal
        notes = (note, *metrics.notes, *_seen_live(path, metrics))
        return HistoryOnly(Evidence(estimates, curves), notes, path.name)
    task = replace(task, history=metrics, name=path.name)
    if checkpoint is not None:
        return _with_weights(task, Path(checkpoint))
    step = run.latest_checkpoint()
    if step is None:
        return task
    task = _copied(task)
    kept = read_plain(run.checkpoint_path(step) / REST)
    has_schedule = isinstance(kept, dict) and kept.get("scheduler") is not None
    schedule = task.schedule if has_schedule else None
    _check_kind(kept, task.optimizer, run)
    run.load_checkpoint(step, task.model, task.optimizer, schedule)
    return task


def _check_kind(kept: Any, optimizer: torch.optim.Optimizer, run: RunFolder) -> None:
    """Refuse the state of another kind of optimizer, which would be loaded but could not step.

    Another version of the same kind may have options more, or options fewer, but not both.
    """
    try:
        theirs = set(kept["optimizer"]["param_groups"][0]) - {"initial_lr"}
    except (KeyError, IndexError, TypeError):
        return  # what is damaged is told of by what loads it
    own = set(optimizer.param_groups[0]) - {"initial_lr"}
    if theirs - own and own - theirs:
        cure = f", after the cure {run.facts['cure']}" if "cure" in run.facts else ""
        raise FolderError(
            f"folder {run.path} must hold a run of {type(optimizer).__name__}, but another optimizer "
            f"made it{cure}: put that into the task, or give the weights alone as a checkpoint"
        )


def _seen_live(path: Path, metrics: Trajectory) -> list[str]:
    """What live rules see in a run as it stands, and what they said before of another kind."""
    now = what_is_seen(metrics)
    names = {event.name for event in now}
    before = {event.name: event for event in read_events(path) if event.name not in names}
    return [
        *(f"as it stands: {event.sentence}" for event in now),
        *(f"at step {event.step}: {event.sentence}" for event in before.values()),
    ]


def _with_weights(task: Task, path: Path) -> Task:
    weights = read_weights(path)
    task = _copied(task)
    own = task.model.state_dict()
    for name, value in own.items():
        if name not in weights:
            raise FolderError(f"{path.name} must hold every weight of the model, but lacks {name}")
        if weights[name].shape != value.shape:
            raise FolderError(
                f"{path.name} must fit the model, but holds {name} of shape "
                f"{tuple(weights[name].shape)} where the model has {tuple(value.shape)}"
            )
    extra = [name for name in weights if name not in own]
    if extra:
        raise FolderError(f"{path.name} must fit the model, which has no {extra[0]}")
    with torch.no_grad():
        task.model.load_state_dict(dict(weights))
    return task


def _copied(task: Task) -> Task:
    if _reads_the_model(task):
        raise UsageError(
            "the loss reads the model's own objects, so that other weights cannot be put into a "
            "copy: load them into the model, and give the task alone"
        )
    own = Copies.of(task, apart=True)
    if own.hooks.left_out:
        raise UsageError(
            "model must have hooks on its parameters that can be copied, but what one holds cannot "
            f"({own.hooks.left_out[0]}): load the weights into the model, and give the task alone"
        )
    return replace(
        task, model=own.model, optimizer=own.optimizer, schedule=own.schedule, parts=own.parts
    )


def _reads_the_model(task: Task) -> bool:
    """Whether a copy of the model would have another loss than the user's at the same weights."""
    try:
        few = Examples.of(task.train).subsample(8, torch.Generator().manual_seed(0))
        return Supervised(task.model, task.loss, few, batch_loss=task.batch_loss).placed.restore
    except UsageError:  # what cannot be evaluated is told of by what evaluates it
        return False
