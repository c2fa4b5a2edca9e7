"""A step that the user's own function takes, on objects that are not the user's."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.run.fork import copied_optimizer

__all__ = ["before_each_update", "copied_parts", "unharmed"]


def copied_parts(parts: Mapping[str, Any], memo: dict[int, Any]) -> dict[str, Any]:
    """Copies of what a step needs besides model and optimizer; what they refer to is ``memo``'s."""
    for part in parts.values():
        if isinstance(part, torch.optim.Optimizer) and id(part) not in memo:
            copied_optimizer(part, memo)
    return {name: copy.deepcopy(part, memo) for name, part in parts.items()}


@contextmanager
def before_each_update(
    optimizer: torch.optim.Optimizer, call: Callable[[], None]
) -> Iterator[None]:
    """Within the block ``call`` runs before each step of the optimizer."""
    hook = optimizer.register_step_pre_hook(lambda *_: call())
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def unharmed(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Puts the user's model and optimizer back, and says so, where a step went for them.

    Raises:
        UsageError: the step changed them instead of what it was given.
    """
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    state = copy.deepcopy(optimizer.state_dict())
    grads = [(p, p.grad) for p in model.parameters()]
    yield
    now = model.state_dict()
    if all(
        torch.equal(before[name], now[name]) or _both_nan(before[name], now[name]) for name in now
    ):
        return
    model.load_state_dict(before)
    optimizer.load_state_dict(state)
    for p, grad in grads:
        p.grad = grad
    raise UsageError(
        "step must train the model and the optimizer that it is given, but it changed the task's own"
    )


def _both_nan(one: Tensor, two: Tensor) -> bool:
    return bool(torch.equal(torch.nan_to_num(one), torch.nan_to_num(two)))
