"""Operators made of another: against the dense matrix."""

import pytest
import torch

from problems import Dense, Quadratic, classes, network, symmetric, vectors
from thalweg.errors import UsageError
from thalweg.measure.operators import Block, Counted, Deflated, operator_of
from thalweg.objective.derivatives import Hessian
from thalweg.objective.gauss_newton import GaussNewton
from thalweg.objective.supervised import Supervised

MATRIX, _ = symmetric(torch.linspace(-2, 3, 9).double().numpy(), 0)


def test_a_block_is_that_part_of_the_matrix() -> None:
    block, vector = Block(Dense(MATRIX), 2, 6), vectors(1, 4)[0]
    torch.testing.assert_close(block @ vector, MATRIX[2:6, 2:6] @ vector)
    assert block.dim == 4 and block.cost == 2


@pytest.mark.parametrize("count", [0, 3])
def test_deflated_is_the_matrix_between_two_projections(count: int) -> None:
    basis = torch.linalg.qr(vectors(9, 9))[0][:count]
    operator, vector = Deflated(Dense(MATRIX), basis), vectors(1, 9, seed=4)[0]
    projection = torch.eye(9).double() - basis.T @ basis
    torch.testing.assert_close(operator @ vector, projection @ MATRIX @ projection @ vector)
    torch.testing.assert_close(operator.project(vector), projection @ vector)
    assert operator.cost == 2


def test_products_are_counted() -> None:
    counted = Counted(Dense(MATRIX))
    for vector in vectors(3, 9):
        assert (counted @ vector).shape == (9,)
    assert counted.products == 3 and counted.cost == 6


def test_the_operator_that_is_meant() -> None:
    objective = Supervised(network(), lambda o, t: o.square().mean(), (vectors(4, 5), classes(4)))
    point = objective.point()
    assert isinstance(operator_of(objective, point)[0], Hessian)
    operator, like, unit = operator_of(objective, point, "gauss-newton")
    assert isinstance(operator, GaussNewton) and like is point and unit == "loss per unit²"
    assert operator_of(Dense(MATRIX), None)[1].dtype == torch.float32
    with pytest.raises(UsageError, match="matrix must be one of hessian, gauss-newton"):
        operator_of(objective, point, "fisher")
    with pytest.raises(UsageError, match="point must be given"):
        operator_of(Quadratic(MATRIX), None)
