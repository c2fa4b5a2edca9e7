"""watch: what a user's own training loop does, for a few per cent of its time."""

import contextlib
import math
import time
import warnings
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import FolderError, ModelError, UsageError
from thalweg.record.folder import RunFolder
from thalweg.record.journal import Journal, warn
from thalweg.record.looks import Looks, Pace
from thalweg.trajectory import Trajectory

__all__ = ["Recorder", "watch"]

SPACING = 2.0
"""Each checkpoint comes at a step at least so many times that of the one before."""

ROLLING_SECONDS = 60.0
"""Age of the newest checkpoint at which another is saved, which the next one replaces."""

WATCHED: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()
"""Models that have a recorder."""


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: Any = None,
    folder: Path | str | None = None,
    *,
    overhead: float = 0.05,
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

    Every step: the loss and the learning rate of the first parameter group. On pairs of steps, as
    often as the budget allows: the gradient's norm (``gradient_norm``, as the optimizer used it),
    and whether the gradient used before was never cleared (``gradients_accumulate``, 1 or 0).

    Args:
        model: what is trained.
        optimizer: what trains it.
        loader: the DataLoader, if there is one: its size is noted, its generator's state is saved.
        folder: a run folder to make, with checkpoints at the start, at steps about a factor of
            two apart, every minute (each replaces the one of the minute before), as far as the
            budget allows, and at the end. What cannot be written is warned of once; the training
            goes on.
        overhead: share of the training's time that may be spent.
        task_reference: ``file.py:callable`` of the Task, noted in the folder for later diagnoses.
        scheduler: the learning-rate schedule, saved with the checkpoints.
        resume: go on with the run in ``folder``: its last checkpoint is put into model, optimizer,
            scheduler, the loader's generator and the global random states, and
            ``recorder.steps`` is the step from which the loop has to go on. To the bit, if
            ``recorder.step`` is called last in the loop: a checkpoint is what it finds.

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
    if model in WATCHED:
        raise UsageError("model must have no other recorder: close that one first")
    if resume and folder is None:
        raise UsageError("folder must be given to resume a run")
    recorder = Recorder(model, optimizer, loader, scheduler, float(overhead))
    if folder is not None and resume:
        recorder._resume(RunFolder.open(folder))
    elif folder is not None:
        recorder._start(Path(folder), task_reference, _facts(model, optimizer, loader, overhead))
    recorder._attach()
    return recorder


