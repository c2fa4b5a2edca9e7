"""What can be fitted at all: by a constant, by this model on one batch, by anyone on these labels."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.estimate import LOSS_COST, Estimate
from thalweg.objective.examples import Examples
from thalweg.objective.placed import random_state
from thalweg.objective.supervised import Supervised
from thalweg.run.training import Training
from thalweg.task import Task

__all__ = ["constant_loss", "output_floor", "overfit_one_batch"]

UNKNOWN = Estimate(math.nan, math.nan)

FAR_AWAY = 1e6
"""A constant output of that size says that the loss has no lowest value."""

FREE = 2**16
"""Numbers of outputs that are fitted freely at most."""

PARTS = 32
"""Parts of the targets whose losses give the error of their mean."""

LEARNT = 0.5
"""Share of one batch's loss that must be trained away to say that the batch can be learnt."""

RATES = (1e-2, 1e-3)
"""Adam's learning rates: the second is tried where the first does not learn the batch."""

SMOOTHED = 5
"""Losses averaged before the lowest is taken, as dropout makes single ones noisy."""


def constant_loss(objective: Supervised, *, examples: int = 4096) -> Estimate:
    """The lowest loss of a predictor that gives every example the same output.

    ``min_c 1/n Σ loss(c, target_i)`` by L-BFGS over ``c``, of the shape of one output: entropy of
    the class frequencies for cross-entropy, variance for a squared error. Where the model's outputs
    are probabilities or their logarithms, so is ``c``. No weight decay.

    Error: over parts of the targets; 0 where all of them were used. Cost: one forward pass over
    64 examples. NaN where the output is no single tensor, the task has only a ``batch_loss``, or
    the loss has no lowest value.
    """
    loss = objective.pair_loss
    if loss is None:
        return UNKNOWN
    generator = torch.Generator().manual_seed(0)
    few = objective.data.subsample(64, generator)
    cost = LOSS_COST * len(few) / objective.data.population
    point = objective.point()
    output = next(iter(objective.on(few, chunk=len(few)).outputs(point)))[0]
    if not isinstance(output, Tensor) or output.ndim == 0 or not output.is_floating_point():
        return UNKNOWN
    rows = max(64, min(examples, 2**26 // max(1, output[0].numel())))
    sample = objective.data.subsample(rows, generator)
    target = sample.fetch(slice(0, len(sample)))[1]
    if isinstance(target, Tensor):
        target = target.to(output.device)
    try:
        with random_state(0):
            value, error = _fit_constant(loss, output, target, len(sample))
    except (RuntimeError, ValueError, IndexError, TypeError):
        return UNKNOWN
    scale = objective.unit / len(sample) if objective.sums else 1.0
    whole = len(sample) == objective.data.population
    return Estimate(value * scale, 0.0 if whole else error * scale, "loss", cost)


def output_floor(objective: Supervised) -> Estimate:
    """The lowest loss that any outputs give, each example's own: ``1/n Σ min_c loss(c, target_i)``.

    0 for cross-entropy with classes and for a squared error, the entropy of soft labels, and whatever
    constant was added to the loss. By L-BFGS over the outputs of up to 64 examples.

    Error: not known. Cost: one forward pass over those. NaN where :func:`constant_loss` is.
    """
    loss = objective.pair_loss
    if loss is None:
        return UNKNOWN
    generator = torch.Generator().manual_seed(0)
    few = objective.data.subsample(64, generator)
    cost = LOSS_COST * len(few) / objective.data.population
    output = next(iter(objective.on(few, chunk=len(few)).outputs(objective.point())))[0]
    if not isinstance(output, Tensor) or output.ndim == 0 or not output.is_floating_point():
        return UNKNOWN
    rows = min(len(output), max(4, FREE // max(1, output[0].numel())))
    target = few.fetch(slice(0, rows))[1]
    if isinstance(target, Tensor):
        target = target.to(output.device)
    try:
        with random_state(0):
            link, _ = _link(loss, output[:rows], target)
            free = torch.zeros_like(output[:rows])
            value = _minimise(lambda free: loss(link(free), target), free)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return UNKNOWN
    return Estimate(value / rows if objective.sums else value, math.nan, "loss", cost)


def overfit_one_batch(
    task: Task, *, steps: int = 60, batch: int = 16, seed: int = 0, lent: bool = False
) -> dict[str, Estimate]:
    """Share of the loss of one small batch that training on it alone removes.

    ``(L₀ - L) / (L₀ - L*)`` after ``steps`` steps of Adam on ``batch`` examples from a fork of the
    model, where ``L*`` is the lowest loss that any outputs give (0 where it is not known):
    ``one_batch_fall`` from where it stands. Where that is below one half, as it is for dead or
    saturated layers, also ``one_batch_fresh_fall`` after ``reset_parameters`` of every module that
    has it and is not frozen: 1 against 0 says that the state is stuck and not the model.

    Args:
        lent: the loss reads the user's own model, so train on that and put it back: see
            :meth:`thalweg.run.training.Training.of`.

    Error: spread of the last losses. Cost: ``steps * batch / n``, up to four times where the batch
    is not learnt; for a model of many millions of weights the time goes into Adam's steps, which that
    does not count. NaN where a loss is not finite or not positive, or examples cannot be picked.
    """
    examples = Examples.of(task.train)
    few = examples.subsample(batch, torch.Generator().manual_seed(seed))
    if few.tensors is None:
        return {"one_batch_fall": UNKNOWN}
    alone = replace(
        task,
        train=few.tensors,
        batch_size=None,
        schedule=None,
        history=None,
        # The state of the user's optimizer is not needed, so it is not copied.
        optimizer=torch.optim.SGD(task.model.parameters(), lr=0.0),
    )
    unit = len(few) / examples.population
    here = _fall(alone, steps, seed, lent, unit, fresh=False)
    found = {"one_batch_fall": here}
    renewable = any(_renewable(module) for module in task.model.modules())
    if not here.value >= LEARNT and renewable:
        found["one_batch_fresh_fall"] = _fall(alone, steps, seed, lent, unit, fresh=True)
    return found


def _fall(task: Task, steps: int, seed: int, lent: bool, unit: float, *, fresh: bool) -> Estimate:
    """The best fall over the learning rates; later ones are tried only where it is needed."""
    best, cost, floor = UNKNOWN, 0.0, None
    for rate in RATES:
        training = Training.of(task, seed=seed, lent=lent)
        trained = [p for p in training.model.parameters() if p.requires_grad]
        training.optimizer = torch.optim.Adam(trained, lr=rate)
        if fresh:
            training.before_step.append(_renew)
        try:
            training.advance(steps)
        except (RuntimeError, ValueError):  # BatchNorm on one example, gradients that are sparse
            return UNKNOWN
        losses = [v for v in training.losses if math.isfinite(v)]
        cost += len(training.losses) * unit
        if floor is None:
            floor = 0.0 if lent else _floor(training)
        if losses and math.isfinite(training.losses[0]) and losses[0] > floor:
            fall = _share(losses, floor)
            best = fall if not fall.value <= best.value else best
        if best.value >= LEARNT:
            break
    return Estimate(best.value, best.error, "1", cost)


def _share(losses: list[float], floor: float) -> Estimate:
    width = min(SMOOTHED, len(losses))
    means = [math.fsum(losses[i : i + width]) / width for i in range(len(losses) - width + 1)]
    lowest = min(range(len(means)), key=means.__getitem__)
    around = torch.tensor(losses[lowest : lowest + width], dtype=torch.float64)
    error = float(around.std()) / math.sqrt(width) if width > 1 else 0.0
    whole = losses[0] - floor
    # A loss that goes below an unknown floor has been trained away altogether.
    return Estimate(min((losses[0] - means[lowest]) / whole, 1.0), error / whole)


def _floor(training: Training) -> float:
    """The lowest loss of the batch that any outputs give: the entropy of soft labels, mostly 0."""
    loss, batch = training.task.loss, training.task.train
    if loss is None or not isinstance(batch, tuple | list) or len(batch) != 2:
        return 0.0
    try:
        with random_state(0):
            training.model.eval()
            with torch.no_grad():
                output = training.model(batch[0])
            if not isinstance(output, Tensor) or output.ndim == 0:
                return 0.0
            link, _ = _link(loss, output, batch[1])
            value = _minimise(lambda free: loss(link(free), batch[1]), torch.zeros_like(output))
    except (RuntimeError, ValueError, IndexError, TypeError):
        return 0.0
    return max(value, 0.0) if math.isfinite(value) else 0.0


def _renew(training: Training) -> None:
    """Before the first step: initialise anew whatever can be and is trained."""
    if training.losses:
        return
    for module in training.model.modules():
        if _renewable(module):
            module.reset_parameters()  # pyright: ignore[reportCallIssue]


def _renewable(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return (
        callable(getattr(module, "reset_parameters", None))
        and bool(own)
        and all(p.requires_grad for p in own)
    )


def _fit_constant(
    loss: Callable[[Any, Any], Tensor], output: Tensor, target: Any, rows: int
) -> tuple[float, float]:
    """The lowest loss of a constant, and its standard error over parts of the targets."""
    link, start = _link(loss, output, target)
    free = start.detach().clone()

    def evaluate(free: Tensor, answers: Any, count: int) -> Tensor:
        return loss(link(free.unsqueeze(0)).expand(count, *output.shape[1:]), answers)

    value = _minimise(lambda free: evaluate(free, target, rows), free)
    if math.isnan(value):  # from where outputs have blown up there is no way back
        free = torch.zeros_like(free)
        value = _minimise(lambda free: evaluate(free, target, rows), free)
    size = rows // PARTS
    if not math.isfinite(value) or size < 2 or not isinstance(target, Tensor):
        return value, math.nan
    with torch.no_grad():
        parts = [
            float(evaluate(free, target[i * size : (i + 1) * size], size)) for i in range(PARTS)
        ]
    scale = value / (math.fsum(parts) / PARTS) if math.fsum(parts) else 1.0
    spread = float(torch.tensor(parts, dtype=torch.float64).std())
    return value, abs(scale) * spread / math.sqrt(PARTS)


def _minimise(evaluate: Callable[[Tensor], Tensor], free: Tensor) -> float:
    """The lowest value by L-BFGS, NaN where there is none; ``free`` ends where it is reached."""
    leaf = free.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [leaf], max_iter=100, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        value = evaluate(leaf)
        # Not backward(): a loss may read the user's parameters, whose gradients are the user's.
        (leaf.grad,) = torch.autograd.grad(value, leaf)
        return value

    with torch.enable_grad():
        optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        value = float(evaluate(leaf))
    leaf.requires_grad_(False)
    return value if float(leaf.abs().max()) <= FAR_AWAY else math.nan


def _link(
    loss: Callable[[Any, Any], Tensor], output: Tensor, target: Any
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The map onto what the model can put out at all, and where to start before the map."""
    mean = output.detach().mean(0)
    mean = torch.where(mean.isfinite(), mean, torch.zeros_like(mean))
    if output.ndim > 1 and output.shape[1] > 1:
        ones = output.sum(1)
        if bool((output >= 0).all()) and torch.allclose(ones, torch.ones_like(ones), atol=1e-3):
            return lambda c: c.softmax(1), mean.clamp_min(1e-6).log()
        total = output.logsumexp(1)
        if torch.allclose(total, torch.zeros_like(total), atol=1e-3):
            return lambda c: F.log_softmax(c, 1), mean
    if bool(((output >= 0) & (output <= 1)).all()):
        try:
            with torch.no_grad():
                loss(torch.full_like(output, -1.0), target[: len(output)])
        except RuntimeError:  # outside [0, 1] this loss has no value
            return torch.sigmoid, mean.clamp(1e-4, 1 - 1e-4).logit()
    return lambda c: c, mean
