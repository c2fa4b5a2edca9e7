"""Changes to a training whose effect tells one cause from another."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from thalweg.task import Task

__all__ = [
    "Intervention",
    "adam",
    "fork",
    "nothing",
    "nudge",
    "rate",
    "reinitialise",
    "scale_inputs",
]


@dataclass(frozen=True)
class Intervention:
    """A named change: ``apply`` takes a task of its own (a fork) and returns the changed one."""

    name: str
    apply: Callable[[Task, torch.Generator], Task]

    def __str__(self) -> str:
        return self.name


def fork(task: Task) -> Task:
    """The same state in objects of its own: model, optimizer with its state, and schedule."""
    model, optimizer, schedule = copy.deepcopy((task.model, task.optimizer, task.schedule))
    return replace(task, model=model, optimizer=optimizer, schedule=schedule)


def _unchanged(task: Task, generator: torch.Generator) -> Task:
    return task


nothing = Intervention("nothing", _unchanged)
"""The run as it stands."""


def rate(factor: float) -> Intervention:
    """The learning rate times ``factor``, in every group and in the schedule."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        for group in task.optimizer.param_groups:
            group["lr"] *= factor
            if "initial_lr" in group:
                group["initial_lr"] *= factor
        if task.schedule is not None:
            task.schedule.base_lrs = [base * factor for base in task.schedule.base_lrs]
        return task

    return Intervention(f"rate x {factor:g}", apply)


def nudge(size: float) -> Intervention:
    """Gaussian noise of standard deviation ``size`` on every weight."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        with torch.no_grad():
            for weight in task.model.parameters():
                weight += size * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        return task

    return Intervention(f"nudge {size:g}", apply)


def adam(lr: float) -> Intervention:
    """Adam at rate ``lr`` in place of the user's optimizer, with its weight decay."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        decay = task.optimizer.param_groups[0].get("weight_decay", 0.0)
        optimizer = torch.optim.Adam(task.model.parameters(), lr=lr, weight_decay=decay)
        return replace(task, optimizer=optimizer, schedule=None)

    return Intervention(f"Adam {lr:g}", apply)


def _initialised(model: nn.Module) -> Iterator[Callable[[], object]]:
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            yield reset


def _reinitialise(task: Task, generator: torch.Generator) -> Task:
    with torch.random.fork_rng(devices=[]):
        seed = torch.randint(2**31, (), generator=generator)
        torch.default_generator.manual_seed(int(seed))
        for reset in _initialised(task.model):
            reset()
    task.optimizer.state.clear()
    return task


reinitialise = Intervention("torch's own initialisation", _reinitialise)
"""Every layer starts again as torch starts it; the optimizer forgets."""


def _scale_inputs(task: Task, generator: torch.Generator) -> Task:
    inputs, targets = task.train
    spread = inputs.std(0)
    factors = torch.where(spread > 0, spread.max() / spread, torch.ones_like(spread))
    for group in task.optimizer.param_groups:
        group["lr"] /= 3
    first = next(m for m in task.model.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        first.weight /= factors
    test = None if task.test is None else (task.test[0] * factors, task.test[1])
    return replace(task, train=(inputs * factors, targets), test=test)


scale_inputs = Intervention("every column as wide as the widest", _scale_inputs)
"""One deviation for all columns, and weights that undo it: the same outputs, the same outputs.

The rate goes down to a third, since equal columns that correlate are steeper together."""
