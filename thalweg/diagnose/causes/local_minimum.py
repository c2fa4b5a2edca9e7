"""A minimum, although better is reachable."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import fall, part
from thalweg.diagnose.signs import better_known, flat, settled, spiky
from thalweg.estimate import Evidence

__all__ = ["local_minimum"]


def local_minimum(evidence: Evidence) -> Finding | None:
    """Settled in a bowl, and a lower loss is known."""
    probability = t.both(
        settled(evidence),
        better_known(evidence),
        t.opposite(flat(evidence)),
        t.opposite(spiky(evidence)),
    )
    escape, earlier = evidence.value("escape_fall"), evidence.value("earlier_fall")
    if escape > t.BETTER or not earlier > 0:
        known = f"after noise and descent from here the loss {fall(escape)}"
    else:
        known = f"the run was lower before, by {part(earlier)}"
    sentence = f"A local minimum: nothing near leads down, but {known}."
    return judged(
        Cause.LOCAL_MINIMUM,
        probability,
        sentence,
        evidence,
        ("descent_fall", "nudge_fall", "negative_curvature", "escape_fall", "earlier_fall"),
        (cures.basin_hopping(), cures.restart(), cures.perturb(1.0)),
    )
