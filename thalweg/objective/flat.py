"""The loss of a network as an autograd function of a flat point, twice differentiable."""

from typing import Any, Protocol

import torch
from torch import Tensor

from thalweg.errors import UsageError

__all__ = ["FlatLoss", "Flattened"]


class Flattened(Protocol):
    """What the functions need of an objective."""

    def plain_value(self, point: Tensor) -> Tensor:
        """The loss at a point, without a graph."""
        ...

    def value_and_gradient(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and its gradient at a point, without a graph."""
        ...

    def hessian_vector_product(self, point: Tensor, vector: Tensor) -> Tensor:
        """The Hessian at a point times a vector."""
        ...


class FlatLoss(torch.autograd.Function):
    """The loss at one point; its gradient is computed with the value."""

    @staticmethod
    def forward(ctx: Any, objective: Flattened, point: Tensor) -> Tensor:
        """The value, with the gradient where it will be asked for."""
        ctx.objective = objective
        if not point.requires_grad:
            return objective.plain_value(point)
        value, gradient = objective.value_and_gradient(point)
        ctx.save_for_backward(point, gradient)
        return value

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None, Tensor]:
        """The gradient, itself differentiable once."""
        point, gradient = ctx.saved_tensors
        return None, upstream[0] * _FlatGradient.apply(ctx.objective, point, gradient)


class _FlatGradient(torch.autograd.Function):
    """The gradient at one point, already known; its backward pass is a Hessian-vector product."""

    @staticmethod
    def forward(ctx: Any, objective: Flattened, point: Tensor, gradient: Tensor) -> Tensor:
        ctx.objective = objective
        ctx.save_for_backward(point)
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None, Tensor, None]:
        """A Hessian-vector product."""
        (point,) = ctx.saved_tensors
        return None, _FlatProduct.apply(ctx.objective, point, upstream[0]), None  # pyright: ignore[reportReturnType]


class _FlatProduct(torch.autograd.Function):
    """The Hessian at one point times a vector; its derivative is refused rather than wrong."""

    @staticmethod
    def forward(ctx: Any, objective: Flattened, point: Tensor, vector: Tensor) -> Tensor:
        return objective.hessian_vector_product(point, vector)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> None:
        raise UsageError("the loss of a network can be differentiated twice, but not three times")
