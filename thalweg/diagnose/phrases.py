"""How the rules put numbers in words, so that a sentence reads well whatever was measured."""

import math

from thalweg.estimate import Estimate

__all__ = ["at_most", "fall", "measured", "number", "part", "share", "stated"]

LEAST = 1e-5
"""Shares below this are not told apart."""

MOST = 1e6
"""Numbers of times above this are not told apart."""


def number(value: float) -> str:
    """Three digits: ``0.0123``, ``75500``, ``4e-6``; what is not finite is said in words."""
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "without bound"
    text = f"{value:.3g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return f"{float(text):.0f}" if 0 <= int(exponent) < 6 else f"{mantissa}e{int(exponent)}"


def stated(value: float, digits: int = 6) -> str:
    """A number that somebody set or a loss gave: ``0.1``, ``not a number``, ``infinite``."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    return f"{value:.{digits}g}"


def measured(estimate: Estimate) -> str:
    """The value, and its error where that is seen in the digits shown: ``1.08 ± 0.02``."""
    value, error = estimate.value, estimate.error
    if not math.isfinite(value) or not error > 0.005 * abs(value):
        return number(value)
    if math.isinf(error):
        return f"{number(value)} ± unknown"
    return f"{number(value)} ± {number(float(f'{error:.1g}'))}"


def share(value: float) -> str:
    """A share as a percentage: ``12%``, ``less than 0.001%``, ``none``, ``all`` from twice up."""
    if math.isnan(value):
        return "an unknown part"
    if value <= 0:
        return "none"
    if value >= 2:
        return "all"
    if value < LEAST:
        return f"less than {LEAST:.3%}"
    return f"{100 * value:.0f}%" if value >= 0.095 else f"{100 * value:.2g}%"


def part(value: float, error: float = 0.0, *, of: str = "the range") -> str:
    """A share of something that it may exceed: ``12% of the range``, ``9.4 times the range``."""
    if math.isnan(value):
        return f"an unknown part of {of}"
    if value <= 0:
        return "nothing"
    if value >= MOST:
        return f"more than a million times {of}"
    if value >= 2:
        return f"{value:.2g} times {of}" if value < 100 else f"{value:.0f} times {of}"
    if not math.isfinite(error) or error < 0.05 * value or error < LEAST:
        return f"{share(value)} of {of}"
    return f"{share(value)} ± {share(float(f'{error:.1g}'))} of {of}"


def fall(found: Estimate | float, *, of: str = "the range") -> str:
    """What a loss does that changes by so much: ``falls by 12% of the range``, ``stands still``."""
    value, error = (found.value, found.error) if isinstance(found, Estimate) else (found, 0.0)
    if math.isnan(value):
        return "changes by an unknown amount"
    if math.isinf(value):
        return "falls without bound" if value > 0 else "does not stay finite"
    if abs(value) < LEAST:
        return "stands still"
    return f"{'falls' if value > 0 else 'rises'} by {part(abs(value), error, of=of)}"


def at_most(value: float, *, of: str = "the range") -> str:
    """What a loss does that falls by no more than this: ``does not fall``, ``falls by at most 2%``."""
    if value <= 0:
        return "does not fall"
    if math.isnan(value):
        return "was not seen to fall"
    least = 0 < value < LEAST
    return f"falls by {part(value, of=of)}" if least else f"falls by at most {part(value, of=of)}"
