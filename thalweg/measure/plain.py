"""Measurements as plain numbers for JSON, None for what is not finite."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from thalweg.estimate import Estimate

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Estimates, arrays, mappings and sequences as dicts, lists, numbers and None."""
    if isinstance(value, Estimate):
        parts = {"value": value.value, "error": value.error, "unit": value.unit, "cost": value.cost}
        return plain(parts)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
