"""A value with its first and second derivatives, in any arithmetic.

A formula evaluated on jets is differentiated by the rules of that arithmetic: over intervals the
derivatives are enclosed, with no rounding of the formula's constants on the way.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Arithmetic", "Jet", "functions_on_jets", "variables"]

ZERO = 0
"""Known to vanish: 0 · ∞ stays 0 where a variable does not occur."""


@dataclass(frozen=True)
class Arithmetic:
    """What a number of some arithmetic can do beside its operators.

    Attributes:
        functions: of one argument by name: sin, cos, tan, exp, log, sqrt, tanh, sinh, cosh, atan;
            and ``power``, of a number and a constant exponent.
        sign: −1, 0 or 1 of a number, or the hull of those it may have.
        number: a float as a number of it.
        undefined: a number that stands for "no such derivative".
        greater: the larger of two.
        hull: the smallest number that stands for both.
    """

    functions: Mapping[str, Callable[..., Any]]
    sign: Callable[[Any], Any]
    number: Callable[[float], Any]
    undefined: Any
    greater: Callable[[Any, Any], Any]
    hull: Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Jet:
    """``value``, ``slopes[i]`` = ∂ᵢ, ``bends[i][j]`` = ∂ᵢ∂ⱼ for j ≤ i."""

    arithmetic: Arithmetic
    value: Any
    slopes: tuple[Any, ...]
    bends: tuple[tuple[Any, ...], ...]

    def __add__(self, other: Any) -> "Jet":
        if not isinstance(other, Jet):
            return Jet(self.arithmetic, self.value + other, self.slopes, self.bends)
        return Jet(
            self.arithmetic,
            self.value + other.value,
            tuple(map(_plus, self.slopes, other.slopes)),
            tuple(tuple(map(_plus, a, b)) for a, b in zip(self.bends, other.bends)),
        )

    __radd__ = __add__

    def __neg__(self) -> "Jet":
        return self * -1

    def __sub__(self, other: Any) -> "Jet":
        return self + (-other)

    def __rsub__(self, other: Any) -> "Jet":
        return -self + other

    def __mul__(self, other: Any) -> "Jet":
        if not isinstance(other, Jet):
            return self.mapped(self.value * other, other, ZERO)
        u, v = self, other
        slopes = tuple(
            _plus(_times(u.value, b), _times(v.value, a)) for a, b in zip(u.slopes, v.slopes)
        )
        bends = tuple(
            tuple(
                _plus(
                    _plus(_times(u.value, v.bends[i][j]), _times(v.value, u.bends[i][j])),
                    _plus(
                        _times(u.slopes[i], v.slopes[j]),
                        _times(u.slopes[j], v.slopes[i]),
                    ),
                )
                for j in range(i + 1)
            )
            for i in range(len(u.slopes))
        )
        return Jet(self.arithmetic, u.value * v.value, slopes, bends)

    __rmul__ = __mul__

    def mapped(self, value: Any, first: Any, second: Any) -> "Jet":
        """φ(u) by the chain rule, given φ, φ′ and φ″ at u."""
        return Jet(
            self.arithmetic,
            value,
            tuple(_times(first, a) for a in self.slopes),
            tuple(
                tuple(
                    _plus(
                        _times(first, self.bends[i][j]),
                        _times(second, self._product(i, j)),
                    )
                    for j in range(i + 1)
                )
                for i in range(len(self.slopes))
            ),
        )

    def _product(self, i: int, j: int) -> Any:
        """∂ᵢu ∂ⱼu, as a square where i = j: it is not negative."""
        if i != j or _is_zero(self.slopes[i]):
            return _times(self.slopes[i], self.slopes[j])
        return self.arithmetic.functions["power"](self.slopes[i], 2)


def variables(arithmetic: Arithmetic, values: tuple[Any, ...], one: Any) -> list[Jet]:
    """The coordinates at a point: slope 1 along themselves."""
    size = range(len(values))
    flat = tuple((ZERO,) * (i + 1) for i in size)
    return [
        Jet(arithmetic, value, tuple(one if i == j else ZERO for j in size), flat)
        for i, value in enumerate(values)
    ]


def raised(u: Jet, exponent: int | float) -> Jet:
    """uⁿ, n constant and neither 0 nor 1."""
    power = u.arithmetic.functions["power"]
    if exponent == 2:
        return u.mapped(power(u.value, 2), u.value * 2, 2)
    n = exponent if isinstance(exponent, int) else u.arithmetic.number(exponent)
    second = power(u.value, n - 2) * (n * (n - 1))
    return u.mapped(power(u.value, n), power(u.value, n - 1) * n, second)


def functions_on_jets(arithmetic: Arithmetic) -> dict[str, Callable[..., Any]]:
    """The functions of a formula, taking jets of that arithmetic."""
    known = arithmetic.functions

    def lifted(
        name: str, derivatives: Callable[[Any, Any], tuple[Any, Any]]
    ) -> Callable[[Jet], Jet]:
        def function(u: Jet) -> Jet:
            own = known[name](u.value)
            return u.mapped(own, *derivatives(u.value, own))

        return function

    def tangent(u: Any, t: Any, sign: int) -> tuple[Any, Any]:
        first = t * t * sign + 1
        return first, t * first * (2 * sign)

    def reciprocal(u: Any) -> tuple[Any, Any]:
        first = 1 / u
        return first, -first * first

    def arc(u: Any) -> tuple[Any, Any]:
        first = 1 / (known["power"](u, 2) + 1)
        return first, u * first * first * -2

    def root(s: Any) -> tuple[Any, Any]:
        first = 1 / (s * 2)
        return first, -first / (s * s * 2)

    return {
        "sin": lifted("sin", lambda u, s: (known["cos"](u), -s)),
        "cos": lifted("cos", lambda u, c: (-known["sin"](u), -c)),
        "tan": lifted("tan", lambda u, t: tangent(u, t, 1)),
        "exp": lifted("exp", lambda u, e: (e, e)),
        "log": lifted("log", lambda u, _: reciprocal(u)),
        "sqrt": lifted("sqrt", lambda _, s: root(s)),
        "tanh": lifted("tanh", lambda u, t: tangent(u, t, -1)),
        "sinh": lifted("sinh", lambda u, s: (known["cosh"](u), s)),
        "cosh": lifted("cosh", lambda u, c: (known["sinh"](u), c)),
        "atan": lifted("atan", lambda u, _: arc(u)),
        "abs": _absolute,
        "sign": _sign,
        "max": lambda u, v: _larger(arithmetic, u, v),
        "min": lambda u, v: -_larger(arithmetic, -u, -v),
        "power": raised,
    }


def _absolute(u: Jet) -> Jet:
    """Where the sign is not known the slope is the hull and there is no second derivative."""
    sign = u.arithmetic.sign(u.value)
    known = sign == 1 or sign == -1
    second = ZERO if known else u.arithmetic.undefined
    value = u.value * sign if known else u.arithmetic.greater(u.value, -u.value)
    return u.mapped(value, sign, second)


def _sign(u: Jet) -> Jet:
    """A jump leaves nothing defined: not even the value, lest a step over it go unseen."""
    sign = u.arithmetic.sign(u.value)
    if sign == 1 or sign == -1:
        return u.mapped(sign, ZERO, ZERO)
    return u.mapped(u.arithmetic.undefined, u.arithmetic.undefined, u.arithmetic.undefined)


def _larger(arithmetic: Arithmetic, u: Any, v: Any) -> Any:
    first, second = (w.value if isinstance(w, Jet) else w for w in (u, v))
    sign = arithmetic.sign(first - second)
    model = u if isinstance(u, Jet) else v
    a, b = (w if isinstance(w, Jet) else _constant(model, w) for w in (u, v))
    if sign == 1 or sign == -1:
        return a if sign == 1 else b
    hull = arithmetic.hull
    return Jet(
        arithmetic,
        arithmetic.greater(a.value, b.value),
        tuple(map(hull, a.slopes, b.slopes)),
        tuple(tuple(arithmetic.undefined for _ in row) for row in a.bends),
    )


def _constant(model: Jet, value: float) -> Jet:
    size = range(len(model.slopes))
    flat = tuple((ZERO,) * (i + 1) for i in size)
    return Jet(model.arithmetic, model.arithmetic.number(value), (ZERO,) * len(size), flat)


def _is_zero(a: Any) -> bool:
    return isinstance(a, int) and a == 0


def _plus(a: Any, b: Any) -> Any:
    return b if _is_zero(a) else a if _is_zero(b) else a + b


def _times(a: Any, b: Any) -> Any:
    return ZERO if _is_zero(a) or _is_zero(b) else a * b
