"""A grid of values from few of them: sampled where the interpolation is doubtful, and held to account.

Every value that is evaluated belongs to the grid and is shown as it is; the rest are interpolated.
The first places are Chebyshev's. Each further round evaluates the places where the spline is least
sure, and those where a smoother one says something else. Its error there, before it has seen them,
tells how far its uncertainty can be trusted. At the end places are held back, half of them drawn at
random, half doubtful ones; the largest error that all this leaves possible is the bound.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtr

from thalweg.errors import UsageError
from thalweg.measure.grid import Evaluate, Filled, Grid

__all__ = ["Filled", "carried", "fill"]

CHECKS, SHARE = 16, 1 / 4
"""Values held back at the end: so many, or this share of those evaluated before."""

GROWTH = 0.12
"""Each round adds so large a share of what there is."""

FEWEST = 8
"""Values that a round adds at least."""

ENOUGH = 0.8
"""Where so much of the grid is evaluated the rest is too: nothing was saved."""

RISK, SHARED = 0.04, 4.0
"""Probability that the bound fails if errors were Gaussian, and how many places err as one."""

LEAST, MARGIN = 0.6, 1.3
"""Errors are never taken to be smaller than this many times what the spline expects; and how much
larger they are taken to be than they were. Both, and ``USUAL``, were set on small networks, made
surfaces and ResNet-20s of other seeds and examples than the benchmark judges."""

USUAL = 1.7
"""Of a few Gaussian errors, the largest in units of their width."""


WORST = 1e100
"""In those units, of an error where none was expected, such as on ground that seemed level."""


def fill(
    evaluate: Evaluate,
    shape: tuple[int, ...],
    *,
    tolerance: float = 0.01,
    logarithm: bool = False,
    exact: bool = False,
    generator: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
    precision: float = 0.0,
) -> Filled:
    """Fill a grid of one or two coordinates.

    Args:
        evaluate: values ``(n,)`` at indices ``(n, d)`` into the grid.
        shape: of the grid.
        tolerance: largest error, as a share of the range of what is shown.
        logarithm: what is shown is the logarithm; values must be above 0.
        exact: evaluate the whole grid.
        generator: of the places held back.
        progress: called with values evaluated and the size of the grid.
        precision: of the values, as a share of them: what differs by less is level ground.
    """
    if not 0 < tolerance < 1:
        raise UsageError(f"tolerance must lie between 0 and 1, not {tolerance!r}")
    grid = Grid(evaluate, shape, logarithm, progress, precision)
    if exact or grid.size <= 2 * CHECKS:
        grid.look(np.flatnonzero(~grid.seen))
        return grid.filled(None, 0.0, 0.0, tolerance)
    grid.look(grid.first())
    trust: list[np.ndarray] = []
    finer = 1
    while True:
        between = grid.interpolation()
        rest = np.flatnonzero(~grid.seen)
        if between is None and len(rest):  # most of the first places fell into a gap: finer ones
            finer *= 2
            places = np.intersect1d(grid.first(finer), rest)
            grid.look(places if len(places) else rest)
            continue
        if between is None or len(rest) < (1 - ENOUGH) * grid.size:
            grid.look(rest)
            return replace(grid.filled(None, 0.0, 0.0, tolerance), rough=True)
        told = grid.told(between, rest)
        unsure = told.unsure
        most = tolerance * grid.range if grid.range > grid.rounding else grid.rounding
        if _reach(unsure, trust) > most:
            count = max(FEWEST, int(GROWTH * grid.seen.sum()))
            chosen = grid.doubtful(rest, told, count)
            off = grid.errors(rest[chosen], told.values[chosen])
            trust.append(_against(off, unsure[chosen]))
            continue
        checks = max(CHECKS, int(SHARE * grid.seen.sum()))
        chosen = grid.doubtful(rest, told, checks // 2)
        others = np.setdiff1d(np.arange(len(rest)), chosen)
        drawn = generator.choice(others, min(checks - len(chosen), len(others)), replace=False)
        held = np.concatenate([chosen, drawn])
        before = grid.used.copy()
        off = grid.errors(rest[held], told.values[held])
        trust.append(_against(off, unsure[held]))
        left = np.setdiff1d(np.arange(len(rest)), held)
        bound = max(_reach(unsure[left], trust), float(off.max()))
        if bound <= most:
            checked = grid.used & ~before
            grid.used = before
            return grid.filled(between, bound, float(off.max()), tolerance, checked)


def carried(
    first: Filled, values: np.ndarray, limits: tuple[float, float] = (-math.inf, math.inf)
) -> Filled:
    """Another quantity on the grid of ``first``, from its values ``(shape)`` at the same places.

    Its bound is measured at the same places held back; it may be far above the tolerance. What is
    known to lie within ``limits``, as a share does, is told to.
    """
    grid = Grid(lambda indices: values[tuple(indices.T)], values.shape, False, None)
    grid.look(np.flatnonzero(first.seen & ~first.checked))
    held = np.flatnonzero(first.checked)
    rest = np.flatnonzero(~first.seen)
    between = grid.interpolation() if len(rest) else None
    if between is None:
        grid.look(held)
        return grid.filled(None, 0.0, 0.0, first.tolerance)
    told = grid.told(between, held)
    before = grid.used.copy()
    off = grid.errors(held, told.values)
    checked, grid.used = grid.used & ~before, before
    unsure = grid.told(between, rest).unsure
    bound = max(_reach(unsure, [_against(off, told.unsure)]), float(off.max()))
    found = grid.filled(between, bound, float(off.max()), first.tolerance, checked)
    low, high = limits
    inside = np.clip(found.values, low, high)
    return replace(
        found,
        values=inside,
        bound=min(bound, high - low),
        range=float(np.ptp(inside[np.isfinite(inside)])),
    )


def _against(off: np.ndarray, unsure: np.ndarray) -> np.ndarray:
    """Errors in units of what was expected; 0 where nothing was told at all."""
    known = np.isfinite(unsure)
    ratios = np.where(known, off / np.where(known, np.maximum(unsure, 1e-150), 1.0), 0.0)
    return np.minimum(ratios, WORST)


def _reach(unsure: np.ndarray, trust: Sequence[np.ndarray]) -> float:
    """What no error exceeds, but with probability ``RISK``: Σ P(|eᵢ| > reach) = RISK.

    Each error has a Gaussian's tail. Its width is what the spline expects times how far off that was
    lately, by root mean square or by the largest. So one rough corner and a whole rough plane, where
    many errors compete for the largest, are told apart.
    """
    largest = float(unsure.max(initial=0.0))
    lately = [ratios for ratios in trust[-2:] if len(ratios)]
    sizes = [max(float(np.sqrt(np.mean(r**2))), float(r.max()) / USUAL) for r in lately]
    factor = max([LEAST, *sizes])
    if largest == 0 or not math.isfinite(largest):
        return largest
    widths = MARGIN * factor * unsure[unsure > 1e-3 * largest]
    low, high = 0.0, 10.0 * float(widths.max())
    for _ in range(20):  # to 1e-5 of the widest
        middle = (low + high) / 2
        exceeded = 2 * float(ndtr(-middle / widths).sum()) / SHARED > RISK
        low, high = (middle, high) if exceeded else (low, middle)
    return high
