"""The battery: the same experiments on every generated run, whatever it is suspected of."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thalweg.clinic.hessian import dense_hessian, lean
from thalweg.clinic.interventions import (
    Intervention,
    adam,
    constant_rate,
    decay,
    decay_of,
    fork,
    full_batch,
    momentum,
    nothing,
    objective,
    rate,
)
from thalweg.clinic.training import sharpness
from thalweg.clinic.truth.experiment import Run, continued, downhill, mean, settled
from thalweg.task import Task

__all__ = ["Battery", "fresh", "push"]

PASSES, STEPS = 30.0, (40, 400)
"""Length of an experiment: so many passes over the data, within so many steps."""

DIMENSIONS = 1200
"""Parameters up to which the whole Hessian is taken."""

LEAST = 0.03
"""The range of the objective is at least this share of the constant predictor's loss."""

LOOKS = 16
"""Looks at the objective along a run."""


def _sizes(model: nn.Module) -> list[Tensor]:
    """The usual size of each weight after a fresh start: 1/√fan-in, for a vector at least 0.1."""
    return [
        torch.full_like(p, p.shape[1:].numel() ** -0.5)
        if p.ndim > 1
        else torch.full_like(p, max(0.1, float(p.detach().norm()) / p.numel() ** 0.5))
        for p in model.parameters()
    ]


def push(size: float) -> Intervention:
    """Gaussian noise on every weight, in units of the usual size of a fresh one."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        with torch.no_grad():
            for weight, usual in zip(task.model.parameters(), _sizes(task.model), strict=True):
                noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
                weight += size * usual * noise
        return task

    return Intervention(f"push {size:g}", apply)


def fresh(build: Callable[[], nn.Module]) -> Intervention:
    """The same network from a fresh start, under a new optimizer of the same kind and settings."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        number = int(torch.randint(2**31, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(number)
            model = build().to(next(task.model.parameters()).dtype)
        group = {k: v for k, v in task.optimizer.param_groups[0].items() if k != "params"}
        known = {k: v for k, v in group.items() if k in task.optimizer.defaults}
        optimizer = type(task.optimizer)(model.parameters(), **known)
        return replace(task, model=model, optimizer=optimizer, schedule=None)

    return Intervention("a fresh start", apply)


