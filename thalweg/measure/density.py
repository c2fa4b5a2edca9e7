"""The density of a spectrum: where its eigenvalues lie, and how many."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtrit

from thalweg.estimate import Estimate

__all__ = ["Density", "Rule", "distance", "half_width"]

PARTS = 8
"""Points that stand for an even density between two places."""

Functional = Callable[[np.ndarray, np.ndarray], float]
"""A number that depends on a measure alone: of its places and its weights."""


@dataclass(frozen=True)
class Rule:
    """A quadrature of the spectrum that one random vector sees.

    Attributes:
        values: its places, ascending.
        weights: of each, with a sum of 1.
        certain: whether an eigenvalue is known to lie at each place; else eigenvalues lie about it.
        coarse: the rule of half as many products, which tells the error; None of that one itself.
        beside: eigenvalues that its vector was kept from and that are no outliers.
    """

    values: np.ndarray
    weights: np.ndarray
    certain: np.ndarray
    coarse: "Rule | None" = None
    beside: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def spread(self) -> tuple[np.ndarray, np.ndarray]:
        """The measure with the weight of each uncertain place spread evenly half-way to its neighbours.

        Many eigenvalues make a smooth density, which comes far nearer to them than points do.
        """
        middles = (self.values[1:] + self.values[:-1]) / 2
        low, high = np.r_[self.values[:1], middles], np.r_[middles, self.values[-1:]]
        steps = (np.arange(PARTS) + 0.5) / PARTS
        parts = low[:, None] + (high - low)[:, None] * steps
        parts[self.certain] = self.values[self.certain, None]
        return parts.ravel(), np.repeat(self.weights / PARTS, PARTS)


@dataclass(frozen=True)
class Density:
    """Eigenvalues that are known one by one, and a quadrature of all the others.

    Moments and other numbers are those of :meth:`measure`, whose first moments are exact;
    :meth:`spread` is nearest to where the eigenvalues lie.

    Attributes:
        dim: number of eigenvalues.
        outliers: those known, ascending.
        rules: of the others, one for each random vector; empty where all are known.
        unit: of an eigenvalue.
        missed: of the outliers, those that the first vector did not see beside equal ones.
        crowded: values at the ends of which there are more than were found, as far as is known.
    """

    dim: int
    outliers: np.ndarray
    rules: tuple[Rule, ...]
    unit: str
    missed: tuple[Estimate, ...] = ()
    crowded: tuple[Estimate, ...] = ()

    def measure(
        self, without: int | None = None, *, coarse: bool = False
    ) -> tuple[np.ndarray, ...]:
        """Places in ascending order and their weights, which sum to 1.

        Args:
            without: leave out the rule of this place.
            coarse: take the coarse rules.
        """
        rules = self._chosen(without, coarse)
        return self._with_outliers(rules, [(rule.values, rule.weights) for rule in rules])

    def spread(self, without: int | None = None, *, coarse: bool = False) -> tuple[np.ndarray, ...]:
        """The same with the weights of uncertain places spread out: the best guess of the density."""
        rules = self._chosen(without, coarse)
        return self._with_outliers(rules, [rule.spread() for rule in rules])

    def _chosen(self, without: int | None, coarse: bool) -> list[Rule]:
        rules = [rule for place, rule in enumerate(self.rules) if place != without]
        return [rule.coarse or rule for rule in rules] if coarse else rules

    def _with_outliers(
        self, rules: Sequence[Rule], pairs: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, ...]:
        share = 1 / max(1, len(rules))
        values, weights = [self.outliers], [np.ones(len(self.outliers))]
        for rule, (places, parts) in zip(rules, pairs, strict=True):
            values += [rule.beside, places]
            rest = self.dim - len(self.outliers) - len(rule.beside)
            weights += [np.full(len(rule.beside), share), share * rest * parts]
        values, weights = np.concatenate(values), np.concatenate(weights)
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
            known = 0.0 if len(self.outliers) else math.nan
            return Estimate(known, known, self.unit)
        bias = distance(self.spread(), self.spread(coarse=True))
        count = len(self.rules)
        if count == 1:
            return Estimate(math.nan, math.nan, self.unit)
        whole = self.spread()
        apart = [distance(self.spread(j), whole) for j in range(count)]
        chance = float(np.mean(apart)) * math.sqrt(count - 1)
        return Estimate(bias + float(stdtrit(count - 1, 0.975)) * chance, 0.0, self.unit)

    def smoothed(self, places: np.ndarray, width: float | np.ndarray) -> np.ndarray:
        """The density at some places: a Gaussian of standard deviation ``width`` for each eigenvalue.

        ``width`` may be one for each place.
        """
        values, weights = self.spread()
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
