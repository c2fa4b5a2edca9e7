"""The one loop over a Plan."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import DataError, UsageError
from thalweg.objective.base import Objective
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.run.plan import Distribution, Plan
from thalweg.trajectory import Column, Trajectory, environment

__all__ = ["descend"]

NEVER = -1
"""Where the step at which a trial diverged would stand, for one that did not."""


def descend(
    objective: Objective,
    plan: Plan,
    *,
    progress: Callable[[int, int], None] | None = None,
    interrupt: Callable[[], bool] | None = None,
) -> Trajectory:
    """Run the plan: ``x ← step(x, ∇f(x) + ω)`` with torch's own optimizer, every trial a row.

    A trial whose loss is not finite has diverged: it is frozen at the point where that was seen,
    counted, and spoils no other; when all have, the run ends.

    Args:
        objective: what is descended; needs examples if the plan has a batch.
        plan: how.
        progress: called with the steps done and the steps planned, about a hundred times.
        interrupt: asked before every step; when it answers True the run ends there.

    Returns:
        A Trajectory with the columns ``loss`` (at steps 0 to the last: the loss before that update,
        on the batch if there is one; the mean over the trials that have not diverged, or the one
        trial's), ``learning_rate`` (of each update), ``diverged`` (number of trials, where it
        changed) and, if asked for, ``points`` ``(n, trials, dim)``; and the end ``points``
        ``(trials, dim)``, ``losses`` ``(trials,)``, ``diverged_at`` ``(trials,)`` (−1: not),
        ``steps`` (updates made).

    Raises:
        UsageError: starting points of another dimension; a batch without examples, or larger than
            there are.
    """
    run = _Run(objective, plan)
    every = max(1, plan.steps // 100)
    for step in range(plan.steps):
        if not run.alive.any() or (interrupt is not None and interrupt()):
            break
        run.update(step)
        if progress is not None and ((step + 1) % every == 0 or step + 1 == plan.steps):
            progress(step + 1, plan.steps)
    return run.trajectory()


class _Run:
    """The state of a run between two updates."""

    def __init__(self, objective: Objective, plan: Plan) -> None:
        self.objective, self.plan = objective, plan
        self.generators = plan.generators()
        self.batches = _Batches(objective, plan, self.generators.batches)
        self.points = _starts(objective, plan, self.generators.starts).requires_grad_()
        self.optimizer = plan.make_optimizer(self.points)
        self.schedule = plan.make_schedule(self.optimizer)
        self.plateau = isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
        self.lbfgs = isinstance(self.optimizer, torch.optim.LBFGS)
        self.noise = plan.noise_distribution()
        self.draws = torch.empty(self.points.shape, dtype=self.points.dtype)
        self.alive = torch.ones(plan.trials, dtype=torch.bool, device=self.points.device)
        self.frozen = self.points.detach().clone()
        self.diverged_at = np.full(plan.trials, NEVER)
        self.updates = 0
        self.losses: list[Tensor] = []
        self.rates: list[float] = []
        self.diverged: list[tuple[int, int]] = []
        self.kept: list[tuple[int, np.ndarray[Any, Any]]] = []

    def update(self, step: int) -> None:
        """One update of every trial."""
        objective = self.batches.next()
        noise = self._draw_noise()

        def closure() -> Tensor:
            with torch.enable_grad():
                losses = objective.loss(self.points)
                (slope,) = torch.autograd.grad(losses.sum(), self.points)
            self.points.grad = slope if noise is None else slope.add_(noise)
            return losses.detach()

        losses = closure()
        self.observe(step, losses)
        if not self.alive.any():
            return
        self.rates.append(float(self.optimizer.param_groups[0]["lr"]))
        if self.lbfgs:  # evaluates as often as it likes, under the one draw of this update
            self.optimizer.step(lambda: closure().sum())  # pyright: ignore[reportCallIssue, reportArgumentType]
        else:
            self.optimizer.step()
        if self.plateau:
            self.schedule.step(float(losses.sum()))  # pyright: ignore[reportOptionalMemberAccess]
        elif self.schedule is not None:
            self.schedule.step()
        self.updates = step + 1

    def observe(self, step: int, losses: Tensor) -> None:
        """Note what is seen at a step, and freeze what has just diverged."""
        every = self.plan.points_every
        finite = torch.isfinite(losses)
        if not finite.all():
            lost = self.alive & ~finite
            self.alive = self.alive & finite
            if lost.any():
                self.diverged_at[lost.cpu().numpy()] = step
                self.diverged.append((step, int((~self.alive).sum())))
                with torch.no_grad():
                    self.frozen[lost] = self.points[lost]
        if self.plan.trials == 1:
            self.losses.append(losses[0])
        elif not self.diverged:
            self.losses.append(losses.mean())
        else:
            self.losses.append(losses[self.alive].mean())
        if every is not None and step % every == 0:
            self.kept.append((step, self.where().cpu().numpy()))

    def where(self) -> Tensor:
        """The points, those of diverged trials where they were frozen."""
        return torch.where(self.alive[:, None], self.points.detach(), self.frozen)

    def trajectory(self) -> Trajectory:
        """The record, with the loss of the end evaluated on all examples."""
        with torch.no_grad():
            losses = self.objective.loss(self.points)
        if len(self.losses) == self.updates:
            self.observe(self.updates, losses)
        end = self.where()
        if self.diverged:
            with torch.no_grad():
                losses = torch.where(self.alive, losses, self.objective.loss(end))
        values = torch.stack(self.losses).cpu().numpy()
        steps, counts = zip(*self.diverged) if self.diverged else ((), ())
        columns = {
            "loss": Column(np.arange(len(values)), values),
            "learning_rate": Column(np.arange(len(self.rates)), np.array(self.rates)),
            "diverged": Column(np.array(steps, np.int64), np.array(counts, np.int64)),
        }
        if self.plan.points_every is not None:
            at, points = zip(*self.kept)
            columns["points"] = Column(np.array(at), np.stack(points))
        return Trajectory(
            columns,
            {
                "points": end.cpu().numpy(),
                "losses": losses.cpu().numpy(),
                "diverged_at": self.diverged_at,
                "steps": np.array(self.updates),
            },
            environment(),
        )

    def _draw_noise(self) -> Tensor | None:
        if self.noise is None:
            return None
        return self.noise.draw_into(self.draws, self.generators.noise).to(self.points.device)


class _Batches:
    """The objective of each update: the whole, or one on a mini-batch without replacement."""

    def __init__(self, objective: Objective, plan: Plan, generator: torch.Generator) -> None:
        self.whole, self.size, self.generator = objective, plan.batch, generator
        self.order: list[int] = []
        if plan.batch is None:
            return
        if not isinstance(objective, Supervised) or objective.examples is None:
            raise UsageError(
                f"batch must be None for an objective without examples, not {plan.batch}"
            )
        if plan.batch > objective.examples:
            raise DataError(
                f"batch must be at most the number of examples, {objective.examples}, "
                f"not {plan.batch}"
            )

    def next(self) -> Objective:
        if self.size is None or not isinstance(self.whole, Supervised):
            return self.whole
        if len(self.order) < self.size:
            self.order = torch.randperm(len(self.whole.data), generator=self.generator).tolist()
        rows, self.order = self.order[: self.size], self.order[self.size :]
        everything = self.whole.data.fetch

        def fetch(which: Any) -> Any:
            return everything(rows[which] if isinstance(which, slice) else [rows[i] for i in which])

        return self.whole.on(Examples(len(rows), len(rows), fetch), chunk=len(rows))


def _starts(objective: Objective, plan: Plan, generator: torch.Generator) -> Tensor:
    own = objective.start(generator, plan.trials)
    if plan.starts is None:
        return own.detach().clone()
    if isinstance(plan.starts, str):
        return Distribution.parse(plan.starts, "starts").draw_into(
            torch.empty_like(own), plan.generators().starts
        )
    points = torch.tensor(plan.starts, dtype=own.dtype, device=own.device)
    if points.shape[-1] != objective.dim:
        raise UsageError(
            f"starts must have {objective.dim} coordinates like the objective, but has "
            f"{points.shape[-1]}"
        )
    return points.expand(plan.trials, -1).clone()
