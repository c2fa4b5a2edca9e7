"""The journal of a watched training: fetched in blocks, kept in memory, written to a folder."""

import time
import warnings
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.record.folder import RunFolder
from thalweg.record.looks import Look
from thalweg.trajectory import Column, Trajectory, environment, merge

__all__ = ["Journal"]

BLOCK, BLOCK_SECONDS = 256, 1.0
"""Losses are fetched from the device and written in blocks of so many steps or seconds."""


class Journal:
    """Losses and learning rates of every step, and looks at some.

    Attributes:
        folder: where it is written; ``None`` where there is none, or no longer one.
    """

    def __init__(self, folder: RunFolder | None = None, resumed_at: int = 0) -> None:
        self.folder = folder
        self._first = resumed_at + 1
        self._new: list[tuple[Tensor | float, Tensor | float]] = []
        self._losses, self._rates = array("d"), array("d")
        self._norms: dict[int, float] = {}
        self._accumulates: dict[int, float] = {}
        self._before = Trajectory()
        self._flush_at = time.perf_counter() + BLOCK_SECONDS
        if folder is not None and resumed_at:
            self._before = folder.metrics().until(resumed_at)

    def add(self, loss: Tensor | float, rate: Tensor | float) -> None:
        """Add a step, without fetching anything from the device."""
        self._new.append((loss, rate))

    def is_full(self, now: float) -> bool:
        """Whether it is time to :meth:`flush`."""
        return len(self._new) >= BLOCK or now >= self._flush_at

    def flush(self, looks: Sequence[Look] = ()) -> None:
        """Fetch what is new, keep it, and append it to the folder."""
        new, self._new = self._new, []
        self._flush_at = time.perf_counter() + BLOCK_SECONDS
        losses = _numbers([loss for loss, _ in new])
        rates = _numbers([rate for _, rate in new])
        norms = _numbers([look.gradient_norm for look in looks])
        first = self._first + len(self._losses)
        steps = list(range(first, first + len(losses)))
        self._losses.extend(losses)
        self._rates.extend(rates)
        self._norms.update((look.step, norm) for look, norm in zip(looks, norms))
        told = {
            look.step: float(look.accumulates) for look in looks if look.accumulates is not None
        }
        self._accumulates.update(told)

        def write(folder: RunFolder) -> None:
            if steps:
                folder.append_block(steps, {"loss": losses, "learning_rate": rates})
            for look, norm in zip(looks, norms):
                fact = {"gradients_accumulate": told[look.step]} if look.step in told else {}
                folder.append_block(look.step, {"gradient_norm": norm, **fact})

        self.write(write)

    def trajectory(self) -> Trajectory:
        """What was fetched so far, of a resumed run from its beginning."""
        steps = np.arange(self._first, self._first + len(self._losses))
        columns = {
            "loss": Column(steps, np.array(self._losses)),
            "learning_rate": Column(steps, np.array(self._rates)),
            "gradient_norm": _column(self._norms),
            "gradients_accumulate": _column(self._accumulates),
        }
        seen = {name: column for name, column in columns.items() if len(column)}
        return merge(self._before, Trajectory(seen, environment=environment()))

    def write(self, write: Callable[[RunFolder], Any]) -> None:
        """Write to the folder if there is one; where it cannot be written warn, and do without it."""
        if self.folder is None:
            return
        try:
            write(self.folder)
        except OSError as error:
            self.folder, failed = None, self.folder
            failed.close()
            warn(failed.path, error)


def warn(path: Path, error: Exception) -> None:
    """Say once that a folder cannot be written."""
    reason = getattr(error, "strerror", None) or error
    warnings.warn(
        f"folder {path} cannot be written ({reason}): the training goes on, recorded in memory only",
        RuntimeWarning,
        stacklevel=2,
    )


def _column(values: dict[int, float]) -> Column:
    steps = sorted(values)
    return Column(np.array(steps, np.int64), np.array([values[step] for step in steps]))


def _numbers(values: list[Any]) -> list[float]:
    """The values as numbers, those on one device fetched together."""
    alike = len({(v.device, v.dtype) if isinstance(v, Tensor) else None for v in values}) == 1
    if alike and isinstance(values[0], Tensor):
        return torch.stack([v.reshape(()) for v in values]).double().tolist()
    return [float(value) for value in values]
