"""A grid of which some values are known: where to look next, what the others are told to be."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from thalweg.errors import UsageError
from thalweg.measure.spline import Interpolation, Spline, Told

__all__ = ["Evaluate", "Filled", "Grid"]

FIRST = 7
"""Chebyshev places along each coordinate to begin with; of a line twice as many."""

Evaluate = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Filled:
    """A grid of values.

    Attributes:
        values: of the grid's shape; NaN in gaps that were interpolated, what was evaluated as it is.
        seen: whether evaluated, of the same shape.
        checked: whether held back from the interpolation, of the same shape.
        bound: no interpolated value is said to be farther off than this: of the value, or of its
            natural logarithm in a logarithmic view; 0 where every value was evaluated.
        largest: the largest error found at the places held back, in the same unit.
        range: from the lowest to the highest finite value, in the same unit.
        tolerance: what was asked for, as a share of the range.
        rough: whether every value was evaluated although fewer had been asked for.
        rounding: in the same unit, below which a range is none.
    """

    values: np.ndarray
    seen: np.ndarray
    checked: np.ndarray
    bound: float
    largest: float
    range: float
    tolerance: float
    rough: bool = False
    rounding: float = 0.0

    @property
    def level(self) -> bool:
        """Whether all finite values are the same, but for rounding."""
        return bool(np.isfinite(self.values).any()) and self.range <= self.rounding

    @property
    def evaluations(self) -> int:
        """Values evaluated, those held back among them."""
        return int(self.seen.sum())

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest finite value; NaN without any."""
        finite = self.values[np.isfinite(self.values)]
        return (float(finite.min()), float(finite.max())) if len(finite) else (math.nan, math.nan)

    @property
    def share(self) -> float:
        """The bound as a share of the range; 0 of what is level."""
        return 0.0 if self.level or self.range == 0 else self.bound / self.range

    @property
    def saved(self) -> float:
        """Values of the whole grid over values evaluated."""
        return self.seen.size / self.evaluations


