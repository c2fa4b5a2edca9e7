"""The page of a spectrum: its figure, its numbers and what they mean, in one file that opens offline."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from thalweg.measure.spectrum import Spectrum
from thalweg.show.density_figure import spectral_density
from thalweg.show.notebook import environment
from thalweg.show.offline import asset, figures_json, packed_plotly, policy, versions, write_page
from thalweg.show.panels import Panel
from thalweg.show.spectrum_text import COLUMNS, row, rows, sentence

__all__ = ["spectrum_page"]

CAPTION = (
    "The line counts eigenvalues per unit of curvature, blurred to the width of a pen; each tick at "
    "the foot is one eigenvalue. The outermost ones are known for themselves, the bulk by random "
    "vectors."
)


def spectrum_page(
    spectra: Sequence[Spectrum], path: Path | str = "spectrum.html", *, source: str = ""
) -> Path:
    """Write the spectra as one HTML file.

    Raises:
        FolderError: the path cannot be written.
    """
    return write_page(_html(spectra, source), path)


def _html(spectra: Sequence[Spectrum], source: str) -> str:
    drawn = [each for each in spectra if len(each.density.measure()[0])]
    panels = [Panel("spectrum", "", CAPTION, spectral_density(drawn))] if drawn else []
    script = asset("report.js")
    library, digest = packed_plotly() if panels else (Markup(), "")
    several = len(spectra) > 1
    table = [row(each) for each in spectra] if several else rows(spectra[0])
    return (
        environment()
        .get_template("spectrum.html")
        .render(
            policy=policy(script, digest),
            style=Markup(asset("report.css") + asset("lesson.css")),
            script=Markup(script),
            plotly=library,
            contours=Markup(asset("contours.svg")),
            figures=figures_json(panels),
            panels=panels,
            source=source,
            sentences=[sentence(each) for each in spectra],
            columns=COLUMNS if several else ("", "value", "95% within"),
            table=table,
            products=sum(each.products for each in spectra),
            cost=round(sum(each.cost for each in spectra)),
            versions=versions(),
        )
    )
