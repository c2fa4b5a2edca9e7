"""A block of trials: rows of one tensor, with generators of their own."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.base import Objective
from thalweg.objective.supervised import Supervised
from thalweg.run.draws import draws
from thalweg.run.minibatches import Descended
from thalweg.run.plan import DTYPES, Distribution, Plan
from thalweg.run.statistics import Statistic

__all__ = ["NEVER", "SIZE", "Block", "Losses", "rows_of_a_block"]

NEVER = -1
"""Where the step at which something happened would stand, for a trial to which it did not."""

SIZE = 2**17
"""Coordinates in a block: what a processor keeps close, and enough that calls cost little."""


def rows_of_a_block(dim: int) -> int:
    """Trials in a block: it depends on the dimension alone, so that seeds do."""
    return max(1, SIZE // dim)


class Losses:
    """Sum and number of the losses that were finite at each step, over the blocks."""

    def __init__(self, steps: int) -> None:
        self.sums, self.counts = np.zeros(steps + 1), np.zeros(steps + 1, np.int64)

    def copy(self) -> "Losses":
        """What there is so far."""
        twin = Losses(0)
        twin.sums, twin.counts = self.sums.copy(), self.counts.copy()
        return twin

    def add(self, step: int, total: float, count: int) -> None:
        """Of a block."""
        self.sums[step] += total
        self.counts[step] += count

    def means(self, steps: Sequence[int]) -> np.ndarray[Any, Any]:
        """At these steps; NaN where no trial was left."""
        with np.errstate(invalid="ignore"):
            return self.sums[steps] / self.counts[steps]


class Block:
    """The state of a block of trials between two updates.

    Attributes:
        rows: the numbers of its trials.
        points: ``(rows, dim)``; those of trials that diverged mean nothing, see :meth:`where`.
        alive: which have not diverged.
        gradient: a faster way to losses and slopes, where there is one.
        several: several updates at once, where that is compiled.
        updates: made so far while any was alive.
    """

    def __init__(
        self,
        objective: Objective,
        plan: Plan,
        number: int,
        rows: range,
        losses: Losses,
        statistics: Sequence[Statistic] = (),
    ) -> None:
        generators = plan.generators(number)
        self.plan, self.rows, self.losses = plan, rows, losses
        self.points = _starts(objective, plan, rows, generators.starts).requires_grad_()
        self.descended = Descended(objective, plan, self.points.detach(), generators.batches)
        noise = plan.noise
        assert not isinstance(noise, str)
        self.draws = None if noise is None else draws(noise, self.points.detach(), generators.noise)
        self.optimizer = plan.make_optimizer(self.points)
        self.schedule = plan.make_schedule(self.optimizer)
        self.plateau = isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
        self.lbfgs = isinstance(self.optimizer, torch.optim.LBFGS)
        self.ones = torch.ones(len(rows), dtype=self.points.dtype, device=self.points.device)
        self.alive = self.ones.bool()
        self.all_alive = True
        self.frozen = self.points.detach().clone()
        self.diverged_at = np.full(len(rows), NEVER)
        self.gradient: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
        self.several: Callable[..., Any] | None = None
        self.updates = 0
        self.last_seen = -1
        self.tallies = [statistic.begin(self.points.detach()) for statistic in statistics]
        self.kept: list[tuple[int, np.ndarray[Any, Any]]] = []
        named = plan.points_of if plan.points_of is not None else rows
        keeps = plan.points_every is not None
        self.chosen = [n - rows.start for n in named if n in rows] if keeps else []

    @property
    def lives(self) -> bool:
        """Whether any trial has not diverged."""
        return self.all_alive or bool(self.alive.any())

    def update(self, step: int) -> None:
        """One update of every trial."""
        if not self.lives:
            self.see(step)
            return
        batch = self.descended.next()
        drawn = None if self.draws is None else self.draws.next()

        def closure() -> Tensor:
            if self.gradient is not None:
                losses, slopes = self.gradient(self.points.detach())
            else:
                with torch.enable_grad():
                    losses = batch(self.points)
                    (slopes,) = torch.autograd.grad(losses, self.points, self.ones)
            if self.draws is not None and drawn is not None:
                slopes = self.draws.add_to(slopes, drawn)
            self.points.grad = slopes
            return losses.detach()

        losses = closure()
        self.observe(step, losses)
        if not self.lives:
            return
        if self.lbfgs:  # evaluates as often as it likes, under the one draw of this update
            self.optimizer.step(lambda: closure().sum())  # pyright: ignore[reportCallIssue, reportArgumentType]
        else:
            self.optimizer.step()
        self.follow_schedule(losses)
        self.updates = step + 1

    def follow_schedule(self, losses: Tensor) -> None:
        """The scheduler's step after the optimizer's."""
        if self.plateau:
            self.schedule.step(float(losses.sum()))  # pyright: ignore[reportOptionalMemberAccess]
        elif self.schedule is not None:
            self.schedule.step()

    def observe(self, step: int, losses: Tensor) -> None:
        """Note what is seen at a step, and freeze what has just diverged."""
        total = float(losses.sum())
        if self.all_alive and np.isfinite(total):
            self.losses.add(step, total, len(self.rows))
        else:
            self._freeze(step, torch.isfinite(losses))
            alone = self.plan.trials == 1  # its loss is told even where it is not finite
            left = losses if alone else losses[self.alive]
            self.losses.add(step, float(left.sum()), len(left))
        self.see(step)

    def see(self, step: int) -> None:
        """Show the points to the statistics, and keep them if the plan says so."""
        if step == self.last_seen:
            return
        self.last_seen = step
        every = self.plan.points_every
        keeps = every is not None and step % every == 0 and self.chosen
        if not keeps and not self.tallies:
            return
        points = self.where()
        for tally in self.tallies:
            tally.see(step, points, self.alive)
        if keeps:
            self.kept.append((step, points[self.chosen].cpu().numpy()))

    def where(self) -> Tensor:
        """The points, those of diverged trials where they were frozen."""
        points = self.points.detach()
        return points if self.all_alive else torch.where(self.alive[:, None], points, self.frozen)

    def finish(self, step: int) -> None:
        """The end, before the update of that step: look, evaluate, and let go of what is used up."""
        with torch.no_grad():
            points = self.where().clone()
            losses = self.descended.whole(points)
            if self.lives:
                self.observe(step, losses)
            else:
                self.see(step)
        self.ends = points.cpu().numpy(), losses.cpu().numpy()
        del self.optimizer, self.schedule, self.descended, self.draws, self.frozen, self.points

    def rate(self) -> float:
        """The learning rate of the next update."""
        return float(self.optimizer.param_groups[0]["lr"])

    def _freeze(self, step: int, finite: Tensor) -> None:
        lost = self.alive & ~finite
        self.alive = self.alive & finite
        self.all_alive = bool(self.alive.all())
        if lost.any():
            self.diverged_at[lost.cpu().numpy()] = step
            with torch.no_grad():
                self.frozen[lost] = self.points[lost]


def _starts(objective: Objective, plan: Plan, rows: range, generator: torch.Generator) -> Tensor:
    own = objective.start(generator, len(rows)).detach()
    dtype = own.dtype if plan.dtype is None else DTYPES[plan.dtype]
    if dtype != own.dtype and isinstance(objective, Supervised):
        raise UsageError(f"dtype must be that of the model, not {plan.dtype}")
    if plan.starts is None:
        return own.to(dtype, copy=True)
    if isinstance(plan.starts, str):
        drawn = torch.empty_like(own)
        return Distribution.parse(plan.starts, "starts").draw_into(drawn, generator).to(dtype)
    points = torch.tensor(plan.starts, dtype=dtype, device=own.device)
    if points.shape[-1] != objective.dim:
        raise UsageError(
            f"starts must have {objective.dim} coordinates like the objective, but has "
            f"{points.shape[-1]}"
        )
    if points.ndim == 2:
        return points[rows.start : rows.stop].clone()
    return points.expand(len(rows), -1).clone()
