"""The batches that a fork of a training takes, from where the user's epoch stands."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader

from thalweg.errors import DataError
from thalweg.objective.batches import as_batches, resized
from thalweg.objective.private import private_batches, private_loader
from thalweg.task import Task

__all__ = ["Feed", "on_device"]

_END = object()


class Feed:
    """One batch after another of a task's data, epoch after epoch, from generators of its own.

    Args:
        seed: None for what the user's own loop would get next: the rest of an epoch under way where
            the task's data tell it (:class:`thalweg.Epochs`), then whole ones; else another order.
    """

    def __init__(self, task: Task, seed: int | None) -> None:
        self._task, self._seed = task, seed
        self._size = task.batch_size
        self._loader: Any = None
        self._iterator: Iterator[Any] | None = None
        self._begun = False
        self._ahead: Any = _END

    def look_ahead(self, ended: Callable[[], None]) -> None:
        """Fetch the next batch now, so that an epoch which is over is known to be: then ``ended`` is
        called."""
        if self._iterator is not None and self._ahead is _END:
            self._ahead = next(self._iterator, _END)
            if self._ahead is _END:
                self._iterator = None
                ended()

    def next(self, size: int | None, ended: Callable[[], None]) -> Any:
        """The next batch; ``ended`` is called where an epoch is over. Another size tells from the
        next epoch."""
        if not self._begun:
            self._begun = True
            self._go_on(size)
        self.look_ahead(ended)
        if self._ahead is not _END:
            batch, self._ahead = self._ahead, _END
            return batch
        self._iterator = iter(self._batches(size))
        batch = next(self._iterator, _END)
        if batch is _END:
            raise DataError("train must give at least one batch, but its loader gives none")
        return batch

    def _go_on(self, size: int | None) -> None:
        """With the epoch that the user's own loop is in."""
        epochs = self._task.epochs
        if epochs is not None and self._seed is None and size == self._size:
            rest = epochs.rest()
            if rest is not None:
                self._loader, self._iterator = rest

    def _batches(self, size: int | None) -> Any:
        if self._loader is None or self._size != size:
            train, self._size = self._task.train, size
            if size == self._task.batch_size:
                self._loader = private_batches(as_batches(train, size), self._seed)
            elif isinstance(train, DataLoader):
                self._loader = resized(private_loader(train, self._seed), size)
            else:
                self._loader = private_batches(resized(train, size), self._seed)
        return self._loader


def on_device(batch: Any, model: nn.Module) -> Any:
    """The batch where the model's parameters are."""
    device = next(model.parameters()).device
    if device.type == "cpu":
        return batch
    return tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, batch)