class Recorder:
    """What :func:`watch` returns: call :meth:`step` last in the loop and :meth:`close` at the end.

    Attributes:
        steps: number of the last step.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loader: Any,
        scheduler: Any,
        overhead: float,
    ) -> None:
        self.steps = 0
        self._model, self._optimizer, self._scheduler = model, optimizer, scheduler
        generator = getattr(loader, "generator", None)
        self._generators = {"loader": generator} if isinstance(generator, torch.Generator) else {}
        self._journal = Journal()
        self._looks = Looks(optimizer, overhead)
        self._pace = Pace(overhead)
        self._step_comes_first: bool | None = None
        self._save_from, self._saved = 1.0, -1.0
        self._rolling_at, self._rolling = math.inf, -1
        self._closed = False

    def step(self, loss: Tensor | float) -> None:
        """Record the loss of one step; nothing is fetched from the device for it.

        Raises:
            UsageError: after :meth:`close`; a loss that is not one number.
        """
        if self._closed:
            raise UsageError("step must not be called after close")
        if isinstance(loss, Tensor):
            if loss.numel() != 1:
                raise UsageError(f"loss must be one number, not of shape {tuple(loss.shape)}")
            loss = loss.detach()
        elif not isinstance(loss, float | int | np.number):
            raise UsageError(f"loss must be a tensor or a number, not {type(loss).__name__}")
        self.steps += 1
        if self._step_comes_first is None:
            self._step_comes_first = True
        used = self._looks.rate
        if self._step_comes_first or used is None:  # a schedule may have moved on since the update
            used = self._looks.rate_now()
        self._journal.add(loss, used)
        now = time.perf_counter()
        if self._journal.is_full(now):
            self._flush()
        spaced = self.steps >= self._save_from
        if (spaced or now >= self._rolling_at) and self._pace.is_due(now):
            self._save(keep=spaced)

    def step_of_update(self) -> int:
        """The number of the step to which an update of the optimizer, just made, belongs."""
        if self._step_comes_first is None:
            self._step_comes_first = False
        return self.steps if self._step_comes_first else self.steps + 1

    @property
    def folder(self) -> RunFolder | None:
        """Where it is written; ``None`` where there is no folder, or none that can be written."""
        return self._journal.folder

    @property
    def trajectory(self) -> Trajectory:
        """What was seen so far, of a resumed run from its beginning."""
        self._flush()
        return self._journal.trajectory()

    def close(self) -> None:
        """Write what is left, save a last checkpoint, and let go of the model. Twice is once."""
        self._end(at_a_step=True)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; after an exception, which may have struck in mid-step, without a checkpoint."""
        self._end(at_a_step=error is None)

    def _end(self, *, at_a_step: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._looks.detach()
        WATCHED.discard(self._model)
        self._flush()
        if at_a_step and self.steps > self._saved:
            self._save(keep=True)
        if self.folder is not None:
            self.folder.close()

    def _attach(self) -> None:
        self._looks.attach(self)
        WATCHED.add(self._model)

    def _flush(self) -> None:
        looks, self._looks.new = self._looks.new, []
        self._journal.flush(looks)

    def _save(self, *, keep: bool) -> None:
        self._flush()  # so that no checkpoint is ahead of the metrics
        begin = time.perf_counter()

        def save(folder: RunFolder) -> None:
            folder.save_checkpoint(
                self.steps,
                self._model,
                self._optimizer,
                self._scheduler,
                generators=self._generators,
            )
            if self._rolling >= 0:
                folder.remove_checkpoint(self._rolling)

        try:
            self._journal.write(save)
        except FolderError as error:  # a state that is not plain data
            warnings.warn(f"no checkpoints are saved: {error}", RuntimeWarning, stacklevel=3)
            self._save_from = self._rolling_at = self._saved = math.inf
            return
        self._saved = self.steps
        self._rolling = -1 if keep else self.steps
        if keep:
            self._save_from = max(self.steps + 1, math.ceil(self.steps * SPACING))
        end = time.perf_counter()
        self._pace.took(end - begin, end)
        self._rolling_at = end + ROLLING_SECONDS

    def _start(self, path: Path, task_reference: str | None, facts: dict[str, Any]) -> None:
        if RunFolder.is_run(path):
            raise FolderError(
                f"folder {path} must hold no other run: give another folder, or resume=True to go "
                "on with that run"
            )
        try:
            self._journal.folder = RunFolder.create(
                path, task_reference=task_reference, facts=facts
            )
        except FolderError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            warn(path, error.__cause__)
        else:
            self._save(keep=True)

    def _resume(self, folder: RunFolder) -> None:
        latest = folder.latest_checkpoint()
        if latest is not None:
            folder.load_checkpoint(
                latest,
                self._model,
                self._optimizer,
                self._scheduler,
                random_state=True,
                generators=self._generators,
            )
        self.steps = self._saved = latest or 0
        self._save_from = max(1, math.ceil(self.steps * SPACING))
        self._rolling_at = time.perf_counter() + ROLLING_SECONDS
        self._journal = Journal(folder, self.steps)
        self._journal.write(lambda folder: folder.resume(self.steps))


def _facts(
    model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any, overhead: float
) -> dict[str, str | int | float | bool]:
    facts: dict[str, str | int | float | bool] = {
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "optimizer": type(optimizer).__name__,
        "overhead": overhead,
    }
    batch_size = getattr(loader, "batch_size", None)
    if isinstance(batch_size, int):
        facts["batch_size"] = batch_size
    with contextlib.suppress(TypeError, AttributeError):
        facts["examples"] = len(loader.dataset)
    return facts
