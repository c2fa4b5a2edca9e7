"""The journal of a watched training: fetched in blocks, kept in memory, written to a folder."""

import contextlib
import math
import warnings
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.record.folder import RunFolder
from thalweg.trajectory import Column, Trajectory, environment, merge

__all__ = ["BLOCK", "BLOCK_SECONDS", "Journal", "warn"]

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
        self._losses, self._rates = array("d"), array("d")
        self._seen: dict[str, dict[int, float]] = {}
        self._before = Trajectory()
        if folder is not None and resumed_at:
            self._before = folder.metrics().until(resumed_at)

    def loss_at(self, step: int) -> float:
        """The loss of a step that was fetched; NaN where there is none."""
        at = step - self._first
        return self._losses[at] if 0 <= at < len(self._losses) else math.nan

    def flush(
        self,
        new: Sequence[Tensor | float],
        rates_used: Sequence[Tensor | float],
        looks: Sequence[tuple[int, Mapping[str, float]]],
    ) -> tuple[int, list[float], list[float]]:
        """Fetch what is new, keep it, and append it to the folder: first step, losses, rates."""
        losses, rates = _numbers(new), _numbers(rates_used)
        first = self._first + len(self._losses)
        steps = range(first, first + len(losses))
        self._losses.extend(losses)
        self._rates.extend(rates)
        for step, numbers in looks:
            for name, value in numbers.items():
                self._seen.setdefault(name, {})[step] = value

        def write(folder: RunFolder) -> None:
            if steps:
                folder.append_block(steps, {"loss": losses, "learning_rate": rates})
            for step, numbers in looks:
                folder.append_block(step, numbers)

        self.write(write)
        return first, losses, rates

    def trajectory(self) -> Trajectory:
        """What was fetched so far, of a resumed run from its beginning."""
        steps = np.arange(self._first, self._first + len(self._losses))
        columns = {
            "loss": Column(steps, np.array(self._losses)),
            "learning_rate": Column(steps, np.array(self._rates)),
            **{name: _column(values) for name, values in self._seen.items()},
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


def _numbers(values: Sequence[Any]) -> list[float]:
    """The values as numbers, those on one device fetched together."""
    if all(type(value) is float for value in values):
        return list(values)
    if all(isinstance(value, Tensor) for value in values):
        with contextlib.suppress(RuntimeError):  # of unlike shape, kind or device: one by one
            return torch.stack(list(values)).double().reshape(-1).tolist()
    return [float(value) for value in values]
