"""The density of a spectrum by stochastic Lanczos quadrature, beside the eigenvalues known singly."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal, solve_banded
from torch import Tensor

from thalweg.estimate import Estimate
from thalweg.measure.asked import check_counts
from thalweg.measure.density import Density, Rule, distance
from thalweg.measure.lanczos import Lanczos
from thalweg.measure.multiplicity import places
from thalweg.measure.operators import Deflated, operator_of
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import SymmetricOperator

__all__ = ["density", "density_of_space", "krylov_space", "rule_of"]

KNOWN = 1e-2
"""Relative error up to which an eigenvalue at an end counts as known for itself."""

RESOLVED = 1e-3
"""Residual of a place, as a share of the way to its neighbours, below which an eigenvalue is there."""

MOST_STRETCH = 2.0
"""How far beyond the spectrum the arithmetic of a prescribed place may reach; else there is none."""

QUADRATURE = 0.1
"""Change of a quadrature by half its products, as a share of the mean size of an eigenvalue, below
which it is good enough."""


def density(
    what: Objective | SymmetricOperator,
    point: Tensor | None = None,
    *,
    matrix: str = "hessian",
    probes: int = 4,
    budget: int = 200,
    memory: int = 2**31,
    generator: torch.Generator | None = None,
) -> Density:
    """The density of a spectrum alone, by at most so many products.

    Source: Golub and Meurant, Matrices, Moments and Quadrature (2010); Ghorbani, Krishnan and Xiao,
    An investigation into neural net optimization via Hessian eigenvalue density, ICML (2019).

    Args:
        what, point, matrix: as for :func:`~thalweg.measure.operators.operator_of`.
        probes: random vectors.
        budget: products at most.
        memory: bytes that the Krylov bases may take; it bounds their dimensions too.
        generator: of every draw.

    Returns:
        Density. Cost: 2 gradient evaluations a product and 1 for the graph.
    """
    check_counts(probes=probes)
    check_counts(2, budget=budget)
    operator, like, unit = operator_of(what, point, matrix)
    generator = generator or torch.Generator().manual_seed(0)
    space = krylov_space(operator, like, budget // 2, memory, generator)
    _grow(space, _Settled(space, few=16))
    return density_of_space(space, like, unit, probes, budget - space.size, generator)


def krylov_space(
    operator: SymmetricOperator, like: Tensor, most: int, memory: int, generator: torch.Generator
) -> Lanczos:
    """A Krylov space that begins with a Gaussian draw, and leaves half the memory for another."""
    start = torch.randn(operator.dim, generator=generator, dtype=like.dtype).to(like.device)
    room = max(2, memory // (2 * operator.dim * start.element_size()) - 1)
    return Lanczos(operator, start, max(2, min(most, room)))


def density_of_space(
    space: Lanczos,
    like: Tensor,
    unit: str,
    probes: int,
    budget: int,
    generator: torch.Generator,
) -> Density:
    """The quadrature of a space that is there already, and of further random vectors.

    Of equal eigenvalues a space has one. The next one is orthogonal to it, and has another.
    """
    dim, known = space.operator.dim, _Known(space)
    seen: list[tuple[Lanczos, int, list[int]]] = [(space, 0, _outliers(space))]
    for left in range(probes - 1, 0, -1):
        most = min(budget // left, space.most)
        if most < 2:
            break
        bulk = Deflated(space.operator, known.basis)
        start = torch.randn(dim, generator=generator, dtype=like.dtype).to(like.device)
        fresh = Lanczos(bulk, bulk.project(start), most)
        _grow(fresh, _Settled(fresh))
        if not math.isfinite(fresh.diagonal[-1]):
            break
        seen.append((fresh, len(known.values), known.look(fresh, unit)))
        fresh.forget()
        budget -= fresh.size
    single = known.single()
    rules = []
    for each, before, new in seen:
        cut = each.ritz()[0][new][single[before : before + len(new)]]
        rules.append(rule_of(each, cut, beside=known.values[:before][~single[:before]]))
    return Density(
        dim,
        np.sort(known.values[single]),
        tuple(rules),
        unit,
        tuple(known.missed),
        tuple(known.crowded),
    )


class _Known:
    """Eigenvalues at the ends that are known one by one, and their vectors.

    Attributes:
        values: of the first space, and then in the order in which further vectors saw them.
        basis: their vectors, as rows.
        missed: those that further vectors saw.
        crowded: those of which there are more, as far as is known: as the last vector still saw
            them, or the weight of one in them is that of several.
    """

    def __init__(self, space: Lanczos) -> None:
        places = _outliers(space)
        self.values, self.basis = space.ritz()[0][places], _vectors(space, places)
        self.missed, self.crowded = list[Estimate](), list[Estimate]()
        self._many = list[Estimate]()
        self._residual = _residual(space, places)

    def look(self, fresh: Lanczos, unit: str) -> list[int]:
        """Take in what a space orthogonal to the basis knows; the places of what is new.

        A vector that is an eigenvector but for a residual moves the eigenvalues of what is
        orthogonal to it by no more than that.
        """
        found, errors, _ = fresh.ritz()
        errors = errors + self._residual
        new = [i for i in _outliers(fresh) if not _between(found[i], self.values)]
        self._many += [
            Estimate(place.values[-1], place.errors[-1] + self._residual, unit)
            for place in places(fresh, KNOWN)
            if not (place.alone or _between(place.values[-1], self.values))
        ]
        estimates = [Estimate(float(found[i]), float(errors[i]), unit) for i in new]
        self.missed += estimates
        self.crowded = self._many + estimates
        self.values = np.r_[self.values, found[new]]
        self.basis = torch.cat([self.basis, _vectors(fresh, new)])
        self._residual = math.hypot(self._residual, _residual(fresh, new))
        return new

    def single(self) -> np.ndarray:
        """Which of the values are outliers: those farther out than whatever there is more of."""
        high = max((e.value for e in self.crowded if e.value >= 0), default=0.0) * (1 + KNOWN)
        low = min((e.value for e in self.crowded if e.value < 0), default=0.0) * (1 + KNOWN)
        return (self.values < low) | (self.values >= 0) & (self.values > high)


def _residual(space: Lanczos, places: list[int]) -> float:
    """Norm of what the operator does to these Ritz vectors beyond stretching them."""
    return abs(space.off_diagonal[-1]) * float(np.linalg.norm(space.ritz()[2][-1, places]))


def _vectors(space: Lanczos, places: list[int]) -> Tensor:
    """Of these Ritz values, as rows."""
    vectors = space.ritz()[2]
    none = space.following.new_zeros(0, space.operator.dim)
    return torch.stack([space.combine(vectors[:, i]) for i in places]) if places else none


def _outliers(space: Lanczos) -> list[int]:
    """Places of the Ritz values that are single eigenvalues at the ends, and known well."""
    values, errors, _ = space.ritz()
    single = np.array([p.alone for p in places(space, KNOWN) for _ in p.values])
    good = (errors <= KNOWN * np.abs(values)) & single
    below = next((i for i, fine in enumerate(good) if not fine), len(good))
    above = next((i for i, fine in enumerate(good[::-1]) if not fine), len(good))
    ends = [*range(below), *range(max(below, len(good) - above), len(good))]
    return ends if len(ends) < len(good) else ends[:-1]


def rule_of(
    space: Lanczos,
    outliers: np.ndarray,
    anchor: float = 0.0,
    *,
    beside: np.ndarray | None = None,
) -> Rule:
    """The Gauss-Radau quadrature of a Krylov space with a place at ``anchor``, without the outliers.

    A network has many directions that do nothing, and its spectrum a heap of eigenvalues at 0: a
    rule with a place there wastes none of the others on it.

    Source: Golub, Some modified matrix eigenvalue problems, SIAM Review 15 (1973).
    """
    coarse = _radau(space, max(1, (space.size + len(outliers)) // 2), anchor, outliers)
    fine = _radau(space, space.size, anchor, outliers)
    beside = np.zeros(0) if beside is None else beside
    return replace(fine, coarse=replace(coarse, beside=beside), beside=beside)


def _radau(space: Lanczos, size: int, anchor: float, outliers: np.ndarray) -> Rule:
    """That of the first ``size`` products."""
    ended = size == space.size and space.exhausted
    diagonal, sides = _prescribed(space, size, math.nan if ended else anchor)
    scale = float(np.abs(space.diagonal[:size]).max()) + 2 * max(space.off_diagonal[:size])
    values, vectors = eigh_tridiagonal(diagonal, sides)
    gaps = np.diff(values, prepend=-np.inf, append=np.inf)
    room = np.minimum(gaps[1:], gaps[:-1])
    at = np.abs(values - anchor) <= 1e-9 * scale
    certain = at | (np.abs(vectors[-1]) * scale <= RESOLVED * room) | ended
    kept = _inside(values, outliers, vectors[0] ** 2)
    weights = vectors[0, kept] ** 2
    return Rule(values[kept], weights / weights.sum(), certain[kept])


def _prescribed(space: Lanczos, size: int, anchor: float) -> tuple[np.ndarray, np.ndarray]:
    """The tridiagonal matrix with a last entry that makes ``anchor`` an eigenvalue.

    Where the arithmetic would reach far beyond the spectrum, that of one product fewer; and where
    neither will do, or ``anchor`` is no number, the matrix as it is.
    """
    diagonal, sides = np.array(space.diagonal[:size]), np.array(space.off_diagonal[:size])
    scale = float(np.abs(diagonal).max()) + 2 * float(sides.max())
    for used in (size, size - 1) if math.isfinite(anchor) else ():
        last = _last_entry(diagonal[:used], sides[:used], anchor) if used else math.nan
        if abs(last - anchor) <= MOST_STRETCH * scale:
            return np.r_[diagonal[:used], last], sides[:used]
    return diagonal, sides[:-1]


def _last_entry(diagonal: np.ndarray, sides: np.ndarray, anchor: float) -> float:
    bands = np.zeros((3, len(diagonal)))
    bands[0, 1:], bands[1], bands[2, :-1] = sides[:-1], diagonal - anchor, sides[:-1]
    unit = np.zeros(len(diagonal))
    unit[-1] = 1.0
    try:
        column = solve_banded((1, 1), bands, unit)
    except (np.linalg.LinAlgError, ValueError):
        return math.nan
    return anchor + float(sides[-1]) ** 2 * float(column[-1])


def _inside(values: np.ndarray, outliers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Which places lie between the negative and the positive outliers; at least one of some weight."""
    kept = _between(values, outliers)
    if weights[kept].sum() > 0:
        return kept
    sizes = np.where(weights > 0, np.abs(values), np.inf)
    return sizes == sizes.min()


def _between(values: Any, outliers: np.ndarray) -> Any:
    """Whether values lie between the negative and the positive outliers."""
    low = outliers[outliers < 0].max(initial=-np.inf) * (1 - KNOWN)
    high = outliers[outliers >= 0].min(initial=np.inf) * (1 - KNOWN)
    return (values > low) & (values < high)


class _Settled:
    """Whether the quadrature of a space has all but stopped to change."""

    def __init__(self, space: Lanczos, few: int = 6) -> None:
        self.space, self.due = space, few

    def __call__(self) -> bool:
        if self.space.size < self.due:
            return False
        self.due = self.space.size + max(2, self.space.size // 8)
        rule = rule_of(self.space, np.zeros(0))
        assert rule.coarse is not None
        size = float(rule.weights @ np.abs(rule.values))
        return distance(rule.spread(), rule.coarse.spread()) <= QUADRATURE * size


def _grow(space: Lanczos, enough: Callable[[], bool]) -> None:
    while not space.full:
        space.extend()
        if not math.isfinite(space.diagonal[-1]) or enough():
            return
