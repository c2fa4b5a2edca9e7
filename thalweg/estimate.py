"""A measured number: its value, its standard error, its unit and what it cost."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["LOSS_COST", "PRODUCT_COST", "Curve", "Estimate", "Evidence", "number", "rounded"]

DIGITS = 4
"""Significant digits that a number is shown with at most."""

LOSS_COST = 1 / 3
"""Cost of a forward pass in gradient evaluations: a backward pass costs two forward passes."""

PRODUCT_COST = 2.0
"""Cost of a Hessian-vector product in gradient evaluations, by operation count.

The clock says 1.5 where the graph is kept between products and 2.4 where it is rebuilt.
"""


@dataclass(frozen=True)
class Estimate:
    """A number that was measured.

    ``error`` is one standard error (for an eigenvalue: its residual bound), in the unit of the
    value; 0 says that the number is exact for the examples that were used. ``cost`` is what the
    number added to the bill, in gradient evaluations over the training data. A value that is not
    finite stays so.
    """

    value: float
    error: float = 0.0
    unit: str = "1"
    cost: float = 0.0

    def __float__(self) -> float:
        return self.value

    def __neg__(self) -> "Estimate":
        return Estimate(-self.value, self.error, self.unit, self.cost)

    def __str__(self) -> str:
        value, error, unit = self.shown()
        return f"{value} ± {error} {unit}".rstrip() if error else f"{value} {unit}".rstrip()

    def shown(self, *, share: bool = False) -> tuple[str, str, str]:
        """Value, error and unit as a reader sees them; the error is empty where it says nothing.

        Four significant digits at most, an error of one digit, none where it is below the last digit
        of the value. Shares are told in per cent: those whose unit is ``of the ...``, and others
        where ``share`` says so; from twice the whole on, as times of it.
        """
        value, error, unit = self.value, self.error, self.unit
        if unit.startswith("of a "):
            unit = unit.replace("of", "times", 1)
        elif (share or unit.startswith("of the ")) and not math.isnan(value):
            if math.isinf(value):
                return "not finite", "", ""
            if abs(value) < 2:
                of = "" if unit == "1" else unit
                return *_percent(value, error), of
            if unit.startswith("of the "):
                return *rounded(value, error, 3), unit.replace("of", "times", 1)
        told, apart = rounded(value, error)
        if told == "1" and not apart and unit in ("steps", "spreads", "trials"):
            unit = unit.removesuffix("s")
        return told, apart, "" if unit == "1" or not math.isfinite(value) else unit

    def confidence_above(self, threshold: float) -> float:
        """Probability that the true value exceeds ``threshold``, the error taken as Gaussian.

        0.5 for a value or an error that is not a number: nothing is known.
        """
        if math.isnan(self.value) or math.isnan(self.error):
            return 0.5
        if self.error == 0 or math.isinf(self.value):
            return 1.0 if self.value > threshold else 0.0 if self.value < threshold else 0.5
        if math.isinf(self.error):
            return 0.5
        return 0.5 * math.erfc((threshold - self.value) / (self.error * math.sqrt(2)))


@dataclass(frozen=True)
class Curve:
    """A measured line for a picture: ``y`` over ``x``, with the names of both axes."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    x_name: str
    y_name: str


@dataclass(frozen=True)
class Evidence(Mapping[str, Estimate]):
    """The named Estimates about one point or run, and the curves that show them.

    Read a number that may not have been measured with :meth:`value`, which answers NaN then: every
    comparison with NaN is false, so a rule never fires on what nobody measured.
    """

    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Estimate:
        return self.estimates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.estimates)

    def __len__(self) -> int:
        return len(self.estimates)

    def value(self, name: str) -> float:
        """The value of that name, or NaN where it was not measured."""
        found = self.estimates.get(name)
        return math.nan if found is None else found.value

    def measured(self, name: str) -> Estimate:
        """The Estimate of that name, or NaN with unknown error where it was not measured."""
        return self.estimates.get(name, Estimate(math.nan, math.nan))

    @property
    def cost(self) -> float:
        """What all of it cost, in gradient evaluations over the training data."""
        return sum(estimate.cost for estimate in self.estimates.values())


def number(value: float, digits: int = DIGITS) -> str:
    """``value`` to so many significant digits: ``0.0123``, ``75510``, ``4e-6``.

    A whole number is written out, and what is not finite is said in words.
    """
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    if 0 <= int(exponent) < 6:
        return f"{float(text):.0f}"
    return f"{mantissa}e{int(exponent)}"


def rounded(value: float, error: float, digits: int = DIGITS) -> tuple[str, str]:
    """Value and standard error as text: the error to one digit, the value to the same place.

    An error below the last of ``digits`` significant digits of the value is no part of what is
    shown: its text is empty, as it is for an exact value and for one that is not finite.
    """
    if not math.isfinite(value):
        unseen = math.isnan(value) and math.isnan(error)
        return "not measured" if unseen else number(value), ""
    if not math.isfinite(error):
        return number(value, digits), "unknown"
    if error <= 0:
        return number(value, digits), ""
    error = float(f"{error:.0e}")
    place = math.floor(math.log10(error))
    if value != 0:
        last = math.floor(math.log10(abs(value))) - digits + 1
        if error < 0.5 * 10.0**last:
            return number(value, digits), ""
        place = max(place, last)
    error = max(error, 10.0**place)
    if round(value / 10.0**place) == 0:
        return "0", number(error, 1)
    largest = math.floor(math.log10(max(abs(value), error)))
    exponent = largest if largest < -4 or largest > 5 or place < -6 else 0
    suffix, places = f"e{exponent}" if exponent else "", max(0, exponent - place)
    texts = (round(v / 10.0**place) * 10.0 ** (place - exponent) for v in (value, error))
    first, second = (f"{v:.{places}f}{suffix}" for v in texts)
    return first, second


def _percent(value: float, error: float) -> tuple[str, str]:
    """The same in per cent, to three digits; shares below a thousandth of a per cent are none."""
    least = 1e-5
    if abs(value) < least and not error >= least:
        told = "<0.001%" if value > max(error, 0.0) else "0%"
        return told, "unknown" if math.isnan(error) else ""
    first, second = rounded(100 * value, 0.0 if error < least else 100 * error, 3)
    return f"{first}%", f"{second}%" if math.isfinite(error) and second else second
