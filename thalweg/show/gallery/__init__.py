"""The gallery: figures that each prove a claim, in the order of a lesson."""

from collections.abc import Sequence
from difflib import get_close_matches

from thalweg.errors import UsageError
from thalweg.show.gallery import (
    averages,
    batch_minima,
    batches,
    critical_points,
    early_stopping,
    erratic_examples,
    escape_times,
    flat_minimum,
    index,
    newton,
    one_example,
    path,
    ravine,
    saddle,
    same_classes,
    schedules,
    schedules_compared,
    sgd_and_descent,
    shrinking_rates,
    skip_connections,
    smoothing,
    step,
    too_large_step,
    two_escapes,
    two_minima,
    width,
)
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit

__all__ = ["LESSON", "Claim", "Drawn", "Exhibit", "exhibit"]

LESSON: Sequence[Exhibit] = (
    step.EXHIBIT,
    smoothing.EXHIBIT,
    shrinking_rates.EXHIBIT,
    too_large_step.EXHIBIT,
    two_minima.EXHIBIT,
    saddle.EXHIBIT,
    critical_points.EXHIBIT,
    index.EXHIBIT,
    newton.EXHIBIT,
    ravine.EXHIBIT,
    width.EXHIBIT,
    one_example.EXHIBIT,
    erratic_examples.EXHIBIT,
    batches.EXHIBIT,
    flat_minimum.EXHIBIT,
    batch_minima.EXHIBIT,
    sgd_and_descent.EXHIBIT,
    same_classes.EXHIBIT,
    schedules.EXHIBIT,
    schedules_compared.EXHIBIT,
    averages.EXHIBIT,
    early_stopping.EXHIBIT,
    path.EXHIBIT,
    skip_connections.EXHIBIT,
    escape_times.EXHIBIT,
    two_escapes.EXHIBIT,
)
"""Every exhibit, in the order in which to read them."""


def exhibit(name: str) -> Exhibit:
    """The exhibit of that name. Raises UsageError with a suggestion where there is none."""
    known = {each.name: each for each in LESSON}
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise UsageError(f"there is no exhibit {name}: {hint}")
    return known[name]
