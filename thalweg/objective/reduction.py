"""How a loss joins the examples of a batch: their mean, their sum, or a sum beside a penalty."""

import math
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from thalweg.objective.examples import batch_length

__all__ = ["Reduction"]

EXACT = 1e-3
"""Relative deviation from a whole multiple that rounding may cause."""


class Reduction(Enum):
    """What becomes of a loss when its batch is given twice over."""

    MEAN = "mean"
    """The same: a mean over the examples, or nothing that is understood here."""
    SUM = "sum"
    """Twice as much."""
    SUM_AND_PENALTY = "sum and penalty"
    """More by the sum over the examples: the rest, an L2 term say, is there once."""

    @classmethod
    def of(cls, value: Callable[[Any, int], float], batch: Any) -> "Reduction":
        """Found by giving a few examples once, twice and three times; ``value(batch, seed)``."""
        twice, thrice = _repeated(batch, 2), _repeated(batch, 3)
        if twice is None or thrice is None:
            return cls.MEAN
        try:
            one, two, three = value(batch, 0), value(twice, 0), value(thrice, 0)
            noise = abs(one - value(batch, 1))  # of a model that draws in every pass
        except Exception:
            return cls.MEAN
        added = two - one
        if not all(map(math.isfinite, (one, two, three))) or abs(added) <= EXACT * abs(one):
            return cls.MEAN
        if abs(added - one) <= min(0.3 * abs(one), EXACT * abs(one) + 3 * noise):
            return cls.SUM
        if abs(three - two - added) <= EXACT * abs(added):
            return cls.SUM_AND_PENALTY
        return cls.MEAN

    def mean(self, loss: Callable[[Any], Tensor], batch: Any, unit: int) -> Tensor:
        """The loss as a mean over the batch, times ``unit`` where it is a sum; the penalty once."""
        if self is Reduction.MEAN:
            return loss(batch)
        share = unit / batch_length(batch)
        if self is Reduction.SUM:
            return loss(batch) * share
        twice = _repeated(batch, 2)
        value = loss(batch)
        added = loss(twice) - value
        return share * added + (value - added)


def _repeated(batch: Any, times: int) -> Any | None:
    """Every example so many times; None where the batch is no stack of tensors."""
    leaves = [leaf for leaf in tree_flatten(batch)[0] if isinstance(leaf, Tensor)]
    if not leaves or any(leaf.ndim == 0 or len(leaf) != len(leaves[0]) for leaf in leaves):
        return None
    return tree_map(
        lambda leaf: torch.cat([leaf] * times) if isinstance(leaf, Tensor) else leaf, batch
    )
