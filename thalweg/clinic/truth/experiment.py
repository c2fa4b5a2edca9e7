"""The experiments: the user's own run continued, unchanged or after an intervention."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from thalweg.clinic.interventions import Intervention, decay_of, fork, nothing, objective
from thalweg.clinic.training import batches, settle
from thalweg.task import Task

__all__ = [
    "Run",
    "continued",
    "downhill",
    "fall",
    "mean",
    "settled",
    "test_loss",
    "typical_loss",
]


@dataclass(frozen=True)
class Run:
    """A continued run: the objective at evenly spaced looks (the first before any step), the
    held-out loss and the typical loss where asked for, the loss of every step, and the task."""

    objectives: tuple[float, ...]
    test_losses: tuple[float, ...]
    typical: tuple[float, ...]
    losses: tuple[float, ...]
    task: Task

    @property
    def end(self) -> float:
        """The objective at the end: the mean of the last quarter of the looks."""
        return mean(self.objectives[-max(1, len(self.objectives) // 4) :])


def mean(values: Sequence[float]) -> float:
    """The plain mean."""
    return sum(values) / len(values)


def fall(run: Run, start: float | None = None) -> float:
    """How far the objective came down, from ``start`` or from where the run began.

    Minus infinity where it is no longer finite.
    """
    value = (run.objectives[0] if start is None else start) - run.end
    return value if math.isfinite(value) else -math.inf


def continued(
    task: Task,
    change: Intervention = nothing,
    *,
    steps: int,
    seed: int = 0,
    looks: int = 16,
    typical: bool = False,
) -> Run:
    """Fork the state, apply the change and go on for ``steps`` steps as the user would."""
    generator = torch.Generator().manual_seed(seed)
    own = change.apply(fork(task), generator)
    loss = own.loss
    assert loss is not None
    inputs, targets = own.train
    objectives, tests, typicals, losses = [], [], [], []
    every = max(1, steps // looks)
    source = batches(len(inputs), own.batch_size, torch.Generator().manual_seed(1000 + seed))
    for step, chosen in zip(range(steps + 1), source, strict=False):
        if step % every == 0:
            objectives.append(objective(own))
            tests.append(test_loss(own))
            typicals.append(typical_loss(own) if typical else math.nan)
        own.optimizer.zero_grad()
        value = loss(own.model(inputs[chosen]), targets[chosen])
        losses.append(value.item())
        if step == steps:
            break
        if value.requires_grad:
            value.backward()
            own.optimizer.step()
            if own.schedule is not None:
                own.schedule.step()
    return Run(tuple(objectives), tuple(tests), tuple(typicals), tuple(losses), own)


def test_loss(task: Task) -> float:
    """The loss over the held-out examples; NaN where there are none."""
    if task.loss is None or task.test is None:
        return math.nan
    with torch.no_grad():
        return float(task.loss(task.model(task.test[0]), task.test[1]))


def typical_loss(task: Task) -> float:
    """The mean of the examples' losses without the largest 2%: what a few wild ones do not set."""
    assert task.loss is not None
    inputs, targets = task.train
    with torch.no_grad():
        losses = torch.func.vmap(task.loss)(task.model(inputs)[:, None], targets[:, None])
    return float(losses.sort()[0][: int(0.98 * len(losses))].mean())


def downhill(task: Task, rates: Sequence[float]) -> float:
    """The lowest objective after one step of plain descent on all examples, at one of these rates."""
    own = fork(task)
    assert own.loss is not None
    inputs, targets = own.train
    weights = [weight for group in own.optimizer.param_groups for weight in group["params"]]
    decays = [g.get("weight_decay", 0.0) for g in own.optimizer.param_groups for _ in g["params"]]
    loss = own.loss(own.model(inputs), targets)
    slopes = torch.autograd.grad(loss, weights, materialize_grads=True)
    ends = [objective(own)]
    with torch.no_grad():
        begun = [weight.clone() for weight in weights]
        for rate in rates:
            parts = zip(weights, begun, slopes, decays, strict=True)
            for weight, first, slope, decay in parts:
                weight.copy_(first - rate * (slope + decay * first))
            ends.append(objective(own))
    return min(filter(math.isfinite, ends), default=math.inf)


def settled(task: Task, change: Intervention, *, seed: int, steps: int = 500) -> float:
    """The objective where L-BFGS in float64 ends after the change."""
    own = change.apply(fork(task), torch.Generator().manual_seed(seed))
    assert own.loss is not None
    settle(own.model, own.loss, own.train, decay=decay_of(own), steps=steps)
    return objective(own)
