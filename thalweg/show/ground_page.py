"""The pages of flatness and of a connection: figures, tables and sentences in one file that opens offline."""

from collections.abc import Sequence
from pathlib import Path

from thalweg.measure.connection import Connection
from thalweg.measure.flatness import Flatness
from thalweg.show import connectivity_text, flatness_text
from thalweg.show.connectivity_figure import connection_ways
from thalweg.show.flatness_figure import flatness_profile, shift_lines
from thalweg.show.measured_page import Table, measured_page, price
from thalweg.show.panels import Panel

__all__ = ["connection_page", "flatness_page"]

PROFILE = (
    "How much the loss rises against the distance from the point: on average over random directions, "
    "with the band in which nine of ten of them lie, averaged over noise, and in the worst direction "
    "that ascent found. On the right every filter moves by a share of its own length, which no "
    "rescaling of layers changes."
)
SHIFT = (
    "Training and held-out loss along lines through the point, each above its lowest value there; "
    "dots mark the minima. What the held-out loss is above its minimum where the training loss has its "
    "own is what the gap costs."
)
WAYS = (
    "Training loss, and dotted held-out loss, on the ways from one point to the other: straight, "
    "straight to the same network with its units in the first's order, and along the curve."
)


def flatness_page(
    found: Flatness, path: Path | str = "flatness.html", *, command: str = ""
) -> Path:
    """Write the flatness as one HTML file. Raises FolderError where it cannot be written."""
    panels = [Panel("flatness-profile", "Rise of the loss", PROFILE, flatness_profile(found))]
    tables = [
        Table("Measures", ("", "value", "unit"), flatness_text.measure_rows(found), MEASURES),
        Table("Rises", ("", "radius", "rise"), flatness_text.profile_rows(found)),
    ]
    if found.lines:
        panels.append(Panel("flatness-shift", "The shift test", SHIFT, shift_lines(found)))
        columns = ("along", "minima apart", "costs", "curvature")
        tables.append(Table("Shift test", columns, flatness_text.shift_rows(found)))
    said = flatness_text.sentences(found)
    return _page("Flatness", found, panels, tables, said, path, command or "thalweg flatness")


def connection_page(
    found: Connection, path: Path | str = "connection.html", *, command: str = ""
) -> Path:
    """Write the connection as one HTML file. Raises FolderError where it cannot be written."""
    panels = [Panel("connection-ways", "The ways", WAYS, connection_ways(found))]
    names = ("", "barrier", "at", "highest loss", "length")
    tables = [
        Table("Ways", names, connectivity_text.way_rows(found)),
        Table("The two points", ("", *found.ends), connectivity_text.end_rows(found)),
    ]
    said = connectivity_text.sentences(found)
    return _page("Connection", found, panels, tables, said, path, command or "thalweg connect")


MEASURES = (
    "Without weight decay. A rescaling of layers that leaves a ReLU network as it is changes all but "
    "the losses, the relative flatness and the filter-normalised curvature."
)


def _page(
    title: str,
    found: Flatness | Connection,
    panels: Sequence[Panel],
    tables: Sequence[Table],
    sentences: Sequence[str],
    path: Path | str,
    command: str,
) -> Path:
    return measured_page(
        path,
        title,
        found.name,
        sentences=sentences,
        panels=panels,
        tables=tables,
        command=command,
        price=price(found.cost),
        notes=found.notes,
    )
