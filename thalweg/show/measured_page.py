"""A page of measurements: sentences, figures and tables in one file that opens offline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thalweg.show.offline import page, write_page
from thalweg.show.panels import Panel

__all__ = ["Table", "measured_page", "price"]


@dataclass(frozen=True)
class Table:
    """Rows of texts under a heading."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def measured_page(
    path: Path | str,
    title: str,
    name: str,
    *,
    sentences: Sequence[str],
    panels: Sequence[Panel],
    tables: Sequence[Table],
    command: str,
    price: str,
    notes: Sequence[str] = (),
) -> Path:
    """Write the page.

    Args:
        title: what was measured.
        name: of what; may be empty.
        command: that makes the page again.
        price: what follows it, on what it costs.

    Raises:
        FolderError: the path cannot be written.
    """
    text = page(
        "measured.html",
        panels,
        styles=("report.css", "lesson.css"),
        title=title,
        name=name,
        sentences=sentences,
        panels=panels,
        tables=tables,
        notes=notes,
        command=command,
        price=price,
    )
    return write_page(text, path)


def price(cost: float) -> str:
    """Of a command, in gradient evaluations."""
    return f", at the price of {round(cost)} gradients over the training data"
