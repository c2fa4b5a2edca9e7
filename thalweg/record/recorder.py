"""watch: what a user's own training loop does, for a few per cent of its time."""

import time
import warnings
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import FolderError, ModelError, UsageError
from thalweg.objective.placed import unwrapped
from thalweg.record.events import LiveRules, Rule, append_events
from thalweg.record.folder import RunFolder
from thalweg.record.journal import BLOCK, Journal, warn
from thalweg.record.looks import Looks, numbers_of
from thalweg.record.order import Order
from thalweg.record.pace import Pace
from thalweg.record.saving import Saving
from thalweg.record.sketching import Sketching
from thalweg.record.surroundings import epoch_of, facts_of, is_first, watched_parameters
from thalweg.trajectory import Trajectory

__all__ = ["Recorder", "watch"]

WATCHED: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()
"""Models that have a recorder."""


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
    if unwrapped(model) in WATCHED:
        raise UsageError("model must have no other recorder: close that one first")
    if resume and folder is None:
        raise UsageError("folder must be given to resume a run")
    recorder = Recorder(model, optimizer, loader, scheduler, float(overhead), checkpoints)
    recorder._live = LiveRules(rules)
    if folder is not None and resume:
        recorder._resume(RunFolder.open(folder))
    elif folder is not None and is_first():
        facts = facts_of(recorder.model, optimizer, loader, overhead)
        recorder._start(Path(folder), task_reference, facts)
    recorder._attach(sketches and overhead > 0)
    return recorder


class Recorder:
    """What :func:`watch` returns: call :meth:`step` last in the loop and :meth:`close` at the end.

    Attributes:
        steps: number of the last step.
        model: what is watched, without what is wrapped around it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loader: Any,
        scheduler: Any,
        overhead: float,
        checkpoints: str,
    ) -> None:
        self.steps = 0
        self.model, self._optimizer, self._scheduler = unwrapped(model), optimizer, scheduler
        generator = getattr(loader, "generator", None)
        self._generators = {"loader": generator} if isinstance(generator, torch.Generator) else {}
        self._epoch, self._checkpoints = epoch_of(loader), checkpoints
        self._saving = Saving(checkpoints, self._epoch)
        self._journal = Journal()
        self._pace = Pace(overhead)
        self._looks = Looks(
            watched_parameters(self.model, optimizer),
            optimizer,
            self._pace,
            accumulates=not isinstance(model, nn.parallel.DistributedDataParallel),
        )
        self._order = Order()
        self._live = LiveRules(())
        self._begun = time.perf_counter()
        self._closed = False

    def step(self, loss: Tensor | float) -> None:
        """Record the loss of one step; nothing is fetched from the device for it.

        Raises:
            UsageError: after :meth:`close`; a loss that is not one number; parameters that have
                changed their shapes.
        """
        if isinstance(loss, Tensor) and loss.ndim == 0:
            loss = loss.detach()
        else:
            loss = _one_number(loss)
        if self._closed:
            raise UsageError("step must not be called after close")
        self.steps += 1
        used = self._looks.rate
        if not self._order.settled:
            self._order.stepped()
        if used is None or self._order.step_comes_first:  # a schedule may have moved on
            used = self._looks.rate_now()
        count = self._journal.add(loss, used)
        now = time.perf_counter()
        if count >= BLOCK or now >= self._journal.flush_at:
            self._flush()
        if self.saves_first(now) and self._pace.is_due(now):
            self._save(keep=self._saving.keeps(self.steps))

    def updated(self) -> None:
        """The optimizer has made an update."""
        if not self._order.settled:
            self._order.updated()

    def step_of_update(self) -> int:
        """The number of the step to which an update of the optimizer, just made, belongs."""
        return self.steps if self._order.step_comes_first else self.steps + 1

    def flush_soon(self) -> None:
        """Write at the next step, as there is no room to wait."""
        self._journal.flush_at = 0.0

    def saves_first(self, now: float) -> bool:
        """Whether a checkpoint waits for its time, so that looks stand back."""
        return self._saving.wants(self.steps, now)

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
        WATCHED.discard(self.model)
        self._flush()
        if at_a_step:
            self._looks.last_point(self.steps)
            if self.steps > self._saving.saved:
                self._save(keep=True)
        self._write_sketches(last=True)
        if self.folder is not None:
            self.folder.close()

    def _attach(self, sketches: bool) -> None:
        if self.folder is None:
            self._saving.stop()
        elif sketches:
            parameters = watched_parameters(self.model, self._optimizer)
            path = self.folder.sketches_path
            self._looks.sketching = Sketching(path, parameters, self._epoch, self.steps)
        self._looks.attach(self)
        WATCHED.add(self.model)

    def _flush(self) -> None:
        begin = time.perf_counter()
        looks, self._looks.new = self._looks.new, []
        rows = numbers_of(looks, self._looks)
        if rows:
            rows[-1][1]["watch_share"] = self._pace.spent / (begin - self._begun)
        self._journal.flush(rows)
        sketching = self._looks.sketching
        if sketching is not None and sketching.is_full:
            self._write_sketches()
        if self._live.is_due(begin, closing=self._closed):
            events = self._live.ask(self._journal.trajectory())
            self._journal.write(lambda folder: append_events(folder.path, events))
        end = time.perf_counter()
        self._pace.took(end - begin, end)

    def _write_sketches(self, *, last: bool = False) -> None:
        sketching = self._looks.sketching
        if sketching is not None:
            self._journal.write(lambda _: sketching.write(self._journal.loss_at, last=last))

    def _save(self, *, keep: bool) -> None:
        self._looks.check_shapes()
        self._flush()  # so that no checkpoint is ahead of the metrics or of the sketches
        self._write_sketches()
        begin = time.perf_counter()

        def save(folder: RunFolder) -> None:
            path = folder.save_checkpoint(
                self.steps,
                self.model,
                self._optimizer,
                self._scheduler,
                generators=self._generators,
            )
            if self._saving.rolling >= 0:
                folder.remove_checkpoint(self._saving.rolling)
            if not self._saving.has_room(path):
                warnings.warn(
                    f"folder {folder.path} has no room for a checkpoint an epoch: from here on "
                    "they come further and further apart",
                    RuntimeWarning,
                    stacklevel=5,
                )

        try:
            self._journal.write(save)
        except FolderError as error:  # a state that is not plain data
            warnings.warn(f"no checkpoints are saved: {error}", RuntimeWarning, stacklevel=3)
            self._saving.stop()
            return
        if self.folder is None:
            self._saving.stop()
        else:
            self._saving.did(self.steps, begin, self._pace, kept=keep)

    def _start(self, path: Path, task_reference: str | None, facts: Mapping[str, Any]) -> None:
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
                self.model,
                self._optimizer,
                self._scheduler,
                random_state=is_first(),
                generators=self._generators,
            )
        self.steps = latest or 0
        self._saving = Saving(self._checkpoints, self._epoch, self.steps)
        self._journal = Journal(folder if is_first() else None, self.steps)

        def forget(folder: RunFolder) -> None:
            folder.resume(self.steps)
            folder.cut_sketches(self.steps - 1)  # the one here is sketched again

        self._journal.write(forget)


def _one_number(loss: Any) -> Tensor | float:
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise UsageError(f"loss must be one number, not of shape {tuple(loss.shape)}")
        return loss.detach()
    if not isinstance(loss, float | int | np.number):
        raise UsageError(f"loss must be a tensor or a number, not {type(loss).__name__}")
    return float(loss)
