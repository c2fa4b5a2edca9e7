"""Whether a loop tells a step's loss before the optimizer's update or after it."""

from typing import Any

import torch

__all__ = ["Order"]


class Order:
    """Learns from the first calls whether a step's loss is told before its update.

    A loop that begins with an update tells losses after it. Where losses came first, updates may
    still come first in the loop: gradients may be accumulated, or a GradScaler may have skipped an
    update. Then fewer losses come before the first update than between it and the second.

    Attributes:
        step_comes_first: the loss is told before the update of its step.
        settled: that is sure.
    """

    def __init__(self) -> None:
        self.step_comes_first = self.settled = False
        self._losses = self._before_first = 0
        self._updates = 0
        self._hook: Any = None

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Learn of the updates, until it is settled."""
        self._hook = optimizer.register_step_post_hook(lambda *_: self.updated())

    def settle(self) -> None:
        """Losses are told after their updates, that is known."""
        self.settled, self.step_comes_first = True, False

    def detach(self) -> None:
        """Learn no more."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def stepped(self) -> None:
        """A loss was told."""
        self._losses += 1
        self.step_comes_first = self._updates == 0 or self.step_comes_first

    def updated(self) -> None:
        """An update was made."""
        self._updates += 1
        if self._updates == 1:
            self._before_first = self._losses
            self.settled = self._losses == 0
            self.step_comes_first = self._losses == 1  # after several they were accumulated
        else:
            self.step_comes_first = self._losses == self._before_first
            self.settled = True
        self._losses = 0
