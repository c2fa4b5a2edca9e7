"""Copies of all that a step of a user's training changes, with what copying by itself drops."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import ModelError
from thalweg.objective.placed import copied
from thalweg.run.fork import copied_optimizer, lending_optimizer
from thalweg.run.hooks import Hooks, has_hooks
from thalweg.run.own_step import copied_parts
from thalweg.task import Task

__all__ = ["Copies", "hooks_left_out"]


@dataclass(frozen=True)
class Copies:
    """Of a task's model, optimizer, schedule and parts, which refer to each other as the user's do.

    Attributes:
        lent: whether ``model`` is the user's own.
        hooks: those on the parameters.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Any
    parts: dict[str, Any]
    hooks: Hooks
    lent: bool = False

    @classmethod
    def of(cls, task: Task, *, lent: bool = False, apart: bool = False) -> "Copies":
        """Of a task. A step of the user's own may add to a gradient that stands, so that it goes along.

        Args:
            task: the user's.
            lent: the model is the user's own, on loan.
            apart: what the optimizer holds besides the model is copied too, else on loan.

        Raises:
            ModelError: the model does not allow ``copy.deepcopy``.
        """
        model, memo = task.model, {}
        if lent:
            memo = {id(one): one for one in (*model.parameters(), *model.modules())}
        else:
            try:
                model = copied(task.model, memo)
            except (RuntimeError, TypeError, AttributeError) as error:
                raise ModelError(
                    f"model must allow copy.deepcopy, but it fails: {error}"
                ) from error
        optimizer = (copied_optimizer if apart else lending_optimizer)(task.optimizer, memo)
        schedule = copy.deepcopy(task.schedule, memo)
        parts = copied_parts(task.parts, memo)
        pairs = _pairs(memo)
        if task.step is not None:
            for mine, twin in pairs:
                twin.grad = None if mine.grad is None else mine.grad.clone()
        on_loan = [p for p in _held(task) if memo.get(id(p)) is p]
        return cls(model, optimizer, schedule, parts, Hooks(pairs, on_loan, memo), lent)


def _pairs(memo: dict[int, Any]) -> list[tuple[Tensor, Tensor]]:
    """The parameters that were copied, and their copies: ``copy`` keeps the former in its memo."""
    kept = [one for one in memo.get(id(memo), ()) if isinstance(one, nn.Parameter)]
    pairs = [(one, memo.get(id(one))) for one in kept]
    return [(mine, twin) for mine, twin in pairs if isinstance(twin, Tensor) and twin is not mine]


def _held(task: Task) -> list[Tensor]:
    """The parameters of the model, those of the optimizer and those of the parts, each once."""
    held = [*task.model.parameters()]
    held += [p for group in task.optimizer.param_groups for p in group["params"]]
    for part in task.parts.values():
        held += part.parameters() if isinstance(part, nn.Module) else ()
    return list({id(p): p for p in held}.values())


def hooks_left_out(task: Task, *, lent: bool) -> list[str]:
    """What a reader must know where forks of the task's training go without some of its hooks."""
    if not any(map(has_hooks, _held(task))):
        return []
    reasons = Copies.of(task, lent=lent).hooks.left_out
    if not reasons:
        return []
    hooks = "1 hook" if len(reasons) == 1 else f"{len(reasons)} hooks"
    return [
        f"{hooks} on the parameters cannot be copied with what they hold ({reasons[0]}): every fork "
        "of the training goes without, so that your own run may differ from the unchanged one here"
    ]
