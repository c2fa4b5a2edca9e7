"""Where trials ended, in numbers with their errors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.errors import UsageError

__all__ = ["Proportion", "distances", "rms_distance", "within"]

Z95 = 1.959963984540054
"""Half the width of a 95% interval, in standard deviations."""


@dataclass(frozen=True)
class Proportion:
    """A share of independent trials with its Wilson score interval of 95%.

    The interval is that of E. B. Wilson (1927), ``(p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)``:
    unlike p ± z√(p(1−p)/n) it has about its nominal coverage near 0 and 1 too.
    """

    successes: int
    trials: int

    def __post_init__(self) -> None:
        if not (self.trials > 0 and 0 <= self.successes <= self.trials):
            raise UsageError(
                f"successes must be from 0 to trials, not {self.successes} of {self.trials}"
            )

    @property
    def value(self) -> float:
        """The share."""
        return self.successes / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """Lowest and highest true share that the trials do not contradict."""
        n, p, square = self.trials, self.value, Z95 * Z95
        middle = p + square / (2 * n)
        half = Z95 * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
        low, high = ((middle + sign * half) / (1 + square / n) for sign in (-1, 1))
        # At the ends rounding alone would move it off 0 and 1.
        return (0.0 if self.successes == 0 else low), (1.0 if self.successes == n else high)


def distances(points: NDArray[Any], target: Sequence[float]) -> NDArray[np.float64]:
    """Euclidean distances ``(trials,)`` of points ``(trials, dim)`` to a target ``(dim,)``."""
    goal = np.asarray(target, np.float64)
    if goal.shape != points.shape[-1:]:
        raise UsageError(
            f"target must have {points.shape[-1]} coordinates like the points, not {goal.size}"
        )
    return np.linalg.norm(points.astype(np.float64) - goal, axis=-1)


def within(
    points: NDArray[Any],
    target: Sequence[float],
    radii: Sequence[float],
    *,
    diverged: NDArray[np.bool_] | None = None,
) -> dict[float, Proportion]:
    """The share of the trials that ended within each radius of a target.

    Args:
        points: where the trials ended, ``(trials, dim)``.
        target: ``(dim,)``.
        radii: numbers above 0.
        diverged: which trials to count as within none.
    """
    far = distances(points, target)
    if diverged is not None:
        far = np.where(diverged, np.inf, far)
    return {radius: Proportion(int((far <= radius).sum()), len(far)) for radius in radii}


def rms_distance(points: NDArray[Any], target: Sequence[float]) -> tuple[float, float]:
    """Root mean square distance of points ``(trials, dim)`` to a target, and its standard error.

    The error is that of the mean square, carried over to its root; NaN for a single trial.
    """
    squares = distances(points, target) ** 2
    if not len(squares):
        return math.nan, math.nan
    rms = math.sqrt(squares.mean())
    if len(squares) < 2 or rms == 0:
        return rms, math.nan if len(squares) < 2 else 0.0
    return rms, float(squares.std(ddof=1) / math.sqrt(len(squares)) / (2 * rms))
