"""An escape as text: what was found, and a table of the rounds."""

import math
import textwrap

from thalweg.diagnose.escape_result import End, Escape, Round
from thalweg.estimate import number

__all__ = ["COLUMNS", "escape_remarks", "escape_rows", "plain_escape"]

COLUMNS = ("trial", "size", "lower", "95% interval", "back", "deepest fall")
"""Of the table."""


def escape_rows(found: Escape) -> list[tuple[str, ...]]:
    """A row for each round of noise and of warm restarts, and one for the fresh starts."""
    rows = [_row("noise", each) for each in found.noise.rounds]
    rows += [_row("warm restarts", each) for each in found.warm.rounds]
    if found.restarts:
        rows.append(_row("fresh weights", Round(math.nan, math.nan, found.restarts)))
    return rows


def _row(name: str, each: Round) -> tuple[str, ...]:
    lower, back = each.share("lower"), each.share("back")
    low, high = lower.interval
    return (
        name,
        number(each.radius, 3) if math.isfinite(each.radius) else "",
        f"{lower.successes} of {lower.trials}",
        f"{low:.0%} to {high:.0%}",
        f"{back.successes} of {back.trials}",
        number(each.fall, 3) if math.isfinite(each.fall) else "not finite",
    )


def escape_remarks(found: Escape) -> list[str]:
    """The basin's size, how the other minima lie to this one, and remarks."""
    size, error = found.diameter.value, found.diameter.error
    told = [
        f"The basin is at least {number(size, 3)} across: every trial came back."
        if math.isinf(error)
        else f"The basin is about {number(size, 3)} ± {number(error, 1)} across."
    ]
    away = [end for end in found.ends if end.kind != "back" and math.isfinite(end.barrier)]
    if away:
        nearest = min(away, key=lambda end: end.distance)
        told.append(f"The nearest other end lies {_lies(nearest)}.")
    others = [end for end in found.restarts if end.kind != "back"]
    if found.restarts:
        apart = [end for end in others if end.barrier > found.tolerance]
        told.append(
            f"Of {len(found.restarts)} fresh starts {len(others)} ended elsewhere, {len(apart)} of "
            "them behind a barrier."
        )
    return [*told, *(f"Note: {note}." for note in found.notes)]


def _lies(end: End) -> str:
    agree = (
        f", and puts {end.agreement:.0%} of the examples into the same class"
        if math.isfinite(end.agreement)
        else ""
    )
    return (
        f"{number(end.distance, 3)} away, behind a barrier of {number(end.barrier, 3)}, "
        f"{number(abs(end.fall), 3)} {'lower' if end.fall > 0 else 'higher'}{agree}"
    )


def plain_escape(found: Escape) -> str:
    """The whole as text of at most 100 columns."""
    rows = [COLUMNS, *escape_rows(found)]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    remarks = [textwrap.fill(line, 100) for line in escape_remarks(found)]
    head = f"{found.name}: {found.cause.value.replace('_', ' ')}"
    return "\n".join([head, textwrap.fill(found.sentence, 100), "", *table, "", *remarks])
