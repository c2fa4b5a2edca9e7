"""The lesson: the exhibits in one HTML file that opens offline, to be read from top to bottom."""

from collections.abc import Sequence
from pathlib import Path

from thalweg.show.gallery import Drawn, Exhibit
from thalweg.show.offline import page, write_page

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
    claims = [claim for _, drawn in exhibits for claim in drawn.claims]
    return page(
        "lesson.html",
        panels,
        styles=("report.css", "lesson.css"),
        exhibits=exhibits,
        claims=len(claims),
        failed=sum(not claim.holds for claim in claims),
        seed=seed,
    )
