"""What activation functions put out while a model runs: modules and functions called in forward."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

__all__ = ["Spread", "Units", "Watch"]

FAR = 0.99
"""Absolute value from which tanh, softsign and the state of an LSTM count as saturated."""

FLAT = 0.01
"""Distance of a sigmoid from its ends, and slope of an exponential unit, that count as saturated."""

DEAD_SLOPE = 1e-3
"""Slope, with output below :data:`FLAT`, below which a smooth relative of the ReLU is dead."""

STUCK = 0.95
"""Share of what a unit puts out that must lie at an end for the unit to be stuck there."""

MOST_CALLS = 16
"""Calls of one function in one module that are kept apart; a loop's later ones join the last."""

RELU = {"relu", "relu6", "threshold", "clamp_min", "hardswish"}
SMOOTH = {"gelu", "silu", "mish", "softplus"}
EXPONENTIAL = {"elu", "selu", "celu"}
HARD = {"hardtanh", "hardsigmoid"}
ROUND = {"tanh", "softsign"}
SIGMOID = {"sigmoid", "special_expit"}
KNOWN = RELU | SMOOTH | EXPONENTIAL | HARD | ROUND | SIGMOID

BY_CHANNEL = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
)
"""Layers whose outputs have their channels on axis 1."""


class Spread:
    """Variance over examples, streamed, of each number of a tensor ``(examples, ...)``."""

    def __init__(self) -> None:
        self.rows = 0
        self._first: Tensor | None = None
        self._sum: Any = 0.0
        self._square: Any = 0.0
        self._size = 0.0

    def add(self, values: Tensor) -> None:
        """Another chunk; one of another shape is left out."""
        values = values.detach().double()
        if self._first is None:
            self._first = values[0].clone()
        if values.shape[1:] != self._first.shape:
            return
        shifted = values - self._first
        self.rows += len(values)
        self._sum = self._sum + shifted.sum(0)
        self._square = self._square + shifted.square().sum(0)
        self._size += float(values.square().sum())

    @property
    def deviation(self) -> float:
        """Root mean square, over the numbers, of their standard deviation over examples."""
        if self._first is None or self.rows < 2 or not self._first.numel():
            return math.nan
        variance = self._square / self.rows - (self._sum / self.rows).square()
        return math.sqrt(max(float(variance.mean()), 0.0))

    @property
    def relative(self) -> float:
        """The deviation relative to the root mean square; 0 where all numbers are 0."""
        if self._first is None or self.rows < 2 or not self._first.numel():
            return math.nan
        size = math.sqrt(self._size / (self.rows * self._first.numel()))
        return 0.0 if size == 0 else self.deviation / size