@dataclass
class Battery:
    """The experiments on one task, each made when it is first asked for.

    Falls are shares of the range of the objective: from the best constant predictor, or the start
    where that is higher, to the lowest that any experiment reached.

    Attributes:
        task: as it stands.
        build: the same network with a fresh start.
        mend: undoes a fault of wiring or data, where one was put in.
        seed: of the data orders and of all noise.
    """

    task: Task
    build: Callable[[], nn.Module]
    mend: Intervention | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._runs: dict[str, list[Run]] = {}
        rows, size = len(self.task.train[0]), self.task.batch_size
        self.noisy = size is not None and size < rows
        steps = PASSES * rows / (size or rows)
        self.steps = int(min(max(steps, STEPS[0]), STEPS[1]))

    def runs(self, change: Intervention, *, typical: bool = False, orders: int = 1) -> list[Run]:
        """The run continued after a change, over so many orders of the data."""
        key = f"{change}, {typical}, {orders}"
        if key not in self._runs:
            self._runs[key] = [
                continued(
                    self.task,
                    change,
                    steps=self.steps,
                    seed=2 * self.seed + k,
                    looks=LOOKS,
                    typical=typical,
                )
                for k in range(orders if self.noisy or "push" in str(change) else 1)
            ]
        return self._runs[key]

    @cached_property
    def start(self) -> float:
        """The objective where the run stands."""
        return objective(self.task)

    @cached_property
    def constant(self) -> float:
        """The loss of the best constant predictor."""
        targets = self.task.train[1]
        if self.task.loss is cross_entropy:
            shares = torch.bincount(targets).double() / len(targets)
            return float(-torch.special.xlogy(shares, shares).sum())
        return float((targets - targets.mean(0)).square().mean())

    @cached_property
    def range(self) -> float:
        """From the constant predictor, or the start if that is higher, to the lowest reached."""
        arms = (nothing, adam(1e-2))
        lows = [
            min(filter(math.isfinite, r.objectives), default=math.inf)
            for a in arms
            for r in self.runs(a)
        ]
        lowest = min([self.start, self.descended, self.restarted, *lows])
        top = max(self.start, self.constant) if self.start < 3 * self.constant else self.constant
        return max(top - lowest, LEAST * self.constant, 1e-12)

    @cached_property
    def descended(self) -> float:
        """Where thirty steps of L-BFGS from here end."""
        return _finite(settled(self.task, nothing, seed=self.seed, steps=30))

    @cached_property
    def restarted(self) -> float:
        """Where sixty steps of L-BFGS from one fresh start end."""
        return _finite(settled(self.task, fresh(self.build), seed=self.seed, steps=60))

    @cached_property
    def search(self) -> tuple[float, ...]:
        """Where L-BFGS ends from fresh starts and from noise of three sizes, lowest first."""
        changes = [fresh(self.build)] * 6 + [push(size) for size in (0.3, 0.3, 1.0, 1.0)]
        ends = [
            settled(self.task, change, seed=100 * self.seed + k, steps=200)
            for k, change in enumerate(changes)
        ]
        return tuple(sorted(map(_finite, ends)))

    @cached_property
    def spectrum(self) -> Tensor | None:
        """The Hessian's eigenvalues, smallest first; None where it is too large to be taken."""
        if sum(p.numel() for p in self.task.model.parameters()) > DIMENSIONS:
            return None
        assert self.task.loss is not None
        _, hessian = dense_hessian(
            self.task.model, self.task.loss, self.task.train, decay=decay_of(self.task)
        )
        return torch.linalg.eigvalsh(hessian)

    @cached_property
    def lean(self) -> float:
        """The smallest curvature over the one of largest magnitude, weight decay left out."""
        assert self.task.loss is not None
        return lean(fork(self.task).model, self.task.loss, self.task.train)

    @cached_property
    def flat(self) -> float | None:
        """Share of directions whose curvature is 1e-6 of a fresh start's or less."""
        if self.spectrum is None:
            return None
        other = fresh(self.build).apply(fork(self.task), torch.Generator().manual_seed(self.seed))
        assert other.loss is not None
        usual = torch.linalg.eigvalsh(dense_hessian(other.model, other.loss, other.train)[1])
        return float((self.spectrum.abs() < 1e-6 * float(usual[-1])).double().mean())

    def fall(self, change: Intervention, *, orders: int = 1) -> float:
        """How far the objective comes down, as a share of the range; minus infinity if it blows up."""
        falls = [self.start - run.end for run in self.runs(change, orders=orders)]
        value = mean(falls) / self.range
        return value if math.isfinite(value) else -math.inf

    def late(self) -> float:
        """Fall of the unchanged run from its third quarter to its last, as a share of the range."""
        found = []
        for run in self.runs(nothing):
            size = len(run.objectives) // 4
            found.append(mean(run.objectives[-2 * size : -size]) - mean(run.objectives[-size:]))
        value = mean(found) / self.range
        return value if math.isfinite(value) else -math.inf

    def descent(self) -> float:
        """The fall of thirty steps of L-BFGS from here, as a share of the range."""
        return (self.start - self.descended) / self.range

    @cached_property
    def slope(self) -> float:
        """What one step along the gradient gains, from 0.1 to 3 times the longest stable one."""
        assert self.task.loss is not None
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            top = sharpness(fork(self.task).model, self.task.loss, self.task.train)
        longest = 2 / max(abs(top), 1e-12)
        ends = downhill(self.task, [factor * longest for factor in (0.1, 0.3, 0.5, 1.0, 3.0)])
        return (self.start - ends) / self.range

    def test_rise(self) -> float:
        """Rise of the held-out loss in the unchanged run, last quarter against start, in ranges."""
        found = []
        for run in self.runs(nothing):
            size = len(run.test_losses) // 4
            found.append(mean(run.test_losses[-size:]) - run.test_losses[0])
        return mean(found) / self.range

    def test_gap(self) -> float:
        """How far the held-out loss stands above that of training, in ranges."""
        run = self.runs(nothing)[0]
        return (run.test_losses[0] - self.start) / self.range

    def raised(self) -> dict[float, float]:
        """The falls at higher rates, tenfold at a time, until one is worse or far better.

        A fall that is small but grows with the rate is no sign that the rate is high enough.
        A schedule ends with the change, as it may lower the rate further.
        """
        found: dict[float, float] = {}
        own = max(self.fall(nothing), 0.01)
        now = self.task.optimizer.param_groups[0]["lr"]
        for factor in (3.0, 10.0, 100.0, 1e3, 1e4):
            change = rate(factor) if self.task.schedule is None else constant_rate(now * factor)
            found[factor] = self.fall(change)
            worse = found[factor] < found[3.0] - 0.002
            if worse or found[factor] < -1 or found[factor] > 8 * own:
                break
        return found

    @cached_property
    def gain_of_push(self) -> float:
        """How much further a small push takes sixty steps of L-BFGS, as a share of the range.

        Beside as many steps without it: else all that is told is what more steps do.
        """
        ends = [
            _finite(settled(self.task, change, seed=self.seed, steps=60))
            for change in (nothing, push(0.1))
        ]
        return (min(ends[0], self.start) - ends[1]) / self.range

    def others(self) -> dict[str, float]:
        """Falls of other optimizers in as many evaluations, and of L-BFGS."""
        changes = [adam(1e-2)]
        if isinstance(self.task.optimizer, torch.optim.SGD):
            changes.append(momentum(0.9))
        return {str(c): self.fall(c) for c in changes} | {"L-BFGS": self.descent()}

    def plain(self) -> float:
        """The loss over all examples, the optimizer's weight decay left out."""
        return objective(decay(0.0).apply(fork(self.task), torch.Generator()))

    def without_noise(self) -> float:
        """The fall with all examples in every step."""
        return self.fall(full_batch) if self.noisy else self.fall(nothing)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf
