"""The recorder of a training that goes on in the caller's own loop."""

import time
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import FolderError, UsageError
from thalweg.objective.placed import unwrapped
from thalweg.record.events import LiveRules, Rule, append_events
from thalweg.record.folder import RunFolder
from thalweg.record.forwarding import Forwarding, Logger
from thalweg.record.journal import BLOCK, BLOCK_SECONDS, Journal, warn
from thalweg.record.looks import Looks, numbers_of
from thalweg.record.order import Order
from thalweg.record.pace import Pace
from thalweg.record.position import Position
from thalweg.record.saving import Saving
from thalweg.record.sketching import Sketching
from thalweg.record.surroundings import epoch_of, facts_of, is_first, watched_parameters
from thalweg.trajectory import Trajectory

__all__ = ["Recorder"]

WATCHED: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()
"""Models that have a recorder."""


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
        rules: Sequence[Rule],
        loggers: Sequence[Logger],
    ) -> None:
        self.steps = 0
        self.model, self._optimizer, self._scheduler = unwrapped(model), optimizer, scheduler
        self._loader, self._overhead, self._checkpoints = loader, overhead, checkpoints
        self._epoch, self._position = epoch_of(loader), Position(loader)
        self._saving = Saving(checkpoints, self._epoch)
        self._journal = Journal()
        self._pace = Pace(overhead)
        self._looks = Looks(
            watched_parameters(self.model, optimizer),
            optimizer,
            self._pace,
            accumulates=not isinstance(model, nn.parallel.DistributedDataParallel),
        )
        self._live, self._forwarding = LiveRules(rules), Forwarding(loggers)
        self._order = Order()
        self._losses: list[Tensor | float] = []
        self._rates: list[Tensor | float] = []
        self._begun = time.perf_counter()
        # Step and time from which something may be due.
        self._look_out = self._wake = self._flush_at = 0.0
        self._closed = False

    def step(self, loss: Tensor | float) -> None:
        """Record the loss of one step; nothing is fetched from the device for it.

        Raises:
            UsageError: after :meth:`close`; a loss that is not one number; parameters that have
                changed their shapes.
        """
        if isinstance(loss, Tensor) and not loss.ndim:
            self._losses.append(loss.detach())
        else:
            self._losses.append(_one_number(loss))
        looks = self._looks
        self._rates.append(looks.rate_now() if looks.rate is None else looks.rate)
        looks.rate = None
        self.steps += 1
        # Every call here finds cold caches: what is not due must cost nothing.
        if self.steps >= self._look_out or time.perf_counter() >= self._wake:
            self._attend()

    @property
    def epoch(self) -> int:
        """How many epochs :meth:`batches` has gone through, those before a resume included."""
        return self._position.epoch

    def batches(self) -> Iterator[Any]:
        """The batches of the loader's present epoch that are still to come.

        In place of the loader in the loop, so that a training killed in the midst of an epoch goes
        on there, in the same order and to the bit; dropout and augmentation included.

        Raises:
            UsageError: :func:`watch` was given no loader.
        """
        return self._position.batches()

    def _attend(self) -> None:
        """What is due after a step: settle the order of the loop, flush, save."""
        if self._closed:
            self._losses, self._rates, self.steps = [], [], self.steps - 1
            raise UsageError("step must not be called after close")
        if self._order.settled:
            self._order.detach()
        else:
            self._order.stepped()
        if self._order.step_comes_first:
            self._rates[-1] = self._looks.rate_now()  # a schedule may have moved on
        now = time.perf_counter()
        if len(self._losses) >= BLOCK or now >= self._flush_at:
            self._flush()
        if self.saves_first(now) and self._pace.is_due(now):
            self._save(keep=self._saving.keeps(self.steps))
        every = not self._order.settled or self._order.step_comes_first
        block = self.steps + BLOCK - len(self._losses)
        self._look_out = 0 if every else min(block, self._saving.keep_from)
        self._wake = min(self._flush_at, self._saving.roll_at)

    def told_after_updates(self) -> None:
        """Say that every loss is told after its update, so that it need not be found out."""
        self._order.settle()

    def step_of_update(self) -> int:
        """The number of the step to which an update of the optimizer, just made, belongs."""
        return self.steps if self._order.step_comes_first else self.steps + 1

    def flush_soon(self) -> None:
        """Write at the next step, as there is no room to wait."""
        self._flush_at = self._wake = 0.0

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
        self.end(at_a_step=True)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after an exception, which may have struck in mid-step, without a checkpoint."""
        self.end(at_a_step=kind is None)

    def end(self, *, at_a_step: bool) -> None:
        """:meth:`close`; without a last checkpoint where it is not between two steps."""
        if self._closed:
            return
        self._closed = True
        self._looks.detach()
        self._order.detach()
        self._look_out = 0
        WATCHED.discard(self.model)
        self._flush()
        try:
            if at_a_step:
                self._looks.last_point(self.steps)
                if self.steps > self._saving.saved:
                    self._save(keep=True)
        finally:
            self._write_sketches(last=True)
            if self.folder is not None:
                self.folder.close()

    def begin(
        self, folder: Path | str | None, task_reference: str | None, *, resume: bool, sketches: bool
    ) -> None:
        """Make or open the folder, and start to watch; see :func:`~thalweg.record.watch.watch`."""
        if folder is not None and resume:
            self._resume(RunFolder.open(folder))
        elif folder is not None and is_first():
            facts = facts_of(self.model, self._optimizer, self._loader, self._overhead)
            self._start(Path(folder), task_reference, facts)
        if self.folder is None:
            self._saving.stop()
        elif sketches and self._overhead > 0:
            parameters = watched_parameters(self.model, self._optimizer)
            path = self.folder.sketches_path
            self._looks.sketching = Sketching(path, parameters, self._epoch, self.steps)
        self._order.attach(self._optimizer)
        self._looks.attach(self)
        self._flush_at = time.perf_counter() + BLOCK_SECONDS
        WATCHED.add(self.model)

    def _flush(self) -> None:
        begin = time.perf_counter()
        looks, self._looks.new = self._looks.new, []
        losses, self._losses = self._losses, []
        rates, self._rates = self._rates, []
        rows = numbers_of(looks, self._looks)
        if rows:
            rows[-1][1]["watch_share"] = self._pace.spent / (begin - self._begun)
        block = self._journal.flush(losses, rates, rows)
        self._forwarding.tell(*block, rows)
        sketching = self._looks.sketching
        if sketching is not None and sketching.is_full:
            self._write_sketches()
        if self._live.is_due(begin, closing=self._closed):
            events = self._live.ask(self._journal.trajectory())
            self._journal.write(lambda folder: append_events(folder.path, events))
        end = time.perf_counter()
        self._pace.took(end - begin, end)
        self._flush_at = end + BLOCK_SECONDS

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
                generators=self._position.stateful(),
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
                generators=self._position.stateful(),
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
