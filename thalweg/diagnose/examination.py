"""The state of one diagnosis: what is examined, what was measured, what may still be spent."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from thalweg.errors import DataError, UsageError
from thalweg.estimate import LOSS_COST, Curve, Estimate, Evidence
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.run.copies import hooks_left_out
from thalweg.run.sampled import sample_note, sampled, step_size
from thalweg.run.training import Training
from thalweg.run.view import OptimizerView
from thalweg.task import Task
from thalweg.trajectory import Trajectory

__all__ = ["SAMPLE", "Examination", "fan_in_scales", "plain_history"]

SAMPLE = 2048
"""Examples that a diagnosis measures on; more are drawn from, by a seed."""

FEWEST, PLAN = 256, 100
"""Examples that are measured on where the budget does not last for more, and what a diagnosis without a
probe takes at least, in gradient evaluations on the sample."""

WATCHED = 128
"""Held-out examples that a continuation looks at, at least."""


@dataclass
class Examination:
    """What a diagnosis works on. Estimates and curves are added as they are bought.

    Attributes:
        task: the user's; read only.
        objective: the loss that is descended, decay included, on at most SAMPLE examples.
        test: held-out examples, or None.
        everything: the training examples.
        view: the optimizer's.
        point: where the model stands, flat.
        batch_size: examples a step.
        population: examples in the training data.
        budget: gradient evaluations over the training data that may be spent.
        seed: of every draw.
        tick: called with a word as each piece of work begins.
    """

    task: Task
    objective: Supervised
    test: Examples | None
    everything: Examples
    view: OptimizerView
    point: Tensor
    batch_size: int
    population: int
    budget: float
    seed: int
    tick: Callable[[str], None]
    estimates: dict[str, Estimate] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    falls: dict[str, Estimate] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    directions: dict[str, Tensor] = field(default_factory=dict)
    lowest: float = math.inf
    spent: float = 0.0
    _fresh_losses: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(
        cls,
        task: Task,
        *,
        budget: float,
        share: float | None = None,
        seed: int = 0,
        sample: int = SAMPLE,
        memory: int = 2**30,
        tick: Callable[[str], None] = lambda word: None,
    ) -> "Examination":
        """Look at a task and draw the sample; nothing is measured yet.

        Of more than ``sample`` examples as many are drawn, or as the budget lasts for, which is
        ``share`` of what the run computes where that is given.
        """
        generator = torch.Generator().manual_seed(seed)
        everything = Examples.of(task.train)
        batch_size = _step_size(task, everything.population)
        if share is not None:
            budget = share * _steps_of(task) * batch_size / everything.population
        if everything.length > sample:
            affordable = max(FEWEST, budget * everything.population / PLAN)
            sample = int(min(sample, affordable))
        objective, view = sampled(
            task,
            everything,
            sample,
            generator,
            batch_size=batch_size,
            seed=seed,
            memory=memory,
        )
        test = None
        if task.test is not None:
            test = Examples.of(task.test, name="test").subsample(sample, generator)
        examination = cls(
            task,
            objective,
            test,
            everything,
            view,
            objective.point(),
            batch_size,
            everything.population,
            budget,
            seed,
            tick,
        )
        examination.notes.extend(sample_note(objective, everything, seed))
        if objective.placed.restore:
            examination.notes.append(
                "the loss reads your model's own objects, so it was evaluated on them; they are as "
                "before"
            )
        examination.notes.extend(hooks_left_out(task, lent=objective.placed.restore))
        if not view.known:
            examination.notes.append(
                f"{type(task.optimizer).__name__} is not known here: the stability of its steps is "
                "judged as if it were plain SGD"
            )
        return examination

    @property
    def share(self) -> float:
        """What one evaluation on the sample costs in evaluations over the training data."""
        return self.objective.data.length / self.population

    @property
    def left(self) -> float:
        """Gradient evaluations over the training data that may still be spent."""
        return self.budget - self.spent

    @cached_property
    def watched(self) -> Examples | None:
        """Held-out examples that are looked at again and again: about as many as there are to train on."""
        if self.test is None:
            return None
        few = max(WATCHED, self.population)
        return self.test.subsample(few, torch.Generator().manual_seed(self.seed))

    @cached_property
    def fresh(self) -> Supervised | None:
        """The loss without decay on other training examples than the sample; None if it is all.

        As many as the sample has: they come next in the draw of the seed.
        """
        n = self.objective.data.length
        if n >= self.everything.length:
            return None
        others = self.everything.subsample(n, torch.Generator().manual_seed(self.seed), skip=n)
        chunk = max(1, others.length // 16)
        if self.objective.mode != "eval":
            chunk = self.objective.chunk
        return self.objective.on(others, chunk=chunk, decay=False)

    def fresh_losses(self) -> tuple[Tensor, Tensor]:
        """The losses of the chunks of ``fresh`` where the model stands, and their shares."""
        assert self.fresh is not None
        if self._fresh_losses is None:
            self._fresh_losses = self.fresh.chunk_losses(self.point)
            self.spent += LOSS_COST * self.fresh.data.length / self.population
        return self._fresh_losses

    def generator(self, purpose: int) -> torch.Generator:
        """A stream of random numbers of its own for each purpose."""
        return torch.Generator().manual_seed(1_000_003 * self.seed + purpose)

    def training(self, order: int = 0) -> Training:
        """A fork of the user's training; the seed fixes its dropout and its orders of the data."""
        seed = self.seed + 1_000_003 * order
        return Training.of(self.task, seed=seed, lent=self.objective.placed.restore)

    def add(self, name: str, estimate: Estimate, *, charge: bool = True) -> Estimate:
        """Keep an Estimate whose cost is in evaluations on the sample, and charge for it."""
        cost = estimate.cost * self.share if charge else 0.0
        kept = Estimate(estimate.value, estimate.error, estimate.unit, cost)
        self.estimates[name] = kept
        self.spent += cost
        return kept

    def add_fall(self, name: str, fall: float, error: float, cost: float) -> None:
        """Keep a fall of the loss, in its unit, and what it cost over the training data.

        :meth:`evidence` gives all falls as shares of the range of the loss.
        """
        self.falls[name] = Estimate(fall, error, "of the range", cost)
        self.spent += cost

    def scale(self) -> Estimate:
        """The unit in which falls are told: from the top to the lowest loss known.

        The top is the best constant predictor's loss, or the start of the history where there is
        none, or the loss itself. Known is what was reached from here, and what the targets' relation
        to the inputs promises to a plain predictor: where nothing here leads down, the wobble of the
        loss would else be the unit. It is at least the standard error of the loss over its examples,
        below which no fall means anything. Adding a constant to the loss changes nothing.
        """
        start = self.estimates["loss"].value
        tops = [start]
        for name in ("constant_loss", "history_start"):
            if name in self.estimates and math.isfinite(self.estimates[name].value):
                tops.append(self.estimates[name].value)
                break
        falls = [f.value for name, f in self.falls.items() if name.endswith(("_fall", "_drop"))]
        falls = [fall for fall in falls if math.isfinite(fall) and fall > 0]
        bottom = min([start, self.lowest, *(start - fall for fall in falls)])
        if "reachable_loss" in self.estimates:
            decay = start - self.estimates["plain_loss"].value  # of the weights as they stand
            bottom = min(bottom, self.estimates["reachable_loss"].value + decay)
        floor = self.estimates["loss_spread"].value
        return Estimate(max(max(tops) - bottom, floor), 0.0, "loss")

    def evidence(self) -> Evidence:
        """Everything so far; falls as shares of the range of the loss."""
        known = "loss_spread" in self.estimates
        scale = self.scale() if known else Estimate(math.nan, math.nan, "loss")
        relative = {
            name: Estimate(
                fall.value / scale.value if scale.value > 0 else math.nan,
                fall.error / scale.value if scale.value > 0 else math.nan,
                fall.unit,
                fall.cost,
            )
            for name, fall in self.falls.items()
        }
        return Evidence({**self.estimates, "range": scale, **relative}, dict(self.curves))


