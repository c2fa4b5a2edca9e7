"""Sharpness in one number: the highest rise in a box, and the rise of SAM's step."""

import math
from numbers import Real
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST, Estimate
from thalweg.measure.rises import Rises
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import value_and_gradient

__all__ = ["epsilon_sharpness", "sam_sharpness"]


def epsilon_sharpness(
    objective: Objective, point: Tensor, *, epsilon: float = 1e-3, iterations: int = 10
) -> Estimate:
    """100 (max f(θ + e) − f(θ)) / (1 + f(θ)) over |e_i| ≤ ε (|θ_i| + 1): ε-sharpness.

    The maximum is sought by L-BFGS-B, as there, from the corner that the gradient names. It is a
    bound from below; the error is what the last iterate added to the one before. A rescaling of
    layers changes it.

    Source: Keskar et al., On Large-Batch Training for Deep Learning: Generalization Gap and Sharp
    Minima, ICLR 2017, metric 2.1 with A the identity.

    Args:
        objective: of a loss of 0 or more.
        point: θ, shape ``(dim,)``.
        epsilon: ε.
        iterations: of L-BFGS-B; each takes about one evaluation.
    """
    _positive("epsilon", epsilon)
    origin = point.detach().double().cpu().numpy()
    room = epsilon * (np.abs(origin) + 1)
    rises = Rises(objective, point)
    start = rises.loss.value
    cost = rises.cost
    seen: list[float] = []

    def negative(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal cost
        cost += 1
        there = torch.from_numpy(origin + scaled * room).to(point)
        value, slope = value_and_gradient(objective, there)
        return -float(value), -slope.double().cpu().numpy() * room

    def keep(intermediate_result: Any) -> None:
        seen.append(-float(intermediate_result.fun))

    slope = -negative(np.zeros_like(origin))[1]
    if not math.isfinite(start) or not np.isfinite(slope).all():
        return Estimate(math.nan, math.nan, "%", cost)
    corner = np.where(slope == 0, 1.0, np.sign(slope))
    with np.errstate(all="ignore"):
        minimize(
            negative,
            corner,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-1.0, 1.0)] * len(origin),
            callback=keep,
            options={"maxiter": iterations},
        )
    first = rises.value(torch.from_numpy(origin + corner * room).to(point)) + start
    tops = sorted([start, first, *seen])
    share = 100 / (1 + start)
    error = math.hypot(tops[-1] - tops[-2] if len(seen) > 1 else 0.0, rises.rounding)
    return Estimate(share * (tops[-1] - start), abs(share) * error, "%", cost + LOSS_COST)


def sam_sharpness(objective: Objective, point: Tensor, *, rho: float = 0.05) -> Estimate:
    """f(θ + ρ ∇f(θ)/‖∇f(θ)‖) − f(θ): how much the step of SAM ascends.

    ``ρ‖g‖ + ρ² gᵀHg/(2‖g‖²)`` to second order. Where the gradient is all but nothing its direction
    is one of rounding, and :func:`worst_rise` the number to read.

    Source: Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR
    2021, equation 2 (p = 2).
    """
    _positive("rho", rho)
    rises = Rises(objective, point)
    slope = value_and_gradient(objective, point.detach())[1]
    norm = float(slope.double().norm())
    if norm == 0:
        return Estimate(0.0, rises.rounding, "loss", rises.cost + 1)
    found = rises.single(rises.at(point + (rho / norm) * slope))
    return Estimate(found.value, found.error, "loss", rises.cost + 1)


def _positive(name: str, value: float) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 < float(value) < math.inf:
        raise UsageError(f"{name} must be a number above 0, not {value!r}")
