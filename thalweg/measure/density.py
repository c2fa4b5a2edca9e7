"""The density of a spectrum: where its eigenvalues lie, and how many."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from thalweg.estimate import Estimate

__all__ = ["Density", "Rule", "distance", "half_width"]

Functional = Callable[[np.ndarray, np.ndarray], float]
"""A number that depends on a measure alone: of its places and its weights."""


@dataclass(frozen=True)
class Rule:
    """A Gauss quadrature of the spectrum that one random vector sees; the weights sum to 1.

    ``coarse`` is that of half as many products: the distance of the two tells its error.
    """

    values: np.ndarray
    weights: np.ndarray
    coarse: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Density:
    """Eigenvalues that are known one by one, and a quadrature of all the others.

    Attributes:
        dim: number of eigenvalues.
        outliers: those known, ascending.
        rules: of the others, one for each random vector; empty where all are known.
        unit: of an eigenvalue.
    """

    dim: int
    outliers: np.ndarray
    rules: tuple[Rule, ...]
    unit: str

    def measure(
        self, without: int | None = None, *, coarse: bool = False
    ) -> tuple[np.ndarray, ...]:
        """Places in ascending order and their weights, which sum to 1.

        Args:
            without: leave out the rule of this place.
            coarse: take the coarse rules.
        """
        rules = [rule for place, rule in enumerate(self.rules) if place != without]
        pairs = [rule.coarse if coarse else (rule.values, rule.weights) for rule in rules]
        rest = (self.dim - len(self.outliers)) / max(1, len(rules))
        values = np.concatenate([self.outliers, *(v for v, _ in pairs)])
        weights = np.concatenate([np.ones(len(self.outliers)), *(rest * w for _, w in pairs)])
        order = np.argsort(values, kind="stable")
        return values[order], weights[order] / self.dim

    def functional(self, of: Functional, unit: str = "1") -> Estimate:
        """A number of the spectrum, with the error of the random vectors and of the quadrature.

        The first by the jackknife over the vectors, widened by Student's t so that twice the error
        holds in 95% of draws; the second is the distance from the coarse rules. Cost: none.
        """
        value = of(*self.measure())
        if not self.rules:
            return Estimate(value, 0.0, unit)
        count = len(self.rules)
        bias = abs(value - of(*self.measure(coarse=True)))
        if count == 1:
            return Estimate(value, math.nan, unit)
        left_out = np.array([of(*self.measure(j)) for j in range(count)])
        spread = math.sqrt((count - 1) / count * float(((left_out - left_out.mean()) ** 2).sum()))
        return Estimate(value, math.hypot(half_width(count - 1) * spread, bias), unit)

    @property
    def error(self) -> Estimate:
        """What the Wasserstein-1 distance to the true spectrum stays below in 95% of draws.

        That distance is how far an eigenvalue lies off on average. Part is the quadrature's, part
        that of the random vectors, by their distances from each other.
        """
        if not self.rules:
            return Estimate(0.0, 0.0, self.unit)
        bias = distance(self.measure(), self.measure(coarse=True))
        count = len(self.rules)
        if count == 1:
            return Estimate(math.nan, math.nan, self.unit)
        rest = 1 - len(self.outliers) / self.dim
        apart = [
            distance((rule.values, rule.weights), self._others(j))
            for j, rule in enumerate(self.rules)
        ]
        chance = rest * float(np.mean(apart)) * math.sqrt(count - 1) / count
        return Estimate(bias + half_width(count - 1) * chance, 0.0, self.unit)

    def _others(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        rules = [rule for j, rule in enumerate(self.rules) if j != place]
        values = np.concatenate([rule.values for rule in rules])
        weights = np.concatenate([rule.weights for rule in rules]) / len(rules)
        order = np.argsort(values, kind="stable")
        return values[order], weights[order]

    def smoothed(self, places: np.ndarray, width: float | np.ndarray) -> np.ndarray:
        """The density at some places: a Gaussian of standard deviation ``width`` for each eigenvalue.

        ``width`` may be one for each place.
        """
        values, weights = self.measure()
        wide = np.broadcast_to(np.asarray(width, float), places.shape)[:, None]
        bells = np.exp(-0.5 * ((places[:, None] - values) / wide) ** 2)
        return (bells * weights).sum(1) / (wide[:, 0] * math.sqrt(2 * math.pi))

    def share_below(self, threshold: float) -> Estimate:
        """The share of eigenvalues below a threshold; its error is that of the random vectors alone.

        Near a threshold with many eigenvalues close by the quadrature blurs it.
        """
        return self.functional(lambda v, w: float(w[v < threshold].sum()), "of the eigenvalues")


def distance(
    first: Sequence[np.ndarray] | tuple[np.ndarray, ...],
    second: Sequence[np.ndarray] | tuple[np.ndarray, ...],
) -> float:
    """Wasserstein-1 distance of two measures of mass 1, each places and weights.

    It is the area between their distribution functions.
    """
    values = np.concatenate([first[0], second[0]])
    masses = np.concatenate([first[1], -np.asarray(second[1])])
    order = np.argsort(values, kind="stable")
    values, masses = values[order], masses[order]
    return float((np.abs(np.cumsum(masses))[:-1] * np.diff(values)).sum())


def half_width(freedom: float) -> float:
    """How many standard errors of so many degrees of freedom make one that counts as Gaussian."""
    return float(stdtrit(freedom, 0.975)) / 1.959964
