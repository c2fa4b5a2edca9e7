"""Interpolation between scattered places, with the error that each value left out would have had."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

import numpy as np
from scipy.spatial import KDTree

__all__ = ["Interpolation", "Spline", "Told"]

NEIGHBOURS = 6
"""Values whose left-out errors tell how rough the surface is at a place."""


class Spline:
    """The polyharmonic spline through values at scattered places, of one or two coordinates.

    s(x) = Σ wᵢ φ(‖x − xᵢ‖) + a polynomial of degree (p−1)/2, φ(r) = ±r^p, with the wᵢ orthogonal to
    those polynomials. Of one coordinate and with p = 3 it is the natural cubic spline. It needs no
    scale; its uncertainty is that of a Gaussian process whose generalised covariance is φ
    (kriging), times how rough the surface is seen to be nearby.

    Source: Wendland, Scattered Data Approximation (2005), chapters 8, 11 (power function);
    Rippa, Advances in Computational Mathematics 11 (1999) for the errors of values left out.

    Args:
        places: ``(n, d)``, no two equal; best of order 1.
        values: ``(n,)``, finite.
        power: p, odd: 3, or 5 for smoother surfaces.
    """

    def __init__(self, places: np.ndarray, values: np.ndarray, power: int = 3) -> None:
        self.places, self.power = places, power
        self.degree = (power - 1) // 2
        trend = self._trend(places)
        n, q = trend.shape
        system = np.zeros((n + q, n + q))
        system[:n, :n] = self._kernel(self.distances(places))
        system[:n, n:], system[n:, :n] = trend, trend.T
        self._inverse = np.linalg.inv(system)
        self._inverse = (self._inverse + self._inverse.T) / 2
        self._middle = float(
            np.median(values)
        )  # of level ground exactly; a mean would be off by rounding
        self._weights = self._inverse[:, :n] @ (values - self._middle)
        diagonal = np.maximum(np.abs(np.diag(self._inverse)[:n]), np.finfo(float).tiny)
        self.left_out = self._weights[:n] / diagonal
        """Errors of the spline through all other values, at each; shape ``(n,)``."""
        self._standard = self._weights[:n] / np.sqrt(diagonal)

    @staticmethod
    def least(coordinates: int, power: int) -> int:
        """Values that it needs at least."""
        degree = (power - 1) // 2
        return degree + 1 if coordinates == 1 else (degree + 1) * (degree + 2) // 2

    def __call__(self, places: np.ndarray, distances: np.ndarray | None = None) -> np.ndarray:
        """Values at places ``(m, d)``; distances already known need not be computed again."""
        return self._middle + self._cross(places, distances) @ self._weights

    def distances(self, places: np.ndarray) -> np.ndarray:
        """From places ``(m, d)`` to those of the values, ``(m, n)``."""
        squares = np.zeros((len(places), len(self.places)))
        for mine, theirs in zip(places.T, self.places.T):
            squares += (mine[:, None] - theirs) ** 2
        return np.sqrt(squares, out=squares)

    def with_deviation(
        self, places: np.ndarray, distances: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values at places ``(m, d)``, and the standard deviation of each."""
        cross = self._cross(places, distances)
        holes, nearest = self._tree.query(places, k=min(NEIGHBOURS, len(self.places)))
        variance = -((cross @ self._inverse) * cross).sum(axis=1)
        first = holes[:, 0] if holes.ndim > 1 else holes
        variance = np.maximum(variance, 1e-2 * (first / 2) ** self.power)  # what rounding took away
        nearby = self._standard.reshape(-1)[nearest].reshape(len(places), -1) ** 2
        rough = (nearby.sum(axis=1) + np.mean(self._standard**2)) / (nearby.shape[1] + 1)
        return self._middle + cross @ self._weights, np.sqrt(variance * rough)

    def _cross(self, places: np.ndarray, distances: np.ndarray | None) -> np.ndarray:
        known = self.distances(places) if distances is None else distances
        cross = np.empty((len(places), len(self._weights)))
        cross[:, : known.shape[1]] = self._kernel(known)
        cross[:, known.shape[1] :] = self._trend(places)
        return cross

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.places)

    def _kernel(self, distances: np.ndarray) -> np.ndarray:
        squares = distances * distances
        kernel = (-1) ** ((self.power + 1) // 2) * distances
        for _ in range(self.power // 2):
            kernel *= squares
        return kernel

    def _trend(self, places: np.ndarray) -> np.ndarray:
        powers = product(range(self.degree + 1), repeat=places.shape[1])
        kept = [exponents for exponents in powers if sum(exponents) <= self.degree]
        lines = places.T
        columns = [prod(x**e for x, e in zip(lines, exponents)) for exponents in kept]
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Told:
    """What an interpolation says of places.

    Attributes:
        values: at each, ``(m,)``.
        unsure: the standard deviation of each.
        apart: how far apart the splines of the two powers are at each.
    """

    values: np.ndarray
    unsure: np.ndarray
    apart: np.ndarray


class Interpolation:
    """The spline of a power, as unsure as the one of power 3 says, at the level of its own errors.

    A smoother spline predicts better where the surface is smooth, but it is sure of what lies
    beside a value, and there a kink throws it off. Beside a kink the two are far apart.

    Args:
        places: ``(n, d)``, no two equal; best of order 1.
        values: ``(n,)``, finite.
        power: 3 or 5; None for the one that predicts values left out best.
    """

    def __init__(self, places: np.ndarray, values: np.ndarray, power: int | None = None) -> None:
        self._plain, self._smooth = (Spline(places, values, p) for p in (3, 5))
        plain, smooth = _missed(self._plain), _missed(self._smooth)
        self.power = power or (5 if smooth < plain else 3)
        self._level = smooth / max(plain, 1e-300) if self.power == 5 else 1.0

    def __call__(self, places: np.ndarray) -> Told:
        """What it says of places ``(m, d)``."""
        distances = self._plain.distances(places)
        plain, deviation = self._plain.with_deviation(places, distances)
        smooth = self._smooth(places, distances)
        values = smooth if self.power == 5 else plain
        return Told(values, self._level * deviation, np.abs(smooth - plain))


def _missed(spline: Spline) -> float:
    """How far off it is at values left out, by root mean square."""
    return float(np.sqrt(np.mean(spline.left_out**2)))
