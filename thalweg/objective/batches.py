"""The training batches of a user's data, in the order in which the user's own loop has them."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler

from thalweg.errors import DataError
from thalweg.objective.examples import Examples, is_stack, repeatable

__all__ = ["as_batches", "resized"]


def as_batches(data: Any, batch_size: int | None, *, name: str = "train") -> Iterable[Any]:
    """The training batches of the user's data: a DataLoader as it is, a shuffled one for the rest.

    Tensors and datasets are given in the very order of ``DataLoader(TensorDataset(x, y),
    batch_size, shuffle=True)`` under the global random state, but tensors are indexed a batch at a
    time, which is many times faster. All of them at once are given in their own order, and draw
    nothing: the plain loop over ``model(x)``.

    Raises:
        DataError: a batch larger than the data.
    """
    if isinstance(data, DataLoader):
        return data
    if isinstance(data, IterableDataset):
        if batch_size is None:
            raise DataError(f"batch_size must be given where {name} can only be iterated")
        return DataLoader(data, batch_size=int(batch_size))
    if isinstance(data, Dataset):
        length = len(data)  # pyright: ignore[reportArgumentType]
        size = _size(batch_size, length, name)
        return DataLoader(data, batch_size=size, shuffle=size < length)
    if not is_stack(data):
        return repeatable(data, name)
    return _shuffled(Examples.of(data, name=name), batch_size, name)


def resized(data: Any, batch_size: int | None, *, name: str = "train") -> Iterable[Any]:
    """The same examples in batches of another size, picked as the user's sampler picks them.

    Where batches come ready made, their examples are shuffled.
    """
    if isinstance(data, IterableDataset) or is_stack(data):
        return as_batches(data, batch_size, name=name)
    if isinstance(data, DataLoader) and isinstance(data.dataset, IterableDataset):
        return DataLoader(data.dataset, batch_size=batch_size, collate_fn=data.collate_fn)
    if isinstance(data, DataLoader) and type(data.batch_sampler) is BatchSampler:
        sampler: Any = data.batch_sampler.sampler
        return DataLoader(
            data.dataset,
            batch_size=_size(batch_size, len(sampler), name),
            sampler=sampler,
            collate_fn=data.collate_fn,
            drop_last=data.drop_last,
            generator=data.generator,
        )
    if isinstance(data, Dataset):
        return as_batches(data, batch_size, name=name)
    return _shuffled(Examples.of(data, name=name), batch_size, name)


def _shuffled(examples: Examples, batch_size: int | None, name: str) -> Iterable[Any]:
    size = _size(batch_size, len(examples), name)
    if size == len(examples):
        return _AllAtOnce(examples)
    order = RandomSampler(range(len(examples)))  # pyright: ignore[reportArgumentType]
    return DataLoader(
        _Rows(examples), batch_size=None, sampler=BatchSampler(order, size, drop_last=False)
    )


class _AllAtOnce:
    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __iter__(self) -> Iterator[Any]:
        yield self.examples.fetch(slice(None))


class _Rows(Dataset[Any]):
    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitem__(self, index: Any) -> Any:
        return self.examples.fetch(index)

    def __len__(self) -> int:
        return len(self.examples)


def _size(batch_size: int | None, length: int, name: str) -> int:
    if batch_size is not None and batch_size > length:
        raise DataError(
            f"batch_size must not exceed the {length} examples of {name}, but is {batch_size}"
        )
    return length if batch_size is None else int(batch_size)
