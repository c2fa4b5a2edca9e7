"""A recorder whose loop belongs to a host, such as a Trainer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thalweg.errors import UsageError
from thalweg.record.recorder import Recorder
from thalweg.record.watch import watch

__all__ = ["Hosted"]

OF_THE_HOST = ("model", "optimizer", "loader", "scheduler", "resume")
"""Arguments of :func:`~thalweg.record.watch.watch` that the host answers."""


class Hosted:
    """Begins a recorder when the host's training does, and closes it when that ends.

    Attributes:
        recorder: that of the training which goes on or was the last; ``None`` before any.

    Args:
        folder: as for :func:`~thalweg.record.watch.watch`.
        options: its other arguments.
    """

    def __init__(self, folder: Path | str | None, options: Mapping[str, Any]) -> None:
        for name in OF_THE_HOST:
            if name in options:
                raise UsageError(f"{name} must be left to the trainer, which has its own")
        self.folder, self.options = folder, dict(options)
        self.recorder: Recorder | None = None

    def begin(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any, scheduler: Any
    ) -> None:
        """Begin to watch."""
        plain = _plain(optimizer)
        keeps_state = isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
        self.recorder = watch(
            model,
            plain,
            loader,
            self.folder,
            scheduler=scheduler if keeps_state else None,
            **self.options,
        )
        self.recorder.told_after_updates()

    def end(self, *, at_a_step: bool = True) -> None:
        """Close; after an exception without a last checkpoint."""
        if self.recorder is not None:
            self.recorder.end(at_a_step=at_a_step)


def _plain(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimizer inside those that hosts wrap around it."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = inner
    return optimizer
