"""The Krylov space of a symmetric operator, grown by Lanczos, with bounds on what it tells."""

import math

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.special import betaincinv
from torch import Tensor

from thalweg.objective.derivatives import SymmetricOperator
from thalweg.objective.inner_product import inner_product, inner_products, length

__all__ = ["Lanczos"]

NEAR, FAR = 0.05, 3.0
"""Bounds of neighbours, as a share of the way between them: that of one from which they are looked at more
closely, and those of both from which nothing parts them."""

UNSEEN = 8.0
"""What the noise of the products does to a Ritz value, at most, in units of what is seen of it. In single
precision it was 5 for networks that fit their data (losses of 3e-4 to 1e-3) and below 1 for others."""

PASSES = 4
"""Orthogonalisations at most after the first."""

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
        self.start_norm = length(start)
        self.size = 0
        self.diagonal: list[float] = []
        self.off_diagonal: list[float] = []
        self.exhausted = False
        self._next = start / self.start_norm
        self._last: Tensor | None = None
        self._blocks: list[Tensor] = []  # of rows of the basis: nothing is copied as it grows
        self._strays: list[np.ndarray] = []
        self._least = _least_component(operator.dim)
        self._solved = np.empty(0), np.empty((0, 0))
        self._bounds: np.ndarray | None = None
        self._noise: np.ndarray | None = None

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

    def forget(self) -> None:
        """Give the memory of the basis back; what is known of the eigenvalues stays."""
        self.most, self._last = self.size, None
        self._blocks.clear()

    def remainder(self, vector: Tensor) -> Tensor:
        """What of a vector of shape ``(dim,)`` is orthogonal to the space."""
        for rows in self.rows(self.size):
            vector = vector - rows.T @ inner_products(rows, vector).to(vector)
        return vector

    def extend(self) -> None:
        """One product: the space grows by one dimension.

        Where the product is not finite, the last entry of ``diagonal`` is NaN.
        """
        q = self._keep(self._next)
        w = self.operator @ q
        self._strays.append(np.zeros(self.size + 1))
        self.diagonal.append(inner_product(q, w))
        w = w - self.diagonal[-1] * q
        if self._last is not None:  # before the length is taken: this part is no cancellation
            w -= self.off_diagonal[-1] * self._last
        self._last = q
        before = length(w)
        beta = self._orthogonalise(w)
        for _ in range(PASSES):
            if not beta < 0.7 * before:
                break
            # What is left is small: once more (Kahan's "twice is enough", but where it is rounding).
            before, beta = beta, self._orthogonalise(w)
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
        for i, rows in enumerate(self.rows(self.size + 1)):
            along = inner_products(rows, w)
            self._strays[-1][i * ROWS : i * ROWS + len(rows)] += along.cpu().numpy()
            w -= rows.T @ along.to(w)
        return length(w)

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values in ascending order, bounds on their error, eigenvectors of the tridiagonal.

        Residuals alone bound the distance to *some* eigenvalue, and the usual ``r²/gap`` takes for
        granted that the Ritz values have found all the others: early in the process both hide a
        larger eigenvalue that is still to be seen. The bounds here hold for a Gaussian start with
        a probability of 99.5% for each value. The polynomial ``p(x) = Π(x − θ_i)/Πβ_j`` gives
        ``Σ γ_i² p(λ_i)² = 1``, with ``γ`` the start in the eigenbasis, so that no eigenvalue lies
        where ``|p| > 1/δ``, δ being what ``|γ_i|`` exceeds with that probability. For the two ends
        and for neighbours whose bounds come near each other that is solved for; elsewhere it is
        taken to first order, ``r · max(1, |γ|/δ)``, with ``r`` the norm of the residual. Between
        values that nothing parts there may be others: their bounds are all that lies between.

        Source: van Dorsselaer, Hochstenbach and van der Vorst, Computing probabilistic bounds for
        extreme eigenvalues of symmetric matrices with the Lanczos method, SIMAX 22 (2000).
        """
        values, vectors = self._pairs()
        if self._bounds is None:
            self._bounds = self._errors(values, vectors) + self.noise()
        return values, self._bounds, vectors

    def first_order(self) -> tuple[np.ndarray, np.ndarray]:
        """Ritz values, and what their bounds are once all neighbours are parted: a fifth of the work."""
        values, vectors = self._pairs()
        return values, self._first_order(vectors) + self.noise()

    def noise(self) -> np.ndarray:
        """What the arithmetic leaves open in each Ritz value: ``rounding``, and noise that is measured.

        The products of a symmetric operator are orthogonal to all but the last two vectors of the
        basis. What they hold of the others is noise of the arithmetic, or of central differences in
        place of derivatives; a part of it that is itself a symmetric matrix is not seen.
        """
        vectors = self._pairs()[1]
        noise = self._noise
        if noise is None:
            strays = np.zeros((self.size, self.size))
            for column, seen in enumerate(self._strays):
                strays[: len(seen), column] = seen
            before, after = (np.linalg.norm(part @ vectors, axis=0) for part in (strays, strays.T))
            noise = self._noise = self.rounding + UNSEEN / 2 * (before + after)
        return noise

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        if len(self._solved[0]) != self.size:
            values, vectors = eigh_tridiagonal(
                np.array(self.diagonal), np.array(self.off_diagonal[:-1])
            )
            self._solved, self._bounds, self._noise = (values, vectors), None, None
        return self._solved

    def _first_order(self, vectors: np.ndarray) -> np.ndarray:
        residuals = np.abs(self.off_diagonal[-1] * vectors[-1])
        return residuals * np.maximum(1.0, np.abs(vectors[0]) / self._least)

    def _errors(self, values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        if self.size == self.operator.dim:
            return np.zeros(len(values))
        with np.errstate(divide="ignore"):
            level = float(np.log(self.off_diagonal).sum() - math.log(self._least))
        errors = _parted(values, self._first_order(vectors), level)
        errors[-1] = min(errors[-1], _reach(values[-1] - values, level))
        errors[0] = min(errors[0], _reach(values - values[0], level))
        return errors

    def combine(self, coefficients: np.ndarray) -> Tensor:
        """The vector with these coefficients in the basis; shape ``(dim,)``."""
        weights = torch.as_tensor(coefficients, dtype=self._next.dtype).to(self._next.device)
        parts = zip(self.rows(self.size), weights.split(ROWS), strict=True)
        return sum((rows.T @ part for rows, part in parts), torch.zeros_like(self._next))


def _least_component(dim: int) -> float:
    """What a coordinate of a random unit vector exceeds in size with probability 99.5%."""
    return math.sqrt(betaincinv(0.5, (dim - 1) / 2, 0.005)) if dim > 1 else 1.0


def _parted(values: np.ndarray, errors: np.ndarray, level: float) -> np.ndarray:
    """Bounds of which those of neighbours that nothing parts hold all that lies between them.

    Two values are parted where ``Σ log|x − θ_i|``, which is concave between them, exceeds ``level``.
    """
    low, high, together = values - errors, values + errors, np.zeros(len(values) - 1, bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = np.array([errors[1:], errors[:-1]]) / np.diff(values)
    for i in np.flatnonzero(~(sides.max(0) < NEAR)):
        together[i] = not sides[:, i].min() < FAR
        if together[i]:
            continue
        begin, end = values[i], values[i + 1]
        top = _crossing(values, begin, end)
        if _height(values, top) <= level:
            together[i] = True
        else:
            high[i] = max(high[i], _crossing(values, begin, top, level))
            low[i + 1] = min(low[i + 1], _crossing(values, end, top, level))
    wide = np.maximum(high - values, values - low)
    begin = 0
    for end in [*np.flatnonzero(~together), len(values) - 1]:
        if end > begin:
            part = slice(begin, end + 1)
            wide[part] = np.maximum(high[end] - values[part], values[part] - low[begin])
        begin = end + 1
    return wide


def _height(values: np.ndarray, x: float) -> float:
    with np.errstate(divide="ignore"):
        return float(np.log(np.abs(x - values)).sum())


def _crossing(values: np.ndarray, begin: float, end: float, level: float | None = None) -> float:
    """Where ``Σ log|x − θ_i|`` rises to ``level`` on the way from a value; or ceases to rise."""
    forward = math.copysign(1.0, end - begin)
    near, far = begin, end
    for _ in range(40):
        middle = (near + far) / 2
        if level is None:
            with np.errstate(divide="ignore"):
                below = forward * float((1 / (middle - values)).sum()) > 0
        else:
            below = _height(values, middle) < level
        near, far = (middle, far) if below else (near, middle)
    return far


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
