"""The trace of a symmetric operator to a requested accuracy."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from thalweg.estimate import PRODUCT_COST, Estimate
from thalweg.measure.asked import check_counts, check_tolerance
from thalweg.measure.curvature import CURVATURE
from thalweg.measure.density import half_width
from thalweg.measure.lanczos import Lanczos
from thalweg.measure.operators import operator_of
from thalweg.measure.quadrature import krylov_space
from thalweg.measure.trace_parts import trace_by_parts
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import SymmetricOperator
from thalweg.objective.inner_product import inner_product
from thalweg.objective.supervised import Supervised

__all__ = ["Hutchinson", "better", "deflated_trace", "trace", "trace_in_parts"]

LEAST = 4
"""Random vectors at least: of fewer the error could not be told."""

GROWTH = 8
"""Dimensions by which the Krylov space grows at a time."""


@dataclass
class Hutchinson:
    """``vᵀAv`` for random signs ``v``, on what is orthogonal to a Krylov space that may still grow.

    ``tr A = Σ T_ii + tr PAP`` for the Krylov basis ``Q`` and ``P = I − QQᵀ``; the first part is
    known. As ``AQ = QT + β q eᵀ``, the products ``Av`` serve for any size of the space.

    Source: Hutchinson, Communications in Statistics 19 (1990); deflation as in Meyer, Musco, Musco
    and Woodruff, Hutch++, SOSA (2021), with a Krylov space in place of a sketch.
    """

    lanczos: Lanczos
    generator: torch.Generator
    vectors: list[Tensor] = field(default_factory=list)
    products: list[Tensor] = field(default_factory=list)
    _found: list[tuple[float, float]] = field(default_factory=list)
    _size: int = 0

    def draw(self, like: Tensor) -> None:
        """One more random vector and its product."""
        signs = torch.randint(0, 2, (self.lanczos.operator.dim,), generator=self.generator)
        vector = (2 * signs - 1).to(like)
        self.vectors.append(vector)
        self.products.append(self.lanczos.operator @ vector)

    def estimate(self) -> tuple[float, float]:
        """The trace, and the variance that a single further vector would have.

        Random signs have a variance of ``2(‖B‖² − ΣB_ii²)``, at most ``2 E‖Bv‖²``, which few vectors
        tell better than their own spread does; the larger of the two is taken.
        """
        space = self.lanczos
        if self._size != space.size:
            self._size, self._found = space.size, []
        for place in range(len(self._found), len(self.vectors)):
            self._found.append(self._deflated(self.vectors[place], self.products[place]))
        both = np.array(self._found)
        known = float(np.sum(space.diagonal))
        spread = max(2 * float(both[:, 1].mean()), float(both[:, 0].var(ddof=1)))
        return known + float(both[:, 0].mean()), spread

    def _deflated(self, vector: Tensor, product: Tensor) -> tuple[float, float]:
        """``vᵀPAPv`` and ``‖PAPv‖²``."""
        space = self.lanczos
        rest, image = space.remainder(vector), product
        if space.size and not space.exhausted:
            last = space.rows(space.size)[-1][-1]
            image = image - space.off_diagonal[-1] * inner_product(last, vector) * space.following
        image = space.remainder(image).double()
        return float(rest.double() @ image), float(image @ image)


def deflated_trace(
    lanczos: Lanczos,
    like: Tensor,
    unit: str,
    *,
    rtol: float = 0.02,
    budget: int = 200,
    generator: torch.Generator,
) -> Estimate:
    """The trace of an operator, from a Krylov space that is there already or begins here.

    Products go where they save most: the Krylov space grows as long as a further dimension of it
    makes more than one random vector needless, else random vectors are drawn.

    Args:
        lanczos: the space; what it holds already costs nothing.
        like: a tensor of the operator's dtype and device.
        rtol: the standard error that is asked for, as a share of the trace.
        budget: products at most.

    Returns:
        The trace, with an error twice which holds in at least 95% of draws. Memory: the basis, and
        two vectors for each random one.
    """
    operator = lanczos.operator
    before = operator.cost
    hutchinson = Hutchinson(lanczos, generator)
    spent = 0
    while len(hutchinson.vectors) < min(LEAST, operator.dim) and spent < max(budget, 2):
        hutchinson.draw(like)
        spent += 1
    growing, needed = not lanczos.full, math.inf
    while True:
        size = lanczos.size
        value, variance = hutchinson.estimate()
        count = len(hutchinson.vectors)
        error = half_width(count) * math.sqrt(variance / count)
        allowed = rtol * abs(value)
        if not math.isfinite(value) or error <= allowed or spent >= budget or size == operator.dim:
            break
        wanted = variance / max(allowed, 1e-300) ** 2
        saves = wanted > count + GROWTH and needed - wanted > GROWTH
        if growing and (saves or _whole_is_nearer(lanczos, wanted - count)):
            needed = wanted
            for _ in range(min(GROWTH, budget - spent)):
                if not lanczos.full:
                    lanczos.extend()
                    spent += 1
            growing = not lanczos.full
        else:
            growing = False
            for _ in range(max(1, min(budget - spent, int((wanted - count) / 2)))):
                hutchinson.draw(like)
                spent += 1
    if size == operator.dim:
        value, error = float(np.sum(lanczos.diagonal)), size * lanczos.rounding
    return Estimate(value, error + lanczos.rounding, unit, operator.cost - before)


def _whole_is_nearer(lanczos: Lanczos, vectors: float) -> bool:
    """Whether the space is whole, and the trace exact, before so many random vectors are drawn."""
    dim = lanczos.operator.dim
    return lanczos.most >= dim and dim - lanczos.size <= vectors


def trace(
    what: Objective | SymmetricOperator,
    point: Tensor | None = None,
    *,
    matrix: str = "hessian",
    rtol: float = 0.02,
    budget: int = 400,
    memory: int = 2**31,
    generator: torch.Generator | None = None,
) -> Estimate:
    """The trace of a matrix of second derivatives to a relative standard error of ``rtol``.

    Of a network of the usual layers whose loss is a mean over the examples of a convex function of
    the output: by :func:`~thalweg.measure.trace_parts.trace_by_parts`, which for a piecewise linear
    network is exact at the price of a few gradients. Of all others, and where that does not reach
    the accuracy: by products with random vectors, deflated by a Krylov space.

    Args:
        what, point, matrix: as for :func:`~thalweg.measure.operators.operator_of`.
        rtol: standard error, as a share of the trace.
        budget: products at most. Where it ends first the error says so.
        memory: bytes that the Krylov basis may take.
        generator: of every draw.

    Returns:
        The trace, with an error twice which holds in at least 95% of draws. Cost: 2 gradient
        evaluations a product and 1 for the graph.
    """
    check_counts(2, budget=budget)
    check_tolerance(rtol)
    generator = generator or torch.Generator().manual_seed(0)
    parts = trace_in_parts(what, point, matrix, rtol=rtol, budget=budget, generator=generator)
    if parts is not None and parts.error <= rtol * abs(parts.value):
        return parts
    operator, like, unit = operator_of(what, point, matrix)
    space = krylov_space(operator, like, budget // 2, memory, generator)
    other = deflated_trace(space, like, unit, rtol=rtol, budget=budget, generator=generator)
    return better(parts, other)


def trace_in_parts(
    what: Objective | SymmetricOperator,
    point: Tensor | None,
    matrix: str,
    *,
    rtol: float,
    budget: int,
    generator: torch.Generator,
) -> Estimate | None:
    """The trace without products with the whole matrix; None where that is no way."""
    if not isinstance(what, Supervised) or point is None:
        return None
    return trace_by_parts(
        what,
        point,
        CURVATURE,
        gauss_newton=matrix != "hessian",
        rtol=rtol,
        budget=PRODUCT_COST * budget,
        generator=generator,
    )


def better(one: Estimate | None, other: Estimate) -> Estimate:
    """Of two estimates of the same number that of the smaller error, at the cost of both."""
    if one is None:
        return other
    first = one if not one.error > other.error else other
    return Estimate(first.value, first.error, first.unit, one.cost + other.cost)
