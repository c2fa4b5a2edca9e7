"""The one loop over a Plan."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from thalweg.errors import UsageError
from thalweg.objective.base import Objective
from thalweg.objective.supervised import Supervised
from thalweg.run.block import Block, Losses, rows_of_a_block
from thalweg.run.compiled import Compiled
from thalweg.run.plan import Plan
from thalweg.run.statistics import Statistic
from thalweg.trajectory import Column, Trajectory, environment

__all__ = ["descend"]


def descend(
    objective: Objective,
    plan: Plan,
    *,
    statistics: Sequence[Statistic] = (),
    chunk: int | None = None,
    compile: bool = False,
    progress: Callable[[int, int], None] | None = None,
    interrupt: Callable[[], bool] | None = None,
) -> Trajectory:
    """Run the plan: ``x ← step(x, ∇f(x) + ω)`` with torch's own optimizer, every trial a row.

    Trials are stepped in blocks of 131 072 coordinates, each with random generators of its own: the
    result does not depend on ``chunk``. A trial whose loss is not finite has diverged: it is frozen
    at the point where that was seen, counted, and spoils no other; when all have, the run ends.
    Memory: a few times the points of all trials, or of a chunk of them, and the ends.

    Args:
        objective: what is descended; needs examples if the plan has a batch.
        plan: how.
        statistics: what to gather while it runs, see :mod:`thalweg.run.statistics`.
        chunk: how many trials are in motion at a time, rounded up to whole blocks: the others
            begin when those have ended. ``None`` steps all of them together.
        compile: compile the step, which then runs several times as fast after the seconds that
            the compiler takes: SGD on a landscape whole, other optimizers the gradient only.
            Losses are then seen, and divergence is noticed, at every eighth step. Where nothing
            can be compiled the run is as without, and a note says why.
        progress: called with the steps done and the steps planned, about a hundred times.
        interrupt: asked before every step; when it answers True the run ends there. With ``chunk``
            what was in motion is then left out, unless nothing had ended before.

    Returns:
        A Trajectory with the columns ``loss`` (at steps 0 to the last: the loss before that update,
        on the batches if there are; the mean over the trials that have not diverged, or the one
        trial's), ``learning_rate`` (of each update), ``diverged`` (number of trials, where it
        changed) and, if asked for, ``points`` ``(n, trials, dim)`` and those of the statistics; and
        the end ``points`` ``(trials, dim)``, ``losses`` ``(trials,)``, ``diverged_at``
        ``(trials,)`` (−1: not), ``steps`` (updates made) and those of the statistics.

    Raises:
        UsageError: starting points or a target of another dimension; a batch without examples, or
            larger than there are.
    """
    if chunk is not None and (not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1):
        raise UsageError(f"chunk must be a whole number of 1 or more, not {chunk!r}")
    run = _Run(objective, plan, statistics, compile)
    size = rows_of_a_block(objective.dim)
    blocks = [
        (number, range(first, min(first + size, plan.trials)))
        for number, first in enumerate(range(0, plan.trials, size))
    ]
    at_once = len(blocks) if chunk is None else -(-chunk // size)
    tell = _Progress(progress, plan.steps, len(blocks))
    with nullcontext() if isinstance(objective, Supervised) else _one_thread():
        for first in range(0, len(blocks), at_once):
            part = [run.block(number, rows) for number, rows in blocks[first : first + at_once]]
            if not run.advance(part, interrupt, tell):
                break
        return run.trajectory()


class _Run:
    """What a run has come to."""

    def __init__(
        self, objective: Objective, plan: Plan, statistics: Sequence[Statistic], compile: bool
    ) -> None:
        self.objective, self.plan, self.statistics = objective, plan, statistics
        self.losses = Losses(plan.steps)
        self.rates = np.zeros(plan.steps)
        self.finished: list[Block] = []
        self.notes: list[str] = []
        self.compiled = Compiled(objective, plan) if compile else None

    def block(self, number: int, rows: range) -> Block:
        """A block of trials at its start."""
        block = Block(self.objective, self.plan, number, rows, self.losses, self.statistics)
        if self.compiled is not None:
            self.compiled.prepare(block)
        return block

    def advance(
        self, part: list[Block], interrupt: Callable[[], bool] | None, tell: "_Progress"
    ) -> bool:
        """Step some blocks to their end; False where that was interrupted."""
        step, steps = 0, self.plan.steps
        before = self.losses.copy()
        alone = not self.finished and part[-1].rows.stop == self.plan.trials
        while step < steps:
            if alone and not any(block.lives for block in part):
                break
            if interrupt is not None and interrupt():
                trials = part[0].rows.start or part[-1].rows.stop
                if trials < self.plan.trials:
                    note = f"interrupted: the first {trials} of {self.plan.trials} trials"
                    self.notes.append(note)
                if not self.finished:
                    break
                self.losses = before
                return False
            stride = 1 if self.compiled is None else self.compiled.stride(step, steps)
            for block in part:
                if block.lives:  # the schedule of one whose trials have all diverged stands still
                    self.rates[step] = block.rate()
                if self.compiled is None or stride == 1:
                    block.update(step)
                elif rates := self.compiled.advance(block, step):
                    self.rates[step : step + stride] = rates
            step += stride
            tell(stride, len(part))
        for block in part:
            block.finish(step)
        self.finished += part
        return step == steps or alone

    def trajectory(self) -> Trajectory:
        """The record, with the losses of the end evaluated on all examples."""
        blocks = self.finished
        updates = max(block.updates for block in blocks)
        seen = self._seen(updates)
        if self.compiled is not None and self.compiled.refusal is not None:
            self.notes.append(f"not compiled: {self.compiled.refusal}")
        diverged_at = np.concatenate([block.diverged_at for block in blocks])
        steps, counts = np.unique(diverged_at[diverged_at >= 0], return_counts=True)
        columns = {
            "loss": Column(np.array(seen), self.losses.means(seen)),
            "learning_rate": Column(np.arange(updates), self.rates[:updates]),
            "diverged": Column(steps.astype(np.int64), counts.cumsum().astype(np.int64)),
        }
        end: dict[str, Any] = {
            "points": np.concatenate([block.ends[0] for block in blocks]),
            "losses": np.concatenate([block.ends[1] for block in blocks]),
            "diverged_at": diverged_at,
            "steps": np.array(updates),
        }
        if self.plan.points_every is not None:
            columns["points"] = self._paths(updates)
        for place, statistic in enumerate(self.statistics):
            found = statistic.result([block.tallies[place] for block in blocks], updates)
            columns |= found[0]
            end |= found[1]
        return Trajectory(columns, end, environment(), tuple(self.notes))

    def _seen(self, updates: int) -> list[int]:
        """The steps at which losses were seen, up to the last."""
        seen, step = {updates}, 0
        while step < updates:
            seen.add(step)
            step += 1 if self.compiled is None else self.compiled.stride(step, self.plan.steps)
        return sorted(seen)

    def _paths(self, updates: int) -> Column:
        """The kept points of the chosen trials, in the order in which the plan names them."""
        blocks = [block for block in self.finished if block.chosen]
        steps = [step for step, _ in blocks[0].kept if step <= updates] if blocks else []
        rows = [np.stack([points for _, points in block.kept[: len(steps)]]) for block in blocks]
        numbers = [number + block.rows.start for block in blocks for number in block.chosen]
        points = np.concatenate(rows, 1) if rows else np.zeros((0, 0, self.objective.dim))
        if self.plan.points_of is not None:
            wanted = [number for number in self.plan.points_of if number in set(numbers)]
            points = points[:, [numbers.index(number) for number in wanted]]
        return Column(np.array(steps, np.int64), points)


@contextmanager
def _one_thread() -> Iterator[None]:
    """A block is too small to be shared, and what threads share they may round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Progress:
    """Tells about a hundred times how many steps of all blocks are done."""

    def __init__(self, tell: Callable[[int, int], None] | None, steps: int, blocks: int) -> None:
        self.tell, self.steps, self.blocks = tell, steps, blocks
        self.every = max(1, steps // 100)
        self.done = self.told = 0

    def __call__(self, steps: int, blocks: int) -> None:
        self.done += steps * blocks
        now = self.done // self.blocks
        if self.tell is not None and now > self.told:
            if now // self.every > self.told // self.every or now == self.steps:
                self.tell(now, self.steps)
            self.told = now
