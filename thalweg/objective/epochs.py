"""A loader that knows where in an epoch its reader stands."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from thalweg.errors import DataError
from thalweg.objective.examples import repeatable
from thalweg.objective.private import private_batches
from thalweg.objective.random_state import RandomState

__all__ = ["Epochs"]


class Epochs:
    """The user's loader, of which a fork made in the middle of an epoch can go on to the bit.

        epochs = tw.Epochs(loader)
        for batch in epochs:
            ...  # a step
            tw.race(tw.Task(train=epochs, ...))  # goes on with the batches that are left

    It gives what the loader gives. Where each epoch begins it keeps the random states and the
    loader's generators; a fork draws the epoch again from them, passes over the batches that were
    given, and goes on from the present random states. A sampler that draws from the global random
    state batch by batch, and the random states of persistent workers, cannot be brought back.

    Args:
        loader: a DataLoader, or batches that can be iterated more than once.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        if not isinstance(loader, Iterable):
            raise DataError(f"loader must give batches, not {type(loader).__name__}")
        self.loader = repeatable(loader, "loader")
        self.given = 0
        self._begun: tuple[Any, RandomState] | None = None

    def __iter__(self) -> Iterator[Any]:
        begun = self._begun = private_batches(self.loader, None), RandomState.now()
        self.given = 0
        try:
            for batch in self.loader:
                if self._begun is begun:
                    self.given += 1
                yield batch
        finally:
            if self._begun is begun:
                self._begun = None

    def __len__(self) -> int:
        return len(self.loader)  # pyright: ignore[reportArgumentType]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)

    def rest(self) -> tuple[Any, Iterator[Any]] | None:
        """A twin of the loader and its iterator over what is left of the epoch under way, if any.

        It takes the global random states as it leaves them: those it found.
        """
        if self._begun is None:
            return None
        loader, state = self._begun
        now = RandomState.now()
        twin = private_batches(loader, None) if isinstance(loader, DataLoader) else loader
        state.restore()
        try:
            iterator = iter(twin)
            for _ in range(self.given):
                next(iterator)
        finally:
            now.restore()
        return twin, iterator