class Grid:
    """What is known of the grid so far; indices are flat."""

    def __init__(
        self,
        evaluate: Evaluate,
        shape: tuple[int, ...],
        logarithm: bool,
        progress: Callable[[int, int], None] | None,
        precision: float = 0.0,
    ) -> None:
        self.evaluate, self.shape, self.logarithm = evaluate, shape, logarithm
        self.progress, self.precision = progress, precision
        self.size = math.prod(shape)
        self.values = np.full(self.size, np.nan)
        self.seen = np.zeros(self.size, bool)
        self.used = np.zeros(self.size, bool)
        """Evaluated, finite, and interpolated through."""
        lines = [np.linspace(-1, 1, count) for count in shape]
        self.places = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(self.size, -1)
        self._power, self._size_then = 3, 0

    @property
    def shown(self) -> np.ndarray:
        """The values or their logarithms."""
        if not self.logarithm:
            return self.values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(self.values)

    @property
    def range(self) -> float:
        """From the lowest to the highest finite value seen, as shown."""
        finite = self.shown[self.seen & np.isfinite(self.shown)]
        return float(np.ptp(finite)) if len(finite) else 0.0

    @property
    def rounding(self) -> float:
        """Below which a range is none, of the values seen as shown."""
        if self.logarithm:
            return self.precision
        finite = np.abs(self.values[self.seen & np.isfinite(self.values)])
        return self.precision * float(finite.max(initial=0.0))

    def first(self, finer: int = 1) -> np.ndarray:
        """Chebyshev's extreme places, each moved to the nearest of the grid; so many times as fine."""
        lines = []
        for count in self.shape:
            wanted = min(count, finer * (FIRST if len(self.shape) > 1 else 2 * FIRST))
            angles = np.linspace(0, np.pi, wanted)
            lines.append(np.unique(np.round((1 - np.cos(angles)) / 2 * (count - 1)).astype(int)))
        indices = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, len(self.shape))
        return np.ravel_multi_index(tuple(indices.T), self.shape)

    def look(self, flat: np.ndarray) -> None:
        """Evaluate there."""
        if len(flat) == 0:
            return
        indices = np.stack(np.unravel_index(flat, self.shape), axis=1)
        values = np.asarray(self.evaluate(indices), dtype=float)
        if self.logarithm and bool((values <= 0).any()):
            raise UsageError(
                f"a logarithmic view must have losses above 0, but one is {values.min():g}"
            )
        self.values[flat], self.seen[flat] = values, True
        self.used[flat] = np.isfinite(values)
        if self.progress is not None:
            self.progress(int(self.seen.sum()), self.size)

    def interpolation(self) -> Interpolation | None:
        """Through all finite values, of the power that predicts values left out best."""
        places, values = self.places[self.used], self.shown[self.used]
        if len(values) < 2 * Spline.least(len(self.shape), 5):
            return None
        grown = len(values) >= 1.5 * self._size_then
        found = Interpolation(places, values, None if grown else self._power)
        if grown:
            self._power, self._size_then = found.power, len(values)
        return found

    def told(self, between: Interpolation, flat: np.ndarray) -> Told:
        """What it says there, wholly unsure beside a value not finite."""
        told = between(self.places[flat])
        beside, inside = self._gaps(flat)
        unsure, apart = (
            np.where(inside, 0.0, np.where(beside, np.inf, doubt))
            for doubt in (told.unsure, told.apart)
        )
        return Told(np.where(inside, np.nan, told.values), unsure, apart)

    def doubtful(self, rest: np.ndarray, told: Told, count: int) -> np.ndarray:
        """Positions in ``rest`` to look at, apart from each other.

        Half of them where the interpolation is least sure, half where its two splines are farthest
        apart: there the surface has a kink that no distance from known values foretells.
        """
        places = self.places[rest]
        hole = KDTree(self.places[self.seen]).query(places)[0]
        room = np.ones(len(rest))
        chosen: list[int] = []
        for doubt, many in ((told.unsure, count - count // 2), (told.apart, count // 2)):
            finite = np.where(np.isinf(doubt), 1e300, doubt)
            for _ in range(min(many, len(rest) - len(chosen))):
                worst = int((finite * room).argmax())
                if finite[worst] * room[worst] <= 0:
                    break
                chosen.append(worst)
                distance = np.sqrt(((places - places[worst]) ** 2).sum(1))
                room *= np.minimum(1.0, distance / hole) ** 2
        return np.array(chosen, dtype=int)

    def errors(self, flat: np.ndarray, told: np.ndarray) -> np.ndarray:
        """Evaluate, and how far off what was told is; 0 for a gap foretold, infinite for one that was
        not."""
        self.look(flat)
        found = self.shown[flat]
        off = np.abs(found - told)
        gap, foretold = ~np.isfinite(found), np.isnan(told)
        return np.where(gap & foretold, 0.0, np.where(gap | foretold, np.inf, off))

    def _gaps(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether a value that is not finite is among the nearest, and whether they all are such."""
        bad = self.seen & ~self.used & ~np.isfinite(self.values)
        if not bad.any():
            nothing = np.zeros(len(flat), bool)
            return nothing, nothing
        known = np.flatnonzero(self.seen)
        count = min(2 * 2 ** len(self.shape), len(known))
        _, nearest = KDTree(self.places[known]).query(self.places[flat], k=count)
        among = bad[known[nearest]].reshape(len(flat), -1)
        return np.asarray(among.any(axis=1)), np.asarray(among.all(axis=1))

    def filled(
        self,
        between: Interpolation | None,
        bound: float,
        largest: float,
        tolerance: float,
        checked: np.ndarray | None = None,
    ) -> Filled:
        rest = np.flatnonzero(~self.seen)
        if between is not None and len(rest):
            told = self.told(between, rest).values
            self.values[rest] = np.exp(told) if self.logarithm else told
        checked = np.zeros(self.size, bool) if checked is None else checked
        finite = self.shown[np.isfinite(self.shown)]
        return Filled(
            self.values.reshape(self.shape),
            self.seen.reshape(self.shape),
            checked.reshape(self.shape),
            bound,
            largest,
            float(np.ptp(finite)) if len(finite) else 0.0,
            tolerance,
            rounding=self.rounding,
        )
