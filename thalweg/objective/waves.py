"""Sums of polynomials times plane waves: the functions whose mean under noise is known in closed form."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.objective.base import Objective
from thalweg.objective.expression import (
    Call,
    Expression,
    Number,
    Power,
    Product,
    Sum,
    Variable,
)
from thalweg.objective.formula import Formula
from thalweg.objective.landscape import Landscape
from thalweg.objective.noise import Ball, Gaussian, Noise, Uniform

__all__ = ["WaveSum", "closed_form", "expanded"]

MOST_TERMS = 300
"""Terms of an expansion; with more, evaluating it costs more than it gains."""

HIGHEST_DEGREE = 24
"""Degree of a monomial; expansions of higher powers lose digits."""

Orders = tuple[int, ...]
Wave = tuple[float, ...]
Term = tuple[Orders, Wave]


class WaveSum:
    """``Re Σ c xⁿ exp(i k·x)`` over terms with powers n, wave vectors k and complex coefficients c.

    Attributes:
        dim: number of coordinates.
        terms: ``{(n, k): c}``.
    """

    def __init__(self, dim: int, terms: Mapping[Term, complex]) -> None:
        self.dim, self.terms = dim, dict(terms)

    def __call__(self, points: Tensor) -> Tensor:
        """Values ``(...)`` at points ``(..., dim)``; differentiable any number of times."""
        axes = points.unbind(-1)
        total = torch.zeros_like(axes[0])
        for wave, polynomial in self._by_wave.items():
            real, imaginary = (
                _polynomial([(n, part(c)) for n, c in polynomial], axes)
                for part in (lambda c: c.real, lambda c: c.imag)
            )
            if not any(wave):
                total = total + real
                continue
            phase = sum(k * x for k, x in zip(wave, axes) if k)
            assert isinstance(phase, Tensor)
            if any(c.real for _, c in polynomial):
                total = total + real * phase.cos()
            if any(c.imag for _, c in polynomial):
                total = total - imaginary * phase.sin()
        return total

    def derivative(self, axis: int) -> "WaveSum":
        """The partial derivative by the coordinate of that number."""
        terms: defaultdict[Term, complex] = defaultdict(complex)
        for (orders, wave), c in self.terms.items():
            if orders[axis]:
                lower = (*orders[:axis], orders[axis] - 1, *orders[axis + 1 :])
                terms[lower, wave] += c * orders[axis]
            if wave[axis]:
                terms[orders, wave] += c * 1j * wave[axis]
        return WaveSum(self.dim, terms)

    def smoothed(self, noise: Noise) -> "WaveSum | None":
        """``E f(x − ω)``; ``None`` for a polynomial times a wave under coordinates that are not independent.

        A monomial whose mean does not exist becomes infinite or NaN.
        """
        if self.dim == 1 and isinstance(noise, Ball):
            noise = Uniform(noise.a)
        terms: defaultdict[Term, complex] = defaultdict(complex)
        for (orders, wave), c in self.terms.items():
            if any(wave) and any(orders) and not isinstance(noise, Uniform | Gaussian):
                return None
            for lower, factor in _smoothed_term(orders, wave, noise):
                terms[lower, wave] += c.real * factor if c.imag == 0 else c * factor
        return WaveSum(self.dim, terms)

    @cached_property
    def _by_wave(self) -> dict[Wave, list[tuple[Orders, complex]]]:
        """The terms of each wave; of the opposite waves k and −k only one, doubled."""
        found: dict[Wave, list[tuple[Orders, complex]]] = {}
        for (orders, wave), c in self.terms.items():
            opposite = (orders, tuple(-k for k in wave))
            if any(wave) and opposite in self.terms:
                if wave < opposite[1]:
                    continue
                c = c + self.terms[opposite].conjugate()
            if c != 0:
                found.setdefault(wave, []).append((orders, c))
        return found


def expanded(formula: Formula) -> WaveSum | None:
    """The formula as a sum of polynomials times waves; ``None`` if it is none, or too long."""
    try:
        return WaveSum(formula.dim, _expand(formula.tree, formula.variables))
    except _NotCoveredError:
        return None


def closed_form(objective: Objective, noise: Noise) -> list[WaveSum] | None:
    """The smoothed loss and its partial derivatives, or ``None`` where there is no closed form.

    The derivatives are smoothed on their own: they may have a mean where the loss has none.
    """
    if not isinstance(objective, Landscape) or not objective.formula or not noise.symmetric:
        return None
    formula = Formula.parse(objective.formula)
    plain = expanded(formula) if formula.dim == objective.dim else None
    if plain is None or not _agree(plain, objective):
        return None
    parts = [plain, *(plain.derivative(axis) for axis in range(plain.dim))]
    smooth = [part.smoothed(noise) for part in parts]
    return None if any(part is None for part in smooth) else smooth  # pyright: ignore[reportReturnType]


class _NotCoveredError(Exception):
    """Some part is no polynomial and no wave, or the expansion is too long."""


def _expand(tree: Expression, names: tuple[str, ...]) -> dict[Term, complex]:
    dim = len(names)
    still = (0.0,) * dim
    match tree:
        case Number(value):
            return {((0,) * dim, still): complex(value)}
        case Variable(name):
            return {(tuple(int(name == other) for other in names), still): 1 + 0j}
        case Sum(terms):
            return _sum(_expand(term, names) for term in terms)
        case Product(factors):
            total = _expand(factors[0], names)
            for factor in factors[1:]:
                total = _product(total, _expand(factor, names))
            return total
        case Power(base, int() as exponent) if 0 < exponent <= HIGHEST_DEGREE:
            total = factor = _expand(base, names)
            for _ in range(exponent - 1):
                total = _product(total, factor)
            return total
        case Call("cos" | "sin" as name, (argument,)):
            return _wave(name, _expand(argument, names), dim)
    raise _NotCoveredError


def _wave(name: str, phase: dict[Term, complex], dim: int) -> dict[Term, complex]:
    """The cosine or sine of a linear form as two exponentials."""
    wave, constant = [0.0] * dim, 0.0
    for (orders, inner), c in phase.items():
        if any(inner) or sum(orders) > 1:
            raise _NotCoveredError
        if sum(orders):
            wave[orders.index(1)] = c.real
        else:
            constant = c.real
    half = complex(math.cos(constant), math.sin(constant)) / (2 if name == "cos" else 2j)
    nothing = (0,) * dim
    opposite = tuple(-k for k in wave)
    return {(nothing, tuple(wave)): half, (nothing, opposite): half.conjugate()}


def _sum(parts: Iterable[Mapping[Term, complex]]) -> dict[Term, complex]:
    total: defaultdict[Term, complex] = defaultdict(complex)
    for part in parts:
        for term, c in part.items():
            total[term] += c
    return _checked(total)


def _product(first: Mapping[Term, complex], second: Mapping[Term, complex]) -> dict[Term, complex]:
    if len(first) * len(second) > 10 * MOST_TERMS:
        raise _NotCoveredError
    total: defaultdict[Term, complex] = defaultdict(complex)
    for ((n, k), c), ((m, q), d) in itertools.product(first.items(), second.items()):
        orders = tuple(map(sum, zip(n, m)))
        total[orders, tuple(map(sum, zip(k, q)))] += c * d
    return _checked(total)


def _checked(terms: Mapping[Term, complex]) -> dict[Term, complex]:
    kept = {term: c for term, c in terms.items() if c != 0}
    finite = all(math.isfinite(abs(c)) for c in kept.values())
    if len(kept) > MOST_TERMS or not finite:
        raise _NotCoveredError
    if any(sum(orders) > HIGHEST_DEGREE for orders, _ in kept):
        raise _NotCoveredError
    return kept


def _polynomial(terms: list[tuple[Orders, float]], axes: tuple[Tensor, ...]) -> Tensor:
    total = torch.zeros_like(axes[0])
    for orders, c in terms:
        if c != 0:  # which NaN is not
            powers = [x**n if n > 1 else x for x, n in zip(axes, orders) if n]
            total = total + (c * math.prod(powers[1:], start=powers[0]) if powers else c)
    return total


def _smoothed_term(orders: Orders, wave: Wave, noise: Noise) -> list[tuple[Orders, Any]]:
    """``E (x − ω)ⁿ exp(i k·(x − ω))`` as powers of x and their factors, times ``exp(i k·x)``."""
    found = []
    for lost in itertools.product(*(range(n + 1) for n in orders)):
        ways = math.prod(math.comb(n, m) for n, m in zip(orders, lost))
        mean = _wave_moment(lost, wave, noise)
        if mean != 0:  # which NaN is not
            if not math.isfinite(abs(mean)):
                even = not any(n % 2 for n in orders)
                return [((0,) * len(orders), math.inf if even else math.nan)]
            found.append((tuple(n - m for n, m in zip(orders, lost)), ways * mean))
    return found


def _wave_moment(orders: Orders, wave: Wave, noise: Noise) -> Any:
    """``E Π (−ωᵢ)^mᵢ exp(−i k·ω)``; a real number where it is real."""
    if not any(wave):
        return noise.moment(orders) * (-1) ** sum(orders)
    if not any(orders):
        return float(noise.characteristic(torch.tensor(wave, dtype=torch.float64)))
    assert isinstance(noise, Uniform | Gaussian)
    # −ω has the distribution of ω.
    axis_mean = _uniform_axis if isinstance(noise, Uniform) else _gaussian_axis
    size = noise.a if isinstance(noise, Uniform) else noise.s
    return math.prod((axis_mean(m, k * size) * size**m for m, k in zip(orders, wave)), start=1)


def _gaussian_axis(order: int, k: float) -> complex:
    """``E zᵐ exp(i k z)`` of a standard normal: ``M_m = (m − 1) M_{m−2} + i k M_{m−1}`` by parts."""
    before, mean = 0j, complex(math.exp(-k * k / 2))
    for m in range(1, order + 1):
        before, mean = mean, (m - 1) * before + 1j * k * mean
    return mean


def _uniform_axis(order: int, k: float) -> complex:
    """``E uᵐ exp(i k u)`` for u uniform on [−1, 1].

    By parts, ``M_m = (e^{ik} − (−1)ᵐ e^{−ik})/(2ik) − m/(ik) M_{m−1}``, which keeps its digits
    while m < k; by Gauss-Legendre quadrature exact to rounding otherwise.
    """
    if abs(k) > 2 * order + 8:
        mean = complex(math.sin(k) / k)
        for m in range(1, order + 1):
            ends = complex(0, math.sin(k)) if m % 2 == 0 else complex(math.cos(k))
            mean = (ends - m * mean) / (1j * k)
        return mean
    nodes, weights = np.polynomial.legendre.leggauss(int(abs(k)) + order + 24)
    return complex((weights * nodes**order * np.exp(1j * k * nodes)).sum() / 2)


def _agree(plain: WaveSum, objective: Landscape) -> bool:
    """Whether the expansion gives the landscape's own values, to nine digits of the largest."""
    points = objective.start(torch.Generator().manual_seed(0), 256)
    with torch.no_grad():
        own = objective.loss(points)
        return bool((plain(points) - own).abs().max() <= 1e-9 * own.abs().max())
