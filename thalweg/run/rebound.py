"""A user's function over copies of what it holds, so that calling it changes nothing of the user's."""

import copy
import dis
from collections.abc import Mapping
from functools import partial
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import Any

import torch
from torch import nn

from thalweg.objective.placed import copied
from thalweg.run.fork import copied_optimizer

__all__ = ["rebound"]


def rebound(call: Any, memo: dict[int, Any]) -> Any:
    """``call`` with copies of what it closes over, has as defaults, is bound to or names globally.

    What ``memo`` names (parameters, modules, optimizers that were copied before) is taken from
    there, as ``copy.deepcopy`` takes it. Classes and imported modules are shared, and so are other
    files' functions that close over nothing.

    Raises:
        Exception: whatever a thing raises that is held and cannot be copied.
    """
    return _Rebinding(memo, call).twin(call)


class _Rebinding:
    def __init__(self, memo: dict[int, Any], call: Any) -> None:
        self.memo = memo
        self.seen: set[int] = set()
        self.home = getattr(_innermost(call), "__globals__", None)  # of the file that it is from

    def twin(self, value: Any) -> Any:
        """The copy that stands for one thing."""
        if id(value) in self.memo:
            return self.memo[id(value)]
        match value:
            case FunctionType():
                return self._function(value)
            case MethodType(__self__=holder, __func__=function):
                return MethodType(self.twin(function), self.twin(holder))
            case partial():
                named = {name: self.twin(one) for name, one in value.keywords.items()}
                return partial(self.twin(value.func), *map(self.twin, value.args), **named)
            case BuiltinFunctionType(__self__=holder):
                if holder is None or isinstance(holder, ModuleType | type):
                    return value
                return getattr(self.twin(holder), value.__name__)
            case ModuleType() | type():
                return value
            case torch.optim.Optimizer():
                return copied_optimizer(value, self.memo)
        self._prepare(value)
        if isinstance(value, nn.Module):
            return copied(value, self.memo)
        own = type(value).__call__ if callable(value) else None
        if isinstance(own, FunctionType) and own.__globals__ is self.home:
            return MethodType(self._function(own), copy.deepcopy(value, self.memo))
        return copy.deepcopy(value, self.memo)

    def _prepare(self, value: Any) -> None:
        """Copy the functions and optimizers within, which ``copy.deepcopy`` would share, or maim."""
        if id(value) in self.memo or id(value) in self.seen:
            return
        self.seen.add(id(value))
        if isinstance(value, FunctionType | torch.optim.Optimizer):
            self.memo[id(value)] = self.twin(value)
        elif isinstance(value, Mapping):
            for key, one in value.items():
                self._prepare(key)
                self._prepare(one)
        elif isinstance(value, list | tuple | set | frozenset):
            for one in value:
                self._prepare(one)
        elif not isinstance(value, ModuleType | type | torch.Tensor):
            for one in getattr(value, "__dict__", {}).values():
                self._prepare(one)

    def _function(self, function: FunctionType) -> FunctionType:
        """A copy that closes over copies; the very function where it is another file's and bare."""
        cells = function.__closure__ or ()
        defaults, named = function.__defaults__, function.__kwdefaults__
        at_home = function.__globals__ is self.home
        if not (at_home or cells or defaults or named):
            return function
        outside = self.memo.setdefault(id(self.home), dict(self.home or {}))
        mine = tuple(self.memo.setdefault(id(cell), CellType()) for cell in cells)
        around = outside if at_home else function.__globals__
        twin = FunctionType(function.__code__, around, function.__name__, None, mine)
        self.memo[id(function)] = twin  # before what may lead back to it
        vars(twin).update(vars(function))
        for cell, own in zip(cells, mine, strict=True):
            if not _is_empty(cell) and _is_empty(own):
                own.cell_contents = self.twin(cell.cell_contents)
        if defaults is not None:
            twin.__defaults__ = tuple(map(self.twin, defaults))
        if named is not None:
            twin.__kwdefaults__ = {name: self.twin(one) for name, one in named.items()}
        if at_home:
            for name in _global_names(function.__code__) & around.keys():
                if around[name] is function.__globals__.get(name):
                    around[name] = self.twin(around[name])
        return twin


def _innermost(call: Any) -> Any:
    """The plain function that a call comes to."""
    while True:
        if isinstance(call, partial):
            call = call.func
        elif isinstance(call, MethodType):
            call = call.__func__
        elif isinstance(call, FunctionType | BuiltinFunctionType | type):
            return call
        else:
            return type(call).__call__


def _global_names(code: CodeType) -> set[str]:
    """The variables of its file that a function names, or a function that is made within it."""
    steps = dis.get_instructions(code)
    names = {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    within = [one for one in code.co_consts if isinstance(one, CodeType)]
    return names.union(*map(_global_names, within))


def _is_empty(cell: CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False
