"""The spectrum of a Hessian or a Gauss-Newton matrix: ends, trace and density from one Krylov space."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.estimate import Estimate
from thalweg.measure.asked import check_counts, check_ends, check_tolerance
from thalweg.measure.curvature import Accurate
from thalweg.measure.density import Density
from thalweg.measure.multiplicity import Place, places, told
from thalweg.measure.operators import Counted, operator_of
from thalweg.measure.quadrature import density_of_space, krylov_space
from thalweg.measure.trace import better, deflated_trace, trace_in_parts
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import SymmetricOperator

__all__ = ["Spectrum", "spectrum"]

DENSE = 64
"""Rows up to which the whole matrix is made: that costs no more than an estimate."""


@dataclass(frozen=True)
class Spectrum:
    """What is known of the eigenvalues of a matrix of second derivatives.

    Attributes:
        matrix: one of :data:`MATRICES`, or ``operator``.
        dim: number of eigenvalues.
        top, bottom: the largest, largest first, and the smallest, smallest first; fewer than asked
            for where an unknown number of equal ones comes before the next. The error of each is a
            bound that holds in 99% of draws of the start.
        trace: their sum.
        density: where they lie.
        negative: share of the negative ones in the sum of all by size, Σ_{λ<0}|λ| / Σ|λ|.
        effective_rank: (Σ|λ|)² / Σλ²: the number of equal eigenvalues that would spread as much.
        mean_size: Σ|λ| / dim.
        products: products with the matrix spent in all.
        decided: whether the ends and the trace are as accurate, and as many, as was asked for.
        name: which part of a model, or which step of a run.
    """

    matrix: str
    dim: int
    top: tuple[Estimate, ...]
    bottom: tuple[Estimate, ...]
    trace: Estimate
    density: Density
    negative: Estimate
    effective_rank: Estimate
    mean_size: Estimate
    products: int
    decided: bool
    name: str = ""

    @property
    def cost(self) -> float:
        """Gradient evaluations spent in all."""
        parts = (*self.top, *self.bottom, self.trace, self.negative)
        return sum(estimate.cost for estimate in parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON; None where nothing is known."""
        plain: dict[str, Any] = {
            "name": self.name,
            "matrix": self.matrix,
            "dim": self.dim,
            "products": self.products,
            "cost": self.cost,
            "decided": self.decided,
            "top": [_plain(e) for e in self.top],
            "bottom": [_plain(e) for e in self.bottom],
        }
        for name in ("trace", "negative", "effective_rank", "mean_size"):
            plain[name] = _plain(getattr(self, name))
        values, weights = self.density.measure()
        return plain | {
            "density": {
                "outliers": self.density.outliers.tolist(),
                "values": values.tolist(),
                "weights": weights.tolist(),
                "error": _finite(self.density.error.value),
            }
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": _finite(estimate.value),
        "error": _finite(estimate.error),
        "unit": estimate.unit,
    }


