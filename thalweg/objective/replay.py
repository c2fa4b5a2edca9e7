"""A linear map recorded operation by operation, then replayed without autograd.

A Hessian-vector product by reverse-over-reverse differentiation runs the same operations for every
vector. Recorded once, they are repeated without the engine, without the sums with zeros that it
makes, and with products of matrices that add to what is there already.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from thalweg.objective.program import Step
from thalweg.objective.simplify import simplified

__all__ = ["HOLES", "Replay", "record", "replayable"]

HOLES = 2.0
"""Memory that a kept graph takes at its peak, in units of itself: what is made on the way, and the holes
that it leaves."""

ATEN = torch.ops.aten

APART = {
    getattr(getattr(ATEN, f"{name}_"), kind): getattr(getattr(ATEN, name), kind)
    for name in ("add", "sub", "mul", "div")
    for kind in ("Tensor", "Scalar")
}
"""Operations in place, as the engine uses them, and the same with a result of its own."""

UNTRUSTED = {
    torch.Tag.nondeterministic_seeded,
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
}


def record(function: Callable[[Tensor], Tensor], vector: Tensor) -> tuple[Tensor, "Replay | None"]:
    """``function(vector)``, and the function as a Replay.

    The function must be linear, and do for every vector what it does for this one. The Replay is
    None where an operation tells that it may not: one that is random, that makes a number or a
    shape of what is in a tensor, or that writes to what the next replay would read.
    """
    with _Recorder(vector) as recorder:
        result = function(vector)
    place = recorder.place(result)
    if recorder.refused or place is None:
        return result, None
    steps = recorder.steps
    values = [v.detach() if isinstance(v, Tensor) else v for v in recorder.values]
    if not recorder.writes:
        steps, place = simplified(steps, values, place)
    return result, Replay(steps, values, place)


def replayable(roots: Iterable[Tensor]) -> bool:
    """Whether the graphs of these tensors hold nothing but torch's own operations.

    What an autograd function written in Python does may be hidden from a recording.
    """
    waiting: list[Any] = [root.grad_fn for root in roots]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, torch._C._FunctionBase):
            return False
        seen.add(node)
        waiting.extend(following for following, _ in node.next_functions)
    return True


class Replay:
    """A recorded linear map: call it with a vector.

    It holds the constants that its operations need, and nothing of the graph they came from.

    Args:
        steps: the operations.
        values: what they work on: the constants, and None where something will be put; the vector
            has the first place.
        result: the place of the result.
    """

    def __init__(self, steps: list[Step], values: list[Any], result: int) -> None:
        last: dict[int, int] = {}
        for position, step in enumerate(steps):
            last.update((slot, position) for slot in (*step.reads(), *step.results))
        ends: dict[int, list[int]] = {}
        for slot, position in last.items():
            if values[slot] is None and slot != result:
                ends.setdefault(position, []).append(slot)
        self._steps: list[tuple[Any, Any, Any, tuple[int, ...]]] = [
            (
                partial(step.function, **step.options) if step.options else step.function,
                _getter(step.arguments),
                step.results if step.many else step.results[0],
                tuple(ends.get(position, ())),
            )
            for position, step in enumerate(steps)
        ]
        self._values: list[Any] = [v if slot in last else None for slot, v in enumerate(values)]
        self._result = result
        self._constants = [value for value in self._values if isinstance(value, Tensor)]
        self._versions = [constant._version for constant in self._constants]

    def __call__(self, vector: Tensor) -> Tensor:
        """The map's value at a vector of the shape and dtype that was recorded."""
        if [constant._version for constant in self._constants] != self._versions:
            raise RuntimeError("a tensor that the product needs was modified in place")
        values = self._values.copy()
        values[0] = vector
        with torch.no_grad():
            for function, arguments, target, ends in self._steps:
                result = function(*arguments(values))
                if type(target) is int:
                    values[target] = result
                else:
                    for slot, part in zip(target, result, strict=True):
                        values[slot] = part
                for slot in ends:
                    values[slot] = None
        return values[self._result]