class Units:
    """Counts for the units of one activation function, streamed over chunks of examples."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.count = 0
        self.output = False
        self.spread = Spread()
        self._rows = 0
        self._fired: Any = 0
        self._ends: Any = 0.0

    def add(self, values: Tensor, fired: Tensor, ended: Tensor, axis: int) -> None:
        """Add ``(examples, ...)`` outputs and which of them fired, which lie at an end."""
        count = values.shape[axis] if values.ndim > 1 else 1
        if not len(values) or not values.numel() or (self.count and self.count != count):
            return
        self.count = count

        def by_unit(x: Tensor) -> Tensor:
            x = x.movedim(axis, -1) if x.ndim > 1 else x
            return x.reshape(len(values), -1, count)

        self._rows += len(values)
        self._fired = self._fired + by_unit(fired).any(1).sum(0)
        self._ends = self._ends + by_unit(ended).double().mean(1).sum(0)
        self.spread.add(values)

    @property
    def dead(self) -> int:
        """Units that fired for no example."""
        return int((self._fired == 0).sum())

    @property
    def fired_once(self) -> int:
        """Units that fired for a single example."""
        return int((self._fired == 1).sum())

    @property
    def saturated(self) -> float:
        """Share of single outputs at an end."""
        return float(self._ends.mean()) / self._rows

    @property
    def stuck(self) -> int:
        """Units at an end for nearly all they put out."""
        return int((self._ends / self._rows >= STUCK).sum())


class Watch(TorchFunctionMode):
    """Watches the forward passes of a model made within :meth:`looking`.

    Uses hooks that hold for all modules, so that none is put on the user's, and a function mode
    that sees every call of an activation function.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.output: Spread | None = None
        self._names = {id(module): name for name, module in model.named_modules()}
        self._order: dict[str, int] = {}
        self._units: dict[tuple[str, str, int], Units] = {}
        self._stack: list[nn.Module] = []
        self._calls: dict[tuple[str, str], int] = {}
        self._by_channel = False
        self._latest: tuple[Tensor, Units] | None = None
        self._answered = False

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Within the block, one forward pass is watched."""
        self._calls, self._stack, self._latest, self._answered = {}, [], None, False
        handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave),
        ]
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def units(self) -> list[Units]:
        """What was seen of each activation, in the order of the first calls."""
        return [units for units in self._units.values() if units.count]

    def place_of(self, layer: str) -> int:
        """When a layer, or the nearest one around it, was first called; last if it never was."""
        while layer not in self._order and layer:
            layer = layer.rpartition(".")[0]
        return self._order.get(layer, len(self._order)) if layer else len(self._order) + 1

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        kind = getattr(func, "__name__", "").rstrip("_")
        if kind not in KNOWN or not self._stack or not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        slope = _slope(func, args, kwargs) if kind not in RELU | ROUND | SIGMOID else None
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and result.ndim and result.is_floating_point():
            self._see(kind, result, slope)
        return result

    def _see(self, kind: str, result: Tensor, slope: Tensor | None) -> None:
        module = self._stack[-1]
        values = result.detach()
        fired, ended = _fired_and_ended(kind, values, slope)
        own = next(module.children(), None) is None and type(module).__name__.lower() == kind
        name = self._names[id(module)]
        units = self._units_for(name, "" if own else kind, kind)
        units.add(values, fired, ended, self._axis(values))
        self._latest = (values, units)

    def _units_for(self, module: str, function: str, kind: str) -> Units:
        call = self._calls.get((module, function), 0)
        self._calls[module, function] = call + 1
        call = min(call, MOST_CALLS - 1)
        key = (module, function, call)
        if key not in self._units:
            name = ".".join(part for part in (module, function) if part)
            self._units[key] = Units(name + (f" (call {call + 1})" if call else ""), kind)
        return self._units[key]

    def _axis(self, values: Tensor) -> int:
        return 1 if values.ndim > 2 and self._by_channel else max(values.ndim - 1, 0)

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        name = self._names.get(id(module))
        if name is not None:
            self._order.setdefault(name, len(self._order))
            self._stack.append(module)

    def _leave(self, module: nn.Module, inputs: Any, result: Any) -> None:
        if id(module) not in self._names or not self._stack:
            return
        self._stack.pop()
        if isinstance(module, nn.RNNBase) and isinstance(result, tuple):
            self._see_recurrent(module, result[0])
        elif next(module.parameters(recurse=False), None) is not None:
            self._by_channel = isinstance(module, BY_CHANNEL)
        if not self._stack and not self._answered:
            self._answer(result)

    def _see_recurrent(self, module: nn.RNNBase, output: Any) -> None:
        self._by_channel = False
        if not isinstance(output, Tensor) or output.ndim != 3:
            return
        values = output.detach() if module.batch_first else output.detach().transpose(0, 1)
        kind = "relu" if getattr(module, "nonlinearity", "") == "relu" else "tanh"
        fired, ended = _fired_and_ended(kind, values, None)
        name = self._names[id(module)]
        self._units_for(name, "", type(module).__name__.lower()).add(values, fired, ended, 2)

    def _answer(self, result: Any) -> None:
        """The output of the whole model, and whether an activation made it."""
        self._answered = True
        output = _main_tensor(result)
        if output is None:
            return
        if self.output is None:
            self.output = Spread()
        self.output.add(output)
        if self._latest is not None:
            values, units = self._latest
            if values.data_ptr() == output.data_ptr() and values.numel() == output.numel():
                units.output = True


def _fired_and_ended(kind: str, values: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which outputs are alive, and which lie at an end of the function's range."""
    every, none = torch.ones_like(values, dtype=torch.bool), torch.zeros_like(values).bool()
    if kind in RELU:
        return values != 0, values >= 6 if kind == "relu6" else none
    if kind in ROUND:
        return every, values.abs() > FAR
    if kind in SIGMOID:
        return every, (values < FLAT) | (values > 1 - FLAT)
    assert slope is not None
    if kind in SMOOTH:
        return (slope.abs() > DEAD_SLOPE) | (values.abs() > FLAT), none
    return every, slope.abs() < FLAT


def _slope(func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Tensor:
    """The derivative of an elementwise function where it is about to be called."""
    leaf = args[0].detach().clone().requires_grad_()
    with torch.enable_grad():
        # A product, since a function may write into its argument.
        result = func(leaf * 1, *args[1:], **kwargs)
        (slope,) = torch.autograd.grad(result.sum(), leaf)
    return slope


def _main_tensor(result: Any) -> Tensor | None:
    """The logits, or else the first tensor with an axis of examples, of what a model returned."""
    named = getattr(result, "logits", None)
    leaves = [named] if isinstance(named, Tensor) else tree_flatten(result)[0]
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.ndim and leaf.is_floating_point():
            return leaf
    return None
