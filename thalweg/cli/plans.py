"""Texts on the command line that describe a descent: methods, points, domains."""

import ast
import math
import re
from collections.abc import Sequence
from typing import Any

from cyclopts import Parameter

from thalweg.errors import UsageError

__all__ = ["domain_of", "method", "numbers", "point"]


def numbers(name: str) -> Parameter:
    """An option that is a list of numbers above 0 with commas between them."""
    rule = f"{name} must be numbers above 0 with commas between them"

    def convert(_: Any, tokens: Sequence[Any]) -> tuple[float, ...]:
        text = ",".join(token.value for token in tokens)
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            raise ValueError(f"{rule}, not {text}") from None
        if not all(0 < value < math.inf for value in values):
            raise ValueError(f"{rule}, not {text}")
        return values

    return Parameter(
        name=name, converter=convert, n_tokens=1, negative=(), allow_leading_hyphen=True
    )


def point(text: str, dim: int, option: str) -> tuple[float, ...]:
    """A point of ``dim`` coordinates with commas between them.

    Raises:
        UsageError: names the option.
    """
    rule = f"{option} must be {dim} number{'s with commas between them' if dim > 1 else ''}"
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{rule}, not {text}") from None
    if len(values) != dim or not all(math.isfinite(value) for value in values):
        raise UsageError(f"{rule}, not {text}")
    return values


def domain_of(text: str, dim: int, option: str = "--domain") -> tuple[tuple[float, float], ...]:
    """LOW:HIGH for every coordinate, or one for each with commas between them.

    Raises:
        UsageError: names the option.
    """
    times = f", once or {dim} times with commas" if dim > 1 else ""
    rule = f"{option} must be LOW:HIGH with LOW < HIGH{times}, not {text}"
    pairs = []
    for part in text.split(","):
        try:
            low, high = (float(end) for end in part.split(":"))
        except ValueError:
            raise UsageError(rule) from None
        if not (low < high and math.isfinite(high - low)):
            raise UsageError(rule)
        pairs.append((low, high))
    if len(pairs) not in (1, dim):
        raise UsageError(rule)
    return tuple(pairs * dim)[:dim]


def method(text: str, option: str) -> tuple[str, dict[str, Any]]:
    """A name, and the arguments that stand in brackets behind it: ``step(gamma=0.5)``.

    Values are numbers, True, False and lists of these.

    Raises:
        UsageError: names the option.
    """
    match = re.fullmatch(r"\s*([\w-]+)\s*(\(.*\))?\s*", text, re.S)
    rule = f'{option} must be a name, or one with arguments such as "sgd(momentum=0.9)", not {text}'
    if match is None:
        raise UsageError(rule)
    if match[2] is None:
        return match[1], {}
    try:
        call = ast.parse(f"f{match[2]}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not isinstance(call.func, ast.Name):
            raise UsageError(rule)
        return match[1], {str(word.arg): _plain(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError(rule) from None


def _plain(node: ast.expr) -> Any:
    value = ast.literal_eval(node)
    leaves = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(leaf, int | float) for leaf in leaves):
        raise ValueError
    return value
