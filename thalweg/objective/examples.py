"""The examples of a loss, however the user keeps them: tensors, a Dataset, a DataLoader."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from thalweg.errors import DataError
from thalweg.objective.private import private_dataset, private_loader
from thalweg.objective.random_state import random_state, seed_all

__all__ = ["Examples", "batch_length", "is_stack", "repeatable"]


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

        What can only be iterated is read once, up to ``most`` examples, and kept. Of a loader whose
        sampler picks or repeats examples, those of one epoch are taken. Datasets that draw (to
        augment, say) draw the same for the same example every time; nobody else's random state
        moves.

        Raises:
            DataError: empty data, inputs and targets of different length, or an iterator, which would
                be used up.
        """
        if isinstance(data, Examples):
            return data
        if isinstance(data, DataLoader):
            dataset = data.dataset
            if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
                return cls._of_batches(private_loader(data), name, most)
            if data.batch_sampler is None:  # it gives its items as they are
                return cls._of_batches(private_loader(data), name, most)
            return cls._of_dataset(dataset, data.collate_fn, name, _drawn(data, most))
        if is_stack(data):
            return cls._of_tensors(tree_map(lambda leaf: _tensor(leaf, name), data), name)
        if isinstance(data, IterableDataset):
            return cls._of_batches(DataLoader(private_dataset(data), batch_size=256), name, most)
        if isinstance(data, Dataset):
            return cls._of_dataset(data, default_collate, name)
        if isinstance(data, Iterable):
            return cls._of_batches(repeatable(data, name), name, most)
        raise DataError(
            f"{name} must be (inputs, targets) tensors, a Dataset or a DataLoader, "
            f"not {type(data).__name__}"
        )

    @classmethod
    def _of_tensors(cls, data: Any, name: str) -> "Examples":
        data = tuple(data) if isinstance(data, list) else _plain(data)
        arrays = [leaf for leaf in tree_flatten(data)[0] if isinstance(leaf, Tensor | np.ndarray)]
        if any(leaf.ndim == 0 for leaf in arrays):
            raise DataError(
                f"{name} must have one entry for each example, but holds a single number"
            )
        lengths = [len(leaf) for leaf in arrays]
        if not lengths or min(lengths) == 0:
            raise DataError(f"{name} must have at least one example, but is empty")
        if len(set(lengths)) > 1:
            raise DataError(
                f"{name} must have as many targets as inputs, but has lengths "
                + " and ".join(map(str, lengths))
            )

        return cls(lengths[0], lengths[0], partial(_fetch, data), data)

    @classmethod
    def _of_dataset(
        cls,
        dataset: Any,
        collate: Callable[..., Any],
        name: str,
        which: Sequence[int] | None = None,
    ) -> "Examples":
        which = range(len(dataset)) if which is None else which
        length = len(which)
        if length == 0:
            raise DataError(f"{name} must have at least one example, but is empty")
        twin = private_dataset(dataset)

        def fetch(indices: Sequence[int] | slice) -> Any:
            chosen = range(length)[indices] if isinstance(indices, slice) else indices
            items = []
            with random_state(0):
                for i in chosen:  # what is drawn for an example does not depend on the others
                    seed_all(int(i))
                    items.append(twin[which[int(i)]])
                return collate(items)

        return cls(length, length, fetch)

    @classmethod
    def _of_batches(cls, batches: Iterable[Any], name: str, most: int) -> "Examples":
        kept: list[Any] = []
        total = 0
        with random_state(0):
            for batch in batches:
                kept.append(_plain(batch))
                total += batch_length(batch)
                if total >= most:
                    break
        if not total:
            raise DataError(f"{name} must have at least one example, but is empty")
        try:
            joined = _joined(kept)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise DataError(
                f"{name} must give batches whose examples have one shape, but they cannot be joined: "
                f"{reason}"
            ) from error
        return cls._of_tensors(joined, name)

    def __len__(self) -> int:
        return self.length

    def subsample(self, size: int, generator: torch.Generator, *, skip: int = 0) -> "Examples":
        """``size`` examples drawn without replacement and kept in memory; all of them if fewer.

        ``skip`` passes over the first so many of the draw: another sample, without any of the first.
        """
        size = min(size, self.length - skip)
        if size >= self.length:
            chosen: Sequence[int] | slice = slice(None)
            if self.tensors is not None:
                return self
        else:
            drawn = torch.randperm(self.length, generator=generator)[skip : skip + size]
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

    def chunks(self, size: int, *, least: int = 1) -> Iterator[tuple[Any, int]]:
        """All examples in order, in batches of at most ``size``: pairs of batch and its length.

        A last batch of fewer than ``least`` joins the one before.
        """
        begin = 0
        while begin < self.length:
            end = min(begin + size, self.length)
            if self.length - end < least:
                end = self.length
            yield self.fetch(slice(begin, end)), end - begin
            begin = end


