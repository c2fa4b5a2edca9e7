"""``thalweg critical``: critical points of a function, found and classified."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, Shared, whole
from thalweg.cli.plans import domain_of
from thalweg.cli.table import show_table
from thalweg.cli.terminal import Terminal
from thalweg.estimate import number

if TYPE_CHECKING:
    from thalweg.measure.critical import Critical
    from thalweg.objective.landscape import Landscape

__all__ = ["Options", "critical"]

LARGEST = 1_000_000
"""Starts at most: each takes some hundred bytes and some hundred evaluations."""

COLUMNS = ("kind", "index", "point", "loss", "eigenvalues", "error", "starts")
ALIGN = "lrlrlrr"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Where they are looked for, and in what form they are told."""

    domain: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """LOW:HIGH for every coordinate, or one for each with commas; the function's own by default."""

    starts: Annotated[int, whole("--starts", 1, LARGEST)] = 1000
    """Points to start from; they fill the domain evenly."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Of these points."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    quiet: Annotated[bool, FLAG] = False
    """Print the totals only, without progress."""


DEFAULTS = Options()


def critical(
    function: Annotated[str, Parameter(name="FUNCTION", allow_leading_hyphen=True)],
    *,
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """Find the critical points of a function and classify them by the Hessian's eigenvalues.

    Each is a minimum, a saddle with its index (the number of directions that lead down), a maximum,
    or degenerate, where an eigenvalue is 0 within its error. That none is missing is likely where
    many starts led to each, and never certain.

    Parameters
    ----------
    function
        A formula such as "x**2 + 0.3*cos(20*x)" (one that begins with a minus: after --), or a
        name of the catalogue.
    """
    terminal = Terminal(json=options.json, quiet=options.quiet)
    with terminal.work("looking for critical points") as tell:
        from thalweg.measure.critical import critical_points
        from thalweg.objective import landscapes

        landscape = landscapes.from_reference(function)
        domain = landscape.domain
        if options.domain is not None:
            domain = domain_of(options.domain, landscape.dim)
        found = critical_points(
            landscape,
            domain=domain,
            starts=options.starts,
            seed=options.seed,
            progress=lambda done, most: tell("looking for critical points", done, most),
        )
    if options.json:
        terminal.json(_plain(landscape, domain, found, options.seed))
        return 0
    if not options.quiet and found.points:
        show_table(terminal, COLUMNS, _rows(found), ALIGN)
    terminal.line(_totals(found))
    return 0


def _rows(found: "Critical") -> list[tuple[str, ...]]:
    return [
        (
            point.kind if point.isolated else f"{point.kind}, a continuum",
            str(point.index),
            _several(point.point, 6),
            number(point.loss, 6),
            _several(point.eigenvalues, 4),
            f"{point.error:.0e}",
            str(point.starts),
        )
        for point in found.points
    ]


def _several(values: Sequence[float], digits: int) -> str:
    shown = [number(value, digits) for value in values]
    return ", ".join(shown if len(shown) < 7 else [*shown[:3], "...", *shown[-2:]])


def _totals(found: "Critical") -> str:
    plural = {
        "minimum": "minima",
        "saddle": "saddles",
        "maximum": "maxima",
        "degenerate": "degenerate",
    }
    parts = []
    for kind, many in plural.items():
        count = len(found.of_kind(kind))
        if count:
            parts.append(f"{count} {kind if count == 1 else many}")
    lost = [
        f"{count} {words}"
        for count, words in ((found.outside, "left the domain"), (found.nowhere, "led nowhere"))
        if count
    ]
    told = ", ".join(parts) or "no critical point"
    starts = f"{found.starts} start{'' if found.starts == 1 else 's'}"
    gone = f" ({', '.join(lost)})" if lost else ""
    return f"{told} from {starts}{gone}, {found.cost:.0f} gradient evaluations"


def _plain(
    landscape: "Landscape", domain: Sequence[tuple[float, float]], found: "Critical", seed: int
) -> dict[str, Any]:
    points = []
    for point in found.points:
        fields = asdict(point)
        fields["error"] = point.error if math.isfinite(point.error) else None
        points.append(fields)
    return {
        "function": landscape.formula or landscape.name,
        "domain": [list(pair) for pair in domain],
        "points": points,
        "starts": found.starts,
        "outside": found.outside,
        "nowhere": found.nowhere,
        "cost": found.cost,
        "seed": seed,
    }
