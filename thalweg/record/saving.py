"""When a watched training saves checkpoints, and which of them stay."""

import math
import shutil
import time
from pathlib import Path

from thalweg.errors import UsageError
from thalweg.record.pace import Pace

__all__ = ["Saving"]

SPACING = 2.0
"""Each checkpoint comes at a step at least so many times that of the one before."""

ROLLING_SECONDS = 60.0
"""Age of the newest checkpoint at which another is saved, which the next one replaces."""

SPARE = 20
"""Checkpoints that must still fit on the disk for one an epoch to be kept."""


class Saving:
    """Checkpoints at steps a factor of two apart or one an epoch, and a rolling one in between.

    Attributes:
        saved: step of the newest checkpoint; -1 before any.
        rolling: step of the one that the next replaces; -1 where there is none.
        keep_from: step from which the next is due that stays.
        roll_at: time from which a rolling one is due.
    """

    def __init__(self, when: str, epoch: int | None, begin: int = -1) -> None:
        if when not in ("log", "epoch"):
            raise UsageError(f"checkpoints must be 'log' or 'epoch', not {when!r}")
        if when == "epoch" and epoch is None:
            raise UsageError("checkpoints by epoch need a loader that knows its length")
        self._epoch = epoch if when == "epoch" else None
        self.saved, self.rolling = begin, -1
        self.keep_from = self._next(max(begin, 0))
        self.roll_at = time.perf_counter() + ROLLING_SECONDS if begin >= 0 else math.inf

    def wants(self, step: int, now: float) -> bool:
        """Whether a checkpoint is to be saved after this step, as soon as the pace allows."""
        return step >= self.keep_from or now >= self.roll_at

    def keeps(self, step: int) -> bool:
        """Whether the one saved after this step stays."""
        return step >= self.keep_from

    def did(self, step: int, begin: float, pace: Pace, *, kept: bool) -> None:
        """Say that a checkpoint was saved, and when that began."""
        end = time.perf_counter()
        pace.took(end - begin, end)
        self.saved, self.rolling = step, -1 if kept else step
        if kept:
            self.keep_from = self._next(step)
        self.roll_at = end + ROLLING_SECONDS

    def stop(self) -> None:
        """Save no more."""
        self.keep_from = self.roll_at = self.saved = math.inf

    def has_room(self, checkpoint: Path) -> bool:
        """Whether the disk has room for more like this one; without it, epochs are not kept."""
        if self._epoch is None:
            return True
        size = sum(file.stat().st_size for file in checkpoint.iterdir())
        if shutil.disk_usage(checkpoint).free >= SPARE * size:
            return True
        self._epoch = None
        return False

    def _next(self, step: int) -> float:
        spaced = max(step + 1, math.ceil(step * SPACING))
        if self._epoch is None:
            return spaced
        return self._epoch * (step // self._epoch + 1)
