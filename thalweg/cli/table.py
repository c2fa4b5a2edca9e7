"""Tables: in colour on a terminal, as plain columns in a file or a pipe."""

from collections.abc import Sequence

from thalweg.cli.terminal import Terminal
from thalweg.show.wording import clean

__all__ = ["show_table"]


def show_table(
    terminal: Terminal, columns: Sequence[str], rows: Sequence[Sequence[str]], align: str
) -> None:
    """Print rows of texts under the names of their columns.

    Args:
        terminal: where.
        columns: their names.
        rows: a text for each column.
        align: ``l`` or ``r`` for each column.
    """
    from rich.table import Table

    rows = [[clean(cell) for cell in row] for row in rows]
    pretty = Table(box=None, pad_edge=False, header_style="bold")
    for column, side in zip(columns, align, strict=True):
        pretty.add_column(column, justify="right" if side == "r" else "left")
    for row in rows:
        pretty.add_row(*row)
    widths = [max(map(len, cells)) for cells in zip(columns, *rows)]
    lines = [
        "  ".join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, align)
        )
        for row in (columns, *rows)
    ]
    terminal.show(pretty, "\n".join(line.rstrip() for line in lines))
