"""The box on which something is claimed, and the target inside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.errors import UsageError

__all__ = ["Domain", "read_domain", "read_target"]

LARGEST = 1e100
"""The farthest that an edge may be from 0: squares of distances are doubles then."""


@dataclass(frozen=True)
class Domain:
    """Lowest and highest value of each coordinate."""

    sides: tuple[tuple[float, float], ...]

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.sides)

    @property
    def text(self) -> str:
        """As it is typed: ``-3:3`` or ``-3:3,-2:2``."""
        return ",".join(f"{low:.6g}:{high:.6g}" for low, high in self.sides)

    @property
    def size(self) -> float:
        """The longest side."""
        return max(high - low for low, high in self.sides)

    def holds(self, point: Sequence[float]) -> bool:
        """Whether the point lies inside, not on the edge."""
        return all(low < p < high for (low, high), p in zip(self.sides, point, strict=True))

    def reach(self, point: Sequence[float]) -> float:
        """Distance from a point to the farthest corner."""
        far = [max(high - p, p - low) for (low, high), p in zip(self.sides, point, strict=True)]
        return math.hypot(*far)

    def margin(self, point: Sequence[float]) -> float:
        """Distance from a point inside to the edge."""
        return min(min(high - p, p - low) for (low, high), p in zip(self.sides, point, strict=True))

    def stretched(self, point: Sequence[float], factor: float) -> "Domain":
        """The box whose sides lie ``factor`` times as far from a point inside."""
        return Domain(
            tuple(
                (p - factor * (p - low), p + factor * (high - p))
                for (low, high), p in zip(self.sides, point, strict=True)
            )
        )

    def grid(self, points: int) -> np.ndarray:
        """About so many points ``(n, dim)``: a grid with the edges, random above three dimensions."""
        if self.dim > 3:
            return self.sample(points, 0)
        each = max(3, round(points ** (1 / self.dim)))
        axes = [np.linspace(low, high, each) for low, high in self.sides]
        return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)

    def sample(self, points: int, seed: int) -> np.ndarray:
        """Points ``(n, dim)`` uniform on the box."""
        low, high = np.array(self.sides).T
        return np.random.default_rng(seed).uniform(low, high, (points, self.dim))


def read_domain(given: Any, dim: int) -> Domain:
    """A Domain, a text such as ``-3:3`` (for every coordinate) or ``-3:3,-2:2``, or pairs.

    Raises:
        UsageError: anything else, or another dimension.
    """
    if isinstance(given, Domain):
        sides: Any = given.sides
    elif isinstance(given, str):
        try:
            sides = [tuple(float(end) for end in part.split(":")) for part in given.split(",")]
        except ValueError:
            sides = [()]
    else:
        sides = given
    try:
        pairs = tuple((float(low), float(high)) for low, high in sides)
    except (TypeError, ValueError):
        raise UsageError(
            f"domain must be LOW:HIGH, or one such pair for each coordinate, not {given!r}"
        ) from None
    if len(pairs) == 1:
        pairs = pairs * dim
    if not all(-LARGEST <= low < high <= LARGEST for low, high in pairs):
        raise UsageError(
            f"domain must have sides with LOW below HIGH, between {-LARGEST:g} and {LARGEST:g}, "
            f"not {given!r}"
        )
    if len(pairs) != dim:
        each = "one side" if dim == 1 else f"{dim} sides, one for each variable"
        raise UsageError(f"domain must have {each}, not {len(pairs)}")
    return Domain(pairs)


def read_target(given: Any, domain: Domain) -> tuple[float, ...]:
    """A point inside the domain: a number, numbers, or a text such as ``0`` or ``1,-2``.

    Raises:
        UsageError: anything else, another dimension, or a point that the domain excludes.
    """
    try:
        if isinstance(given, str):
            point = tuple(float(part) for part in given.split(","))
        else:
            point = tuple(float(part) for part in np.atleast_1d(np.asarray(given, dtype=float)))
    except (TypeError, ValueError):
        numbers = "a number" if domain.dim == 1 else f"{domain.dim} numbers"
        raise UsageError(f"target must be {numbers}, not {given!r}") from None
    if not all(map(math.isfinite, point)):
        raise UsageError(f"target must have finite coordinates, not {given!r}")
    if len(point) != domain.dim:
        each = "one coordinate" if domain.dim == 1 else f"{domain.dim} coordinates"
        raise UsageError(f"target must have {each}, not {len(point)}")
    if not domain.holds(point):
        raise UsageError(
            f"domain must hold the target {','.join(f'{p:g}' for p in point)} inside, "
            f"but is {domain.text}"
        )
    return point
