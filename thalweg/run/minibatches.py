"""What is descended at an update: the whole objective, or a mini-batch of every trial's own."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import DataError, UsageError
from thalweg.objective.base import Objective
from thalweg.objective.examples import Examples
from thalweg.objective.landscapes import FiniteSum
from thalweg.objective.supervised import Supervised
from thalweg.run.plan import Plan
from thalweg.run.restarts import Restarts

__all__ = ["Descended", "draw_batches"]

Losses = Callable[[Tensor], Tensor]
"""Losses ``(rows,)`` at points ``(rows, dim)``."""


class Descended:
    """What a block of trials that starts at ``points`` ``(rows, dim)`` descends.

    Attributes:
        whole: losses on all examples.

    Raises:
        UsageError: a batch for an objective without examples.
        DataError: a batch larger than there are examples.
    """

    def __init__(
        self, objective: Objective, plan: Plan, points: Tensor, generator: torch.Generator
    ) -> None:
        _check(objective, plan)
        self.objective, self.device = objective, points.device
        self.restarts = (
            Restarts.of(objective, points)
            if isinstance(objective, Supervised) and len(points) > 1
            else None
        )
        self.whole: Losses = objective.loss if self.restarts is None else self.restarts.loss
        self.chosen = None
        if plan.batch is not None and objective.examples is not None:
            self.chosen = draw_batches(
                objective.examples, plan.batch, len(points), generator, plan.replacement
            )

    def next(self) -> Losses:
        """What the next update descends."""
        return self.whole if self.chosen is None else self._on(next(self.chosen))

    def _on(self, chosen: Tensor) -> Losses:
        objective, restarts = self.objective, self.restarts
        if restarts is not None:
            return lambda points: restarts.loss(points, chosen)
        if isinstance(objective, Supervised):
            return _part(objective, chosen[0].tolist()).loss
        assert isinstance(objective, FiniteSum)
        which = chosen.to(self.device)
        return lambda points: objective.each(points, which).mean(-1)


def draw_batches(
    examples: int, batch: int, rows: int, generator: torch.Generator, replacement: bool
) -> Iterator[Tensor]:
    """Numbers of examples ``(rows, batch)`` for update after update; rows are independent.

    Without replacement a row goes through all examples in a random order and starts anew when
    fewer than a batch are left. Memory: ``rows × examples`` whole numbers.
    """
    if replacement:
        while True:
            yield torch.randint(examples, (rows, batch), generator=generator)
    while True:
        if rows == 1:
            order = torch.randperm(examples, generator=generator)[None]
        else:
            order = torch.rand(rows, examples, generator=generator).argsort(1)
        for first in range(0, examples - batch + 1, batch):
            yield order[:, first : first + batch]


def _check(objective: Objective, plan: Plan) -> None:
    if plan.batch is None:
        return
    known = isinstance(objective, Supervised | FiniteSum)
    if not known or objective.examples is None:
        raise UsageError(f"batch must be None for an objective without examples, not {plan.batch}")
    if plan.batch > objective.examples:
        raise DataError(
            f"batch must be at most the number of examples, {objective.examples}, not {plan.batch}"
        )


def _part(objective: Supervised, rows: list[int]) -> Supervised:
    everything = objective.data.fetch

    def fetch(which: Any) -> Any:
        return everything(rows[which] if isinstance(which, slice) else [rows[i] for i in which])

    return objective.on(Examples(len(rows), len(rows), fetch), chunk=len(rows))
