"""Quadratics: every answer about them is known in closed form."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.landscape import CriticalPoint, Landscape
from thalweg.objective.landscapes.arguments import number, numbers, whole
from thalweg.objective.landscapes.known import kind_of, written

__all__ = ["ill_conditioned", "quadratic", "saddle"]

LONGEST = 100
"""Variables up to which a quadratic is written as a formula."""


def quadratic(eigenvalues: Sequence[float] = (1.0, 10.0)) -> Landscape:
    """``½ Σ λᵢ xᵢ²``: a bowl, a ridge or a saddle by the signs of λ; L = max |λᵢ|."""
    values = numbers("eigenvalues", eigenvalues)
    short = len(values) <= LONGEST
    terms = (f"{written(value / 2)}*x{i}**2" for i, value in enumerate(values))
    return Landscape(
        partial(_quadratic, values),
        len(values),
        name="quadratic",
        formula=" + ".join(terms) if short else "",
        critical=(
            CriticalPoint((0.0,) * len(values), kind_of(values, 0.0), tuple(sorted(values))),
        ),
        smoothness=max(abs(value) for value in values),
        infimum=0.0 if min(values) >= 0 else -math.inf,
    )


def ill_conditioned(dim: int = 10, condition: float = 1000.0) -> Landscape:
    """``½ Σ λᵢ xᵢ²`` with λ geometric from 1/κ to 1: gradient descent needs of the order of κ steps."""
    dim = whole("dim", dim, 2)
    if not number("condition", condition) >= 1:
        raise UsageError(f"condition must be 1 or more, not {condition!r}")
    landscape = quadratic([condition ** (i / (dim - 1) - 1) for i in range(dim)])
    return replace(landscape, name="ill-conditioned quadratic")


def saddle() -> Landscape:
    """``x² − y²``: the strict saddle, unbounded below; curvatures 2 and −2."""
    return Landscape(
        partial(_quadratic, (2.0, -2.0)),
        2,
        name="saddle",
        formula="x**2 - y**2",
        critical=(CriticalPoint((0.0, 0.0), "saddle", (-2.0, 2.0)),),
        smoothness=2.0,
        infimum=-math.inf,
    )


def _quadratic(eigenvalues: tuple[float, ...], points: Tensor) -> Tensor:
    return (points.square() * (0.5 * points.new_tensor(eigenvalues))).sum(-1)
