"""How numbers, causes and confidence are put in words, the same in every place that shows them."""

import math
import re

from thalweg.diagnose.cause import Cause
from thalweg.estimate import Estimate, number

__all__ = [
    "cause_label",
    "cause_tone",
    "clean",
    "confidence_text",
    "cost_text",
    "estimate_text",
    "number",
    "outcome_tone",
    "precise",
    "shown",
    "unit_text",
]

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
    word = outcome.partition(":")[0]
    return {"helps": "good", "harms": "watch", "diverged": "bad"}.get(word, "calm")


def confidence_text(confidence: float, cause: Cause | None = None) -> str:
    """Confidence in words and as a number: ``confident (0.93)``; ``undetermined`` is no verdict."""
    if cause is Cause.UNDETERMINED:
        return "not decided"
    if not math.isfinite(confidence):
        return "confidence not known"
    for above, words in ((0.95, "very confident"), (0.8, "confident"), (0.6, "likely")):
        if confidence > above:
            return f"{words} ({confidence:.2f})"
    return f"{'leaning this way' if confidence >= 0.4 else 'a weak guess'} ({confidence:.2f})"


def unit_text(unit: str) -> str:
    """The unit beside a labelled number, empty for a pure number and for a loss."""
    return "" if unit == "1" or unit.startswith("loss") else clean(unit)


def shown(estimate: Estimate, *, share: bool = False) -> tuple[str, str, str]:
    """Value, error and unit as :meth:`Estimate.shown` rounds them, for a row that has a label."""
    value, error, unit = estimate.shown(share=share)
    return value, error, unit_text(unit)


def estimate_text(estimate: Estimate, *, share: bool = False) -> str:
    """Value, error and unit in one piece: ``0.93 ± 0.02``."""
    value, error, unit = shown(estimate, share=share)
    return f"{value} ± {error} {unit}".rstrip() if error else f"{value} {unit}".rstrip()


def precise(estimate: Estimate) -> str:
    """The same with all the digits that there are, for who asks: ``0.1992236 ± 5e-07``."""
    body = f"{estimate.value:.10g} ± {estimate.error:.2g}"
    return f"{body} {clean(estimate.unit)}" if estimate.unit != "1" else body


def cost_text(cost: float) -> str:
    """What something cost, in words."""
    if not math.isfinite(cost):
        return "Cost not known."
    amount = f"{cost:.0f}" if cost >= 10 else number(cost, 2)
    word = "evaluation" if amount == "1" else "evaluations"
    return f"It cost {amount} gradient {word} over the training data."
