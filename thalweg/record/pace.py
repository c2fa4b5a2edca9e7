"""The budget of a watcher: how soon it may work again after what it did."""

import math

__all__ = ["OWN_CLOCK", "Pace"]

OWN_CLOCK = 0.2
"""Part of the budget that the recorder's own clock may show. Inside a training a look finds cold
caches and leaves them cold, and costs two to three times what the clock around it sees; and the
call at every step, which no clock is held against, takes its part of the budget too."""


class Pace:
    """Keeps work to a share of the time.

    After work that took a cost, the next comes no sooner than cost/share later, so that a pause of
    the training saves nothing up for later.

    Attributes:
        next: time from which work may be done.
        spent: seconds that all of it took so far.
    """

    def __init__(self, overhead: float) -> None:
        self.share = OWN_CLOCK * overhead
        self.next = 0.0 if overhead else math.inf
        self.spent = 0.0

    def is_due(self, now: float) -> bool:
        """Whether work may be done now."""
        return now >= self.next

    def took(self, cost: float, end: float) -> None:
        """Say what the work cost and when it ended, in seconds; work not yet paid for adds up."""
        self.spent += cost
        if not self.share:
            self.next = math.inf
        else:
            self.next = max(self.next, end) + cost / self.share
