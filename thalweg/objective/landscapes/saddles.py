"""Landscapes whose point of interest is a saddle."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from thalweg.errors import UsageError
from thalweg.objective.formula import Formula
from thalweg.objective.landscape import CriticalPoint, Landscape
from thalweg.objective.landscapes.arguments import numbers, positive, whole
from thalweg.objective.landscapes.known import kind_of, written

__all__ = ["bounded_saddle", "matrix_factorization", "monkey_saddle"]


def bounded_saddle(wall: float = 0.5) -> Landscape:
    """``x² − y² + w y⁴``: the same saddle between two minima at y = ±1/√(2w), of loss −1/(4w)."""
    wall = positive("wall", wall)
    bottom = (2 * wall) ** -0.5
    text = f"x**2 - y**2 + {written(wall)}*y**4"
    return Landscape(
        Formula.parse(text),
        2,
        name="bounded saddle",
        formula=text,
        critical=(
            CriticalPoint((0.0, 0.0), "saddle", (-2.0, 2.0)),
            CriticalPoint((0.0, -bottom), "minimum", (2.0, 4.0)),
            CriticalPoint((0.0, bottom), "minimum", (2.0, 4.0)),
        ),
        domain=((-1.0, 1.0), (-1.5 * bottom, 1.5 * bottom)),
        domain_smoothness=11.5,
        infimum=-0.25 / wall,
    )


def monkey_saddle() -> Landscape:
    """``x³ − 3xy²``: three ways down, and a Hessian that is zero at the critical point."""
    text = "x**3 - 3*x*y**2"
    return Landscape(
        Formula.parse(text),
        2,
        name="monkey saddle",
        formula=text,
        critical=(CriticalPoint((0.0, 0.0), "degenerate", (0.0, 0.0)),),
        domain_smoothness=6 * math.sqrt(2),
        infimum=-math.inf,
    )


def matrix_factorization(singular_values: Sequence[float] = (2.0, 1.0), rank: int = 1) -> Landscape:
    """``½ ‖U Vᵀ − A‖²`` with A = diag(σ): saddles only, besides the minima, which are connected.

    The point holds the rows of U ``(d, rank)``, then those of V. At 0 the Hessian has the
    eigenvalues ±σᵢ, each ``rank`` times. At the other critical points U Vᵀ has some of the σᵢ, at
    the minima the ``rank`` largest; one of each is listed, and its negative. (UG, VG⁻ᵀ) are critical
    with (U, V), so that the Hessian is flat there and the kind is ``degenerate``. The lowest loss is
    ½ Σ_{i > rank} σᵢ².
    """
    sigma = numbers("singular_values", singular_values)
    size, rank = len(sigma), whole("rank", rank, 1, 5)
    if size > 5 or list(sigma) != sorted(sigma, reverse=True) or sigma[-1] <= 0 or rank > size:
        raise UsageError(
            "singular_values must be at most 5 positive numbers, the largest first, and no fewer "
            f"than rank, not {singular_values!r} with rank {rank}"
        )
    terms = []
    for i, j in itertools.product(range(size), repeat=2):
        entry = " + ".join(f"x{i * rank + k}*x{(size + j) * rank + k}" for k in range(rank))
        terms.append(f"({entry}{f' - {written(sigma[i])}' if i == j else ''})**2")
    text = f"0.5*({' + '.join(terms)})"
    formula = Formula.parse(text)
    extreme = sorted(value for value in sigma for _ in range(rank))
    curvatures = (*(-value for value in reversed(extreme)), *extreme)
    critical = [CriticalPoint((0.0,) * formula.dim, "saddle", curvatures)]
    for count in range(1, rank + 1):
        for chosen in itertools.combinations(range(size), count):
            critical += _factors(sigma, chosen, rank)
    reach = 1.5 * math.sqrt(sigma[0])
    return Landscape(
        formula,
        formula.dim,
        name="matrix factorization",
        formula=text,
        critical=tuple(critical),
        domain=((-reach, reach),) * formula.dim,
        infimum=0.5 * sum(value**2 for value in sigma[rank:]),
    )


def _factors(sigma: tuple[float, ...], chosen: tuple[int, ...], rank: int) -> list[CriticalPoint]:
    """U = V with the roots of the chosen singular values, and their negative."""
    size = len(sigma)
    rows = np.zeros((size, rank))
    rows[chosen, range(len(chosen))] = np.sqrt([sigma[i] for i in chosen])
    rest = rows @ rows.T - np.diag(sigma)
    same = np.kron(np.eye(size), rows.T @ rows)
    # ∂²f/∂U_ik ∂V_jl = (U Vᵀ − A)_ij δ_kl + V_jk U_il
    mixed = np.einsum("ij,kl->ikjl", rest, np.eye(rank)) + np.einsum("jk,il->ikjl", rows, rows)
    mixed = mixed.reshape(size * rank, size * rank)
    values = np.linalg.eigvalsh(np.block([[same, mixed], [mixed.T, same]]))
    values[np.abs(values) < 1e-12 * np.abs(values).max()] = 0.0
    curvatures = tuple(values.tolist())
    points = (np.tile(sign * rows.ravel(), 2) + 0.0 for sign in (1.0, -1.0))
    return [CriticalPoint(tuple(u.tolist()), kind_of(curvatures), curvatures) for u in points]
