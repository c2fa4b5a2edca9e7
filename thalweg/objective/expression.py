"""Expressions in a few variables as immutable trees: evaluated and written out.

The functions :func:`add`, :func:`multiply`, :func:`power` and :func:`call` build trees that are
simple enough: numbers are folded, like terms and like factors joined, zeros and ones left out. They
raise ArithmeticError or ValueError where a number would not be finite or real.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = [
    "FUNCTIONS",
    "Call",
    "Expression",
    "Number",
    "Power",
    "Product",
    "Sum",
    "Variable",
    "add",
    "call",
    "multiply",
    "power",
]

Values = Mapping[str, Any]
Functions = Mapping[str, Callable[..., Any]]

FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "abs": math.fabs,
    "sign": lambda u: math.copysign(1.0, u) if u else 0.0,
    "tanh": math.tanh,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "atan": math.atan,
    "min": lambda u, v: min(u, v),
    "max": lambda u, v: max(u, v),
}
"""Every function that an expression may call, for numbers; ``min`` and ``max`` take two."""


class Expression(ABC):
    """A node of a tree; equal to another by value."""

    @property
    def parts(self) -> "tuple[Expression, ...]":
        """What stands directly below this node."""
        return ()

    @cached_property
    def size(self) -> int:
        """Number of nodes, where a part that is used twice counts twice."""
        return 1 + sum(part.size for part in self.parts)

    @abstractmethod
    def evaluate(self, values: Values, functions: Functions) -> Any:
        """The value where the variables have ``values``, by their operators and ``functions``.

        An entry ``power`` of the functions, if there is one, takes base and exponent in place of
        the operator ``**``.
        """


@dataclass(frozen=True)
class Number(Expression):
    """A constant, finite, in double precision."""

    value: float

    def evaluate(self, values: Values, functions: Functions) -> float:
        return self.value

    def __str__(self) -> str:
        return (
            f"{self.value:.0f}"
            if self.value.is_integer() and abs(self.value) < 1e15
            else repr(self.value)
        )


@dataclass(frozen=True)
class Variable(Expression):
    """A coordinate of the point, by its name."""

    name: str

    def evaluate(self, values: Values, functions: Functions) -> Any:
        return values[self.name]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Sum(Expression):
    """``u + v + …``: two terms or more, no sum among them, at most one number, the last."""

    terms: tuple[Expression, ...]

    @property
    def parts(self) -> tuple[Expression, ...]:
        return self.terms

    def evaluate(self, values: Values, functions: Functions) -> Any:
        total = self.terms[0].evaluate(values, functions)
        for term in self.terms[1:]:
            factor, rest = _coefficient(term)
            if factor == -1.0:
                total = total - rest.evaluate(values, functions)
            else:
                total = total + term.evaluate(values, functions)
        return total

    def __str__(self) -> str:
        text = str(self.terms[0])
        for term in self.terms[1:]:
            written = str(term)
            text += f" - {written[1:]}" if written.startswith("-") else f" + {written}"
        return text


@dataclass(frozen=True)
class Product(Expression):
    """``u · v · …``: two factors or more, no product among them, at most one number, the first."""

    factors: tuple[Expression, ...]

    @property
    def parts(self) -> tuple[Expression, ...]:
        return self.factors

    def evaluate(self, values: Values, functions: Functions) -> Any:
        total = self.factors[0].evaluate(values, functions)
        for factor in self.factors[1:]:
            total = total * factor.evaluate(values, functions)
        return total

    def __str__(self) -> str:
        first, *rest = [_bracketed(factor, Sum) for factor in self.factors]
        if isinstance(self.factors[0], Number):
            first = {"-1": "-"}.get(str(self.factors[0]), f"{self.factors[0]}*")
            return first + "*".join(rest)
        return "*".join([first, *rest])


@dataclass(frozen=True)
class Power(Expression):
    """``uⁿ`` with a number n other than 0 and 1, an ``int`` where it is whole."""

    base: Expression
    exponent: int | float

    @property
    def parts(self) -> tuple[Expression, ...]:
        return (self.base,)

    def evaluate(self, values: Values, functions: Functions) -> Any:
        base = self.base.evaluate(values, functions)
        own = functions.get("power")
        return base**self.exponent if own is None else own(base, self.exponent)

    def __str__(self) -> str:
        exponent = f"({self.exponent})" if self.exponent < 0 else str(self.exponent)
        return f"{_bracketed(self.base, Sum, Product, Power)}**{exponent}"


@dataclass(frozen=True)
class Call(Expression):
    """One of :data:`FUNCTIONS` of its arguments."""

    name: str
    arguments: tuple[Expression, ...]

    @property
    def parts(self) -> tuple[Expression, ...]:
        return self.arguments

    def evaluate(self, values: Values, functions: Functions) -> Any:
        return functions[self.name](*[u.evaluate(values, functions) for u in self.arguments])

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.arguments))})"


def add(terms: Iterable[Expression]) -> Expression:
    """The sum, with like terms joined."""
    constant = 0.0
    factors: dict[Expression, float] = {}
    for term in terms:
        for part in term.terms if isinstance(term, Sum) else (term,):
            if isinstance(part, Number):
                constant = _finite(constant + part.value)
            else:
                factor, rest = _coefficient(part)
                factors[rest] = _finite(factors.get(rest, 0.0) + factor)
    parts = [multiply([Number(factor), rest]) for rest, factor in factors.items() if factor]
    if constant or not parts:
        parts.append(Number(constant))
    return parts[0] if len(parts) == 1 else Sum(tuple(parts))


def multiply(factors: Iterable[Expression]) -> Expression:
    """The product, with whole powers of like factors joined where that removes no singularity."""
    constant = 1.0
    powers: dict[tuple[Expression, bool], int] = {}
    others: list[Expression] = []
    for factor in factors:
        for part in factor.factors if isinstance(factor, Product) else (factor,):
            if isinstance(part, Number):
                constant = _finite(constant * part.value)
                continue
            base, exponent = (part.base, part.exponent) if isinstance(part, Power) else (part, 1)
            if isinstance(exponent, int):
                key = base, exponent > 0
                powers[key] = powers.get(key, 0) + exponent
            else:
                others.append(part)
    if constant == 0.0:
        return Number(0.0)
    parts = [power(base, exponent) for (base, _), exponent in powers.items()] + others
    if constant != 1.0 or not parts:
        parts.insert(0, Number(constant))
    return parts[0] if len(parts) == 1 else Product(tuple(parts))


def power(base: Expression, exponent: float) -> Expression:
    """The power with a constant exponent."""
    if float(exponent).is_integer():
        exponent = int(exponent)
    if exponent == 0:
        return Number(1.0)
    if exponent == 1:
        return base
    if isinstance(base, Number):
        value = base.value**exponent
        if isinstance(value, complex):
            raise ValueError("a power that is not real")
        return Number(_finite(float(value)))
    if isinstance(base, Power) and exponent > 0 and isinstance(exponent, int):
        inner = base.exponent
        if isinstance(inner, int) and inner > 0:
            return Power(base.base, inner * exponent)
    return Power(base, exponent)


def call(name: str, arguments: Iterable[Expression]) -> Expression:
    """A function of :data:`FUNCTIONS`."""
    arguments = tuple(arguments)
    numbers = [u.value for u in arguments if isinstance(u, Number)]
    if len(numbers) == len(arguments):
        return Number(_finite(float(FUNCTIONS[name](*numbers))))
    return Call(name, arguments)


def _coefficient(term: Expression) -> tuple[float, Expression]:
    """A term as a number times the rest."""
    if isinstance(term, Product) and isinstance(term.factors[0], Number):
        rest = term.factors[1:]
        return term.factors[0].value, rest[0] if len(rest) == 1 else Product(rest)
    return 1.0, term


def _bracketed(part: Expression, *kinds: type[Expression]) -> str:
    negative = isinstance(part, Number) and part.value < 0
    return f"({part})" if negative or isinstance(part, kinds) else str(part)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise OverflowError("a number that is not finite")
    return value
