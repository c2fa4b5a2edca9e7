"""A short text that differs where two states of training differ."""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.data import DataLoader

from thalweg.diagnose.examination import Examination
from thalweg.objective.random_state import RandomState

__all__ = ["fingerprint", "of_training"]


def of_training(e: Examination) -> str:
    """Of all that decides how a fork of the user's training goes on, as far as it can be read.

    Weights, buffers and modes, the optimizer and the schedule with their states, the examples that
    are measured on and their number, the batch size, the loss where it stands, and the random states
    that the first seed starts from. What a loss or a model computes is not seen, but for that value.
    """
    task = e.task
    data = tree_flatten(e.objective.data.fetch(slice(0, e.objective.data.length)))[0]
    held_out = [] if e.test is None else tree_flatten(e.test.fetch(slice(0, len(e.test))))[0]
    parts = [
        task.model.state_dict(),
        [(p.requires_grad, p.dtype) for p in task.model.parameters()],
        [m.training for m in task.model.modules()],
        task.optimizer,
        task.optimizer.state_dict(),
        task.schedule,
        {} if task.schedule is None else task.schedule.state_dict(),
        (e.batch_size, e.population, task.batch_size, e.objective.value(e.point)),
        data,
        held_out,
        vars(RandomState.now()),
        _generators(task.train),
    ]
    return fingerprint(parts)


def fingerprint(what: Any) -> str:
    """Of plain data and tensors; of any other object its class alone."""
    digest = hashlib.sha256()
    for piece in _pieces(what):
        digest.update(struct.pack("<Q", len(piece)))
        digest.update(piece)
    return digest.hexdigest()[:16]


def _pieces(what: Any) -> Iterable[bytes]:
    if isinstance(what, Tensor):
        dense = what.detach().to_dense() if what.layout is not torch.strided else what.detach()
        yield f"{dense.dtype}{tuple(dense.shape)}".encode()
        yield dense.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(what, np.ndarray):
        yield f"{what.dtype}{what.shape}".encode()
        yield what.tobytes()
    elif isinstance(what, Mapping):
        yield b"mapping"
        for key, value in what.items():
            yield from _pieces(key)
            yield from _pieces(value)
        yield b"end"
    elif isinstance(what, list | tuple):
        yield b"sequence"
        for value in what:
            yield from _pieces(value)
        yield b"end"
    elif what is None or isinstance(what, str | bytes | bool | int | float | torch.dtype):
        yield f"{type(what).__name__} {what!r}".encode()
    else:
        yield f"{type(what).__module__}.{type(what).__qualname__}".encode()


def _generators(train: Any) -> list[Tensor]:
    """States of the generators that a loader of the user's draws from."""
    if not isinstance(train, DataLoader):
        return []
    holders = (train, train.sampler, getattr(train.batch_sampler, "sampler", None))
    found = [getattr(holder, "generator", None) for holder in holders]
    return [g.get_state() for g in found if isinstance(g, torch.Generator)]
