"""A spectrum in words: a table of its numbers and a sentence."""

import math

from thalweg.estimate import Estimate, number
from thalweg.measure.spectrum import Spectrum
from thalweg.show.wording import clean

__all__ = ["COLUMNS", "row", "rows", "sentence"]

COLUMNS = ("", "largest", "smallest", "trace", "negative", "effective rank", "products")


def rows(spectrum: Spectrum) -> list[list[str]]:
    """For each number its name, its value and how far off it may be."""
    lines = [
        *((f"λ{place}", e, 1.0) for place, e in enumerate(spectrum.top, 1)),
        *(
            (f"λ{spectrum.dim - place}", e, 1.0)
            for place, e in reversed(list(enumerate(spectrum.bottom)))
        ),
        ("trace", spectrum.trace, 2.0),
        ("mean size of an eigenvalue", spectrum.mean_size, 2.0),
        ("negative share of the curvature", spectrum.negative, 2.0),
        ("effective rank", spectrum.effective_rank, 2.0),
    ]
    return [[name, *_told(e, factor)] for name, e, factor in lines]


def row(spectrum: Spectrum) -> list[str]:
    """One line of a table of several."""
    first = spectrum.top[0] if spectrum.top else Estimate(math.nan, math.nan)
    last = spectrum.bottom[0] if spectrum.bottom else Estimate(math.nan, math.nan)
    numbers = (first, last, spectrum.trace, spectrum.negative, spectrum.effective_rank)
    cells = [" ± ".join(filter(None, e.shown()[:2])) for e in numbers]
    return [clean(spectrum.name) or spectrum.matrix, *cells, str(spectrum.products)]


def sentence(spectrum: Spectrum) -> str:
    """What the spectrum says, in one sentence."""
    name = f"{clean(spectrum.name)}: " if spectrum.name else ""
    if not math.isfinite(spectrum.trace.value):
        return f"{name}The second derivatives are not finite here."
    matrix = "Gauss-Newton matrix" if spectrum.matrix == "gauss-newton" else "Hessian"
    negative = spectrum.negative
    share, apart, _ = negative.shown(share=True)
    if negative.value <= max(2 * negative.error, 1e-4):
        curvature = "no negative curvature is seen"
    else:
        curvature = f"{share}{f' ± {apart}' if apart else ''} of its curvature is negative"
    rank = number(spectrum.effective_rank.value, 2)
    over = f"{rank} direction{'' if rank == '1' else 's'}"
    start = f"{name}The" if not name else f"{name}the"
    return f"{start} {matrix} of {spectrum.dim} rows spreads over about {over}; {curvature}."


def _told(estimate: Estimate, factor: float) -> tuple[str, str]:
    if not math.isfinite(estimate.value):
        return "not finite", ""
    value, _, _ = estimate.shown()
    if not math.isfinite(estimate.error):
        return value, "unknown"
    if not estimate.error:
        return value, ""
    share = estimate.unit.startswith("of the ")
    within = number((100 if share else 1) * factor * estimate.error, 1)
    return value, f"{within}%" if share else within
