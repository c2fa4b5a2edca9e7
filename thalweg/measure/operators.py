"""Operators made of another: scaled, without some vectors, a block on the diagonal, counted."""

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.measure.asked import check_point
from thalweg.measure.curvature import CURVATURE
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import Hessian, SymmetricOperator
from thalweg.objective.gauss_newton import GaussNewton
from thalweg.objective.inner_product import inner_products

__all__ = ["MATRICES", "Block", "Counted", "Deflated", "Scaled", "operator_of"]

MATRICES = ("hessian", "gauss-newton")
"""``hessian``: of the loss. ``gauss-newton``: the part of it without the curvature of the network."""


def operator_of(
    what: Objective | SymmetricOperator, point: Tensor | None, matrix: str = "hessian"
) -> tuple[SymmetricOperator, Tensor, str]:
    """The operator that is meant, a tensor of its dtype and device, and the unit of an eigenvalue.

    Args:
        what: an objective, whose matrix at ``point`` is meant, or any symmetric operator.
        point: shape ``(dim,)``; for an operator any tensor of its dtype, or None for float32.
        matrix: one of :data:`MATRICES`.
    """
    if matrix not in MATRICES:
        raise UsageError(f"matrix must be one of {', '.join(MATRICES)}, not {matrix!r}")
    if not isinstance(what, Objective):
        unit = getattr(what, "unit", "1")
        return what, torch.empty(0) if point is None else point, unit
    if point is None:
        raise UsageError("point must be given with an objective")
    check_point(point)
    return (Hessian if matrix == "hessian" else GaussNewton)(what, point), point, CURVATURE


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


class Deflated:
    """``(I − QQᵀ) A (I − QQᵀ)``: the operator on what is orthogonal to some vectors.

    Args:
        operator: ``A``, of ``dim`` rows.
        basis: ``Q``, orthonormal rows of shape ``(k, dim)``.
    """

    def __init__(self, operator: SymmetricOperator, basis: Tensor) -> None:
        self.operator, self.basis = operator, basis
        self.dim = operator.dim

    @property
    def cost(self) -> float:
        """Gradient evaluations spent on the operator."""
        return self.operator.cost

    def project(self, vector: Tensor) -> Tensor:
        """What of a vector of shape ``(dim,)`` is orthogonal to the basis."""
        if not len(self.basis):
            return vector
        return vector - self.basis.T @ inner_products(self.basis, vector).to(vector)

    def __matmul__(self, vector: Tensor, /) -> Tensor:
        return self.project(self.operator @ self.project(vector))


class Block:
    """The rows and columns ``begin:end`` of an operator: the curvature within a layer.

    A product costs as much as one with the whole operator. ``unit`` is that of an eigenvalue.
    """

    def __init__(
        self, operator: SymmetricOperator, begin: int, end: int, unit: str = CURVATURE
    ) -> None:
        self.operator, self.begin, self.end, self.unit = operator, begin, end, unit
        self.dim = end - begin

    @property
    def cost(self) -> float:
        """Gradient evaluations spent on the operator."""
        return self.operator.cost

    def __matmul__(self, vector: Tensor, /) -> Tensor:
        whole = torch.zeros(self.operator.dim, dtype=vector.dtype, device=vector.device)
        whole[self.begin : self.end] = vector
        return (self.operator @ whole)[self.begin : self.end]


class Counted:
    """An operator that counts its products."""

    def __init__(self, operator: SymmetricOperator) -> None:
        self.operator, self.dim, self.products = operator, operator.dim, 0

    @property
    def cost(self) -> float:
        """Gradient evaluations spent on the operator."""
        return self.operator.cost

    def __matmul__(self, vector: Tensor, /) -> Tensor:
        self.products += 1
        return self.operator @ vector
