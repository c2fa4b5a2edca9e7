"""How far one step's noise spreads y, proved in one dimension: V = sup Var(ηω + ηf′(y − ηω)).

The point after a whole step is T(X), T(x) = x − ηf′(x), X = y − ηω. So V is the largest variance of T
over a window of half-width ρ for uniform noise, and the largest ((T(y+ρ) − T(y−ρ))/2)² for ±ρ.
"""

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from thalweg.theory.constants import Constant
from thalweg.theory.domain import Domain
from thalweg.theory.intervals import Box, above, ball, below, common, minimum, widened

if TYPE_CHECKING:
    from thalweg.theory.line import Line

__all__ = ["largest_variance"]

CELLS = 4000
"""Cells that the domain is cut into at most."""

FINE = 100
"""Cells that half a window is cut into, where that takes no more than ``CELLS``."""

COARSE = 5
"""With fewer cells to half a window the sum over cells says too little."""

ROUNDING = 1 + 1e-9
"""Covers the rounding of sums of at most a few thousand positive doubles."""


SLACK = 1e-6
"""Share of a cell by which the edges may be off, rounding included."""


def largest_variance(line: "Line", domain: Domain, tolerance: float, most: int) -> Constant:
    """V over a domain, the smaller of two proved bounds.

    The sup of (1 − ηf″)² times η² E ω², as ω ↦ T(y − ηω) has that slope at most; and T's variance
    over windows, by a sum over cells for uniform noise, by branch and bound for ±ρ.
    """
    if line.kind == "none":
        middle = tuple((low + high) / 2 for low, high in domain.sides)
        return Constant(0.0, 0.0, middle, True, 0)
    by_slope = _by_slope(line, domain, tolerance, most)
    finer = _two_points if line.kind == "two" else _by_cells
    closer = finer(line, domain, tolerance, most)
    if closer is None or by_slope.value <= closer.value:
        return by_slope
    return closer


def _by_slope(line: "Line", domain: Domain, tolerance: float, most: int) -> Constant:
    def stretch(box: Box) -> Any:
        return -((1 - line.eta * line.derivatives(ball(*box[0]))[2]) ** 2)

    found = minimum(stretch, [widened(domain.sides, line.reach)], tolerance=tolerance, most=most)
    if not math.isfinite(found.lower):
        return Constant(math.inf, math.inf, found.where, True, found.boxes)
    unit = line.eta**2 * line.moment
    value = above(unit * ball(-found.lower, -found.lower))
    return Constant(value, float(unit.mid()) * -found.upper, found.where, True, found.boxes)


def _two_points(line: "Line", domain: Domain, tolerance: float, most: int) -> Constant:
    def apart(y: Any) -> tuple[Any, Any]:
        left, right = line.derivatives(y - line.radius), line.derivatives(y + line.radius)
        return line.radius - line.eta * (right[1] - left[1]) / 2, (
            line.eta * (left[2] - right[2]) / 2
        )

    def square(box: Box) -> Any:
        low, high = box[0]
        half, turn = apart(ball(low, high))
        if low < high:
            middle = ball((low + high) / 2, (low + high) / 2)
            half = common(half, apart(middle)[0] + turn * (ball(low, high) - middle))
        return -(half**2)

    found = minimum(square, [domain.sides], tolerance=tolerance, most=most)
    return Constant(-found.lower, -found.upper, found.where, True, found.boxes)


def _by_cells(line: "Line", domain: Domain, tolerance: float, most: int) -> Constant | None:
    """∫(T − a)² over the cells that a window may touch, over 2ρ, for a the mean over the cells.

    On a cell of width h around m, T(x) = T(m) + τ(x − m) with \\|τ − b\\| ≤ d, so
    ∫(T − a)² ≤ t²h + \\|t\\|dh²/2 + (\\|b\\| + d)²h³/12 with t = T(m) − a; where there is no such τ, it
    is at most h times the largest (T − a)².
    """
    low, high = domain.sides[0]
    width = max(line.reach / FINE, (high - low + 2 * line.reach) / CELLS)
    if width * COARSE > line.reach:
        return None
    margin = math.floor(line.reach / width + SLACK) + 1
    count = math.ceil((high - low) / width) + 1
    edges = low + width * np.arange(-margin, count + margin + 1)
    if np.abs(edges).max() * 1e-15 > SLACK / 4 * width:  # the domain is too far from 0
        return None
    cells = [_cell(line, a, b) for a, b in itertools.pairwise(edges)]
    centre, error, slope, slack, bottom, top = np.array(cells).T
    if not (np.isfinite(bottom).all() and np.isfinite(top).all()):
        return None
    h = float(np.diff(edges).max()) * ROUNDING
    window = 2 * margin + 1
    means = sliding_window_view(centre, window).mean(axis=1, keepdims=True)

    def over(values: np.ndarray) -> np.ndarray:
        return sliding_window_view(values, window)

    t = np.abs(over(centre) - means) + over(error) + 1e-15 * np.abs(means)
    smooth = t**2 * h + t * over(slack) * h**2 / 2 + (over(np.abs(slope) + slack)) ** 2 * h**3 / 12
    rough = h * np.maximum(np.abs(over(bottom) - means), np.abs(over(top) - means)) ** 2
    parts = np.where(np.isfinite(smooth), np.minimum(smooth, rough), rough)
    bounds = parts.sum(axis=1) * ROUNDING / (2 * below(line.radius))
    worst = int(np.argmax(bounds))
    place = float(np.clip(edges[worst + margin] + width / 2, low, high))
    seen = float(over(centre)[worst].var())
    return Constant(float(bounds[worst]) * ROUNDING, seen, (place,), True, len(cells))


def _cell(line: "Line", low: float, high: float) -> tuple[float, ...]:
    """T at the middle and its error; the middle and the half-width of T′; T's lowest and highest."""
    x, place = ball(low, high), (low + high) / 2
    middle = ball(place, place)
    at_middle = middle - line.eta * line.derivatives(middle)[1]
    _, slope, bend = line.derivatives(x)
    turn = 1 - line.eta * bend
    landed = common(x - line.eta * slope, at_middle + turn * (x - middle))
    first, last = below(turn), above(turn)
    centre = float(at_middle.mid())
    error = above(at_middle - ball(centre, centre)) if at_middle.is_finite() else math.inf
    half = (last - first) / 2 * ROUNDING if math.isfinite(last - first) else math.inf
    lean = (first + last) / 2 if math.isfinite(half) else 0.0
    return centre, abs(error), lean, half, below(landed), above(landed)
