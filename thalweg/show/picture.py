"""A figure as a PNG file, through the optional extra ``png``."""

from pathlib import Path

import plotly.graph_objects as go

from thalweg.errors import FolderError, UsageError

__all__ = ["picture"]

PAPER = "#fbfaf7"
"""A figure has no ground of its own; a file needs one."""


def picture(figure: go.Figure, path: Path | str, *, width: int = 900, scale: float = 2.0) -> Path:
    """Write the figure as it stands at rest, on the paper of a light page, without its buttons.

    Args:
        figure: is left as it was.
        path: ends in ``.png``.
        width: in pixels of the page; the height is the figure's own.
        scale: pixels of the file for each of them.

    Raises:
        UsageError: kaleido is not installed, or finds no Chrome.
        FolderError: the path cannot be written.
    """
    try:
        import kaleido
    except ImportError:
        raise UsageError('a PNG needs kaleido: pip install "thalweg[png]"') from None
    still = go.Figure(figure.data, figure.layout)
    gone = (figure.layout.margin.b or 80) - 46 if figure.layout.sliders else 0
    still.update_layout(
        sliders=[],
        updatemenus=[],
        paper_bgcolor=PAPER,
        height=(figure.layout.height or 340) - gone,
        margin={"b": (figure.layout.margin.b or 80) - gone},
        font={"color": "#3a4047"},
    )
    path = Path(path)
    try:
        content = kaleido.calc_fig_sync(
            still, opts={"format": "png", "width": width, "scale": scale}
        )
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
    return path
