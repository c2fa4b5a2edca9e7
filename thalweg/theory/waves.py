"""Sums of polynomials times plane waves with enclosed coefficients: their mean under noise is exact.

Wave vectors are kept as fractions, so that a formula's own doubles are exact; coefficients are Arb
balls. Products, derivatives and means of such sums are such sums.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from thalweg.objective.expression import Call, Expression, Number, Power, Product, Sum, Variable
from thalweg.objective.formula import Formula
from thalweg.objective.noise import Ball, Gaussian, Noise, Sphere, Uniform
from thalweg.theory.intervals import bessel, complex_ball, exact, finer, power

__all__ = ["Waves", "evaluator", "expanded", "smoothed"]

MOST = 200
"""Terms of a sum; with more, boxes take too long."""

Orders = tuple[int, ...]
Vector = tuple[Fraction, ...]
Term = tuple[Orders, Vector]


class Waves:
    """Σ c xⁿ exp(i k·x), real: with every k there is −k with the conjugate coefficient.

    Attributes:
        dim: number of variables.
        terms: ``{(n, k): c}``.
    """

    def __init__(self, dim: int, terms: Mapping[Term, Any]) -> None:
        self.dim, self.terms = dim, dict(terms)
        if len(self.terms) > MOST:
            raise NotCoveredError

    def __add__(self, other: "Waves") -> "Waves":
        return _total(self.dim, itertools.chain(self.terms.items(), other.terms.items()))

    def __mul__(self, other: "Waves") -> "Waves":
        if len(self.terms) * len(other.terms) > MOST**2:
            raise NotCoveredError
        return _total(
            self.dim,
            (
                ((_sum(n, m), _sum(k, q)), c * d)
                for (n, k), c in self.terms.items()
                for (m, q), d in other.terms.items()
            ),
        )

    def scaled(self, factor: Any) -> "Waves":
        """Times a ball."""
        return Waves(self.dim, {term: c * factor for term, c in self.terms.items()})

    def derivative(self, axis: int) -> "Waves":
        """The partial derivative."""
        parts: list[tuple[Term, Any]] = []
        for (n, k), c in self.terms.items():
            if n[axis]:
                lower = (*n[:axis], n[axis] - 1, *n[axis + 1 :])
                parts.append(((lower, k), c * n[axis]))
            if k[axis]:
                parts.append(((n, k), c * complex_ball(exact(0), exact(k[axis]))))
        return _total(self.dim, parts)


class NotCoveredError(Exception):
    """Some part is no polynomial times a wave, or there are too many terms."""


def expanded(formula: Formula) -> Waves | None:
    """The formula as such a sum; ``None`` if it is none."""
    try:
        with finer():
            return _expand(formula.tree, formula.variables)
    except NotCoveredError:
        return None


def smoothed(waves: Waves, noise: Noise, learning_rate: float) -> Waves | None:
    """E f(x − ηω); ``None`` where no closed form is known for the noise.

    Uniform and Gaussian noise any such sum; ball and sphere, in one and two dimensions, polynomials
    and plain waves.
    """
    try:
        with finer():
            eta = exact(learning_rate)
            mean = _mean_of(noise, eta, waves.dim)
            parts: list[tuple[Term, Any]] = []
            for (n, k), c in waves.terms.items():
                for lost in itertools.product(*(range(order + 1) for order in n)):
                    ways = math.prod(math.comb(a, b) for a, b in zip(n, lost))
                    left = tuple(a - b for a, b in zip(n, lost))
                    parts.append(((left, k), c * mean(lost, k) * ways))
            return _total(waves.dim, parts)
    except NotCoveredError:
        return None


def evaluator(sums: Sequence[Waves]) -> Callable[[Sequence[Any]], list[Any]]:
    """A function that encloses all of the sums over a box, each wave computed once."""
    waves: dict[Vector, int] = {}
    monomials: dict[Orders, int] = {}
    plans = []
    for one in sums:
        plan = []
        for (n, k), c in one.terms.items():
            still = not any(k)
            if not still and next(x for x in k if x) < 0:
                continue  # the conjugate of its opposite
            weight = 1 if still else 2
            monomial = monomials.setdefault(n, len(monomials)) if any(n) else None
            wave = None if still else waves.setdefault(k, len(waves))
            plan.append((monomial, wave, c.real * weight, c.imag * weight))
        plans.append(plan)
    vectors = [[(i, exact(x)) for i, x in enumerate(k) if x] for k in waves]
    powers = [[(i, order) for i, order in enumerate(n) if order] for n in monomials]

    def values(box: Sequence[Any]) -> list[Any]:
        turns = [sum((box[i] * x for i, x in vector), exact(0)).sin_cos() for vector in vectors]
        bases = []
        for factors in powers:
            base = exact(1)
            for i, order in factors:
                base = base * (power(box[i], order) if order > 1 else box[i])
            bases.append(base)
        found = []
        for plan in plans:
            total = exact(0)
            for monomial, wave, real, imaginary in plan:
                if wave is None:
                    part = real
                else:
                    sine, cosine = turns[wave]
                    part = real * cosine - imaginary * sine
                total = total + (part if monomial is None else part * bases[monomial])
            found.append(total)
        return found

    return values


def _total(dim: int, parts: Iterable[tuple[Term, Any]]) -> Waves:
    terms: dict[Term, Any] = {}
    for term, c in parts:
        terms[term] = terms[term] + c if term in terms else c
    # A ball that merely holds zero is kept: c == 0 is certain, and so is c != 0.
    return Waves(dim, {term: c for term, c in terms.items() if not (c == 0)})  # noqa: SIM201


def _sum(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a + b for a, b in zip(first, second))


def _expand(tree: Expression, names: tuple[str, ...]) -> Waves:
    dim = len(names)
    nothing, still = (0,) * dim, (Fraction(0),) * dim
    match tree:
        case Number(value):
            return Waves(dim, {(nothing, still): complex_ball(exact(value), exact(0))})
        case Variable(name):
            orders = tuple(int(name == other) for other in names)
            return Waves(dim, {(orders, still): complex_ball(exact(1), exact(0))})
        case Sum(terms):
            return _folded(terms, names, Waves.__add__)
        case Product(factors):
            return _folded(factors, names, Waves.__mul__)
        case Power(base, int() as exponent) if 0 < exponent <= 12:
            return _folded([base] * exponent, names, Waves.__mul__)
        case Call("cos" | "sin" as name, (argument,)):
            slopes, constant = _linear(argument)
            k = tuple(slopes.get(other, Fraction(0)) for other in names)
            phase = exact(constant)
            half = complex_ball(phase.cos(), phase.sin()) / 2
            if name == "sin":
                half = half * complex_ball(exact(0), exact(-1))
            if not any(k):
                return Waves(dim, {(nothing, still): complex_ball(half.real * 2, exact(0))})
            opposite = tuple(-x for x in k)
            conjugate = complex_ball(half.real, -half.imag)
            return Waves(dim, {(nothing, k): half, (nothing, opposite): conjugate})
    raise NotCoveredError


def _folded(
    parts: Sequence[Expression],
    names: tuple[str, ...],
    join: Callable[[Waves, Waves], Waves],
) -> Waves:
    total = _expand(parts[0], names)
    for part in parts[1:]:
        total = join(total, _expand(part, names))
    return total


def _linear(tree: Expression) -> tuple[dict[str, Fraction], Fraction]:
    """A linear form exactly, in fractions."""
    match tree:
        case Number(value):
            return {}, Fraction(value)
        case Variable(name):
            return {name: Fraction(1)}, Fraction(0)
        case Sum(terms):
            slopes: dict[str, Fraction] = {}
            constant = Fraction(0)
            for term in terms:
                inner, rest = _linear(term)
                constant += rest
                for name, slope in inner.items():
                    slopes[name] = slopes.get(name, Fraction(0)) + slope
            return slopes, constant
        case Product((Number(value), *rest)) if len(rest) == 1:
            inner, constant = _linear(rest[0])
            factor = Fraction(value)
            return {name: factor * slope for name, slope in inner.items()}, factor * constant
    raise NotCoveredError


Mean = Callable[[Orders, Vector], Any]


def _mean_of(noise: Noise, eta: Any, dim: int) -> Mean:
    """E Π uᵢ^mᵢ exp(i k·u) for u = ηω, as a function of m and k."""
    if isinstance(noise, Ball | Sphere) and dim == 1:
        if isinstance(noise, Sphere):
            raise NotCoveredError
        noise = Uniform(noise.a)
    if isinstance(noise, Uniform):
        return lambda m, k: _independent(m, k, exact(noise.a) * eta, _uniform_axis)
    if isinstance(noise, Gaussian):
        return lambda m, k: _independent(m, k, exact(noise.s) * eta, _gaussian_axis)
    if isinstance(noise, Ball | Sphere) and dim == 2:
        ball = isinstance(noise, Ball)
        return lambda m, k: _round(m, k, exact(noise.a) * eta, ball)
    raise NotCoveredError


def _independent(m: Orders, k: Vector, size: Any, axis: Callable[[int, Any], Any]) -> Any:
    product = complex_ball(exact(1), exact(0))
    for order, frequency in zip(m, k):
        z = exact(frequency) * size
        product = product * axis(order, z if frequency else None) * power(size, order)
    return product


def _uniform_axis(order: int, z: Any | None) -> Any:
    """E vᵐ exp(izv), v uniform on [−1, 1]: by parts, from sin(z)/z on."""
    if z is None:
        return exact(0) if order % 2 else exact(1) / (order + 1)
    if z == 0:
        return _uniform_axis(order, None)
    sine, cosine = z.sin_cos()
    mean = complex_ball(sine / z, exact(0))
    turn = complex_ball(exact(0), z)
    for m in range(1, order + 1):
        ends = complex_ball(exact(0), sine) if m % 2 == 0 else complex_ball(cosine, exact(0))
        mean = (ends - mean * m) / turn
    return mean


def _gaussian_axis(order: int, z: Any | None) -> Any:
    """E vᵐ exp(izv), v standard normal: M_m = (m − 1)M_{m−2} + izM_{m−1}."""
    place = exact(0) if z is None else z
    before = complex_ball(exact(0), exact(0))
    mean = complex_ball((-place * place / 2).exp(), exact(0))
    for m in range(1, order + 1):
        before, mean = mean, before * (m - 1) + mean * complex_ball(exact(0), place)
    return mean


def _round(m: Orders, k: Vector, size: Any, ball: bool) -> Any:
    """A circle or a disc: J₀(z) or 2J₁(z)/z for a wave, with one u its derivative by k; moments
    Π (mᵢ − 1)!!/(2·4·…) without a wave."""
    degree = sum(m)
    if any(k) and size > 0:
        if degree > 1:
            raise NotCoveredError
        length = exact(sum((x * x for x in k), Fraction(0))).sqrt()
        z = length * size
        if degree == 0:
            return bessel(1, z) * 2 / z if ball else bessel(0, z)
        along = exact(k[m.index(1)]) / length * size  # −i times the derivative by that k
        return complex_ball(exact(0), along * (bessel(2, z) * 2 / z if ball else bessel(1, z)))
    if size == 0 or any(order % 2 for order in m):
        return exact(int(degree == 0))
    top = math.prod(math.prod(range(1, order, 2)) for order in m)
    bottom = math.prod(2 + step for step in range(0, degree, 2))
    share = Fraction(top, bottom) * (Fraction(2, 2 + degree) if ball else 1)
    return exact(share) * power(size, degree)
