"""Copies of a training's objects that share nothing with the user's, and loans that are given back."""

import copy
import inspect
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from thalweg.objective.examples import Examples
from thalweg.objective.graph import nodes
from thalweg.task import Task

__all__ = [
    "Loan",
    "asks_for_closure",
    "backward_past",
    "copied_optimizer",
    "is_over",
    "lending_optimizer",
    "optimizer_over",
    "population",
    "strangers",
]

_OWN = ("_hooks", "step", "_opt_called")
"""Endings of the names of an optimizer's attributes that belong to the user's loop: a hook would
record, or change, objects of the user's."""


def copied_optimizer(
    optimizer: torch.optim.Optimizer, memo: dict[int, Any]
) -> torch.optim.Optimizer:
    """An optimizer with the same state, over the parameters that ``memo`` names, without its hooks.

    ``copy.deepcopy`` keeps no more than groups and state, without which LBFGS cannot step.
    """
    kept = {k: v for k, v in vars(optimizer).items() if not k.endswith(_OWN)}
    twin = type(optimizer).__new__(type(optimizer))
    memo[id(optimizer)] = twin
    state = copy.deepcopy(kept, memo)
    for name, value in vars(optimizer).items():
        if name.endswith("_hooks") and isinstance(value, OrderedDict):
            state[name] = OrderedDict()
    twin.__setstate__(state)
    step = twin.step

    @wraps(step)
    def tracked(*args: Any, **kwargs: Any) -> Any:
        twin._opt_called = True  # pyright: ignore[reportAttributeAccessIssue]
        return step(*args, **kwargs)

    # What a schedule looks for before it steps: it had marked the user's own.
    vars(tracked)["_wrapped_by_lr_sched"] = True
    twin.step = tracked
    return twin


def lending_optimizer(
    optimizer: torch.optim.Optimizer, memo: dict[int, Any]
) -> torch.optim.Optimizer:
    """A copy that holds the very parameters that ``memo`` does not name: they are on loan."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            memo.setdefault(id(p), p)
    return copied_optimizer(optimizer, memo)


def optimizer_over(
    other: nn.Module, optimizer: torch.optim.Optimizer, model: nn.Module
) -> torch.optim.Optimizer:
    """A copy, over the parameters of another model in the place of those of ``model``."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return lending_optimizer(optimizer, {id(mine): theirs for mine, theirs in pairs})


def strangers(loss: Tensor, own: Sequence[Tensor]) -> list[Tensor]:
    """Leaves that a backward pass would give a gradient to, and that are not the training's own."""
    known = {id(p) for p in own}
    leaves = (getattr(node, "variable", None) for node in nodes(loss))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and id(leaf) not in known]


def backward_past(loss: Tensor, others: Sequence[Tensor]) -> None:
    """``loss.backward()``, with the gradients of ``others``, not trained here, left alone."""
    before = [p.grad for p in others]
    for p in others:
        p.grad = None
    try:
        loss.backward()
    finally:
        for p, grad in zip(others, before, strict=True):
            p.grad = grad


@dataclass(frozen=True)
class Loan:
    """Everything of some parameters and modules that training changes, by reference."""

    parameters: list[Tensor]
    values: list[tuple[Tensor, Tensor | None, bool]]
    attributes: list[tuple[nn.Module, dict[str, Any]]]
    buffers: list[tuple[nn.Module, dict[str, Tensor | None]]]

    @classmethod
    def of(cls, parameters: list[Tensor], modules: list[nn.Module]) -> "Loan":
        """As they are."""
        return cls(
            parameters,
            [(p.data, p.grad, p.requires_grad) for p in parameters],
            [(m, dict(vars(m))) for m in modules],
            [(m, dict(m._buffers)) for m in modules],
        )

    def put(self, *, share: bool) -> None:
        """Make them so again: the same tensors with ``share``, else copies."""
        for p, (data, grad, wanted) in zip(self.parameters, self.values, strict=True):
            p.data = data if share else data.clone()
            p.grad = grad if share or grad is None else grad.clone()
            p.requires_grad_(wanted)
        for module, attributes in self.attributes:
            vars(module).clear()
            vars(module).update(attributes)
        for module, buffers in self.buffers:
            module._buffers.clear()
            for name, buffer in buffers.items():
                module._buffers[name] = buffer if share or buffer is None else buffer.clone()


@cache
def asks_for_closure(kind: type[torch.optim.Optimizer]) -> bool:
    """Whether a step of such an optimizer needs to evaluate the loss itself, as that of LBFGS."""
    closure = inspect.signature(kind.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def is_over(schedule: Any) -> bool:
    """Whether a schedule of fixed length has ended; the last rate stays."""
    return (
        isinstance(schedule, torch.optim.lr_scheduler.OneCycleLR)
        and schedule.last_epoch + 1 >= schedule.total_steps
    )


_POPULATIONS: WeakKeyDictionary[Task, int] = WeakKeyDictionary()


def population(task: Task) -> int:
    """Number of training examples of a task, counted once."""
    if task not in _POPULATIONS:
        _POPULATIONS[task] = Examples.of(task.train).population
    return _POPULATIONS[task]
