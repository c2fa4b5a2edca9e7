"""A short text that differs where two states of training differ."""

import functools
import hashlib
import random
import struct
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten
from torch.utils.data import DataLoader, Dataset, Sampler

from thalweg.diagnose.examination import Examination
from thalweg.objective.random_state import RandomState

__all__ = ["fingerprint", "of_other_states", "of_training"]

LARGE = 2**28
"""Bytes above which rows of an array, evenly spread, stand for all of it."""

LOOKED_INTO = (nn.Module, torch.optim.lr_scheduler.LRScheduler, DataLoader, Sampler, Dataset)
"""Objects whose attributes count; of others their class alone."""

VALUES = (tuple, frozenset, CodeType)
"""What an interpreter may or may not make once for equal values, so that being the same says nothing."""


def of_training(e: Examination) -> str:
    """Of all that decides how a fork of the user's training goes on, as far as it can be read.

    Weights, buffers, modes and settings of the modules; the optimizer and the schedule with their
    states; the data, how they are sampled, the examples measured on; the batch size; the loss where it
    stands and the code of loss and model; torch's random state, that the first seed starts from. What
    a function of the user's calls, or an object of a class of its own keeps, is not seen.
    """
    task, now = e.task, RandomState.now()
    data = tree_flatten(e.objective.data.fetch(slice(0, e.objective.data.length)))[0]
    held_out = [] if e.test is None else tree_flatten(e.test.fetch(slice(0, len(e.test))))[0]
    return fingerprint(
        [
            torch.__version__,
            task.model,
            [(p.requires_grad, p.dtype) for p in task.model.parameters()],
            (task.loss, task.batch_loss, task.step),
            {name: _state(part) for name, part in task.parts.items()},
            None if task.epochs is None else task.epochs.given,
            task.optimizer,
            task.optimizer.state_dict(),
            task.schedule,
            {} if task.schedule is None else task.schedule.state_dict(),
            (e.batch_size, e.population, task.batch_size, e.objective.value(e.point)),
            data,
            held_out,
            task.train,
            (now.torch, now.cuda),
        ]
    )


def _state(part: Any) -> Any:
    state = getattr(part, "state_dict", None)
    return (part, state()) if callable(state) else part


def of_other_states(now: RandomState) -> str:
    """Of NumPy's and Python's random states, from which few trainings draw."""
    return fingerprint([now.numpy, now.python])


def fingerprint(what: Any) -> str:
    """Of plain data, tensors, generators and functions, and of what modules and loaders are made of."""
    digest = hashlib.sha256()
    for piece in _pieces(what, {}):
        digest.update(struct.pack("<Q", len(piece)))
        digest.update(piece)
    return digest.hexdigest()[:16]


def _pieces(what: Any, seen: dict[int, tuple[int, Any]]) -> Iterator[bytes]:
    """The bytes of ``what``; ``seen`` holds what was met before, and keeps it, by its id."""
    if what is None or isinstance(what, str | bytes | bool | int | float | complex | torch.dtype):
        yield f"{type(what).__name__} {what!r}".encode()
        return
    if isinstance(what, frozenset | set):
        yield from [b"set", *sorted(fingerprint(value).encode() for value in what), b"end"]
        return
    if id(what) in seen:
        yield f"seen {seen[id(what)][0]}".encode()
        return
    if not isinstance(what, VALUES):
        seen[id(what)] = len(seen), what
    if isinstance(what, Tensor | np.ndarray):
        yield from _array(what)
        return
    name, parts = _parts(what)
    yield name.encode()
    for part in parts:
        yield from _pieces(part, seen)
    yield b"end"


def _array(what: Tensor | np.ndarray) -> Iterator[bytes]:
    yield f"{what.dtype}{tuple(what.shape)}".encode()
    stride = -(-what.nbytes // LARGE)
    if isinstance(what, np.ndarray):
        some = what[::stride] if stride > 1 else what
        if some.dtype.hasobject:  # whose bytes are addresses
            yield from _pieces(some.tolist(), {})
        else:
            yield some.tobytes()
    else:
        dense = what.detach() if what.layout is torch.strided else what.detach().to_dense()
        flat = (dense[::stride] if stride > 1 else dense).cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().tobytes()


def _parts(what: Any) -> tuple[str, list[Any]]:
    """What kind of thing it is, and what of it counts."""
    kind = f"{type(what).__module__}.{type(what).__qualname__}"
    if isinstance(what, Mapping):
        return "mapping", [part for pair in what.items() for part in pair]
    if isinstance(what, list | tuple):
        return "sequence", list(what)
    if isinstance(what, torch.Generator):
        return kind, [what.get_state()]
    if isinstance(what, np.random.Generator):
        return kind, [what.bit_generator.state]
    if isinstance(what, np.random.RandomState | random.Random):
        state = what.getstate() if isinstance(what, random.Random) else what.get_state()
        return kind, [state]
    if isinstance(what, functools.partial):
        return kind, [what.func, what.args, what.keywords]
    if isinstance(what, MethodType):
        return kind, [what.__func__, what.__self__]
    if isinstance(what, FunctionType):
        return kind, [what.__code__, what.__defaults__, what.__kwdefaults__, _closure(what)]
    if isinstance(what, CodeType):
        return kind, [what.co_code, what.co_names, list(what.co_consts)]
    if isinstance(what, LOOKED_INTO):
        return kind, _attributes(what)
    return kind, []


def _attributes(what: Any) -> list[Any]:
    own: list[Any] = [type(what).forward] if isinstance(what, nn.Module) else []
    for name, value in vars(what).items():
        if name.endswith("_hooks"):  # numbered through all modules
            own += list(value.values())
        elif not name.endswith(("_iterator", "_len_called")) and "_hooks_" not in name:
            own += [name, value]
    return own


def _closure(function: FunctionType) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not bound yet
            found.append(None)
    return found
