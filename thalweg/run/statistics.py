"""Statistics of trials, gathered while they run: no step needs to be kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.landscape import Landscape
from thalweg.run.basins import Basins
from thalweg.trajectory import Column

__all__ = ["ExitTime", "RMSDistance", "Statistic", "Tally", "Within"]

Found = tuple[dict[str, Column], dict[str, np.ndarray[Any, Any]]]
"""Columns and ends that join a Trajectory."""


class Tally(Protocol):
    """What a statistic has gathered of one block of trials."""

    def see(self, step: int, points: Tensor, alive: Tensor) -> None:
        """Look at the points ``(rows, dim)`` before the update of that step.

        Diverged trials (``alive`` ``(rows,)`` is False) stand where they were frozen.
        """
        ...


class Statistic(ABC):
    """What to gather; frozen and picklable."""

    @abstractmethod
    def begin(self, points: Tensor) -> Tally:
        """A tally for a block that starts at points ``(rows, dim)``.

        Raises:
            UsageError: points of another dimension than the statistic's.
        """

    @abstractmethod
    def result(self, tallies: Sequence[Any], updates: int) -> Found:
        """Of all blocks, in their order; steps after ``updates`` are left out."""


@dataclass(frozen=True)
class ExitTime(Statistic):
    """The first step at which a trial is outside a region: ``exit_time`` ``(trials,)``, −1 for none.

    In the ends of the Trajectory, under ``name``. A trial that starts outside has exit time 0.

    Attributes:
        inside: whether points ``(rows, dim)`` are in the region ``(rows,)``.
        name: of the array.
        every: looks at every so many steps only.
    """

    inside: Callable[[Tensor], Tensor]
    name: str = "exit_time"
    every: int = 1

    @classmethod
    def of_ball(cls, center: Sequence[float], radius: float, **options: Any) -> "ExitTime":
        """Out of the closed ball around a point."""
        if not radius > 0:
            raise UsageError(f"radius must be a number above 0, not {radius!r}")
        return cls(partial(_in_ball, _coordinates(center, "center"), float(radius)), **options)

    @classmethod
    def of_interval(cls, low: float, high: float, **options: Any) -> "ExitTime":
        """Out of [low, high], in one dimension; either may be infinite."""
        if not low < high:
            raise UsageError(f"low must be below high, not {low!r} and {high!r}")
        return cls(partial(_in_interval, float(low), float(high)), **options)

    @classmethod
    def of_basin(cls, landscape: Landscape, basin: int, **options: Any) -> "ExitTime":
        """Out of the basin of the landscape's known minimum of that number.

        In one dimension that is a look at the neighbouring maxima; above, a gradient flow from
        every point, so that ``every`` should be large.
        """
        if not 0 <= basin < len(landscape.minima):
            raise UsageError(
                f"basin must be the number of a known minimum of {landscape.name}, "
                f"of which there are {len(landscape.minima)}, not {basin!r}"
            )
        return cls(partial(_in_basin, Basins.of(landscape), basin), **options)

    @classmethod
    def of_basin_around(cls, basins: Basins, point: Sequence[float], **options: Any) -> "ExitTime":
        """Out of the basin in which a point lies."""
        place = torch.tensor([_coordinates(point, "point")], dtype=torch.float64)
        number = int(basins.labels(place)[0])
        if number < 0:
            raise UsageError(f"point must lie in the basin of a known minimum, not at {point!r}")
        return cls(partial(_in_basin, basins, number), **options)

    def begin(self, points: Tensor) -> "_Exits":
        """See :class:`Statistic`."""
        self.inside(points)
        return _Exits(self, np.full(len(points), -1))

    def result(self, tallies: Sequence["_Exits"], updates: int) -> Found:
        """See :class:`Statistic`."""
        return {}, {self.name: np.concatenate([tally.times for tally in tallies])}


@dataclass
class _Exits:
    of: ExitTime
    times: np.ndarray[Any, Any]
    over: bool = False

    def see(self, step: int, points: Tensor, alive: Tensor) -> None:
        if self.over or step % self.of.every:
            return
        outside = (alive & ~self.of.inside(points)).cpu().numpy()
        self.times[outside & (self.times < 0)] = step
        self.over = bool((self.times >= 0).all())


@dataclass(frozen=True)
class Within(Statistic):
    """The fraction of the trials within each radius of a target: column ``within`` ``(n, radii)``.

    A diverged trial is within none.
    """

    target: tuple[float, ...]
    radii: tuple[float, ...]
    every: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", _coordinates(self.target, "target"))
        object.__setattr__(self, "radii", tuple(float(radius) for radius in self.radii))
        if not self.radii or not all(radius > 0 for radius in self.radii):
            raise UsageError(f"radii must be numbers above 0, not {self.radii!r}")

    def begin(self, points: Tensor) -> "_Sums":
        """See :class:`Statistic`."""
        _distances(self.target, points)
        return _Sums(self._count, self.every)

    def _count(self, points: Tensor, alive: Tensor) -> np.ndarray[Any, Any]:
        far = _distances(self.target, points).masked_fill(~alive, torch.inf)
        counts = [int((far <= radius).sum()) for radius in self.radii]
        return np.array([*counts, len(far)], float)

    def result(self, tallies: Sequence["_Sums"], updates: int) -> Found:
        """See :class:`Statistic`."""
        steps, sums = _total(tallies, updates)
        return {"within": Column(steps, sums[:, :-1] / sums[:, -1:])}, {}


@dataclass(frozen=True)
class RMSDistance(Statistic):
    """The root mean square distance to a target: column ``rms``, of the trials not diverged."""

    target: tuple[float, ...]
    every: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", _coordinates(self.target, "target"))

    def begin(self, points: Tensor) -> "_Sums":
        """See :class:`Statistic`."""
        _distances(self.target, points)
        return _Sums(self._squares, self.every)

    def _squares(self, points: Tensor, alive: Tensor) -> np.ndarray[Any, Any]:
        squares = _distances(self.target, points)[alive].double().square()
        return np.array([float(squares.sum()), len(squares)])

    def result(self, tallies: Sequence["_Sums"], updates: int) -> Found:
        """See :class:`Statistic`."""
        steps, sums = _total(tallies, updates)
        with np.errstate(invalid="ignore"):
            return {"rms": Column(steps, np.sqrt(sums[:, 0] / sums[:, 1]))}, {}


class _Sums:
    """Sums over the trials of a block, at every so many steps."""

    def __init__(
        self, measure: Callable[[Tensor, Tensor], np.ndarray[Any, Any]], every: int
    ) -> None:
        self.measure, self.every = measure, every
        self.steps: list[int] = []
        self.values: list[np.ndarray[Any, Any]] = []

    def see(self, step: int, points: Tensor, alive: Tensor) -> None:
        if step % self.every == 0:
            self.steps.append(step)
            self.values.append(self.measure(points, alive))


def _total(tallies: Sequence[_Sums], updates: int) -> tuple[np.ndarray[Any, Any], Any]:
    kept = int(np.searchsorted(tallies[0].steps, updates, side="right"))
    sums = sum(np.array(tally.values[:kept]) for tally in tallies)
    return np.array(tallies[0].steps[:kept], np.int64), sums


def _coordinates(point: Sequence[float], name: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in point)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not np.isfinite(numbers).all():
        raise UsageError(f"{name} must be finite coordinates, not {point!r}")
    return numbers


def _distances(target: tuple[float, ...], points: Tensor) -> Tensor:
    if points.shape[-1] != len(target):
        raise UsageError(
            f"a target must have {points.shape[-1]} coordinates like the objective, "
            f"but has {len(target)}"
        )
    if len(target) == 1:
        return (points[..., 0] - target[0]).abs()
    return torch.linalg.vector_norm(points - points.new_tensor(target), dim=-1)


def _in_ball(center: tuple[float, ...], radius: float, points: Tensor) -> Tensor:
    return _distances(center, points) <= radius


def _in_interval(low: float, high: float, points: Tensor) -> Tensor:
    if points.shape[-1] != 1:
        raise UsageError(f"an interval needs one dimension, but there are {points.shape[-1]}")
    x = points[..., 0]
    return (low <= x) & (x <= high)


def _in_basin(basins: Basins, number: int, points: Tensor) -> Tensor:
    return basins.labels(points) == number
