"""What can be found out exactly about a formula: its critical points and its largest curvature."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from thalweg.objective.formula import Formula
from thalweg.objective.landscape import CriticalPoint

__all__ = ["Derivatives", "critical_points", "kind_of", "lowest_of", "on_a_line", "written"]

Vector = np.ndarray[Any, Any]

FINEST = 200_000
"""Cells into which a line is cut at most."""


class Derivatives:
    """Gradient and Hessian of a formula, by symbolic derivatives, at a point of NumPy's."""

    def __init__(self, text: str) -> None:
        self.formula = Formula.parse(text)
        names = self.formula.variables
        self._slopes = [self.formula.derivative(name) for name in names]
        self._curvatures = [[slope.derivative(name) for name in names] for slope in self._slopes]

    def gradient(self, point: Sequence[float] | Vector) -> Vector:
        """The gradient ``(dim,)``."""
        return np.array([slope.evaluate([*point]) for slope in self._slopes])

    def hessian(self, point: Sequence[float] | Vector) -> Vector:
        """The Hessian ``(dim, dim)``."""
        return np.array([[entry.evaluate([*point]) for entry in row] for row in self._curvatures])

    def largest_curvature(self, points: Iterable[Sequence[float]]) -> float:
        """The largest absolute eigenvalue of the Hessian at any of the points."""
        return max(float(np.abs(np.linalg.eigvalsh(self.hessian(point))).max()) for point in points)


def critical_points(
    text: str, near: Iterable[Sequence[float]], *, polish: int = 8
) -> tuple[CriticalPoint, ...]:
    """The critical points of a formula next to those given, by Newton's method."""
    derivatives = Derivatives(text)
    found = []
    for start in near:
        point = np.array(start, dtype=np.float64)
        for _ in range(polish):
            slope = derivatives.gradient(point)
            if not slope.any():
                break
            point = point - np.linalg.solve(derivatives.hessian(point), slope)
        curvatures = np.linalg.eigvalsh(derivatives.hessian(point)).tolist()
        found.append(CriticalPoint(tuple(point.tolist()), kind_of(curvatures), tuple(curvatures)))
    return tuple(found)


def on_a_line(
    text: str, low: float, high: float, width: float
) -> tuple[tuple[CriticalPoint, ...], float]:
    """All critical points of a formula in x between two numbers, and max |f″| there.

    Exact to rounding if f″ and f‴ change sign at most once within a ``width``.
    """
    from scipy.optimize import root_scalar

    slope = Formula.parse(text).derivative("x")
    curvature = slope.derivative("x")
    third = curvature.derivative("x")
    cells = min(FINEST, max(64, int((high - low) / width) + 1))
    grid = np.linspace(low, high, cells + 1)

    def roots(function: Formula, cuts: Vector) -> list[float]:
        values = np.broadcast_to(function.evaluate([cuts]), cuts.shape)
        found = [float(x) for x, value in zip(cuts, values) if value == 0]
        found += [
            float(root_scalar(lambda x: function.evaluate([x]), bracket=(a, b), xtol=1e-15).root)
            for (a, u), (b, v) in itertools.pairwise(zip(cuts, values))
            if u * v < 0
        ]
        return sorted(found)

    extremes = np.array([low, *roots(third, grid), high])
    steepest = float(np.abs(curvature.evaluate([extremes])).max())
    # Between neighbouring zeros of f″ the slope is monotone: one sign change, one critical point.
    monotone = np.unique(np.concatenate([grid, roots(curvature, grid)]))
    points = []
    for x in roots(slope, monotone):
        value = float(curvature.evaluate([x]))
        points.append(CriticalPoint((x,), kind_of([value], 1e-9 * steepest), (value,)))
    return tuple(points), steepest


def lowest_of(text: str, critical: Iterable[CriticalPoint]) -> float:
    """The lowest value of a formula at critical points."""
    formula = Formula.parse(text)
    return min(float(formula.evaluate(known.point)) for known in critical)


def kind_of(eigenvalues: Sequence[float], zero: float | None = None) -> str:
    """The kind of a critical point by its Hessian's eigenvalues; below ``zero`` they count as 0."""
    if zero is None:
        zero = 1e-10 * max(abs(value) for value in eigenvalues)
    if any(abs(value) <= zero for value in eigenvalues):
        return "degenerate"
    signs = {value > 0 for value in eigenvalues}
    return "saddle" if len(signs) == 2 else "minimum" if True in signs else "maximum"


def written(value: float) -> str:
    """A number as a formula holds it: exact, in brackets if negative."""
    text = repr(float(value)).removesuffix(".0")
    return f"({text})" if value < 0 else text
