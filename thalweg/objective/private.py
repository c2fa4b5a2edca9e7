"""Twins of a user's loaders and datasets, so that reading them changes nothing of the user's."""

import copy
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset

__all__ = ["private_batches", "private_dataset", "private_loader"]


def private_batches(batches: Any, seed: int | None) -> Any:
    """Batches whose generators and tensors are not the user's."""
    if isinstance(batches, DataLoader):
        return private_loader(batches, seed)
    return _Copies(batches)


class _Copies:
    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            yield tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, batch)


def private_loader(loader: DataLoader[Any], seed: int | None = None) -> DataLoader[Any]:
    """A loader that gives what the user's would give next, from generators of its own.

    Sampler and generators are copied with their state; examples, collate function and what workers
    need are shared. A loader whose sampler cannot be copied is given as it is.

    Args:
        seed: of the generators, in place of their state.
    """
    memo: dict[int, Any] = {}
    shared = (loader.collate_fn, loader.worker_init_fn, loader.multiprocessing_context)
    memo |= {id(one): one for one in shared if one is not None}
    running = getattr(loader, "_iterator", None)
    if running is not None:  # of persistent workers
        memo[id(running)] = None
    twin_of_dataset = private_dataset(loader.dataset, seed, memo)
    memo[id(loader.dataset)] = twin_of_dataset
    samplers = (
        loader.sampler,
        loader.batch_sampler,
        getattr(loader.batch_sampler, "sampler", None),
    )
    for holder in (loader, *samplers):
        for value in vars(holder).values() if hasattr(holder, "__dict__") else ():
            _own(value, seed, memo)
    try:
        twin = copy.deepcopy(loader, memo)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError):
        return loader
    if running is not None:
        twin.generator = _of_new_workers(running, seed)
    return twin


def _of_new_workers(running: Any, seed: int | None) -> torch.Generator:
    """What the seed of the twin's workers is drawn from.

    Workers that persist are seeded once: the user's loader draws no seed for its next epoch, so that
    the twin, whose workers are new, must draw one from nothing that the order of the data comes from.
    """
    base = getattr(running, "_base_seed", 0) if seed is None else seed
    return torch.Generator().manual_seed(int(base))


def private_dataset(
    dataset: Any, seed: int | None = None, memo: dict[int, Any] | None = None
) -> Any:
    """The same examples, with copies of the generators that the dataset draws from."""
    memo = {} if memo is None else memo
    if id(dataset) in memo:
        return memo[id(dataset)]
    if not isinstance(dataset, Dataset) or not hasattr(dataset, "__dict__"):
        return dataset
    try:
        twin = copy.copy(dataset)
        memo[id(dataset)] = twin
        for name, value in vars(dataset).items():
            if isinstance(value, Dataset):
                vars(twin)[name] = private_dataset(value, seed, memo)
            elif isinstance(value, list) and any(isinstance(v, Dataset) for v in value):
                vars(twin)[name] = [private_dataset(v, seed, memo) for v in value]
            else:
                vars(twin)[name] = _own(value, seed, memo)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError):
        memo[id(dataset)] = dataset
        return dataset
    return twin


def _own(value: Any, seed: int | None, memo: dict[int, Any]) -> Any:
    """A twin of a generator; anything else as it is."""
    kinds = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
    if not isinstance(value, kinds) or id(value) in memo:
        return memo.get(id(value), value)
    if isinstance(value, torch.Generator):
        twin = torch.Generator(value.device)
        twin.set_state(value.get_state())
        if seed is not None:
            twin.manual_seed(seed)
    elif seed is None:
        twin = copy.deepcopy(value)
    elif isinstance(value, np.random.Generator):
        twin = np.random.default_rng(seed % 2**32)
    else:
        twin = type(value)(seed % 2**32)
    memo[id(value)] = twin
    return twin
