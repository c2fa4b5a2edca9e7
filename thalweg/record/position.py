"""Where in a loader's epochs a training stands, so that a training goes on in the midst of one."""

from collections.abc import Iterator
from typing import Any

import torch

from thalweg.errors import UsageError
from thalweg.run.random_state import RandomState

__all__ = ["Position"]


class Position:
    """Iterates over a loader and knows where: a checkpoint saves it like a generator.

    The order of an epoch is drawn at its beginning, from the loader's generator or from torch's
    global random state. Their states from then are kept: a resumed training draws the same order,
    passes over the batches that it has seen, and puts the random states back to what they were.

    Attributes:
        epoch: number of the present epoch, from 0.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        generator = getattr(loader, "generator", None)
        self.generator = generator if isinstance(generator, torch.Generator) else None
        self.epoch = self._seen = 0
        self._begin: dict[str, torch.Tensor] | None = None

    def stateful(self) -> dict[str, Any]:
        """What a checkpoint saves: this, and the loader's generator."""
        return {"position": self} | ({} if self.generator is None else {"loader": self.generator})

    def get_state(self) -> dict[str, Any]:
        """Where it stands, as plain data."""
        return {"epoch": self.epoch, "seen": self._seen, "begin": self._begin}

    def set_state(self, state: dict[str, Any]) -> None:
        """Stand there."""
        self.epoch, self._seen, self._begin = state["epoch"], state["seen"], state["begin"]

    def batches(self) -> Iterator[Any]:
        """The batches of the present epoch that are still to come.

        Raises:
            UsageError: no loader.
        """
        if self._loader is None:
            raise UsageError("loader must be given to watch() to iterate over its batches")
        if self._begin is None:
            self._begin, self._seen = self._states(), 0
            yield from self._counted(iter(self._loader))
        else:
            yield from self._counted(self._resumed(self._begin))
        self.epoch, self._seen, self._begin = self.epoch + 1, 0, None

    def _resumed(self, begin: dict[str, torch.Tensor]) -> Iterator[Any]:
        now, order = RandomState.now(), None if self.generator is None else self._states()["loader"]
        torch.random.set_rng_state(begin["torch"])
        if self.generator is not None:
            self.generator.set_state(begin["loader"])
        batches = iter(self._loader)
        for _ in range(self._seen):
            next(batches, None)
        now.restore()
        if self.generator is not None and order is not None:
            self.generator.set_state(order)
        return batches

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._seen += 1
            yield batch

    def _states(self) -> dict[str, torch.Tensor]:
        states = {"torch": torch.random.get_rng_state()}
        if self.generator is not None:
            states["loader"] = self.generator.get_state()
        return states
