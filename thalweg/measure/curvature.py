"""Extreme eigenvalues of a symmetric operator by Lanczos, with bounds on their error."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import Hessian, SymmetricOperator

__all__ = ["Eigenvalues", "Lanczos", "Scaled", "extreme_eigenvalues"]


class Lanczos:
    """The Krylov space of an operator and a vector, grown by one product at a time.

    With full reorthogonalisation, so that no eigenvalue appears twice. Ritz values approach the
    ends of the spectrum first; an eigenvalue whose eigenvector is orthogonal to the start, or the
    second of two equal ones, is never seen.

    Source: Golub and Van Loan, Matrix Computations, 4th ed., 10.1-10.3; Parlett, The Symmetric
    Eigenvalue Problem, ch. 11 (error bounds).

    Args:
        operator: symmetric, of ``dim`` rows.
        start: vector of shape ``(dim,)``.
        most: largest dimension of the space; memory is ``most * dim`` numbers, taken as it grows.
    """

    def __init__(self, operator: SymmetricOperator, start: Tensor, most: int) -> None:
        self.operator = operator
        self.most = min(most, operator.dim)
        self.start_norm = float(start.norm())
        self._basis = torch.empty(
            min(16, self.most), operator.dim, dtype=start.dtype, device=start.device
        )
        self._basis[0] = start / self.start_norm
        self.size = 0
        self.diagonal: list[float] = []
        self.off_diagonal: list[float] = []
        self.exhausted = False
        self._cache: tuple[int, np.ndarray, np.ndarray] | None = None

    @property
    def full(self) -> bool:
        """Whether no further product can be added."""
        return self.exhausted or self.size >= self.most

    def extend(self) -> None:
        """One product: the space grows by one dimension."""
        k = self.size
        q = self._basis[k]
        w = self.operator @ q
        basis = self._basis[: k + 1]
        self.diagonal.append(float(q @ w))
        w = w - self.diagonal[-1] * q
        if k:
            w -= self.off_diagonal[-1] * self._basis[k - 1]
        w -= basis.T @ (basis @ w)
        beta = float(w.norm())
        self.off_diagonal.append(beta)
        self.size = k + 1
        scale = max(map(abs, self.diagonal)) + max(self.off_diagonal)
        if not math.isfinite(beta) or beta <= 10 * torch.finfo(w.dtype).eps * scale:
            self.exhausted = True
        elif self.size < self.most:
            if self.size == len(self._basis):
                grown = torch.empty(
                    min(2 * self.size, self.most), self._basis.shape[1], dtype=w.dtype
                ).to(w.device)
                grown[: self.size] = self._basis
                self._basis = grown
            self._basis[self.size] = w / beta

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values in ascending order, bounds on their error, eigenvectors of the tridiagonal.

        With residual norm ``r`` and distance ``gap`` from the other Ritz values, themselves moved
        by their residuals, the eigenvalue lies within ``min(r, r²/gap)`` of the Ritz value (Parlett,
        ch. 11). Bounds for the outermost ``m`` together, ``‖R‖²/gap``, are smaller but were seen to
        hide one of two close eigenvalues: they are not used.
        """
        if self._cache is None or self._cache[0] != self.size:
            values, vectors = eigh_tridiagonal(
                np.array(self.diagonal), np.array(self.off_diagonal[:-1])
            )
            self._cache = (self.size, values, vectors)
        _, values, vectors = self._cache
        beta = 0.0 if self.exhausted else self.off_diagonal[-1]
        residuals = np.abs(beta * vectors[-1])
        gaps = np.full(len(values), np.inf)
        if len(values) > 1:
            distance = np.diff(values)
            gaps[:-1] = distance - residuals[1:]
            gaps[1:] = np.minimum(gaps[1:], distance - residuals[:-1])
        with np.errstate(divide="ignore", invalid="ignore"):
            squared = np.where(gaps > residuals, residuals**2 / gaps, residuals)
        rounding = 4 * torch.finfo(self._basis.dtype).eps * np.abs(values).max(initial=0.0)
        return values, np.minimum(residuals, squared) + rounding, vectors

    def combine(self, coefficients: np.ndarray) -> Tensor:
        """The vector with these coefficients in the basis; shape ``(dim,)``."""
        weights = torch.as_tensor(coefficients, dtype=self._basis.dtype).to(self._basis.device)
        return self._basis[: self.size].T @ weights


@dataclass(frozen=True)
class Eigenvalues:
    """Both ends of a spectrum.

    Attributes:
        top: the largest eigenvalues, largest first; the error of each is a bound.
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


class Scaled:
    """``D^½ A D^½`` for a diagonal ``D``: the operator that a preconditioned descent sees."""

    def __init__(self, operator: SymmetricOperator, diagonal: Tensor) -> None:
        self.operator, self.root = operator, diagonal.sqrt()
        self.dim = operator.dim

    @property
    def cost(self) -> float:
        """Gradient evaluations spent on the operator."""
        return self.operator.cost

    def __matmul__(self, vectors: Tensor, /) -> Tensor:
        return self.root * (self.operator @ (self.root * vectors))


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
        Eigenvalues; ``decided`` is False where the budget ended first, and the errors say by how
        much. Cost: 2 gradient evaluations a product and 1 for the graph. Peak memory: the graph of
        the gradient (at most ``objective.memory``) and ``products * dim`` numbers.
    """
    if top < 0 or bottom < 0 or top + bottom == 0:
        raise UsageError(f"top and bottom must be at least 0 and not both 0, not {top}, {bottom}")
    if isinstance(what, Objective):
        if point is None:
            raise UsageError("point must be given with an objective")
        operator: SymmetricOperator = Hessian(what, point)
    else:
        operator = what
    like = torch.empty(0) if point is None else point
    generator = generator or torch.Generator().manual_seed(0)
    start = torch.randn(operator.dim, generator=generator, dtype=like.dtype).to(like.device)
    room = max(2, memory // (operator.dim * start.element_size()) - 1)
    lanczos = Lanczos(operator, start, min(budget, room))
    before = operator.cost
    enough = decided or (lambda process: _accurate(process, top, bottom, rtol))
    reached = False
    while not lanczos.full and not reached:
        lanczos.extend()
        if not math.isfinite(lanczos.diagonal[-1]):
            nan = (Estimate(math.nan, math.nan, "loss", operator.cost - before),)
            return Eigenvalues(nan * top, nan * bottom, start, start, lanczos.size, False)
        reached = enough(lanczos)
    values, errors, vectors = lanczos.ritz()
    count = len(values)
    cost = operator.cost - before

    def estimate(i: int, first: bool) -> Estimate:
        return Estimate(float(values[i]), float(errors[i]), "loss", cost if first else 0.0)

    return Eigenvalues(
        tuple(estimate(count - 1 - i, i == 0) for i in range(min(top, count))),
        tuple(estimate(i, i == 0 and top == 0) for i in range(min(bottom, count))),
        lanczos.combine(vectors[:, -1]),
        lanczos.combine(vectors[:, 0]),
        lanczos.size,
        reached or lanczos.exhausted,
    )


def _accurate(lanczos: Lanczos, top: int, bottom: int, rtol: float) -> bool:
    if lanczos.size < top + bottom + 2:
        return lanczos.exhausted
    values, errors, _ = lanczos.ritz()
    largest = np.abs(values).max()
    heads = slice(len(values) - top, None)
    accurate = bool(
        np.all(errors[heads] <= rtol * np.maximum(np.abs(values[heads]), 1e-6 * largest))
    )
    tails = slice(0, bottom)
    return accurate and bool(np.all(errors[tails] <= rtol * largest))
