"""The options that commands share, and numbers that are checked as they are read."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

__all__ = ["SHARED", "Shared", "names", "number", "whole"]

LARGEST_SEED = 2**63 - 1
"""The largest that torch takes."""

Convert = Callable[[Any, Sequence[Any]], Any]


def whole(name: str, least: int, most: int = LARGEST_SEED) -> Parameter:
    """An option that is a whole number of at least ``least``."""
    rule = f"{name} must be a whole number of {least} or more"

    def convert(_: Any, tokens: Sequence[Any]) -> int:
        text = tokens[0].value
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{rule}, not {text}") from None
        if value < least or value > most:
            raise ValueError(f"{rule}{f' and at most {most}' if value > most else ''}, not {text}")
        return value

    return Parameter(name=name, converter=convert, n_tokens=1, allow_leading_hyphen=True)


def number(name: str, most: float = math.inf) -> Parameter:
    """An option that is a number above 0 and at most ``most``."""
    limit = "" if math.isinf(most) else f" and at most {most:g}"
    rule = f"{name} must be a number above 0{limit}"

    def convert(_: Any, tokens: Sequence[Any]) -> float:
        text = tokens[0].value
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{rule}, not {text}") from None
        if not (0 < value <= most and math.isfinite(value)):
            raise ValueError(f"{rule}, not {text}")
        return value

    return Parameter(name=name, converter=convert, n_tokens=1, allow_leading_hyphen=True)


def names(name: str) -> Parameter:
    """An option that is a list of names with commas between them."""

    def convert(_: Any, tokens: Sequence[Any]) -> tuple[str, ...]:
        parts = [part.strip() for token in tokens for part in token.value.split(",")]
        if not all(parts):
            raise ValueError(f"{name} must be names with commas between them, none of them empty")
        return tuple(parts)

    return Parameter(name=name, converter=convert, n_tokens=1, negative=())


FLAG = Parameter(negative=(), show_default=False)
SOURCE = Parameter(name="TASK|RUN")
GENERAL = Parameter(group=Group("General", sort_key=9))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Shared:
    """Options of every command."""

    config: Annotated[Path | None, GENERAL] = None
    """A TOML file with options: those of a command stand in a table of its name."""

    traceback: Annotated[bool, GENERAL, FLAG] = False
    """Show where in the code an error arose (also: THALWEG_TRACEBACK=1)."""


SHARED = Shared()
