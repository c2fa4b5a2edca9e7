"""The examples of a loss, however the user keeps them: tensors, a Dataset, a DataLoader."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from thalweg.errors import DataError

__all__ = ["Examples", "as_batches", "batch_length"]


@dataclass(frozen=True, eq=False)
class Examples:
    """A fixed, ordered set of examples from which any can be asked for.

    Attributes:
        length: how many there are.
        population: how many the user has: larger than ``length`` for a subsample.
        fetch: the batch of the given indices, in the form in which the user's loader gives it.
    """

    length: int
    population: int
    fetch: Callable[[Sequence[int] | slice], Any]
    tensors: Any = None

    @classmethod
    def of(cls, data: Any, *, name: str = "train", most: int = 65_536) -> "Examples":
        """Examples of tensors, a Dataset or a DataLoader.

        What can only be iterated is read once, up to ``most`` examples, and kept.

        Raises:
            DataError: empty data, or inputs and targets of different length.
        """
        if isinstance(data, Examples):
            return data
        if isinstance(data, DataLoader):
            if not isinstance(data.dataset, IterableDataset) and hasattr(data.dataset, "__len__"):
                return cls._of_dataset(data.dataset, data.collate_fn, name)
            return cls._of_batches(data, name, most)
        if _is_tensors(data):
            return cls._of_tensors(data, name)
        if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
            return cls._of_dataset(data, default_collate, name)
        if isinstance(data, Iterable):
            return cls._of_batches(data, name, most)
        raise DataError(
            f"{name} must be (inputs, targets) tensors, a Dataset or a DataLoader, "
            f"not {type(data).__name__}"
        )

    @classmethod
    def _of_tensors(cls, data: Any, name: str) -> "Examples":
        data = tree_map(_tensor, data)
        leaves = [leaf for leaf in tree_flatten(data)[0] if isinstance(leaf, Tensor)]
        lengths = [len(leaf) if leaf.ndim else 0 for leaf in leaves]
        if not lengths or min(lengths) == 0:
            raise DataError(f"{name} must have at least one example, but is empty")
        if len(set(lengths)) > 1:
            raise DataError(
                f"{name} must have as many targets as inputs, but has lengths "
                + " and ".join(map(str, lengths))
            )
        if isinstance(data, list):
            data = tuple(data)

        def fetch(indices: Sequence[int] | slice) -> Any:
            if not isinstance(indices, slice):
                indices = torch.as_tensor(indices)  # pyright: ignore[reportAssignmentType]
            return tree_map(lambda leaf: leaf[indices] if isinstance(leaf, Tensor) else leaf, data)

        return cls(lengths[0], lengths[0], fetch, data)

    @classmethod
    def _of_dataset(cls, dataset: Any, collate: Callable[..., Any], name: str) -> "Examples":
        length = len(dataset)
        if length == 0:
            raise DataError(f"{name} must have at least one example, but is empty")

        def fetch(indices: Sequence[int] | slice) -> Any:
            chosen = range(length)[indices] if isinstance(indices, slice) else indices
            return collate([dataset[int(i)] for i in chosen])

        return cls(length, length, fetch)

    @classmethod
    def _of_batches(cls, batches: Iterable[Any], name: str, most: int) -> "Examples":
        kept: list[Any] = []
        total = 0
        for batch in batches:
            kept.append(batch)
            total += batch_length(batch)
            if total >= most:
                break
        if not total:
            raise DataError(f"{name} must have at least one example, but is empty")
        return cls._of_tensors(_joined(kept), name)

    def __len__(self) -> int:
        return self.length

    def subsample(self, size: int, generator: torch.Generator) -> "Examples":
        """``size`` examples drawn without replacement and kept in memory; all of them if fewer."""
        if size >= self.length:
            chosen: Sequence[int] | slice = slice(None)
            if self.tensors is not None:
                return self
        else:
            drawn = torch.randperm(self.length, generator=generator)[:size]
            chosen = drawn.sort().values.tolist()
        batch = self.fetch(chosen)
        leaves = [leaf for leaf in tree_flatten(batch)[0] if isinstance(leaf, Tensor)]
        length = min(size, self.length)
        if not leaves or any(leaf.ndim == 0 or len(leaf) != length for leaf in leaves):
            # A batch that is no stack of examples (a graph, packed sequences) cannot be cut again.
            indices = list(range(self.length))[chosen] if isinstance(chosen, slice) else chosen
            return Examples(
                length,
                self.population,
                lambda wanted: self.fetch(
                    indices[wanted] if isinstance(wanted, slice) else [indices[i] for i in wanted]
                ),
            )
        kept = Examples._of_tensors(batch, "the subsample")
        return Examples(kept.length, self.population, kept.fetch, kept.tensors)

    def chunks(self, size: int) -> Iterator[tuple[Any, int]]:
        """All examples in order, in batches of at most ``size``: pairs of batch and its length."""
        for begin in range(0, self.length, size):
            end = min(begin + size, self.length)
            yield self.fetch(slice(begin, end)), end - begin


def as_batches(data: Any, batch_size: int | None, *, name: str = "train") -> Iterable[Any]:
    """The training batches of the user's data: a DataLoader as it is, a shuffled one for the rest.

    Tensors and datasets are given in the very order of ``DataLoader(TensorDataset(x, y),
    batch_size, shuffle=True)`` under the global random state, but tensors are indexed a batch at a
    time, which is many times faster.

    Raises:
        DataError: a batch larger than the data.
    """
    if isinstance(data, DataLoader):
        return data
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        length = len(data)  # pyright: ignore[reportArgumentType]
        size = _size(batch_size, length, name)
        return DataLoader(data, batch_size=size, shuffle=size < length)
    if not _is_tensors(data):
        return data
    examples = Examples.of(data, name=name)
    size = _size(batch_size, len(examples), name)
    if size == len(examples):
        return DataLoader(_Rows(examples), batch_size=None, sampler=[slice(None)])  # pyright: ignore[reportArgumentType]
    order = torch.utils.data.RandomSampler(range(len(examples)))  # pyright: ignore[reportArgumentType]
    return DataLoader(
        _Rows(examples),
        batch_size=None,
        sampler=torch.utils.data.BatchSampler(order, size, drop_last=False),
    )


class _Rows(Dataset[Any]):
    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitem__(self, index: Any) -> Any:
        return self.examples.fetch(index)

    def __len__(self) -> int:
        return len(self.examples)


def batch_length(batch: Any) -> int:
    """Number of examples in a batch: the length of its first tensor."""
    for leaf in tree_flatten(batch)[0]:
        if isinstance(leaf, Tensor) and leaf.ndim:
            return len(leaf)
    raise DataError("a batch must hold at least one tensor whose first axis counts the examples")


def _size(batch_size: int | None, length: int, name: str) -> int:
    if batch_size is not None and batch_size > length:
        raise DataError(
            f"batch_size must not exceed the {length} examples of {name}, but is {batch_size}"
        )
    return length if batch_size is None else batch_size


def _is_tensors(data: Any) -> bool:
    """Whether ``data`` is one stack of examples, not a list of batches."""
    array = Tensor | np.ndarray | Mapping
    if isinstance(data, list):
        return len(data) > 0 and all(isinstance(part, array) for part in data)
    if isinstance(data, tuple):
        return len(data) > 0 and all(isinstance(part, array) or _is_tensors(part) for part in data)
    return isinstance(data, array)


def _tensor(leaf: Any) -> Any:
    return torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf


def _joined(batches: list[Any]) -> Any:
    first = batches[0]
    if isinstance(first, Tensor):
        return torch.cat(batches)
    if isinstance(first, Mapping):
        return {key: _joined([batch[key] for batch in batches]) for key in first}
    if isinstance(first, tuple | list):
        return tuple(_joined(list(parts)) for parts in zip(*batches, strict=True))
    return first
