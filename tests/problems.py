"""Shared cases with known answers: matrices, quadratics, networks, and derivatives by plain torch."""

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.objective.base import Objective


class Dense:
    """A symmetric matrix that counts its products."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.dim, self.cost = matrix, len(matrix), 0.0

    def __matmul__(self, vectors: Tensor, /) -> Tensor:
        self.cost += 2.0 * (1 if vectors.ndim == 1 else len(vectors))
        return vectors @ self.matrix


def symmetric(eigenvalues: np.ndarray, seed: int) -> tuple[Tensor, np.ndarray]:
    """A float64 matrix with these eigenvalues and random eigenvectors (in columns)."""
    n = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))
    matrix = (basis * eigenvalues) @ basis.T
    return torch.from_numpy((matrix + matrix.T) / 2), basis


SPECTRA: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "gaussian": lambda rng, n: rng.normal(size=n),
    "clustered": lambda rng, n: (
        rng.normal(size=-(-n // 5)).repeat(5)[:n] + 1e-3 * rng.normal(size=n)
    ),
    "near the top": lambda rng, n: np.r_[1 - 1e-4 * np.arange(3), rng.uniform(-0.5, 0.5, n)][:n],
    "rank-deficient": lambda rng, n: np.r_[rng.exponential(size=-(-n // 10)), np.zeros(n)][:n],
    "over decades": lambda rng, n: 10 ** rng.uniform(-8, 0, n),
    "outliers and a bulk": lambda rng, n: np.r_[
        10 * rng.exponential(size=3), 10 ** rng.uniform(-6, 0, n) * rng.choice([1, -0.05], n)
    ][:n],
    "negative": lambda rng, n: -rng.exponential(size=n),
    "evenly spaced": lambda rng, n: np.linspace(-1, 1, n),
}
"""Kinds of spectra; the hard ones hide an end behind others."""


class Quadratic(Objective):
    """½ (x − c)ᵀ H (x − c)."""

    def __init__(self, matrix: Tensor, centre: Tensor | float = 0.0, *, scale: float = 1.0) -> None:
        self.matrix, self.centre, self.dim, self.scale = matrix, centre, len(matrix), scale

    def loss(self, points: Tensor) -> Tensor:
        away = points - self.centre
        return 0.5 * self.scale * ((away @ self.matrix) * away).sum(-1)


class Formula(Objective):
    """Any differentiable function of points."""

    def __init__(self, dim: int, function: Callable[[Tensor], Tensor]) -> None:
        self.dim, self.function = dim, function

    def loss(self, points: Tensor) -> Tensor:
        return self.function(points)


def rosenbrock(points: Tensor) -> Tensor:
    x, y = points[..., :-1], points[..., 1:]
    return (100 * (y - x * x) ** 2 + (1 - x) ** 2).sum(-1)


def network(*, inputs: int = 5, outputs: int = 3, seed: int = 0) -> nn.Sequential:
    """A small smooth network in float64, drawn without touching the global random state."""
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Linear(inputs, 7), nn.Tanh(), nn.Linear(7, outputs)).double()
    return redrawn(model, seed)


def redrawn(model: Any, seed: int = 0, size: float = 0.5) -> Any:
    """The model with every parameter drawn anew from a seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(size * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def vectors(n: int, *shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def classes(n: int, count: int = 3, seed: int = 2) -> Tensor:
    return torch.randint(0, count, (n,), generator=torch.Generator().manual_seed(seed))


def plain_derivatives(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], point: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient and dense Hessian of a loss of a model, on a copy whose weights are set.

    The plain way: ``vector_to_parameters`` in place, then ``torch.autograd`` twice, row by row.
    """
    with contextlib.suppress(RuntimeError):  # of weight norm by hooks, which cannot be copied
        model = copy.deepcopy(model)
    weights = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        nn.utils.vector_to_parameters(point.detach().clone(), weights)
    value = loss(model)

    def flat(pieces: Any) -> Tensor:
        return torch.cat(
            [
                (torch.zeros_like(p) if piece is None else piece).reshape(-1)
                for p, piece in zip(weights, pieces, strict=True)
            ]
        )

    slope = flat(torch.autograd.grad(value, weights, create_graph=True, allow_unused=True))
    rows = [
        flat(torch.autograd.grad(entry, weights, retain_graph=True, allow_unused=True))
        if entry.requires_grad
        else torch.zeros_like(slope)
        for entry in slope
    ]
    return value.detach(), slope.detach(), torch.stack(rows).detach()


def least_squares(n: int, dim: int, seed: int = 0) -> tuple[nn.Linear, Tensor, Tensor]:
    """A linear model without bias, inputs and targets: loss mean ½(xᵀθ − y)² by ``half_square``."""
    model = redrawn(nn.Linear(dim, 1, bias=False).double(), seed + 1)
    return model, vectors(n, dim, seed=seed), vectors(n, 1, seed=seed + 1000)


def half_square(output: Tensor, target: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(output, target)
