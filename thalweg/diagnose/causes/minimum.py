"""A minimum, and nothing better was found."""

from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import at_most
from thalweg.diagnose.signs import better_known, fits_poorly, overfits, settled, spiky
from thalweg.estimate import Evidence

__all__ = ["minimum"]


def minimum(evidence: Evidence) -> Finding | None:
    """Settled, with no better loss known, and a fit that is more than a constant."""
    # A search that finds nothing proves nothing, unless its trials all end here.
    returned = t.above(evidence.measured("escape_return"), t.RETURN)
    searched = 0.75 + 0.22 * returned
    probability = t.both(
        settled(evidence),
        t.opposite(spiky(evidence)),
        t.opposite(better_known(evidence)),
        t.opposite(fits_poorly(evidence)),
        t.opposite(overfits(evidence)),
        searched,
    )
    tried = (
        "the escape probe found nothing lower"
        if "escape_fall" in evidence
        else "no escape probe was made"
    )
    sentence = (
        f"A minimum of what is descended (weight decay included): descent from here "
        f"{at_most(evidence.value('descent_fall'))}, and {tried}."
    )
    return judged(
        Cause.MINIMUM,
        probability,
        sentence,
        evidence,
        ("descent_fall", "nudge_fall", "negative_curvature", "escape_fall", "explained"),
    )
