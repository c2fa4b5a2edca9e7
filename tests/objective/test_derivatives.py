"""Gradients and products of any objective: against dense matrices, and the laws they keep."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from problems import Formula, Quadratic, classes, network, rosenbrock, symmetric, vectors
from thalweg.errors import UsageError
from thalweg.objective.derivatives import Hessian, gradient, value_and_gradient
from thalweg.objective.supervised import Supervised


def supervised(**options: Any) -> Supervised:
    return Supervised(network(), F.cross_entropy, (vectors(9, 5), classes(9)), **options)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_a_quadratic_is_its_matrix(seed: int) -> None:
    matrix, _ = symmetric(torch.linspace(-2, 3, 6).double().numpy(), seed)
    objective = Quadratic(matrix, 0.3)
    point = vectors(1, 6, seed=seed)[0]
    value, slope = value_and_gradient(objective, point)
    torch.testing.assert_close(value, objective.loss(point))
    torch.testing.assert_close(slope, matrix @ (point - 0.3))
    torch.testing.assert_close(gradient(objective, point), slope)
    hessian = Hessian(objective, point)
    torch.testing.assert_close(hessian.dense(), matrix)
    assert hessian.cost == 1 + 2 * 6 and hessian.exact


def test_a_formula_is_differentiated_as_by_torch() -> None:
    objective = Formula(4, rosenbrock)
    point = vectors(1, 4)[0]
    expected: Any = torch.autograd.functional.hessian(lambda x: rosenbrock(x), point)
    torch.testing.assert_close(Hessian(objective, point).dense(), expected)
    torch.testing.assert_close(Hessian(objective, point, keep=False).dense(), expected)


@pytest.mark.parametrize(
    "function", [lambda x: torch.tensor(3.0).double(), lambda x: 2 * x.sum(-1)]
)
def test_without_curvature_products_are_zero(function: Any) -> None:
    objective, point = Formula(3, function), torch.ones(3).double()
    assert not (Hessian(objective, point) @ vectors(2, 3)).any()
    value, slope = value_and_gradient(objective, point)
    assert float(slope[0]) in (0.0, 2.0) and not value.requires_grad


@pytest.mark.parametrize("keep", [True, False])
def test_products_are_linear_symmetric_and_one_by_one_as_in_a_block(keep: bool) -> None:
    objective = supervised(decay=0.1)
    hessian = Hessian(objective, objective.point(), keep=keep)
    u, v = vectors(2, objective.dim)
    block = hessian @ torch.stack([u, v, 2 * u - 3 * v])
    torch.testing.assert_close(block[0], hessian @ u)
    torch.testing.assert_close(block[2], 2 * block[0] - 3 * block[1])
    torch.testing.assert_close(v @ block[0], u @ block[1])
    deep = hessian @ torch.stack([u, v]).view(1, 2, 1, -1)
    assert deep.shape == (1, 2, 1, objective.dim)
    torch.testing.assert_close(deep[0, 1, 0], block[1])
    assert (hessian @ u[None][:0]).shape == (0, objective.dim)
    assert not (hessian @ torch.zeros_like(u)).any()


def test_the_cost_is_one_graph_and_two_a_product() -> None:
    objective = supervised()
    kept, rebuilt = (Hessian(objective, objective.point(), keep=keep) for keep in (True, False))
    for hessian, each in ((kept, 2), (rebuilt, 3)):
        for count in range(1, 4):
            hessian @ torch.ones(objective.dim).double()
            assert hessian.cost == each * count + (1 if each == 2 else 0)


@pytest.mark.parametrize("keep", [True, False])
def test_the_point_is_the_one_that_was_given(keep: bool) -> None:
    objective = supervised()
    point = objective.point()
    vector = vectors(1, objective.dim)[0]
    expected = Hessian(objective, point) @ vector
    given_point = point.clone()
    hessian = Hessian(objective, given_point, keep=keep)
    given_point.add_(1.0)  # before the first product
    torch.testing.assert_close(hessian @ vector, expected)


class Whole(torch.autograd.Function):
    """x³, differentiable as often as one likes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return slopes[0] * 3 * x**2


class Once(Whole):
    """Marked as differentiable once: torch then takes its gradient for a constant."""

    backward = staticmethod(torch.autograd.function.once_differentiable(Whole.backward))


class Outside(Whole):
    """Computes its gradient outside torch, and says nothing."""

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return Whole.backward(ctx, *slopes).detach()


class Cubed(nn.Linear):
    def __init__(self, function: type[Whole]) -> None:
        super().__init__(5, 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        found: Any = self.function.apply(super().forward(x))
        return found


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("function", [Whole, Once, Outside])
def test_functions_of_the_models_own_are_not_believed_blindly(
    function: type[Whole], keep: bool
) -> None:
    with torch.random.fork_rng():
        model, twin = Cubed(function).double(), nn.Linear(5, 3).double()
    twin.load_state_dict(model.state_dict())
    data = (vectors(9, 5), classes(9))
    plain = Supervised(twin, lambda output, y: F.cross_entropy(output**3, y), data)
    point, vector = 0.7 * plain.point(), vectors(1, plain.dim)[0]
    hessian = Hessian(Supervised(model, F.cross_entropy, data), point, keep=keep)
    expected = Hessian(plain, point) @ vector
    for _ in range(3):
        torch.testing.assert_close(hessian @ vector, expected, rtol=1e-6, atol=1e-8)
    assert hessian.exact == (function is Whole)


def test_an_error_of_the_models_own_is_no_missing_derivative() -> None:
    left = [10**6]

    def loss(output: Tensor, target: Tensor) -> Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("out of memory")
        return F.cross_entropy(output, target)

    objective = Supervised(network(), loss, (vectors(9, 5), classes(9)))
    hessian = Hessian(objective, objective.point(), keep=False)
    left[0] = 0
    with pytest.raises(UsageError, match="out of memory"):
        hessian @ torch.ones(objective.dim).double()
    left[0] = 10**6
    assert hessian.exact and (hessian @ torch.ones(objective.dim).double()).isfinite().all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    objective = supervised()
    hessian = Hessian(objective, objective.point())
    with pytest.raises(
        UsageError, match=r"vectors must have shape \(\.\.\., 66\), but have shape \(5,\)"
    ):
        hessian @ torch.ones(5)
    with pytest.raises(UsageError, match="vectors must have shape"):
        hessian @ torch.tensor(1.0)
    with pytest.raises(UsageError, match="point must be one point"):
        Hessian(objective, objective.point()[None])
    with pytest.raises(UsageError, match="points must have shape"):
        value_and_gradient(objective, torch.ones(3))
