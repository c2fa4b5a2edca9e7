"""Critical points of a surface over a plane: its minima, its maxima and the passes between minima."""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Spot", "spots"]


@dataclass(frozen=True)
class Spot:
    """A critical point of the loss within the plane; of the whole loss it need be none.

    Attributes:
        kind: ``minimum``, ``maximum`` or ``saddle``: the lowest way between two minima.
        index: of the grid.
        prominence: height that would have to be filled or worn away for it to vanish; infinite for
            the lowest minimum and the highest maximum.
    """

    kind: str
    index: tuple[int, int]
    prominence: float


def spots(heights: np.ndarray, least: float) -> list[Spot]:
    """Critical points of a grid ``(rows, columns)`` of more than so much prominence.

    Found by flooding (0-dimensional persistence): a minimum begins a lake, and where two lakes meet
    the shallower ends. What lies at the edge of the grid or beside a gap is none.

    Source: Edelsbrunner, Letscher and Zomorodian, Topological persistence and simplification (2002).
    """
    lakes = _flooded(heights, least)
    tops = _flooded(-heights, least)
    found = [Spot("minimum", low, deep) for low, _, deep in lakes if _inside(heights, low)]
    found += [Spot("saddle", at, deep) for _, at, deep in lakes if at and _inside(heights, at)]
    found += [Spot("maximum", top, high) for top, _, high in tops if _inside(heights, top)]
    return found


Place = tuple[int, int]


def _flooded(heights: np.ndarray, least: float) -> list[tuple[Place, Place | None, float]]:
    """For each lake: its lowest place, where it ended in a deeper one, and how deep it was then."""
    rows, columns = heights.shape
    flat = heights.ravel()
    order = [int(k) for k in np.argsort(flat, kind="stable") if math.isfinite(flat[k])]
    lake = np.full(flat.size, -1)
    found: list[tuple[Place, Place | None, float]] = []

    def deepest(k: int) -> int:
        while lake[k] != k:
            lake[k] = lake[lake[k]]
            k = int(lake[k])
        return k

    def place(k: int) -> Place:
        return k // columns, k % columns

    for k in order:
        row, column = place(k)
        near = {
            deepest(r * columns + c)
            for r in range(max(0, row - 1), min(rows, row + 2))
            for c in range(max(0, column - 1), min(columns, column + 2))
            if lake[r * columns + c] >= 0
        }
        first, *others = sorted(near, key=lambda low: flat[low]) or [k]
        lake[k] = first
        for low in others:
            deep = float(flat[k] - flat[low])
            if deep > least:
                found.append((place(low), place(k), deep))
            lake[low] = first
    roots = [k for k in order if lake[k] == k]  # more than one where gaps part the ground
    return found + [(place(k), None, math.inf) for k in roots]


def _inside(heights: np.ndarray, place: Place) -> bool:
    """Whether all eight neighbours exist and are finite."""
    row, column = place
    around = heights[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    return around.shape == (3, 3) and bool(np.isfinite(around).all())