def _step_size(task: Task, population: int) -> int:
    if not isinstance(task.train, DataLoader) and (task.batch_size or 0) > population:
        raise DataError(
            f"batch_size must not exceed the {population} examples of train, but is "
            f"{task.batch_size}"
        )
    return step_size(task, population)


def _steps_of(task: Task) -> int:
    steps = task.steps or len(plain_history(task.history))
    if not steps:
        raise UsageError("share needs task.steps or a history, to know what the run computes")
    return steps


def fan_in_scales(model: nn.Module) -> Tensor:
    """The usual size of a fresh weight at every trainable coordinate.

    1/√fan_in for matrices; for vectors their own root mean square, at least 0.1.
    """
    scales = []
    for p in model.parameters():
        if p.requires_grad:
            typical = float(p.detach().norm()) / p.numel() ** 0.5
            size = p.shape[1:].numel() ** -0.5 if p.ndim > 1 else max(0.1, typical)
            scales.append(torch.full((p.numel(),), size, dtype=p.dtype, device=p.device))
    return torch.cat(scales)


def plain_history(history: Any) -> tuple[float, ...]:
    """The losses of a history: a sequence, or the ``loss`` column of a Trajectory."""
    if history is None:
        return ()
    values = history["loss"].values if isinstance(history, Trajectory) else history
    return tuple(float(value) for value in values)
