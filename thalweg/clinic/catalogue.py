"""The catalogue: every case by its name."""

from difflib import get_close_matches

from thalweg.clinic.entry import Case
from thalweg.clinic.finiteness import FINITENESS
from thalweg.clinic.fits import FITS
from thalweg.clinic.healthy import HEALTHY
from thalweg.clinic.local_minima import LOCAL_MINIMA
from thalweg.clinic.minima import MINIMA
from thalweg.clinic.networks import NETWORKS
from thalweg.clinic.noise import NOISE
from thalweg.clinic.plateaus import PLATEAUS
from thalweg.clinic.rates import RATES
from thalweg.clinic.ravines import RAVINES
from thalweg.clinic.saddles import SADDLES
from thalweg.clinic.wiring import WIRING
from thalweg.errors import ReferenceError
from thalweg.task import Task

__all__ = ["CASES", "case"]

CASES: dict[str, Case] = {
    each.name: each
    for each in (
        *HEALTHY,
        *WIRING,
        *FINITENESS,
        *RATES,
        *NOISE,
        *SADDLES,
        *PLATEAUS,
        *RAVINES,
        *LOCAL_MINIMA,
        *MINIMA,
        *FITS,
        *NETWORKS,
    )
}
"""Every case by its name, grouped by kind of cause."""


def case(name: str, seed: int = 0) -> Task:
    """The Task of the case called ``name``, as ``seed`` varies it.

    Raises ReferenceError, with the nearest name that exists, where there is no such case.
    """
    if name not in CASES:
        near = get_close_matches(name, CASES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(CASES)}"
        raise ReferenceError(f"case must name one of the clinic's cases, not {name!r}: {hint}")
    return CASES[name].make(seed)
