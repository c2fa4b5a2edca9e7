"""Extreme eigenvalues of a symmetric operator by Lanczos, with bounds on their error."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.special import betaincinv
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import Hessian, SymmetricOperator

__all__ = ["Accurate", "Eigenvalues", "Lanczos", "extreme_eigenvalues"]

CURVATURE = "loss per unit²"
"""Unit of a second derivative, as that of a slope is ``loss per unit``: a unit of the parameters."""

ROWS = 16
"""Rows of the basis that are allocated at once."""


class Lanczos:
    """The Krylov space of an operator and a vector, grown by one product at a time.

    With full reorthogonalisation, so that no eigenvalue appears twice. Ritz values approach the
    ends of the spectrum first; an eigenvalue whose eigenvector is orthogonal to the start, or the
    second of two equal ones, is never seen.

    Source: Golub and Van Loan, Matrix Computations, 4th ed., 10.1-10.3.

    Args:
        operator: symmetric, of ``dim`` rows.
        start: vector of shape ``(dim,)``; for the bounds of :meth:`ritz` a Gaussian draw.
        most: largest dimension of the space; memory is ``most * dim`` numbers, taken as it grows.
    """

    def __init__(self, operator: SymmetricOperator, start: Tensor, most: int) -> None:
        self.operator = operator
        self.most = min(most, operator.dim)
        self.start_norm = float(start.norm())
        self.size = 0
        self.diagonal: list[float] = []
        self.off_diagonal: list[float] = []
        self.exhausted = False
        self._next = start / self.start_norm
        self._last: Tensor | None = None
        self._blocks: list[Tensor] = []  # of rows of the basis: nothing is copied as it grows
        self._cache: tuple[int, np.ndarray, np.ndarray, np.ndarray] | None = None

    @property
    def full(self) -> bool:
        """Whether no further product can be added."""
        return self.exhausted or self.size >= self.most

    @property
    def rounding(self) -> float:
        """What the arithmetic alone leaves open in a Ritz value."""
        largest = max(map(abs, self.diagonal + self.off_diagonal[:-1]), default=0.0)
        return (16 + self.size) * torch.finfo(self._next.dtype).eps * largest

    @property
    def following(self) -> Tensor:
        """The unit vector that the next product begins with; nothing where ``exhausted``."""
        return self._next

    def remainder(self, vector: Tensor) -> Tensor:
        """What of a vector of shape ``(dim,)`` is orthogonal to the space."""
        for rows in self.rows(self.size):
            vector = vector - rows.T @ (rows @ vector)
        return vector

    def extend(self) -> None:
        """One product: the space grows by one dimension.

        Where the product is not finite, the last entry of ``diagonal`` is NaN.
        """
        q = self._keep(self._next)
        w = self.operator @ q
        self.diagonal.append(float(q @ w))
        w = w - self.diagonal[-1] * q
        if self._last is not None:  # before the length is taken: this part is no cancellation
            w -= self.off_diagonal[-1] * self._last
        self._last = q
        length = float(w.norm())
        beta = self._orthogonalise(w)
        if beta < 0.7 * length:  # what is left is small: once more (Kahan's "twice is enough")
            beta = self._orthogonalise(w)
        self.off_diagonal.append(beta)
        self.size += 1
        if not math.isfinite(beta):
            self.diagonal[-1], self.exhausted = math.nan, True
            return
        scale = max(map(abs, self.diagonal)) + max(self.off_diagonal)
        if self.size == self.operator.dim or beta <= 10 * torch.finfo(w.dtype).eps * scale:
            self.exhausted = True
        else:
            self._next = w / beta

    def _keep(self, q: Tensor) -> Tensor:
        kept, row = divmod(self.size, ROWS)
        if kept == len(self._blocks):
            rows = min(ROWS, self.most - self.size)
            self._blocks.append(q.new_empty(rows, len(q)))
        self._blocks[kept][row] = q
        return self._blocks[kept][row]

    def rows(self, size: int) -> list[Tensor]:
        """The first ``size`` vectors of the basis, in blocks of rows."""
        return [block[: size - i * ROWS] for i, block in enumerate(self._blocks)]

    def _orthogonalise(self, w: Tensor) -> float:
        for rows in self.rows(self.size + 1):
            w -= rows.T @ (rows @ w)
        return float(w.norm())

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values in ascending order, bounds on their error, eigenvectors of the tridiagonal.

        Residuals alone bound the distance to *some* eigenvalue, and the usual ``r²/gap`` takes for
        granted that the Ritz values have found all the others: early in the process both hide a
        larger eigenvalue that is still to be seen. The bounds here hold for a Gaussian start with
        a probability of 99.5% for each value. The polynomial ``p(x) = Π(x − θ_i)/Πβ_j`` gives
        ``Σ γ_i² p(λ_i)² = 1``, with ``γ`` the start in the eigenbasis, so that no eigenvalue lies
        where ``|p| > 1/δ``, δ being what ``|γ_i|`` exceeds with that probability. For the two ends
        that is solved for; for a value between others it is taken to first order,
        ``r · max(1, |γ|/δ)``, with ``r`` the norm of the residual. Two eigenvalues closer
        than their bounds may still be seen as one.

        Source: van Dorsselaer, Hochstenbach and van der Vorst, Computing probabilistic bounds for
        extreme eigenvalues of symmetric matrices with the Lanczos method, SIMAX 22 (2000).
        """
        if self._cache is None or self._cache[0] != self.size:
            values, vectors = eigh_tridiagonal(
                np.array(self.diagonal), np.array(self.off_diagonal[:-1])
            )
            self._cache = (self.size, values, self._errors(values, vectors), vectors)
        return self._cache[1:]

    def _errors(self, values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        if self.size == self.operator.dim:
            return np.full(len(values), self.rounding)
        delta = _least_component(self.operator.dim)
        errors = np.abs(self.off_diagonal[-1] * vectors[-1])
        errors *= np.maximum(1.0, np.abs(vectors[0]) / delta)
        with np.errstate(divide="ignore"):
            level = float(np.log(self.off_diagonal).sum() - math.log(delta))
        errors[-1] = min(errors[-1], _reach(values[-1] - values, level))
        errors[0] = min(errors[0], _reach(values - values[0], level))
        return errors + self.rounding

    def combine(self, coefficients: np.ndarray) -> Tensor:
        """The vector with these coefficients in the basis; shape ``(dim,)``."""
        weights = torch.as_tensor(coefficients, dtype=self._next.dtype).to(self._next.device)
        parts = zip(self.rows(self.size), weights.split(ROWS), strict=True)
        return sum((rows.T @ part for rows, part in parts), torch.zeros_like(self._next))


def _least_component(dim: int) -> float:
    """What a coordinate of a random unit vector exceeds in size with probability 99.5%."""
    return math.sqrt(betaincinv(0.5, (dim - 1) / 2, 0.005)) if dim > 1 else 1.0


def _reach(distances: np.ndarray, level: float) -> float:
    """The ``t`` at which ``Σ log(distances + t)`` rises to ``level``, at most 1% too large."""
    high = math.log(distances.max() + math.exp(min(level / len(distances), 600.0)) + 1e-300)
    low = high - 40.0  # below that it is rounding
    with np.errstate(divide="ignore"):
        for _ in range(12):
            middle = (low + high) / 2
            if np.log(distances + math.exp(middle)).sum() < level:
                low = middle
            else:
                high = middle
    return math.exp(high)


@dataclass(frozen=True)
class Eigenvalues:
    """Both ends of a spectrum.

    Attributes:
        top: the largest eigenvalues, largest first, fewer than asked for where the Krylov space
            ends first (equal eigenvalues are seen once). The error of each is a bound that holds in
            99% of draws of the start.
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
    if top < 0 or bottom < 0 or top + bottom == 0:
        raise UsageError(f"top and bottom must be at least 0 and not both 0, not {top}, {bottom}")
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
    values, errors, vectors = lanczos.ritz()
    count = len(values)
    cost = operator.cost - before

    def estimate(i: int, first: bool) -> Estimate:
        return Estimate(float(values[i]), float(errors[i]), unit, cost if first else 0.0)

    return Eigenvalues(
        tuple(estimate(count - 1 - i, i == 0) for i in range(min(top, count))),
        tuple(estimate(i, i == 0 and top == 0) for i in range(min(bottom, count))),
        lanczos.combine(vectors[:, -1]),
        lanczos.combine(vectors[:, 0]),
        lanczos.size,
        reached or lanczos.exhausted,
    )


class Accurate:
    """Whether the eigenvalues that were asked for are known to ``rtol``.

    A look at all Ritz values takes as long as a small product, so while the errors are far too
    large it is not taken after every one: a product seldom divides an error by more than six.
    """

    def __init__(self, top: int, bottom: int, rtol: float) -> None:
        self.top, self.bottom, self.rtol = top, bottom, rtol
        self.due = top + bottom

    def __call__(self, lanczos: Lanczos) -> bool:
        if lanczos.size < self.due and not lanczos.full:
            return False
        values, errors, _ = lanczos.ritz()
        if len(values) < self.top + self.bottom:
            return lanczos.exhausted
        wanted = np.maximum(self.rtol * np.abs(values), 2 * lanczos.rounding)
        wanted[: self.bottom] = self.rtol * np.abs(values).max()
        kept = np.r_[0 : self.bottom, len(values) - self.top : len(values)]
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = float(np.max(errors[kept] / wanted[kept]))
        if math.isfinite(excess):
            self.due = lanczos.size + max(1, int(math.log(max(excess, 1.0), 6)))
        return bool(np.all(errors[kept] <= wanted[kept]))
