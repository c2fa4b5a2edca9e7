"""Gradients and whole Hessians at many points at once, for objectives of a few variables."""

import torch
from torch import Tensor

from thalweg.objective.base import Objective

__all__ = ["gradients_and_hessians"]


def gradients_and_hessians(objective: Objective, points: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients ``(n, dim)`` and Hessians ``(n, dim, dim)`` at points ``(n, dim)``.

    Cost: 1 + 2 dim gradient evaluations for each point.
    """
    leaf = points.detach().requires_grad_()
    empty = points.new_zeros(*points.shape, points.shape[-1])
    with torch.enable_grad():
        total = objective.loss(leaf).sum()
        if not total.requires_grad:
            return torch.zeros_like(points), empty
        (slopes,) = torch.autograd.grad(total, leaf, create_graph=True)
        if not slopes.requires_grad:
            return slopes.detach().clone(), empty
        rows = [
            torch.autograd.grad(column, leaf, retain_graph=True, materialize_grads=True)[0]
            if column.requires_grad
            else torch.zeros_like(points)
            for column in slopes.sum(0).unbind()
        ]
    hessians = torch.stack(rows, -2)
    return slopes.detach().clone(), (hessians + hessians.mT) / 2