def spectrum(
    what: Objective | SymmetricOperator,
    point: Tensor | None = None,
    *,
    matrix: str = "hessian",
    top: int = 5,
    bottom: int = 1,
    rtol: float = 0.02,
    eigenvalue_rtol: float = 1e-3,
    probes: int = 4,
    budget: int = 400,
    memory: int = 2**31,
    generator: torch.Generator | None = None,
    progress: Callable[[str], None] | None = None,
) -> Spectrum:
    """Extreme eigenvalues, trace and density of a matrix of second derivatives.

    One Krylov space gives the ends of the spectrum, the first quadrature of its density, and what
    the trace is deflated by. The eigenvalues at the ends that it knows well are counted one by one;
    further random vectors, orthogonal to theirs, see the bulk alone, which fewer products resolve,
    and of equal eigenvalues one more each.

    Source: Golub and Meurant, Matrices, Moments and Quadrature (2010); Ghorbani, Krishnan and Xiao,
    An investigation into neural net optimization via Hessian eigenvalue density, ICML (2019).

    Args:
        what: an objective, whose matrix at ``point`` is meant, or any symmetric operator.
        point: shape ``(dim,)``; for an operator any tensor of its dtype, or None for float32.
        matrix: one of :data:`MATRICES`.
        top, bottom: how many eigenvalues of each end.
        rtol: standard error of the trace, as a share of it.
        eigenvalue_rtol: accuracy of the ends, as in :func:`extreme_eigenvalues`.
        probes: random vectors for the density.
        budget: products at most: half of it for the ends, half of what they leave for the density,
            the rest for the trace.
        memory: bytes that the Krylov bases may take.
        generator: of every draw.
        progress: called with a phrase as a part begins.

    Returns:
        Spectrum, in loss per squared unit of the parameters. Cost: 2 gradient evaluations a
        product and 1 for the graph. The memory is that of
        :func:`~thalweg.measure.curvature.extreme_eigenvalues`.
    """
    check_ends(top, bottom)
    check_counts(probes=probes)
    check_counts(2, budget=budget)
    check_tolerance(rtol)
    check_tolerance(eigenvalue_rtol, "eigenvalue_rtol")
    operator, like, unit = operator_of(what, point, matrix)
    tell = progress or (lambda phrase: None)
    generator = generator or torch.Generator().manual_seed(0)
    kind = matrix if isinstance(what, Objective) else "operator"
    if isinstance(what, Objective) and not bool(torch.isfinite(like).all()):
        return _unknown(operator.dim, kind, unit, top, bottom, 0.0)
    if operator.dim <= min(DENSE, budget):
        return _whole(operator, like, kind, unit, top, bottom)
    before, counted = operator.cost, Counted(operator)
    tell("extreme eigenvalues")
    space = krylov_space(counted, like, budget // 2, memory, generator)
    enough, decided = Accurate(top, bottom, eigenvalue_rtol), False
    while not space.full and not decided:
        space.extend()
        if not math.isfinite(space.diagonal[-1]):
            return _unknown(operator.dim, kind, unit, top, bottom, operator.cost - before)
        decided = enough(space)
    ends, first = operator.cost - before, places(space, checked=probes > 1)
    tell("density")
    found = density_of_space(space, like, unit, probes, (budget - counted.products) // 2, generator)
    between = operator.cost - before
    tell("trace")
    total = trace_in_parts(what, point, matrix, rtol=rtol, budget=budget, generator=generator)
    if total is None or total.error > rtol * abs(total.value):
        left = max(budget - counted.products, 0)
        other = deflated_trace(space, like, unit, rtol=rtol, budget=left, generator=generator)
        total = better(total, other)
    size = found.functional(_mean_size, unit)
    missed = [Place.of(e, more=e in found.crowded) for e in found.missed]
    missed += [Place.of(e, more=True) for e in found.crowded if e not in found.missed]
    seen = sorted([*first, *missed], key=lambda place: place.values)
    highest, above = told(seen, top, unit, largest=True)
    lowest, below = told(seen, bottom, unit, largest=False)
    told_late = [e for e in found.missed if e in highest or e in lowest]
    accurate = all(e.error <= eigenvalue_rtol * abs(e.value) for e in told_late)
    (highest or lowest)[0] = replace((highest or lowest)[0], cost=ends)
    negative = found.functional(_negative_share, "of the curvature")
    return Spectrum(
        kind,
        operator.dim,
        tuple(highest),
        tuple(lowest),
        total,
        found,
        Estimate(negative.value, negative.error, negative.unit, between - ends),
        found.functional(lambda v, w: operator.dim * _effective_rank(v, w)),
        size,
        counted.products,
        (decided or space.exhausted)
        and (above and below and accurate)
        and total.error <= rtol * abs(total.value),
    )


def _mean_size(values: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ np.abs(values))


def _negative_share(values: np.ndarray, weights: np.ndarray) -> float:
    size = _mean_size(values, weights)
    return float(weights @ np.maximum(-values, 0)) / size if size else 0.0


def _effective_rank(values: np.ndarray, weights: np.ndarray) -> float:
    square = float(weights @ values**2)
    return _mean_size(values, weights) ** 2 / square if square else 0.0


def _whole(
    operator: SymmetricOperator, like: Tensor, kind: str, unit: str, top: int, bottom: int
) -> Spectrum:
    """All eigenvalues, of the matrix itself."""
    before = operator.cost
    identity = torch.eye(operator.dim, dtype=like.dtype, device=like.device)
    matrix = torch.stack([operator @ row for row in identity]).double().cpu()
    cost = operator.cost - before
    if not bool(torch.isfinite(matrix).all()):
        return _unknown(operator.dim, kind, unit, top, bottom, cost)
    values = torch.linalg.eigvalsh((matrix + matrix.T) / 2).numpy()
    error = 16 * torch.finfo(like.dtype).eps * float(np.abs(values).max())
    found = Density(operator.dim, values, (), unit)
    ends = [Estimate(float(v), error, unit) for v in values]
    return Spectrum(
        kind,
        operator.dim,
        tuple(ends[::-1][:top]),
        tuple(ends[:bottom]),
        Estimate(float(values.sum()), error * math.sqrt(len(values)), unit, cost),
        found,
        found.functional(_negative_share, "of the curvature"),
        found.functional(lambda v, w: operator.dim * _effective_rank(v, w)),
        found.functional(_mean_size, unit),
        operator.dim,
        True,
    )


def _unknown(dim: int, kind: str, unit: str, top: int, bottom: int, cost: float) -> Spectrum:
    """Of a matrix that is not finite."""
    nothing = Estimate(math.nan, math.nan, unit)
    return Spectrum(
        kind,
        dim,
        (nothing,) * top,
        (nothing,) * bottom,
        Estimate(math.nan, math.nan, unit, cost),
        Density(dim, np.full(0, math.nan), (), unit),
        Estimate(math.nan, math.nan, "of the curvature"),
        Estimate(math.nan, math.nan),
        nothing,
        0,
        False,
    )
