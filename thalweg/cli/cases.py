"""``thalweg cases``: the clinic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, Shared, whole
from thalweg.cli.source import seeded
from thalweg.cli.terminal import Terminal
from thalweg.errors import ReferenceError

if TYPE_CHECKING:
    from thalweg.clinic import Case

__all__ = ["Options", "cases"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Which instances, and in what form."""

    list: Annotated[bool, FLAG] = False
    """Only list the cases with their true causes, without diagnosing them."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Instance of each case: it varies data, width, initialisation, rate and batch."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    quiet: Annotated[bool, FLAG] = False
    """Print the totals only, without progress."""


DEFAULTS = Options()


def cases(
    *chosen: Annotated[str, Parameter(name="NAME")],
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """Diagnose the trainings of the clinic, which are stuck in a known way.

    Each is listed with its true cause, the verdict, its confidence and what it cost in gradient
    evaluations. Any of them can be looked at closely: thalweg diagnose case:NAME.

    Parameters
    ----------
    chosen
        Names of cases; all of them by default.
    """
    terminal = Terminal(json=options.json, quiet=options.quiet)
    with terminal.work("loading the clinic"):
        selected = _selected(chosen)
    if options.list:
        return _listed(selected, options, terminal)
    rows: list[dict[str, Any]] = []
    table = _Table(selected)
    if not options.json and not options.quiet:
        terminal.line(table.head())
    for place, case in enumerate(selected):
        with terminal.work(case.name, kept=lambda: _done(rows, selected)) as tell:
            tell(case.name, place, len(selected))
            rows.append(_diagnosed(case, options.seed))
        if not options.json and not options.quiet:
            terminal.line(table.row(rows[-1]))
    if options.json:
        right = sum(row["right"] for row in rows)
        terminal.json({"cases": rows, "right": right, "seed": options.seed})
    else:
        terminal.line(_totals(rows))
    return 0


def _selected(chosen: Sequence[str]) -> "Sequence[Case]":
    from difflib import get_close_matches

    from thalweg.clinic import CASES

    for name in chosen:
        if name not in CASES:
            near = get_close_matches(name, CASES, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else "thalweg cases --list names them"
            raise ReferenceError(f"there is no case {name}: {hint}")
    return [CASES[name] for name in chosen] if chosen else list(CASES.values())


def _listed(selected: "Sequence[Case]", options: Options, terminal: Terminal) -> int:
    if options.json:
        fields = [{"name": c.name, "cause": c.cause.value, "summary": c.summary} for c in selected]
        terminal.json({"cases": fields})
        return 0
    from rich.table import Table

    pretty = Table("case", "true cause", "summary", box=None, pad_edge=False, header_style="bold")
    for case in selected:
        pretty.add_row(case.name, case.cause.value, case.summary)
    names, causes = _widths(selected)
    lines = (f"{c.name:{names}}  {c.cause.value:{causes}}  {c.summary}" for c in selected)
    terminal.show(pretty, "\n".join(lines))
    return 0


def _diagnosed(case: "Case", seed: int) -> dict[str, Any]:
    from thalweg.diagnose.finding import CONFIDENT
    from thalweg.diagnose.verdict import diagnose

    with seeded(threads=1):  # as by itself: whatever was diagnosed before it does not matter
        finding = diagnose(case.make(seed))
    right = finding.cause is case.cause
    return {
        "name": case.name,
        "cause": case.cause.value,
        "verdict": finding.cause.value,
        "confidence": finding.confidence,
        "right": right,
        "confident_error": not right and finding.confidence > CONFIDENT,
        "cost": finding.cost,
        "sentence": finding.sentence,
    }


def _done(rows: Sequence[dict[str, Any]], selected: "Sequence[Case]") -> str:
    return f"{len(rows)} of {len(selected)} cases were diagnosed"


def _totals(rows: Sequence[dict[str, Any]]) -> str:
    right = sum(row["right"] for row in rows)
    confident = sum(row["confident_error"] for row in rows)
    cost = sum(row["cost"] for row in rows)
    errors = {0: "no confident error", 1: "1 confident error"}.get(
        confident, f"{confident} confident errors"
    )
    return f"{right} of {len(rows)} right, {errors}, {cost:.0f} gradient evaluations in all"


class _Table:
    """Columns as wide as what is known to come, so that rows can be printed one by one."""

    def __init__(self, selected: "Sequence[Case]") -> None:
        self.name, self.cause = _widths(selected)

    def head(self) -> str:
        return self._line("case", "true cause", "verdict", "confidence", "cost", "")

    def row(self, row: dict[str, Any]) -> str:
        right = "right" if row["right"] else "wrong"
        if row["confident_error"]:
            right = "wrong, confidently"
        sure, cost = f"{row['confidence']:.2f}", f"{row['cost']:.0f}"
        return self._line(row["name"], row["cause"], row["verdict"], sure, cost, right)

    def _line(self, name: str, cause: str, verdict: str, sure: str, cost: str, right: str) -> str:
        line = f"{name:{self.name}}  {cause:{self.cause}}  {verdict:{self.cause}}"
        return f"{line}  {sure:>10}  {cost:>5}  {right}".rstrip()


def _widths(selected: "Sequence[Case]") -> tuple[int, int]:
    """Of the names of these cases, and of any cause."""
    from thalweg.diagnose.cause import Cause

    return max(len(case.name) for case in selected), max(len(cause.value) for cause in Cause)
