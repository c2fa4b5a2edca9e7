"""The density of a spectrum by stochastic Lanczos quadrature, beside the eigenvalues known singly."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal, solve_banded
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.measure.curvature import Lanczos
from thalweg.measure.density import Density, Rule, distance
from thalweg.measure.operators import Deflated, operator_of
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import SymmetricOperator

__all__ = ["check_counts", "density", "density_of_space", "krylov_space", "rule_of"]

KNOWN = 1e-2
"""Relative error up to which an eigenvalue at an end counts as known for itself."""

MOST_WEIGHT = 12.0
"""Share of a random vector, in units of 1/dim, up to which a Ritz value is a single eigenvalue: more
is seen by chance in fewer than 1 of 1000, and tells of several eigenvalues in one place."""

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
    check_counts(probes=probes, budget=budget)
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
    dim = space.operator.dim
    outliers = _outliers(space)
    values, basis = space.ritz()[0][outliers], _vectors(space, outliers)
    rules, missed = [rule_of(space, values)], list[Estimate]()
    for left in range(probes - 1, 0, -1):
        most = min(budget // left, space.most)
        if most < 2:
            break
        bulk = Deflated(space.operator, basis)
        start = torch.randn(dim, generator=generator, dtype=like.dtype).to(like.device)
        fresh = Lanczos(bulk, bulk.project(start), most)
        _grow(fresh, _Settled(fresh))
        if not math.isfinite(fresh.diagonal[-1]):
            break
        found, errors, _ = fresh.ritz()
        new = [i for i in _outliers(fresh) if not _between(found[i], values)]
        missed += [Estimate(float(found[i]), float(errors[i]), unit) for i in new]
        rules.append(rule_of(fresh, found[new]))
        values, basis = np.r_[values, found[new]], torch.cat([basis, _vectors(fresh, new)])
        budget -= fresh.size
    return Density(dim, np.sort(values), tuple(rules), unit, tuple(missed))


def _vectors(space: Lanczos, places: list[int]) -> Tensor:
    """Of these Ritz values, as rows."""
    vectors = space.ritz()[2]
    none = space.following.new_zeros(0, space.operator.dim)
    return torch.stack([space.combine(vectors[:, i]) for i in places]) if places else none


def _outliers(space: Lanczos) -> list[int]:
    """Places of the Ritz values that are single eigenvalues at the ends, and known well."""
    values, errors, vectors = space.ritz()
    known = errors <= KNOWN * np.abs(values)
    single = vectors[0] ** 2 * space.operator.dim <= MOST_WEIGHT
    good = known & single
    below = next((i for i, fine in enumerate(good) if not fine), len(good))
    above = next((i for i, fine in enumerate(good[::-1]) if not fine), len(good))
    places = set(range(below)) | set(range(len(good) - above, len(good)))
    return sorted(places) if len(places) < len(good) else sorted(places)[:-1]


def rule_of(space: Lanczos, outliers: np.ndarray, anchor: float = 0.0) -> Rule:
    """The Gauss-Radau quadrature of a Krylov space with a place at ``anchor``, without the outliers.

    A network has many directions that do nothing, and its spectrum a heap of eigenvalues at 0: a
    rule with a place there wastes none of the others on it.

    Source: Golub, Some modified matrix eigenvalue problems, SIAM Review 15 (1973).
    """
    coarse = _radau(space, max(1, (space.size + len(outliers)) // 2), anchor, outliers)
    fine = _radau(space, space.size, anchor, outliers)
    return replace(fine, coarse=coarse)


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
    kept = _inside(values, outliers)
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


def _inside(values: np.ndarray, outliers: np.ndarray) -> np.ndarray:
    """Which places lie between the negative and the positive outliers; at least one does."""
    kept = _between(values, outliers)
    return kept if kept.any() else np.abs(values) == np.abs(values).min()


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


def check_counts(**counts: int) -> None:
    """Refuse what is no whole number of at least 1; of a budget, at least 2."""
    for name, value in counts.items():
        least = 2 if name == "budget" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(f"{name} must be a whole number of {least} or more, not {value!r}")
