"""What may be asked for: counts, accuracies and points that make sense, or one sentence."""

import math
from numbers import Integral, Real
from typing import Any

from torch import Tensor

from thalweg.errors import UsageError

__all__ = ["check_counts", "check_ends", "check_point", "check_tolerance"]


def check_counts(least: int = 1, /, **counts: Any) -> None:
    """Refuse what is no whole number of at least ``least``."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
            raise UsageError(f"{name} must be a whole number of {least} or more, not {value!r}")


def check_ends(top: Any, bottom: Any) -> None:
    """Refuse numbers of eigenvalues that are not whole, below 0, or none at all."""
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (top, bottom))
    if not whole or top + bottom == 0:
        raise UsageError(
            f"top and bottom must be at least 0 and not both 0, not {top!r}, {bottom!r}"
        )


def check_tolerance(value: Any, name: str = "rtol") -> None:
    """Refuse what is no finite number above 0."""
    if not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise UsageError(f"{name} must be a number above 0, not {value!r}")


def check_point(point: Any) -> None:
    """Refuse what is neither a tensor nor None."""
    if point is not None and not isinstance(point, Tensor):
        raise UsageError(f"point must be a tensor of shape (dim,), not {type(point).__name__}")