class _Recorder(TorchDispatchMode):
    """Notes every operation that depends on the vector, and lets go of what it made.

    Attributes:
        steps: the operations.
        values: the constants that they read, and None where something will be put.
        refused: whether an operation told that a replay cannot be relied on.
        writes: whether one writes to what another made.
    """

    def __init__(self, vector: Tensor) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.values: list[Any] = [None]
        self.refused = self.writes = False
        self._live = WeakIdKeyDictionary({vector: 0})
        """The place of each tensor that depends on the vector and that something still holds."""
        self._shared: set[int] = set()
        """Storages of what depends on the vector that more than one tensor may have read."""
        self._constants: dict[int, int] = {}  # places by identity, which the values keep alive
        self._made: dict[int, Tensor] = {}  # constants, by storage; held, or it would be given away
        self._read: set[int] = set()

    def place(self, tensor: Tensor) -> int | None:
        """Of a tensor that depends on the vector."""
        return self._live.get(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self.refused:
            return out
        dependent = any(tensor in self._live for tensor in _tensors((*args, *kwargs.values())))
        if func in APART and self._alone(args[0]):
            func = APART[func]
        elif func._schema.is_mutable:
            for tensor in _written(func, args, kwargs):
                self._write(tensor, dependent)
        if dependent:
            self._note(func, args, kwargs, out)
        elif not any(returned.alias_info for returned in func._schema.returns):
            self._made.update((_storage(tensor), tensor) for tensor in _tensors((out,)))
        return out

    def _alone(self, tensor: Tensor) -> bool:
        """Whether it depends on the vector, and no other tensor shares its memory."""
        if tensor not in self._live:
            return False
        storage = _storage(tensor)
        return storage not in self._shared or sum(_storage(t) == storage for t in self._live) == 1

    def _write(self, tensor: Tensor, dependent: bool) -> None:
        """Refuse where a replay would not begin with what this one began with."""
        if tensor in self._live:
            self.writes = True
            return
        storage = _storage(tensor)
        if dependent or storage not in self._made or storage in self._read:
            self.refused = True

    def _note(self, func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        many = isinstance(out, list | tuple)
        parts = out if many else (out,)
        results = [part for part in parts if part is not None]
        if (
            not UNTRUSTED.isdisjoint(func.tags)
            or any(tensor in self._live for tensor in _tensors(kwargs.values()))
            or not all(type(t) is Tensor and t.layout == torch.strided for t in results)
        ):
            self.refused = True
            return
        arguments = [self._argument(argument) for argument in args]
        places = [self._new(None) for _ in parts]
        given = set(map(_storage, _tensors(args)))
        for storage in map(_storage, results):
            (self._shared.add if storage in given else self._shared.discard)(storage)
        self._live.update((t, place) for t, place in zip(parts, places) if isinstance(t, Tensor))
        like = None if many else (out.shape, out.dtype)
        self.steps.append(Step(func, arguments, kwargs, places, many, like))

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, list | tuple) and any(isinstance(a, Tensor) for a in argument):
            return [self._argument(part) for part in argument]
        if not isinstance(argument, Tensor):
            return self._new(argument)
        if argument in self._live:
            return self._live[argument]
        if id(argument) not in self._constants:
            self._read.add(_storage(argument))
            self._constants[id(argument)] = self._new(argument)
        return self._constants[id(argument)]

    def _new(self, value: Any) -> int:
        self.values.append(value)
        return len(self.values) - 1


def _tensors(arguments: Iterable[Any]) -> Iterator[Tensor]:
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from _tensors(argument)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[position] if position < len(args) else kwargs.get(argument.name)
            yield from _tensors((given,))


def _getter(arguments: Any) -> Callable[[list[Any]], Any]:
    if any(isinstance(argument, list) for argument in arguments):
        return lambda values: [
            [values[slot] for slot in a] if isinstance(a, list) else values[a] for a in arguments
        ]
    if len(arguments) == 1:
        return lambda values: (values[arguments[0]],)
    return itemgetter(*arguments)
