"""watch: what a user's own training loop does, for a few per cent of its time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thalweg.errors import ModelError, UsageError
from thalweg.objective.placed import unwrapped
from thalweg.record.events import Rule
from thalweg.record.forwarding import Logger
from thalweg.record.recorder import WATCHED, Recorder

__all__ = ["watch"]


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: Any = None,
    folder: Path | str | None = None,
    *,
    overhead: float = 0.05,
    sketches: bool = True,
    checkpoints: str = "log",
    rules: Sequence[Rule] = (),
    loggers: Sequence[Logger] = (),
    task_reference: str | None = None,
    scheduler: Any = None,
    resume: bool = False,
) -> "Recorder":
    """Record a training that goes on in the caller's own loop; the weights stay the same bits.

        with watch(model, optimizer, loader, folder="runs/mine") as recorder:
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = criterion(model(inputs), targets)
                loss.backward()
                optimizer.step()
                recorder.step(loss)  # last in the loop

    Every step: ``loss`` and ``learning_rate`` (of the first parameter group). On pairs of updates,
    as often as the budget allows:

    - ``gradient_norm``, of the gradient as the optimizer used it;
    - ``gradients_accumulate``: 1 where the gradient used before was never cleared;
    - ``gradient_product``: ⟨g_t, g_{t+1}⟩, or the same from the micro-batches of one update where
      gradients are accumulated (``micro_batches`` of them): an estimate of ‖∇f‖², from which
      :func:`~thalweg.record.signal.gradient_signal` tells the gradient's signal;
    - ``update_norm``, ``parameter_norm`` and, by module, ``update_ratio/NAME`` = ‖Δw‖/‖w‖.

    ``watch_share`` is the share of the time that the recorder's own clock has seen so far.

    Args:
        model: what is trained; inside ``torch.compile`` or DistributedDataParallel too.
        optimizer: what trains it.
        loader: the DataLoader, if there is one: its size is noted, its generator's state is saved.
        folder: a run folder to make, with sketches and checkpoints. What cannot be written is
            warned of once; the training goes on. In a distributed training rank 0 writes.
        overhead: share of the training's time that may be spent beyond what each step's loss takes.
        sketches: keep the parameters and gradients of some steps in the folder, or their sketches
            where they are many.
        checkpoints: ``"log"``: at steps about a factor of two apart; ``"epoch"``: after each epoch
            of the loader, while the disk has room. Either way at the start, every minute (each
            replaces the one of the minute before), as far as the budget allows, and at the end.
        rules: asked about the history as it grows, as far as the budget allows; what they see is
            written to ``events.jsonl`` and said in a line, such as by ``thalweg.live_rules()``.
        loggers: told what was seen, such as :mod:`thalweg.record.adapters.loggers` makes.
        task_reference: ``file.py:callable`` of the Task, noted in the folder for later diagnoses.
        scheduler: the learning-rate schedule, saved with the checkpoints.
        resume: go on with the run in ``folder``: its last checkpoint is put into model, optimizer,
            scheduler, the loader's generator and the global random states, and
            ``recorder.steps`` is the step from which the loop has to go on. To the bit, if
            ``recorder.step`` is called last in the loop: a checkpoint is what it finds; and, of a
            loader that shuffles, if the loop is over ``recorder.batches()``.

    Raises:
        UsageError: a model that is watched already, a folder that holds another run (or none, with
            ``resume``), an overhead below 0, arguments of other types.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(
            f"optimizer must be a torch.optim.Optimizer, not {type(optimizer).__name__}"
        )
    if isinstance(overhead, bool) or not isinstance(overhead, float | int) or not overhead >= 0:
        raise UsageError(f"overhead must be a share of the time, 0 or more, not {overhead!r}")
    if loader is not None and not hasattr(loader, "__len__") and not hasattr(loader, "__iter__"):
        raise UsageError(f"loader must give batches, not be of type {type(loader).__name__}")
    if isinstance(loader, str | Path):
        raise UsageError(
            f"loader must give batches, not be a path: folder={str(loader)!r} says where"
        )
    if folder is not None and not (isinstance(folder, str | Path) and str(folder)):
        raise UsageError(f"folder must be a path, not {folder!r}")
    for name, given in (("rules", rules), ("loggers", loggers)):
        if not isinstance(given, Sequence) or not all(map(callable, given)):
            raise UsageError(f"{name} must be a sequence of functions, not {given!r}")
    if scheduler is not None and not hasattr(scheduler, "state_dict"):
        raise UsageError(
            f"scheduler must have a state_dict, but {type(scheduler).__name__} has none"
        )
    if not isinstance(task_reference, str | None):
        raise UsageError(
            f"task_reference must be a text such as file.py:task, not {task_reference!r}"
        )
    if unwrapped(model) in WATCHED:
        raise UsageError("model must have no other recorder: close that one first")
    if resume and folder is None:
        raise UsageError("folder must be given to resume a run")
    recorder = Recorder(
        model, optimizer, loader, scheduler, float(overhead), checkpoints, rules, loggers
    )
    recorder.begin(folder, task_reference, resume=resume, sketches=sketches)
    return recorder
