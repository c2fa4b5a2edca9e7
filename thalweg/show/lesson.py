"""The lesson: the exhibits in one HTML file that opens offline, to be read from top to bottom."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from thalweg.show.gallery import Drawn, Exhibit
from thalweg.show.notebook import environment
from thalweg.show.offline import asset, figures_json, packed_plotly, policy, versions, write_page

__all__ = ["lesson", "lesson_html"]


def lesson(
    exhibits: Sequence[tuple[Exhibit, Drawn]], path: Path | str = "figures.html", *, seed: int = 0
) -> Path:
    """Write the exhibits as one HTML file, which draws each figure when it comes into view.

    Raises:
        FolderError: the path cannot be written.
    """
    return write_page(lesson_html(exhibits, seed=seed), path)


def lesson_html(exhibits: Sequence[tuple[Exhibit, Drawn]], *, seed: int = 0) -> str:
    """The text of the page; ``seed`` is told at its end."""
    panels = [panel for _, drawn in exhibits for panel in drawn.panels]
    script = asset("report.js")
    library, digest = packed_plotly() if panels else (Markup(), "")
    claims = [claim for _, drawn in exhibits for claim in drawn.claims]
    return (
        environment()
        .get_template("lesson.html")
        .render(
            policy=policy(script, digest),
            style=Markup(asset("report.css") + asset("lesson.css")),
            script=Markup(script),
            plotly=library,
            contours=Markup(asset("contours.svg")),
            figures=figures_json(panels),
            exhibits=exhibits,
            claims=len(claims),
            failed=sum(not claim.holds for claim in claims),
            seed=seed,
            versions=versions(),
        )
    )
