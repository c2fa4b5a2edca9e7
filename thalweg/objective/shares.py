"""What share each chunk of the examples has in a loss that is a mean by weights of its own."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from thalweg.objective.examples import Examples, batch_length

__all__ = ["Shares"]

PART = 8
"""Examples of each of the three parts by which weights are noticed."""

FARS = (0.0, 0.1, 0.5, 1.0, 2.0)
"""Steps from the point at which two batches are compared, until their losses differ."""

APART = 0.03
"""Difference of two losses, as a share of the larger, that a weight is read off from."""

EXACT = 1e-3
"""Relative deviation from a plain mean, or from one by weights, that rounding may cause."""

Loss = Callable[[Any, float], float]
"""Of a batch, so many steps away from the point."""


class Shares:
    """Weights of batches in a loss that divides by a sum of weights: of classes, or of what is not ignored.

    Of a batch A and a reference R given together, ``L(A + R) = (a L(A) + r L(R)) / (a + r)``, so that
    ``a/r = (L(R) − L(A + R)) / (L(A + R) − L(A))``. A batch of nothing but ignored examples has no
    loss, and the weight 0.

    Made by :meth:`of`, which is None for a plain mean.
    """

    def __init__(self, loss: Loss, reference: Any) -> None:
        self._loss, self._reference = loss, reference

    @classmethod
    def of(cls, loss: Loss, data: Examples) -> "Shares | None":
        """Found on three small parts of the data; None where the loss is a plain mean over them.

        And where it is neither that nor a mean by weights: a loss that compares the examples of its
        batch is another one for another batch.
        """
        size = min(PART, data.length // 3)
        if size == 0:
            return None
        begins = (0, (data.length - size) // 2, data.length - size)
        parts = [data.fetch(slice(begin, begin + size)) for begin in begins]
        if any(_joined(part, part) is None for part in parts):
            return None
        try:
            weights = [cls(loss, parts[0]).weight(part) for part in parts[1:]]
            if not all(map(math.isfinite, weights)):  # it may be the reference that is ignored
                parts = parts[1:] + parts[:1]
                weights = [cls(loss, parts[0]).weight(part) for part in parts[1:]]
            consistent = cls(loss, parts[1]).weight(parts[2])
        except Exception:
            return None
        if all(abs(w - 1) <= EXACT for w in weights) or not all(0 <= w < math.inf for w in weights):
            return None
        first, second = weights
        if first > 0 and not abs(consistent - second / first) <= 10 * EXACT * (1 + consistent):
            return None
        return cls(loss, parts[0])

    def weight(self, batch: Any) -> float:
        """Of a batch, that of the reference being 1; NaN where it cannot be told."""
        times = max(1, batch_length(batch) // batch_length(self._reference))
        reference = _joined(*[self._reference] * times)
        both = _joined(reference, batch)
        best, found = 0.0, math.nan
        for far in FARS:
            alone, known, together = (self._loss(x, far) for x in (batch, reference, both))
            if math.isnan(alone) and math.isfinite(known) and _same(known, together):
                return 0.0
            apart = abs(alone - known) / max(abs(alone), abs(known), 1e-300)
            if apart > best and together != alone:
                best, found = apart, times * (known - together) / (together - alone)
            if best > APART:
                break
        return found

    def among(self, batches: Iterable[Any]) -> list[float]:
        """The shares of some batches, with a sum of 1."""
        weights = [self.weight(batch) for batch in batches]
        total = math.fsum(weights)
        return [weight / total for weight in weights]


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= EXACT * abs(one)


def _joined(*batches: Any) -> Any | None:
    """Stacks of tensors one after the other; None where a batch is none."""
    leaves = [tree_flatten(batch)[0] for batch in batches]
    for found, batch in zip(leaves, batches):
        tensors = [leaf for leaf in found if isinstance(leaf, Tensor)]
        if not tensors or any(t.ndim == 0 or len(t) != batch_length(batch) for t in tensors):
            return None
    columns = [
        torch.cat(column) if isinstance(column[0], Tensor) else column[0] for column in zip(*leaves)
    ]
    return tree_unflatten(columns, tree_flatten(batches[0])[1])
