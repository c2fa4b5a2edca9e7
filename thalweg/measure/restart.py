"""A task's training once more, from weights drawn anew."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from thalweg.errors import ModelError
from thalweg.run.training import Training
from thalweg.task import Task

__all__ = ["STEPS", "redraw", "restart", "restart_steps"]

STEPS = 1000
"""Steps of a restart of a task that does not say how long its training is."""


def restart(
    task: Task,
    seed: int,
    *,
    steps: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The trainable parameters ``(dim,)`` after a training from weights that ``seed`` draws.

    By the task's own optimizer without its state, at its first learning rate, with its schedule where
    that has not begun; the data come in an order of their own. Nothing of the task is changed.

    Args:
        steps: by default those of the task, or :data:`STEPS`.
        progress: called with steps done and how many there are.

    Raises:
        ModelError: a layer that does not know how to draw its weights; a loss that is not finite.
    """
    training = Training.of(task, seed=seed)
    redraw(training.model, seed)
    training.optimizer.state.clear()
    begun = training.schedule is not None and getattr(training.schedule, "last_epoch", 1) > 0
    if begun:
        training.schedule = None
        for group in training.optimizer.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"])
    count = restart_steps(task, steps)
    for done in range(0, count, 50):
        if progress is not None:
            progress(done, count)
        if not training.advance(min(50, count - done)):
            last = training.losses[-1] if training.losses else math.nan
            raise ModelError(f"a restart with seed {seed} must stay finite, but its loss is {last}")
    return training.point()


def restart_steps(task: Task, steps: int | None = None) -> int:
    """How many steps a restart takes."""
    return steps or task.steps or STEPS


def redraw(model: nn.Module, seed: int) -> None:
    """Draw the weights of every layer as the layer itself does when it is made.

    Raises:
        ModelError: a layer with weights of two dimensions or more that has no ``reset_parameters``.
    """
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for name, module in model.named_modules():
            own = [p for p in module.parameters(recurse=False) if p.requires_grad]
            reset = getattr(module, "reset_parameters", None)
            reset = reset or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
            elif any(p.ndim > 1 for p in own):
                where = name or type(module).__name__
                raise ModelError(
                    f"{where} must have a method reset_parameters for a restart, but has none"
                )
