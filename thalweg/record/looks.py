"""Looks at the gradients between a training's steps, as often as a budget allows."""

import math
import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thalweg.record.pile_up import PileUp

__all__ = ["Look", "Looks", "Pace"]

OWN_CLOCK = 0.3
"""Part of the budget that the recorder's own clock may show: inside a training a look finds cold
caches and leaves them cold, and costs two to three times what the clock around it sees."""


class Pace:
    """Keeps one kind of work to a share of the time.

    After work that took a cost, the next comes no sooner than cost/share later, so that a pause of
    the training saves nothing up for later.
    """

    def __init__(self, overhead: float) -> None:
        self.share = OWN_CLOCK * overhead
        self._next = 0.0 if overhead else math.inf

    def is_due(self, now: float) -> bool:
        """Whether the work may be done now."""
        return now >= self._next

    def took(self, cost: float, end: float) -> None:
        """Say what the work cost and when it ended, in seconds."""
        self._next = end + cost / self.share if self.share else math.inf


class Look(NamedTuple):
    """What was seen right after an update."""

    step: int
    gradient_norm: Tensor | float
    accumulates: bool | None


class Looks:
    """Looks at pairs of consecutive updates of an optimizer, by a hook after its step.

    Attributes:
        rate: learning rate of the last update, of the first parameter group; ``None`` before any.
        new: the looks since they were last taken away.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, overhead: float) -> None:
        self.rate: Tensor | float | None = None
        self.new: list[Look] = []
        self._optimizer = optimizer
        self._pace = Pace(overhead)
        self._pile_up = PileUp()
        self._second = False
        self._cost = 0.0
        self._recorder: Any = None
        self._hook: Any = None

    def attach(self, recorder: Any) -> None:
        """Start; ``recorder.step_of_update()`` tells the number of the step that an update is of."""
        self._recorder = recorder
        self._hook = self._optimizer.register_step_post_hook(self._after_update)

    def detach(self) -> None:
        """Stop."""
        if self._hook is not None:
            self._hook.remove()
        self._pile_up.stop()

    def rate_now(self) -> Tensor | float:
        """The learning rate as the optimizer has it."""
        rate = self._optimizer.param_groups[0]["lr"]
        return rate.detach().clone() if isinstance(rate, Tensor) else rate

    def _after_update(self, *_: Any) -> None:
        step = self._recorder.step_of_update()
        self.rate = self.rate_now()
        begin = time.perf_counter()
        if not self._second and not self._pace.is_due(begin):
            return
        with torch.no_grad():
            self._look(step)
        end = time.perf_counter()
        self._cost = end - begin + (self._cost if self._second else 0.0)
        self._pace.took(self._cost, end)
        self._second = not self._second

    def _look(self, step: int) -> None:
        accumulates = self._pile_up.verdict() if self._second else None
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        if gradients:
            dense = [g.coalesce().values() if g.is_sparse else g for g in gradients]
            norm = torch.nn.utils.get_total_norm(dense)
            self.new.append(Look(step, norm, accumulates))
        if not self._second:
            self._pile_up.watch(parameters)
