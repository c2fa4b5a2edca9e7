"""How numbers, causes and confidence are put in words, the same in every place that shows them."""

import math
import re

from thalweg.diagnose.cause import Cause
from thalweg.estimate import Estimate

__all__ = [
    "cause_label",
    "cause_tone",
    "clean",
    "confidence_text",
    "cost_text",
    "estimate_text",
    "number",
    "outcome_tone",
    "unit_text",
    "value_and_error",
]

DIGITS = 4
"""Significant digits of a number that has no error to say how many it deserves."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_BROKEN = {Cause.MISWIRED, Cause.NOT_FINITE, Cause.DIVERGING}
_FINE = {Cause.HEALTHY, Cause.MINIMUM}


def clean(text: str) -> str:
    """``text`` without control characters: a name can neither colour nor clear a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n")).expandtabs(4)


def cause_label(cause: Cause) -> str:
    """The cause in words: ``edge of stability``."""
    return cause.value.replace("_", " ")


def cause_tone(cause: Cause) -> str:
    """``good``, ``watch``, ``bad`` or ``calm``: which colour goes with the word."""
    if cause in _FINE:
        return "good"
    if cause is Cause.UNDETERMINED:
        return "calm"
    return "bad" if cause in _BROKEN else "watch"


def outcome_tone(outcome: str) -> str:
    """The tone of an arm's outcome in a race."""
    return {"helps": "good", "harms": "watch", "diverged": "bad"}.get(outcome, "calm")


def confidence_text(confidence: float, cause: Cause | None = None) -> str:
    """Confidence in words and as a number: ``confident (0.93)``."""
    if not math.isfinite(confidence):
        return "confidence not known"
    if cause is Cause.UNDETERMINED:
        return f"confidence {confidence:.2f}"
    for above, words in ((0.95, "very confident"), (0.8, "confident"), (0.6, "likely")):
        if confidence > above:
            return f"{words} ({confidence:.2f})"
    return f"{'leaning this way' if confidence >= 0.4 else 'a weak guess'} ({confidence:.2f})"


def number(value: float, digits: int = DIGITS) -> str:
    """``value`` to that many significant digits; what is not finite is said in words."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    if 0 <= int(exponent) < 6:
        return f"{value:.0f}"
    return f"{mantissa}e{int(exponent)}"


def value_and_error(estimate: Estimate) -> tuple[str, str]:
    """Value and standard error, rounded to the digits that the error leaves standing.

    The second text is empty where the value is not finite, ``exact`` for an error of 0, and
    ``unknown`` for an error that is not finite.
    """
    value, error = estimate.value, estimate.error
    if math.isnan(value):
        return ("not measured" if math.isnan(error) else "not a number"), ""
    if math.isinf(value):
        return number(value), ""
    if not math.isfinite(error):
        return number(value), "unknown"
    if error <= 0:
        return number(value), "exact"
    shown = float(f"{error:.1e}")
    leading = math.floor(math.log10(shown))
    last = leading - 1 if shown / 10.0**leading < 2 else leading
    largest = math.floor(math.log10(max(abs(value), shown)))
    if largest - last > 6:
        return number(value, 7), number(error, 2)
    exponent = largest if largest < -4 or largest > 5 else 0
    places = max(0, exponent - last)
    suffix = f"e{exponent}" if exponent else ""
    scale = 10.0**exponent
    return f"{value / scale:.{places}f}{suffix}", f"{shown / scale:.{places}f}{suffix}"


def unit_text(unit: str) -> str:
    """The unit, empty for a pure number."""
    return "" if unit == "1" else clean(unit)


def estimate_text(estimate: Estimate) -> str:
    """Value, error and unit in one piece: ``0.93 ± 0.02``."""
    value, error = value_and_error(estimate)
    body = value if error in ("", "exact") else f"{value} ± {error}"
    return f"{body} {unit_text(estimate.unit)}".rstrip()


def cost_text(cost: float) -> str:
    """What something cost, in words."""
    if not math.isfinite(cost):
        return "Cost not known."
    amount = f"{cost:.0f}" if cost >= 10 else number(cost, 2)
    word = "evaluation" if amount == "1" else "evaluations"
    return f"It cost {amount} gradient {word} over the training data."
