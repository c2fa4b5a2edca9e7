"""Changes to a training whose effect tells one cause from another."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from thalweg.clinic.training import settle
from thalweg.task import Task

__all__ = [
    "Intervention",
    "adam",
    "clip",
    "constant_rate",
    "decay",
    "decay_of",
    "fork",
    "full_batch",
    "larger_model",
    "momentum",
    "nothing",
    "nudge",
    "objective",
    "rate",
    "reinitialise",
    "restarts",
    "together",
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


def decay_of(task: Task) -> float:
    """The weight decay of the optimizer's first group."""
    return task.optimizer.param_groups[0].get("weight_decay", 0.0)


def objective(task: Task) -> float:
    """What is descended: the loss over all training examples, and the optimizer's weight decay."""
    assert task.loss is not None
    inputs, targets = task.train
    with torch.no_grad():
        value = float(task.loss(task.model(inputs), targets))
        for group in task.optimizer.param_groups:
            for weight in group["params"]:
                value += group.get("weight_decay", 0.0) / 2 * float(weight.square().sum())
    return value


def _unchanged(task: Task, generator: torch.Generator) -> Task:
    return task


nothing = Intervention("nothing", _unchanged)
"""The run as it stands."""


def together(*parts: Intervention) -> Intervention:
    """One change after the other."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        for part in parts:
            task = part.apply(task, generator)
        return task

    return Intervention(" and ".join(part.name for part in parts), apply)


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


def constant_rate(lr: float) -> Intervention:
    """The rate ``lr`` from here on, without a schedule."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        for group in task.optimizer.param_groups:
            group["lr"] = lr
        return replace(task, schedule=None)

    return Intervention(f"constant rate {lr:g}", apply)


def momentum(beta: float) -> Intervention:
    """Heavy-ball momentum ``beta`` at the same rate; for SGD."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        for group in task.optimizer.param_groups:
            group["momentum"] = beta
        return task

    return Intervention(f"momentum {beta:g}", apply)


def decay(weight_decay: float) -> Intervention:
    """The optimizer's weight decay set to this."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        for group in task.optimizer.param_groups:
            group["weight_decay"] = weight_decay
        return task

    return Intervention(f"weight decay {weight_decay:g}", apply)


def adam(lr: float) -> Intervention:
    """Adam at rate ``lr`` in place of the user's optimizer, with its weight decay."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        optimizer = torch.optim.Adam(task.model.parameters(), lr=lr, weight_decay=decay_of(task))
        return replace(task, optimizer=optimizer, schedule=None)

    return Intervention(f"Adam {lr:g}", apply)


def clip(norm: float) -> Intervention:
    """Every step's gradient clipped to this norm."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        def before_step(optimizer: torch.optim.Optimizer, *_: object) -> None:
            for group in optimizer.param_groups:
                nn.utils.clip_grad_norm_(group["params"], norm)

        task.optimizer.register_step_pre_hook(before_step)
        return task

    return Intervention(f"gradient clipped to {norm:g}", apply)


def _full_batch(task: Task, generator: torch.Generator) -> Task:
    return replace(task, batch_size=None)


full_batch = Intervention("all examples in every step", _full_batch)
"""The noise of the mini-batches is gone, all else stays."""


def nudge(size: float) -> Intervention:
    """Gaussian noise of standard deviation ``size`` on every weight."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        with torch.no_grad():
            for weight in task.model.parameters():
                weight += size * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        return task

    return Intervention(f"nudge {size:g}", apply)


def _reinitialise(task: Task, generator: torch.Generator) -> Task:
    number = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(number)
        for module in task.model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    task.optimizer.state.clear()
    return task


reinitialise = Intervention("torch's own initialisation", _reinitialise)
"""Every layer starts again as torch starts it; the optimizer forgets."""


def restarts(count: int) -> Intervention:
    """The best of ``count`` fresh starts, each taken to a stationary point by L-BFGS."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        assert task.loss is not None
        found: list[tuple[float, dict[str, Tensor]]] = []
        for _ in range(count):
            _reinitialise(task, generator)
            settle(task.model, task.loss, task.train, decay=decay_of(task), steps=300)
            value = objective(task)
            if math.isfinite(value):
                found.append((value, copy.deepcopy(task.model.state_dict())))
        task.model.load_state_dict(min(found, key=lambda pair: pair[0])[1])
        return task

    return Intervention(f"the best of {count} restarts", apply)


def larger_model(build: Callable[[], nn.Module], *, lr: float) -> Intervention:
    """Another model in place of the user's, trained by Adam at rate ``lr``."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        task = _reinitialise(replace(task, model=build()), generator)
        return adam(lr).apply(task, generator)

    return Intervention("a larger model", apply)
