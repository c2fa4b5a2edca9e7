"""The coordinates of a surface: how far they reach, how many, and whether its points are told apart."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import number
from thalweg.measure.directions import Flat

__all__ = ["LARGEST", "coordinates", "resolution"]

LARGEST = 1001
"""Coordinates along an axis at most."""


def coordinates(span: Any, size: Any, axes: int) -> list[np.ndarray]:
    """``size`` numbers along each of so many axes, from −span to span or between each pair.

    Raises:
        UsageError: a span or a size that cannot be.
    """
    spans = _spans(span, axes)
    if not isinstance(size, Integral) or isinstance(size, bool) or not 3 <= int(size) <= LARGEST:
        raise UsageError(f"size must be a whole number from 3 to {LARGEST}, not {size!r}")
    return [np.linspace(low, high, int(size)) for low, high in spans]


def resolution(flat: Flat, lines: list[np.ndarray], like: Tensor) -> list[str]:
    """Whether the precision of ``like`` can tell neighbouring coordinates apart, in notes.

    Raises:
        UsageError: it cannot.
    """
    corner = flat.at(torch.tensor([line[-1] for line in lines]))
    off = float((corner.to(like.dtype).double() - corner).norm())
    steps = [float(np.ptp(x)) / (len(x) - 1) * length for x, length in zip(lines, flat.lengths)]
    share = off / min(steps)
    if share > 0.5:
        raise UsageError(
            f"span must be wider: {str(like.dtype).removeprefix('torch.')} cannot tell neighbouring "
            "coordinates apart at this point"
        )
    if share < 0.01:
        return []
    return [
        f"rounding moves points by up to {number(100 * share, 2)}% of the distance of neighbours"
    ]


def _spans(span: Any, axes: int) -> list[tuple[float, float]]:
    spans: Any = [(-span, span)] * axes if isinstance(span, Real) else span
    if not isinstance(spans, Iterable) or not _are_pairs(spans := list(spans), axes):
        raise UsageError(
            f"span must be a number above 0 or {axes} pairs of which the first is lower, not {span!r}"
        )
    return [(float(low), float(high)) for low, high in spans]


def _are_pairs(spans: list[Any], count: int) -> bool:
    try:
        pairs = [(float(low), float(high)) for low, high in spans]
    except (TypeError, ValueError):
        return False
    return len(pairs) == count and all(
        math.isfinite(low) and math.isfinite(high) and low < high for low, high in pairs
    )
