"""Quadrature rules for the mean under noise in one and two dimensions, from coarse to fine."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from thalweg.objective.noise import Ball, Gaussian, Noise, Sphere, StudentT, Uniform

__all__ = ["LEVELS", "Rule", "rule"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEVELS = {1: 9, 2: 5}
"""Number of rules by dimension; each has twice the nodes along every axis of the one before."""

_PANELS, _NODES = {1: 8, 2: 4}, {1: 16, 2: 8}
_FIRST_ANGLES = 64

_TRUNCATED = 8.5
"""Standard deviations of a normal that are looked at; outside lie 2e-17 of it."""


@dataclass(frozen=True, eq=False)
class Rule:
    """Nodes ``(n, dim)`` and their weights ``(n,)``, of sum 1.

    ``outermost`` marks the last eighth before an infinite range was cut off: what it contributes
    bounds what lies beyond, if the integrand halves at least once there.
    """

    nodes: Array
    weights: Array
    outermost: Mask


@lru_cache(maxsize=64)
def rule(noise: Noise, dim: int, level: int) -> Rule:
    """The rule of that level for the mean over ``noise`` in 1 or 2 dimensions.

    One coordinate by panels of Gauss-Legendre: for uniform noise over its range, for normal noise
    over ±8.5 standard deviations, for Student's t over v in ``√freedom s sinh v``. Rings by
    equidistant angles, with radii in the variable in which the disc is uniform (ball), or as for
    one coordinate (Student's t).
    """
    if isinstance(noise, Ball) and dim == 1:
        noise = Uniform(noise.a)
    match noise:
        case Uniform(a):
            nodes, weights, outer = _panels(-1.0, 1.0, dim, level)
            return _product(a * nodes, weights, np.zeros_like(outer), dim)
        case Gaussian(s):
            nodes, weights, outer = _panels(-_TRUNCATED, _TRUNCATED, dim, level)
            return _product(s * nodes, weights * np.exp(-(nodes**2) / 2), outer, dim)
        case StudentT(s, freedom):
            reach = min(100 / freedom, 300.0)  # beyond, no mean that exists has a part of e⁻³⁷
            far = s * math.sqrt(freedom)
            if dim == 1:
                v, weights, outer = _panels(-reach, reach, dim, level)
                density = np.exp(-freedom * _log_cosh(v))
                return _product(far * np.sinh(v), weights * density, outer, dim)
            v, weights, outer = _panels(0.0, reach, dim, level)
            density = np.exp(-(freedom + 1) * _log_cosh(v)) * np.sinh(v)
            return _rings(far * np.sinh(v), weights * density, outer, level)
        case Ball(a):
            share, weights, outer = _panels(0.0, 1.0, dim, level)
            return _rings(a * np.sqrt(share), weights, np.zeros_like(outer), level)
        case Sphere(a):
            if dim == 1:
                return Rule(np.array([[-a], [a]]), np.array([0.5, 0.5]), np.zeros(2, bool))
            return _rings(np.array([a]), np.ones(1), np.zeros(1, bool), level)
    raise TypeError(f"no rule for {type(noise).__name__}")


def _panels(low: float, high: float, dim: int, level: int) -> tuple[Array, Array, Mask]:
    """Nodes and weights of Gauss-Legendre on equal panels; which nodes are in the last eighth."""
    panels, count = _PANELS[dim] << level, _NODES[dim]
    inner, weights = np.polynomial.legendre.leggauss(count)
    width = (high - low) / panels
    centres = low + width * (np.arange(panels) + 0.5)
    nodes = (centres[:, None] + width / 2 * inner).ravel()
    return nodes, np.tile(weights, panels) * width / 2, np.abs(nodes) > 0.875 * high


def _product(nodes: Array, weights: Array, outer: Mask, dim: int) -> Rule:
    weights = weights / weights.sum()
    if dim == 1:
        return Rule(nodes[:, None], weights, outer)
    first, second = (axis.ravel() for axis in np.meshgrid(nodes, nodes, indexing="ij"))
    edge = np.logical_or.outer(outer, outer).ravel()
    return Rule(np.stack([first, second], 1), np.outer(weights, weights).ravel(), edge)


def _rings(radii: Array, weights: Array, outer: Mask, level: int) -> Rule:
    count = _FIRST_ANGLES << level
    angles = 2 * np.pi * (np.arange(count) + 0.25) / count
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    nodes = (radii[:, None, None] * circle).reshape(-1, 2)
    shares = np.repeat(weights / weights.sum() / count, count)
    return Rule(nodes, shares, np.repeat(outer, count))


def _log_cosh(v: Array) -> Array:
    return np.logaddexp(v, -v) - math.log(2)
