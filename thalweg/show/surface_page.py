"""The page of a surface: its pictures, what they cost, how far off they may be, in one file."""

import math
from pathlib import Path

from thalweg.estimate import number
from thalweg.measure.surface import Surface
from thalweg.show.measured_page import Table, measured_page, price
from thalweg.show.panels import Panel
from thalweg.show.surface_figure import surface_line, surface_map, surface_view
from thalweg.show.surface_text import axes_sentence, rows, sentences

__all__ = ["surface_page"]


def surface_page(
    found: Surface, path: Path | str = "surface.html", *, command: str = "thalweg surface"
) -> Path:
    """Write the surface as one HTML file. Raises FolderError where it cannot be written."""
    names = ("", "lowest", "highest", "off by at most", "evaluated", "held back")
    return measured_page(
        path,
        "Surface",
        found.name,
        sentences=sentences(found),
        panels=_panels(found),
        tables=[Table("Values", names, rows(found))],
        command=command,
        price=price(found.cost),
        notes=found.notes,
    )


def _panels(found: Surface) -> list[Panel]:
    where = axes_sentence(found)
    if found.y is None:
        return [Panel("surface-line", "Along the line", where, surface_line(found))]
    how = "Heights are logarithms of the loss. " if found.logarithm else ""
    ran = "" if found.walk is None else " The line is the path of the run, projected."
    lowest = "" if math.isnan(found.lowest[0]) else "the cross is its lowest value, "
    panels = [
        Panel("surface-view", "The ground", f"{how}{where}{ran}", surface_view(found)),
        Panel(
            "surface-map",
            "The same as a map",
            f"Contours of the loss; {lowest}the ring {'' if lowest else 'is '}the centre.{ran}",
            surface_map(found),
        ),
    ]
    for name, beside in found.beside.items():
        key = "surface-" + name.replace(" ", "-")
        said = f"The {name}, from the same places: off by at most {number(beside.bound, 2)}."
        panels.append(Panel(key, name.capitalize(), said, surface_map(found, quantity=name)))
    return panels
