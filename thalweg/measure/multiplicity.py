"""How many eigenvalues lie in one place: what the weight of a random vector there tells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, chdtri

from thalweg.estimate import Estimate
from thalweg.measure.lanczos import Lanczos

__all__ = ["Place", "places", "told"]

CHANCE, RARE = 5e-4, 1e-6
"""Probability of the weight of a place by chance below which it may be that of more eigenvalues, and below
which it is: many places are looked at, and those of large weights are the first to be known."""

NOTHING = 1e-6
"""Weight of a random vector in a Ritz value, times the dimension, that only rounding has brought."""


@dataclass(frozen=True)
class Place:
    """Ritz values that cannot be told from each other, and how many eigenvalues they stand for.

    A Krylov space holds one of several equal eigenvalues; rounding brings another in the long run.
    The share of a Gaussian start in all of them is, times the dimension, χ² with as many degrees of
    freedom as they are.

    Attributes:
        values, errors: of the Ritz values, ascending.
        least: eigenvalues that are there, but for a probability of :data:`RARE`.
        alone: whether the Ritz values are all the eigenvalues there, as far as their weight tells.
        more: whether there may be more than ``least``.
    """

    values: tuple[float, ...]
    errors: tuple[float, ...]
    least: int
    alone: bool
    more: bool

    @classmethod
    def of(cls, estimate: Estimate, *, more: bool) -> "Place":
        """One eigenvalue that was found in another way."""
        return cls((estimate.value,), (estimate.error,), 1, True, more)


def places(space: Lanczos, known: float = 1e-2, *, checked: bool = False) -> list[Place]:
    """The Ritz values in ascending order, those together whose bounds overlap.

    Only those count as one whose bounds are below ``known`` of their size: the others are not yet
    where an eigenvalue is. Where rounding has brought a second of equal ones there may be more,
    unless that is ``checked`` by other vectors.
    """
    values, errors, vectors = space.ritz()
    weights = vectors[0] ** 2 * space.operator.dim
    close = np.diff(values) <= errors[1:] + errors[:-1]
    sure = errors <= known * np.abs(values)
    found = []
    begins = [i for i in range(len(values)) if i == 0 or not (close & sure[1:] & sure[:-1])[i - 1]]
    for begin, end in zip(begins, [*begins[1:], len(values)]):
        count = end - begin
        mine = weights[begin:end]
        weight = float(mine.sum()) if sure[begin] else 0.0
        alone = weight <= chdtri(count, CHANCE)
        brought = count > 1 and not checked and bool(mine.min() < NOTHING)
        found.append(
            Place(
                tuple(values[begin:end].tolist()),
                tuple(errors[begin:end].tolist()),
                _least(weight, count),
                alone,
                brought or not alone,
            )
        )
    return found


def _least(weight: float, count: int) -> int:
    """The fewest degrees of freedom, ``count`` or more, of which χ² exceeds ``weight`` by chance."""
    least = count
    if chdtrc(least, weight) >= RARE:
        return least
    high = 2 * least
    while chdtrc(high, weight) < RARE:
        least, high = high, 2 * high
    while high - least > 1:
        middle = (least + high) // 2
        least, high = (middle, high) if chdtrc(middle, weight) < RARE else (least, middle)
    return high


def told(
    seen: Sequence[Place], count: int, unit: str, *, largest: bool
) -> tuple[list[Estimate], bool]:
    """The ``count`` largest or smallest eigenvalues of ascending places, and whether they are that.

    After a place of which nobody knows how many eigenvalues it holds nothing can be told.
    """
    found: list[Estimate] = []
    last: Place | None = None
    for place in reversed(seen) if largest else seen:
        if last is not None and not _overlap(last, place):
            return found[:count], len(found) >= count
        pairs = list(zip(place.values, place.errors))[:: -1 if largest else 1]
        pairs += pairs[-1:] * (place.least - len(pairs))
        found += [Estimate(value, error, unit) for value, error in pairs]
        if place.more:
            last = place
        if len(found) >= count:
            return found[:count], True
    return found, True


def _overlap(one: Place, other: Place) -> bool:
    apart = min(abs(a - b) for a in one.values for b in other.values)
    return apart <= max(one.errors) + max(other.errors)