def _fetch(data: Any, indices: Sequence[int] | slice) -> Any:
    """Rows of tensors; not a closure, so that examples can be sent to another process."""
    if not isinstance(indices, slice):
        indices = torch.as_tensor(indices, dtype=torch.long)  # pyright: ignore[reportAssignmentType]
    return tree_map(lambda leaf: _rows(leaf, indices), data)


def _rows(leaf: Any, indices: Sequence[int] | slice) -> Any:
    if isinstance(leaf, np.ndarray):
        return leaf[indices].copy()
    if not isinstance(leaf, Tensor):
        return leaf
    # A copy, as a model may write to its inputs; picked rows are one already.
    return leaf[indices].clone() if isinstance(indices, slice) else leaf[indices]


def batch_length(batch: Any) -> int:
    """Number of examples in a batch: the length of its first tensor."""
    for leaf in tree_flatten(_plain(batch))[0]:
        if isinstance(leaf, Tensor | np.ndarray) and leaf.ndim:
            return len(leaf)
    raise DataError("a batch must hold at least one tensor whose first axis counts the examples")


def is_stack(data: Any) -> bool:
    """Whether ``data`` is one stack of examples, not a list of batches."""
    array = Tensor | np.ndarray | Mapping
    if isinstance(data, list):
        stack = all(isinstance(part, array) for part in data)
        return stack and any(isinstance(part, Tensor | np.ndarray) for part in data)
    if isinstance(data, tuple):
        return len(data) > 0 and all(isinstance(part, array) or is_stack(part) for part in data)
    return isinstance(data, array)


def repeatable(data: Iterable[Any], name: str) -> Iterable[Any]:
    """``data``, which must give its batches each time it is asked."""
    if isinstance(data, Iterator):
        raise DataError(
            f"{name} must give its batches more than once, but is an iterator, which ends for good: "
            "pass a list, a Dataset or a DataLoader"
        )
    return data


def _drawn(loader: DataLoader[Any], most: int) -> Sequence[int] | None:
    """Which examples a sampler of the user's gives in an epoch; None for all of them."""
    plain = (SequentialSampler, RandomSampler)
    batches = loader.batch_sampler
    if type(batches) is BatchSampler and type(batches.sampler) in plain:
        return None
    twin = private_loader(loader)
    with random_state(0):
        if type(batches) is BatchSampler:
            source: Iterable[Any] = twin.batch_sampler.sampler  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
        else:
            source = chain.from_iterable(twin.batch_sampler)  # pyright: ignore[reportArgumentType]
        return sorted(int(i) for i in islice(source, most))


def _plain(data: Any) -> Any:
    """A mapping of a class of its own as a dict, into which torch can look."""
    if isinstance(data, Mapping) and not isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    return data


def _tensor(leaf: Any, name: str) -> Any:
    if not isinstance(leaf, np.ndarray):
        return leaf
    try:
        return torch.from_numpy(np.require(leaf, requirements=["C", "W"]))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must hold numbers, but has an array of {leaf.dtype}") from error


def _joined(batches: list[Any]) -> Any:
    first = batches[0]
    if isinstance(first, Tensor):
        return torch.cat(batches)
    if isinstance(first, np.ndarray):
        return np.concatenate(batches)
    if isinstance(first, Mapping):
        return {key: _joined([batch[key] for batch in batches]) for key in first}
    if isinstance(first, tuple | list):
        return tuple(_joined(list(parts)) for parts in zip(*batches, strict=True))
    return first
