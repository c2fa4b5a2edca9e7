"""Figures as PNG files, through the optional extra ``png``."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import plotly.graph_objects as go

from thalweg.errors import FolderError, UsageError
from thalweg.show.gallery.drawing import CONTROLS

__all__ = ["pictures"]

PAPER, INK = "#fbfaf7", "#3a4047"
"""A figure has no ground of its own; a file needs one."""


def pictures(
    figures: Iterable[tuple[go.Figure, Path]], *, width: int = 900, scale: float = 2.0
) -> Iterator[Path]:
    """Write figures as they stand at rest, on the paper of a light page, without their buttons.

    One browser draws them all; it ends with the iteration, which yields the paths as they are
    written.

    Args:
        figures: each with the path of its file; they are left as they were.
        width: in pixels of the page; the height is the figure's own.
        scale: pixels of the file for each of them.

    Raises:
        UsageError: kaleido is not installed, or finds no Chrome.
        FolderError: a path cannot be written.
    """
    try:
        import kaleido  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UsageError('a PNG needs kaleido: pip install "thalweg[png]"') from None
    for name in ("choreographer", "kaleido"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they tell of each message of Chrome's
    kaleido.start_sync_server(silence_warnings=True)
    try:
        for figure, path in figures:
            opts = {"format": "png", "width": width, "scale": scale}
            try:
                content = kaleido.calc_fig_sync(_still(figure), opts=opts)
            except Exception as error:  # whatever a browser may fail with
                raise UsageError(
                    f"a PNG needs a Chrome that kaleido can start, but it said: {error}"
                ) from error
            try:
                path.write_bytes(content)
            except OSError as error:
                raise FolderError(
                    f"path must be a file that can be written; {path}: {error.strerror}"
                ) from error
            yield path
    finally:
        kaleido.stop_sync_server(silence_warnings=True)


def _still(figure: go.Figure) -> go.Figure:
    """A copy without buttons and slider, and without the room for them."""
    still = go.Figure(figure.data, figure.layout)
    bottom, height = figure.layout.margin.b or 80, figure.layout.height or 340
    gone = CONTROLS if figure.layout.sliders else 0
    still.layout.sliders = still.layout.updatemenus = ()
    return still.update_layout(
        paper_bgcolor=PAPER,
        height=height - gone,
        margin={"b": bottom - gone},
        font={"color": INK},
    )
