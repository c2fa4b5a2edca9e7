"""Rigorous arithmetic on intervals, by python-flint's Arb balls: the one file that uses it.

Arb (Johansson, *Arb: efficient arbitrary-precision midpoint-radius interval arithmetic*, IEEE
Transactions on Computers 66, 2017) encloses every rounding error, so that what is said of a box
here holds for every point of it. Numbers in a formula are taken as the doubles that they are.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import acb, arb, ctx, fmpq

from thalweg.objective.formula import Formula
from thalweg.theory.jets import Arithmetic, Jet, functions_on_jets, variables

__all__ = [
    "Box",
    "Minimum",
    "above",
    "ball",
    "below",
    "bessel",
    "common",
    "complex_ball",
    "exact",
    "finer",
    "jet_at",
    "minimum",
    "power",
    "value_at",
    "widened",
]

Box = tuple[tuple[float, float], ...]
"""Lowest and highest value of each coordinate."""

EVERYWHERE = arb(0, math.inf)
NOTHING = arb("nan")


def ball(low: float, high: float) -> arb:
    """An Arb ball that holds the interval."""
    if math.isinf(low) or math.isinf(high):
        return EVERYWHERE
    return arb(low) if low == high else arb(low).union(arb(high))


def exact(value: float | Fraction) -> arb:
    """A number as a ball, of no width where its digits suffice."""
    if isinstance(value, Fraction):
        return arb(fmpq(value.numerator, value.denominator))
    return arb(value)


def complex_ball(real: arb, imaginary: arb) -> acb:
    """A complex number in a rectangle."""
    return acb(real, imaginary)


def bessel(order: int, z: arb) -> arb:
    """Bessel's function J of a whole order."""
    return z.bessel_j(order)


def finer() -> AbstractContextManager[Any]:
    """Four times the digits of a double, for a computation that cancels."""
    return ctx.workprec(212)


def below(x: arb) -> float:
    """A double not above any point of the ball; −∞ where it is not finite."""
    if x.is_zero():
        return 0.0
    return math.nextafter(float(x.lower()), -math.inf) if x.is_finite() else -math.inf


def above(x: arb) -> float:
    """A double not below any point of the ball; ∞ where it is not finite."""
    if x.is_zero():
        return 0.0
    return math.nextafter(float(x.upper()), math.inf) if x.is_finite() else math.inf


def common(first: arb, second: arb) -> arb:
    """What lies in both of two enclosures of one number; one that says nothing is left out."""
    if not first.is_finite():
        return second
    if not second.is_finite():
        return first
    low = max(below(first), below(second))
    high = min(above(first), above(second))
    return ball(low, high) if low <= high else first


def power(base: arb, exponent: int | arb) -> arb:
    """A power; an even one is not negative."""
    if isinstance(exponent, int) and exponent > 0 and exponent % 2 == 0:
        size = ball(max(0.0, below(base.abs_lower())), above(base.abs_upper()))
        if not base.is_finite():
            return EVERYWHERE
        return (size**exponent).nonnegative_part() if base.contains(0) else size**exponent
    return base**exponent


def _sign(x: arb) -> int | arb:
    return 1 if x > 0 else -1 if x < 0 else ball(-1.0, 1.0)


ARB = Arithmetic(
    functions={
        **{
            name: getattr(arb, name)
            for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "tanh", "sinh", "cosh", "atan")
        },
        "power": power,
    },
    sign=_sign,
    number=arb,
    undefined=NOTHING,
    greater=lambda a, b: a.max(b),
    hull=lambda a, b: arb(a).union(arb(b)),
)
FUNCTIONS = functions_on_jets(ARB)
PLAIN = {
    **ARB.functions,
    "abs": abs,
    "sign": lambda x: arb(_sign(x)) if x > 0 or x < 0 else NOTHING,
    "min": lambda a, b: arb(a).min(b),
    "max": lambda a, b: arb(a).max(b),
}


def value_at(formula: Formula, point: Sequence[arb]) -> arb:
    """An enclosure of f over all points of the balls."""
    return arb(0) + formula.evaluate(point, PLAIN)


def jet_at(formula: Formula, point: Sequence[arb]) -> Jet:
    """Enclosures of f, ∇f and ∇²f over all points of the balls."""
    value = formula.evaluate(variables(ARB, tuple(point), arb(1)), FUNCTIONS)
    if isinstance(value, Jet):
        return value
    zero = variables(ARB, tuple(point), arb(0))[0] * 0
    return zero + arb(value)


@dataclass(frozen=True)
class Minimum:
    """What branch and bound found: ``lower`` ≤ inf over the boxes ≤ ``upper``.

    Attributes:
        lower: proved; −∞ where nothing is proved.
        upper: attained at ``where``, up to rounding.
        where: a point.
        boxes: that were looked at.
    """

    lower: float
    upper: float
    where: tuple[float, ...]
    boxes: int


def minimum(
    enclose: Callable[[Box], arb],
    boxes: Sequence[Box],
    *,
    tolerance: float = 1e-3,
    most: int = 20_000,
    enough: float = math.inf,
    hopeless: float = -math.inf,
) -> Minimum:
    """The infimum over some boxes, by branch and bound, best first.

    Args:
        enclose: a ball that holds the function's values over a box; may be called with a box that
            is a point.
        tolerance: stop where the bounds are within this share of the larger of them.
        most: boxes to look at before the lower bound is left as it is.
        enough: stop once the lower bound is at least this.
        hopeless: stop once the infimum is known to be below this.
    """
    queue: list[tuple[float, int, Box]] = []
    best, where, looked = math.inf, tuple(low for low, _ in boxes[0]), 0

    def look(box: Box, floor: float) -> None:
        nonlocal best, where, looked
        looked += 1
        middle = tuple((low + high) / 2 for low, high in box)
        value = above(enclose(tuple((m, m) for m in middle)))
        if value < best:  # not where it is NaN
            best, where = value, middle
        lower = max(floor, below(enclose(box)))
        if lower < best:
            heapq.heappush(queue, (lower, looked, box))

    for box in boxes:
        look(box, -math.inf)
    while queue:
        lower, _, box = queue[0]
        close = best - lower <= tolerance * max(abs(best), abs(lower), 1e-12)
        if looked >= most or lower >= enough or best < hopeless or (close and math.isfinite(lower)):
            return Minimum(min(lower, best), best, where, looked)
        heapq.heappop(queue)
        halves = _halves(box)
        if halves is None:
            return Minimum(lower, best, where, looked)
        for half in halves:
            look(half, lower)
    return Minimum(best, best, where, looked)


def _halves(box: Box) -> tuple[Box, Box] | None:
    """Cut across the longest side; ``None`` where no double lies between its ends."""
    axis = max(range(len(box)), key=lambda i: box[i][1] - box[i][0])
    low, high = box[axis]
    middle = (low + high) / 2
    if not low < middle < high:
        return None
    return (
        (*box[:axis], (low, middle), *box[axis + 1 :]),
        (*box[:axis], (middle, high), *box[axis + 1 :]),
    )


def widened(box: Box, margin: float) -> Box:
    """The box with a margin on every side, rounded outward."""
    return tuple(
        (math.nextafter(low - margin, -math.inf), math.nextafter(high + margin, math.inf))
        for low, high in box
    )
