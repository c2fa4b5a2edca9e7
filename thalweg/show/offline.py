"""What every page is made of: one HTML file that holds all it needs and asks nothing of the network."""

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import plotly
import torch
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from thalweg.errors import FolderError
from thalweg.show.notebook import PAGE, environment
from thalweg.show.panels import Panel

__all__ = ["page", "write_page"]


def page(
    template: str,
    panels: Sequence[Panel],
    /,
    *,
    styles: Sequence[str] = ("report.css",),
    **content: Any,
) -> str:
    """The text of a page: a template that extends ``base.html``, with what every page needs.

    Args:
        template: name of the file.
        panels: figures that it has places for; without any the page carries no plotly.js.
        styles: names of its style sheets.
        content: what else the template names.
    """
    script = asset("report.js")
    library, digest = packed_plotly() if panels else (Markup(), "")
    return (
        environment()
        .get_template(template)
        .render(
            policy=policy(script, digest),
            style=Markup("".join(map(asset, styles))),
            script=Markup(script),
            plotly=library,
            contours=Markup(asset("contours.svg")),
            figures=figures_json(panels),
            versions=versions(),
            **content,
        )
    )


@cache
def asset(name: str) -> str:
    """The text of a style, a script or a drawing."""
    return (PAGE / name).read_text(encoding="utf-8")


@cache
def packed_plotly() -> tuple[Markup, str]:
    """plotly.js, gzipped and in base64, and the digest that lets a page run it."""
    library = get_plotlyjs()
    packed = gzip.compress(library.encode(), mtime=0)
    return Markup(base64.b64encode(packed).decode()), _digest(library)


def policy(script: str, library_digest: str) -> Markup:
    """Nothing may be fetched, and no script runs but the two that are known by their digests."""
    scripts = " ".join(filter(None, [_digest(script), library_digest]))
    return Markup(
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def figures_json(panels: Sequence[Panel]) -> Markup:
    """The figures as JSON in which no character can end the script element."""
    data = {panel.key: panel.figure.to_plotly_json() for panel in panels}
    return Markup(json.dumps(data, allow_nan=False, cls=PlotlyJSONEncoder).replace("<", "\\u003c"))


def versions() -> str:
    """Of what made the page."""
    try:
        own = version("thalweg")
    except PackageNotFoundError:
        own = "(not installed)"
    return f"thalweg {own}, torch {torch.__version__}, plotly {plotly.__version__}"


def write_page(page: str, path: Path | str) -> Path:
    """Write the page; it appears under its name only when it is whole.

    Raises:
        FolderError: the path cannot be written.
    """
    path = Path(path)
    try:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            temporary.write_text(page, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FolderError(f"path must be a file that can be written; {path}: {reason}") from error
    return path


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
