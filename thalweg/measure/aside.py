"""A symmetric operator at right angles to a vector: what is left once an eigenvector is known."""

import torch
from torch import Tensor

from thalweg.objective.derivatives import SymmetricOperator
from thalweg.objective.inner_product import length

__all__ = ["Aside"]


class Aside:
    """The operator on the vectors at right angles to a unit vector, in ``dim - 1`` coordinates.

    Taking ``λ v vᵀ`` away leaves v with the eigenvalue 0, which is found again wherever no larger one
    is left. In these coordinates v does not exist. A reflection that takes the first coordinate
    vector to v carries one to the other, so that norms and angles are kept. Cost: that of the operator.

    Source: Householder (1958); Golub and Van Loan, Matrix Computations, 4th ed., 5.1.

    Args:
        operator: symmetric, of two rows or more.
        vector: of norm 1, shape ``(dim,)``.
    """

    def __init__(self, operator: SymmetricOperator, vector: Tensor) -> None:
        self.operator, self.dim = operator, operator.dim - 1
        turned = vector.clone()
        turned[0] += 1.0 if float(vector[0]) >= 0 else -1.0  # never a difference of equals
        self._mirror = turned / length(turned)

    @property
    def cost(self) -> float:
        """Gradient evaluations spent on the operator."""
        return self.operator.cost

    def lifted(self, vectors: Tensor) -> Tensor:
        """Vectors ``(..., dim)`` of the operator that ``(..., dim - 1)`` stand for."""
        return self._reflected(torch.nn.functional.pad(vectors, (1, 0)))

    def __matmul__(self, vectors: Tensor, /) -> Tensor:
        return self._reflected(self.operator @ self.lifted(vectors))[..., 1:]

    def _reflected(self, vectors: Tensor) -> Tensor:
        along = (vectors * self._mirror).sum(-1, keepdim=True, dtype=torch.float64)
        return vectors - 2 * along.to(vectors) * self._mirror
