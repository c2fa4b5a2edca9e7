"""The arguments of a landscape: numbers, whole numbers and lists that make sense."""

import math
from collections.abc import Sequence

from thalweg.errors import UsageError

__all__ = ["number", "numbers", "positive", "whole"]

LARGEST_DIMENSION = 100_000


def number(name: str, value: float) -> float:
    """A finite number, below 1e30 in size."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
        raise UsageError(f"{name} must be a finite number, not {_shown(value)}")
    return float(value)


def positive(name: str, value: float) -> float:
    """A finite number above 0 (1e-30 and more)."""
    if not number(name, value) >= 1e-30:
        raise UsageError(f"{name} must be above 0, not {_shown(value)}")
    return float(value)


def whole(name: str, value: int, least: int, most: int = LARGEST_DIMENSION) -> int:
    """A whole number between two others."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(
            f"{name} must be {least} or more, a whole number of at most {most}, not {_shown(value)}"
        )
    return value


def numbers(name: str, values: Sequence[float], least: int = 1) -> tuple[float, ...]:
    """Finite numbers, at least so many."""
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) < least:
        at_least = f"at least {'one' if least == 1 else least} finite number{'s' * (least > 1)}"
        raise UsageError(f"{name} must be {at_least}, not {_shown(values)}")
    for value in values:
        if not math.isfinite(number(name, value)):
            raise UsageError(f"{name} must be finite numbers, not {_shown(values)}")
    return tuple(float(value) for value in values)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."
