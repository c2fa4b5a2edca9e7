"""Findings, races and cases as text: plain for a file or a screen reader, rich for a terminal."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import ControlType, Segment
from rich.table import Table
from rich.text import Text

from thalweg.diagnose.finding import Finding
from thalweg.diagnose.race import Race
from thalweg.show.content import (
    Block,
    Code,
    Grid,
    Heading,
    Item,
    Prose,
    Verdict,
    finding_blocks,
)
from thalweg.show.race_content import race_blocks
from thalweg.show.vitals import THRESHOLDS
from thalweg.show.wording import clean

__all__ = ["plain_finding", "plain_race", "rich_cases", "rich_finding", "rich_race"]

WIDTH = 100
_STYLES = {"good": "green", "watch": "yellow", "bad": "red", "calm": ""}


def plain_finding(finding: Finding, thresholds: Mapping[str, float] = THRESHOLDS) -> str:
    """The finding as text of at most 100 columns, code apart, without colour codes."""
    return _plain(finding_blocks(finding, thresholds))


def plain_race(race: Race) -> str:
    """The race as text of at most 100 columns, code apart, without colour codes."""
    return _plain(race_blocks(race))


def rich_finding(finding: Finding, thresholds: Mapping[str, float] = THRESHOLDS) -> RenderableType:
    """The finding for a rich console, as wide as the terminal."""
    return _rich(finding_blocks(finding, thresholds))


def rich_race(race: Race) -> RenderableType:
    """The race for a rich console, as wide as the terminal."""
    return _rich(race_blocks(race))


def rich_cases(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The clinic as a table: each row has name, cause, verdict, confidence and right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("case", "true cause", "verdict", "confidence", ""):
        table.add_column(column, justify="right" if column == "confidence" else "left")
    for row in rows:
        right = bool(row["right"])
        table.add_row(
            Text(clean(str(row["name"]))),
            Text(clean(str(row["cause"])).replace("_", " ")),
            Text(clean(str(row["verdict"])).replace("_", " ")),
            Text(f"{row['confidence']:.2f}"),
            Text("right" if right else "wrong", style="green" if right else "bold red"),
        )
    count = sum(bool(row["right"]) for row in rows)
    return Group(table, Text(""), Text(f"{count} of {len(rows)} right.", style="bold"))


def _wrapped(text: str, first: str = "", rest: str = "") -> str:
    return "\n".join(
        textwrap.fill(
            line,
            WIDTH,
            initial_indent=first if place == 0 else rest,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for place, line in enumerate(text.splitlines() or [""])
    )


def _plain(blocks: Sequence[Block]) -> str:
    lines: list[str] = []
    for block in blocks:
        lines += _PLAIN[type(block)](block)
    return "\n".join(line.rstrip() for line in lines)


def _plain_verdict(block: Verdict) -> list[str]:
    beside = f", {block.beside}" if block.beside else ""
    return [f"{block.lead}: {block.word}{beside}", f"Task: {block.name}", ""]


def _plain_heading(block: Heading) -> list[str]:
    return ["", f"{block.text} ({block.remark})" if block.remark else block.text]


def _plain_prose(block: Prose) -> list[str]:
    return ["", _wrapped(block.text)] if block.quiet else [_wrapped(block.text)]


def _plain_item(block: Item) -> list[str]:
    start = f"  {block.marker} "
    text = f"{block.name}: {block.text}" if block.name and block.text else block.name or block.text
    return [_wrapped(text, start, " " * len(start))]


def _plain_code(block: Code) -> list[str]:
    lines = textwrap.indent(block.lines, " " * 8)
    return [f"      {block.title}:", lines] if block.title else [lines]


def _plain_grid(block: Grid) -> list[str]:
    cells = [row.cells for row in block.rows if not row.title]
    widths = [
        max(len(column), *(len(row[place]) for row in cells))
        for place, column in enumerate(block.columns)
    ]
    lines = [_grid_line("  ", block.columns, widths, block.align)] if block.columns[0] else []
    for row in block.rows:
        if row.title:
            lines.append(f"  {row.cells[0]}")
        else:
            lines.append(
                _grid_line("  * " if row.marked else "    ", row.cells, widths, block.align)
            )
    if block.columns[0]:
        lines[0] = "  " + lines[0]
    return lines


def _grid_line(start: str, cells: Sequence[str], widths: Sequence[int], align: str) -> str:
    line = start
    for place, (cell, width) in enumerate(zip(cells[:-1], widths, strict=False)):
        if not width:
            continue
        line += cell.rjust(width) if align[place] == "r" else cell.ljust(width)
        line += " " if align[place : place + 2] == "rl" else "  "
    return _wrapped(cells[-1], line, " " * len(line)) if cells[-1] else line


_PLAIN: Mapping[type, Callable[[Any], list[str]]] = {
    Verdict: _plain_verdict,
    Heading: _plain_heading,
    Prose: _plain_prose,
    Item: _plain_item,
    Code: _plain_code,
    Grid: _plain_grid,
}


def _rich(blocks: Sequence[Block]) -> RenderableType:
    return Group(*(_RICH[type(block)](block) for block in blocks))


def _rich_verdict(block: Verdict) -> RenderableType:
    line = Text.assemble(
        (f"{block.lead}  ", "dim"),
        (f" {block.word} ", f"bold reverse {_STYLES[block.tone]}".rstrip()),
        (f"  {block.beside}" if block.beside else "", "bold"),
        (f"   {block.name}", "dim"),
    )
    return Padding(line, (0, 0, 1, 0))


def _rich_heading(block: Heading) -> RenderableType:
    remark = f"  {block.remark}" if block.remark else ""
    return Padding(Text.assemble((block.text, "bold"), (remark, "dim")), (1, 0, 0, 0))


def _rich_prose(block: Prose) -> RenderableType:
    return Padding(Text(block.text, "dim"), (1, 0, 0, 0)) if block.quiet else Text(block.text)


def _rich_item(block: Item) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column()
    gap = ": " if block.name and block.text else ""
    grid.add_row(Text(block.marker, "dim"), Text.assemble((block.name, "bold"), gap, block.text))
    return Padding(grid, (0, 0, 0, 2))


class _Verbatim:
    """Lines that a terminal may wrap but rich must not: a line that is copied stays one line.

    rich cuts whatever is wider than the console, except control segments, so these are such.
    """

    def __init__(self, lines: Sequence[str], style: str) -> None:
        self.lines, self.style = lines, style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = console.get_style(self.style)
        for line in self.lines:
            yield Segment(line, style, [(ControlType.HOME,)])
            yield Segment.line()


def _rich_code(block: Code) -> RenderableType:
    title = [Text(f"     {block.title}:", "dim")] if block.title else []
    return Group(*title, _Verbatim([f"       {line}" for line in block.lines.splitlines()], "cyan"))


def _rich_grid(block: Grid) -> RenderableType:
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False
    )
    table.add_column("", width=1)
    for place, (column, side) in enumerate(zip(block.columns, block.align, strict=True)):
        last = place == len(block.columns) - 1
        if not last and not any(row.cells[place] for row in block.rows):
            continue
        table.add_column(column, justify="right" if side == "r" else "left", no_wrap=not last)
    kept = [
        place
        for place in range(len(block.columns))
        if place == len(block.columns) - 1 or any(row.cells[place] for row in block.rows)
    ]
    for row in block.rows:
        style = "dim italic" if row.title else "bold" if row.marked else ""
        cells = [Text(row.cells[place], style) for place in kept]
        cells[-1].stylize(_STYLES[row.tone])
        table.add_row(Text("*" if row.marked else "", "bold"), *cells)
    return Padding(table, (0, 0, 0, 2))


_RICH: Mapping[type, Callable[[Any], RenderableType]] = {
    Verdict: _rich_verdict,
    Heading: _rich_heading,
    Prose: _rich_prose,
    Item: _rich_item,
    Code: _rich_code,
    Grid: _rich_grid,
}
