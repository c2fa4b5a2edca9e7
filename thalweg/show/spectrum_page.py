"""The page of a spectrum: its figure, its numbers and what they mean, in one file that opens offline."""

from collections.abc import Sequence
from pathlib import Path

from thalweg.measure.spectrum import Spectrum
from thalweg.show.density_figure import spectral_density
from thalweg.show.measured_page import Table, measured_page
from thalweg.show.panels import Panel
from thalweg.show.spectrum_text import COLUMNS, row, rows, sentence

__all__ = ["spectrum_page"]

CAPTION = (
    "The line counts eigenvalues per unit of curvature, blurred to the width of a pen; each tick at "
    "the foot is one eigenvalue. The outermost ones are known for themselves, the bulk by random "
    "vectors."
)

NUMBERS = (
    "The error of an eigenvalue is a bound that holds in 99% of draws. The negative share is the sum of "
    "the negative eigenvalues by size over that of all; the effective rank is the number of equal "
    "eigenvalues that would spread as much."
)


def spectrum_page(
    spectra: Sequence[Spectrum], path: Path | str = "spectrum.html", *, source: str = ""
) -> Path:
    """Write the spectra as one HTML file.

    Raises:
        FolderError: the path cannot be written.
    """
    drawn = [each for each in spectra if len(each.density.measure()[0])]
    panels = [Panel("spectrum", "", CAPTION, spectral_density(drawn))] if drawn else []
    several = len(spectra) > 1
    columns = COLUMNS if several else ("", "value", "95% within")
    numbers = [row(each) for each in spectra] if several else rows(spectra[0])
    products = sum(each.products for each in spectra)
    cost = round(sum(each.cost for each in spectra))
    return measured_page(
        path,
        "Spectrum",
        source,
        sentences=[sentence(each) for each in spectra],
        panels=panels,
        tables=[Table("The numbers", columns, numbers, NUMBERS)],
        command=f"thalweg spectrum {source}".rstrip(),
        price=f": {products} products with the matrix, the price of {cost} gradients",
    )
