"""The gradient's signal along a run, from what training computed anyway."""

import math

import numpy as np

from thalweg.estimate import Estimate
from thalweg.trajectory import Trajectory

__all__ = ["gradient_signal"]


def gradient_signal(history: Trajectory, since: int = 0) -> Estimate:
    """‖∇f‖²/tr Σ of the gradients that updates used, over the looks from step ``since`` on.

    P/(Q − P), with P the mean of ``gradient_product`` and Q that of the squared ``gradient_norm``
    at the same updates: ⟨g_t, g_{t+1}⟩ of two independent mini-batches has mean ‖∇f‖² and ‖g‖² has
    mean ‖∇f‖² + tr Σ. Below 1 a gradient is mostly noise. Products of consecutive gradients lie
    below ‖∇f‖² by η(∇fᵀH∇f + tr HΣ), what the step between them took off, and by tr Σ/(m − 1) where
    m batches share out an epoch's examples; so near a minimum it may come out below 0. Those of
    micro-batches of one update have no such bias but the latter. Where gradients are clipped, it is
    of the clipped ones.

    Error: the standard error over looks, to first order. NaN for fewer than 8 looks; infinite where
    no noise is seen.
    """
    products, norms = history["gradient_product"], history["gradient_norm"]
    chosen = products.steps >= since
    steps, product = products.steps[chosen], products.values[chosen]
    at = np.searchsorted(norms.steps, steps)
    if len(steps) < 8 or at[-1] >= len(norms) or not np.array_equal(norms.steps[at], steps):
        return Estimate(math.nan, math.nan)
    square = norms.values[at] ** 2
    sound = np.isfinite(product) & np.isfinite(square)
    product, square = product[sound], square[sound]
    if len(product) < 8:
        return Estimate(math.nan, math.nan)
    p, q = float(product.mean()), float(square.mean())
    noise = q - p
    if noise <= 1e-6 * q:
        return Estimate(math.inf, math.inf)
    # d(p/(q − p)) = (q dp − p dq)/(q − p)²
    spread = (q * product - p * square).std(ddof=1) / math.sqrt(len(product))
    return Estimate(p / noise, float(spread) / noise**2)
