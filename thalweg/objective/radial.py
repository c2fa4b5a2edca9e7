"""Isotropic distributions: mean plane waves of sphere, ball and Student's t; moments of the sphere."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, jv, kve, roots_gegenbauer

__all__ = ["moment", "power", "sphere_wave", "student_wave"]

LARGEST_FOR_BESSEL = 100.0
"""Half a dimension from which Γ and J leave the range of doubles, and quadrature takes over."""


def sphere_wave(z: Any, dim: float) -> NDArray[np.float64]:
    """``E cos(z u₁)`` for u uniform on the unit sphere of ``dim`` dimensions, entry by entry.

    ``Γ(d/2) (2/z)^(d/2−1) J_{d/2−1}(z)`` = ₀F₁(; d/2; −z²/4) (Watson, *Theory of Bessel
    Functions*, 3.1 and 3.3). That of the unit ball is the one of ``dim + 2``. Absolute error below
    1e-12 for z up to about 1e3, where Bessel's function itself loses digits.
    """
    z = np.abs(np.asarray(z, dtype=np.float64))
    half = dim / 2
    if half > LARGEST_FOR_BESSEL:
        return _by_quadrature(z, half)
    small = z <= 4 * math.sqrt(half)
    return np.where(small, _by_series(np.where(small, z, 0.0), half), _by_bessel(z, half))


def student_wave(z: NDArray[np.float64], freedom: float) -> NDArray[np.float64]:
    """``z^μ K_μ(z) / (2^(μ−1) Γ(μ))`` with ``μ = freedom/2``, for z ≥ 0, entry by entry."""
    mu = freedom / 2
    safe = np.where(z > 0, z, 1.0)
    with np.errstate(all="ignore"):
        log_bessel = _log_bessel_k(mu, safe) if mu > 50 else np.log(kve(mu, safe)) - safe
        log_wave = log_bessel + mu * np.log(safe) - gammaln(mu) - (mu - 1) * math.log(2)
    # Where K leaves the range of doubles z is so small that the wave is 1 to twelve digits.
    return np.where((z > 0) & np.isfinite(log_bessel), np.exp(np.minimum(log_wave, 0.0)), 1.0)


def moment(orders: Sequence[int]) -> float:
    """``E Π uᵢ^nᵢ`` for u uniform on the unit sphere of ``len(orders)`` dimensions.

    ``Γ(d/2)/Γ((d + n)/2) · Π Γ((nᵢ + 1)/2)/Γ(1/2)`` with n = Σ nᵢ, 0 if any order is odd (Folland,
    *American Mathematical Monthly* 108, 2001).
    """
    if any(order % 2 for order in orders):
        return 0.0
    half = len(orders) / 2
    top = sum(math.lgamma((order + 1) / 2) - math.lgamma(0.5) for order in orders if order)
    return math.exp(top + math.lgamma(half) - math.lgamma(half + sum(orders) / 2))


def power(size: float, order: int) -> float:
    """A power of the size of a distribution, infinite where it is beyond a double."""
    try:
        return size**order
    except OverflowError:
        return math.inf


def _by_series(z: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    total = term = np.ones_like(z)
    for n in range(1, 60):  # at z² ≤ 16·half the terms are below 4ⁿ/n!
        term = term * (-(z**2) / 4) / (n * (half + n - 1))
        total = total + term
    return total


def _by_bessel(z: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    far = np.where(z > 0, z, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.exp(gammaln(half) + (half - 1) * np.log(2 / far))
        return scale * jv(half - 1, far)


def _by_quadrature(z: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    """Gauss-Gegenbauer over the density (1 − t²)^(d/2 − 3/2) of one coordinate; 0 where it is below 1e-14."""
    nodes, weights = roots_gegenbauer(64, half - 1)
    weights = weights / weights.sum()
    near = z < 12 * math.sqrt(half)
    waves = np.cos(np.where(near, z, 0.0)[..., None] * nodes) @ weights
    return np.where(near, waves, 0.0)


def _log_bessel_k(mu: float, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """log K_μ(z) for large μ by Debye's expansion (DLMF 10.41.4), relative error 1e-9 from μ = 50 on."""
    x = z / mu
    root = np.sqrt(1 + x**2)
    t = 1 / root
    u1 = (3 * t - 5 * t**3) / 24
    u2 = (81 * t**2 - 462 * t**4 + 385 * t**6) / 1152
    u3 = (30375 * t**3 - 369603 * t**5 + 765765 * t**7 - 425425 * t**9) / 414720
    eta = root + np.log(x / (1 + root))
    tail = np.log1p(-u1 / mu + u2 / mu**2 - u3 / mu**3)
    return 0.5 * np.log(math.pi / (2 * mu)) - mu * eta - 0.25 * np.log1p(x**2) + tail
