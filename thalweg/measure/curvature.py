"""Extreme eigenvalues of a symmetric operator by Lanczos, with bounds on their error."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.measure.asked import check_counts, check_ends, check_point, check_tolerance
from thalweg.measure.lanczos import Lanczos
from thalweg.measure.multiplicity import places, told
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import Hessian, SymmetricOperator

__all__ = ["CURVATURE", "Accurate", "Eigenvalues", "due", "extreme_eigenvalues"]

CURVATURE = "loss per unit²"
"""Unit of a second derivative, as that of a slope is ``loss per unit``: a unit of the parameters."""

LATE = 1 / 8
"""Share of the products by which it may be seen too late that what was asked is decided."""


@dataclass(frozen=True)
class Eigenvalues:
    """Both ends of a spectrum.

    Attributes:
        top: the largest eigenvalues, largest first, fewer than asked for where the Krylov space
            ends first, or where an unknown number of equal ones comes before the next. Of a few
            equal ones one is seen; where many are, the weight of the start in them tells it. The
            error of each is a bound that holds in 99% of draws of the start.
        bottom: the smallest, smallest first.
        top_vector, bottom_vector: unit eigenvectors of the first of each, shape ``(dim,)``.
        products: Hessian-vector products spent.
        decided: whether the accuracy that was asked for was reached.
    """

    top: tuple[Estimate, ...]
    bottom: tuple[Estimate, ...]
    top_vector: Tensor
    bottom_vector: Tensor
    products: int
    decided: bool

    @property
    def bottom_is_zero(self) -> bool:
        """Whether the smallest eigenvalue cannot be told from zero."""
        return abs(self.bottom[0].value) <= self.bottom[0].error


def extreme_eigenvalues(
    what: Objective | SymmetricOperator,
    point: Tensor | None = None,
    *,
    top: int = 1,
    bottom: int = 1,
    rtol: float = 1e-3,
    budget: int = 100,
    memory: int = 2**31,
    decided: Callable[[Lanczos], bool] | None = None,
    generator: torch.Generator | None = None,
) -> Eigenvalues:
    """The largest and the smallest eigenvalues, both from one Krylov space.

    Stops as soon as what was asked is decided: each of the ``top`` eigenvalues known to ``rtol`` of
    itself, and each of the ``bottom`` to ``rtol`` of itself or, being smaller, to ``rtol`` of the
    largest in absolute value.

    Args:
        what: an objective, whose Hessian at ``point`` is meant, or any symmetric operator.
        point: shape ``(dim,)``; for an operator any tensor of its dtype, or None for float32.
        top, bottom: how many of each end; 0 asks for none.
        budget: largest number of products.
        memory: bytes that the Krylov basis may take; it bounds the number of products too.
        decided: in place of the rule above, called with the Lanczos process after each product.
        generator: of the random start.

    Returns:
        Eigenvalues, of a Hessian in loss per squared unit of the parameters, of another operator as
        plain numbers; ``decided`` is False where the budget ended first, and the errors say by how
        much. Cost: 2 gradient evaluations a product and 1 for the graph. Peak memory: the graph of
        the gradient (at most ``objective.memory``) and ``products * dim`` numbers.
    """
    check_ends(top, bottom)
    check_counts(budget=budget)
    check_tolerance(rtol)
    check_point(point)
    if isinstance(what, Objective):
        if point is None:
            raise UsageError("point must be given with an objective")
        operator: SymmetricOperator = Hessian(what, point)
    else:
        operator = what
    unit = CURVATURE if isinstance(operator, Hessian) else "1"
    like = torch.empty(0) if point is None else point
    generator = generator or torch.Generator().manual_seed(0)
    start = torch.randn(operator.dim, generator=generator, dtype=like.dtype).to(like.device)
    room = max(2, memory // (operator.dim * start.element_size()) - 1)
    lanczos = Lanczos(operator, start, min(budget, room))
    before = operator.cost
    enough = decided or Accurate(top, bottom, rtol)
    reached = False
    while not lanczos.full and not reached:
        lanczos.extend()
        if not math.isfinite(lanczos.diagonal[-1]):
            unknown = [Estimate(math.nan, math.nan, unit) for _ in range(top + bottom)]
            unknown[0] = Estimate(math.nan, math.nan, unit, operator.cost - before)
            nowhere = torch.full_like(start, math.nan)
            return Eigenvalues(
                tuple(unknown[:top]), tuple(unknown[top:]), nowhere, nowhere, lanczos.size, False
            )
        reached = enough(lanczos)
    seen = places(lanczos)
    highest, above = told(seen, top, unit, largest=True)
    lowest, below = told(seen, bottom, unit, largest=False)
    first = (highest or lowest)[0]
    (highest or lowest)[0] = replace(first, cost=operator.cost - before)
    vectors = lanczos.ritz()[2]
    return Eigenvalues(
        tuple(highest),
        tuple(lowest),
        lanczos.combine(vectors[:, -1]),
        lanczos.combine(vectors[:, 0]),
        lanczos.size,
        (reached or lanczos.exhausted) and above and below,
    )


class Accurate:
    """Whether the eigenvalues that were asked for are known to ``rtol``.

    A look at all Ritz values may take as long as a small product, so while the errors are far too
    large it is not taken after every one: a product seldom divides an error by more than six. Where
    it does, no more than one product in ``1 / LATE`` is spent in vain. What the bounds are in full
    is asked only where they may be small enough.
    """

    def __init__(self, top: int, bottom: int, rtol: float) -> None:
        self.top, self.bottom, self.rtol = top, bottom, rtol
        self.due = top + bottom

    def __call__(self, lanczos: Lanczos) -> bool:
        if lanczos.size < self.due and not lanczos.full:
            return False
        values, least = lanczos.first_order()
        if len(values) < self.top + self.bottom:
            return lanczos.exhausted
        wanted = self.rtol * np.abs(values)
        wanted[: self.bottom] = self.rtol * np.abs(values).max()
        wanted = np.maximum(wanted, 2 * lanczos.noise())
        kept = np.r_[0 : self.bottom, len(values) - self.top : len(values)]
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = float(np.max(least[kept] / wanted[kept]))
        if math.isfinite(excess):
            self.due = due(lanczos.size, excess)
        return excess <= 1 and bool(np.all(lanczos.ritz()[1][kept] <= wanted[kept]))


def due(size: int, excess: float) -> int:
    """Products after which to look again, where an error is ``excess`` times too large after ``size``."""
    ahead = min(int(math.log(max(excess, 1.0), 6)), int(LATE * size))
    return size + max(1, ahead)
