"""The whole Hessian of a small model, in float64: the truth that the clinic's cases rest on."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["dense_hessian", "lean"]


def dense_hessian(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    data: tuple[Tensor, Tensor],
    *,
    decay: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of loss + decay/2 |weights|^2 over all parameters, in float64.

    Row by row through ``torch.func``: for a few thousand parameters at most.
    """
    names, values = zip(*model.named_parameters(), strict=True)
    buffers = {n: b.double() if b.is_floating_point() else b for n, b in model.named_buffers()}
    inputs, targets = (t.double() if t.is_floating_point() else t for t in data)
    sizes = [v.numel() for v in values]
    point = torch.cat([v.detach().double().flatten() for v in values])

    def value(flat: Tensor) -> Tensor:
        parts = [p.view_as(v) for p, v in zip(flat.split(sizes), values, strict=True)]
        weights = {**dict(zip(names, parts, strict=True)), **buffers}
        output = torch.func.functional_call(model, weights, (inputs,))
        return loss(output, targets) + decay / 2 * flat.square().sum()

    slope = torch.func.grad(value)
    rows = torch.func.jacrev(slope, chunk_size=64)(point)
    return slope(point).detach(), ((rows + rows.T) / 2).detach()


def lean(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    data: tuple[Tensor, Tensor],
    *,
    products: int = 60,
) -> float:
    """The Hessian's smallest eigenvalue over the largest magnitude: -1 in an even saddle, 0 in a bowl.

    By power iteration, first of H, then of |H| I - H; rough where eigenvalues crowd. NaN where the
    Hessian is nought or not finite.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention has no second derivative
        value = loss(model(data[0]), data[1])
    slopes = torch.autograd.grad(value, weights, create_graph=True)
    sizes = [p.numel() for p in weights]

    def product(vector: Tensor) -> Tensor:
        parts = [v.view_as(p) for v, p in zip(vector.split(sizes), weights, strict=True)]
        return torch.cat(
            [h.flatten() for h in torch.autograd.grad(slopes, weights, parts, retain_graph=True)]
        )

    def largest(apply: Callable[[Tensor], Tensor]) -> float:
        vector = torch.randn(sum(sizes), generator=torch.Generator().manual_seed(0)).to(weights[0])
        size = 0.0
        for _ in range(products):
            vector = apply(vector / vector.norm())
            size = float(vector.norm())
        return size

    top = largest(product)
    return (top - largest(lambda v: top * v - product(v))) / top if top > 0 else float("nan")
