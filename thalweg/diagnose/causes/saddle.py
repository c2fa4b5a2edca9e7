"""The gradient is tiny, but there is a way down along negative curvature."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.cures import Cure
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import at_most, fall, measured
from thalweg.diagnose.signs import (
    bends_down,
    bowl,
    curvature_leads,
    fits_poorly,
    flat,
    held_level,
    pushed_out,
    still,
    too_slow,
    way_down,
)
from thalweg.estimate import Evidence

__all__ = ["saddle"]


def saddle(evidence: Evidence) -> Finding | None:
    """Stands still, yet negative curvature or a nudge leads down."""
    probability = t.both(
        t.either(
            t.both(still(evidence), way_down(evidence), bends_down(evidence)),
            t.both(held_level(evidence), pushed_out(evidence), bends_down(evidence)),
            curvature_leads(evidence),
        ),
        t.opposite(too_slow(evidence)),
        t.opposite(bowl(evidence)),
        t.either(1 - 0.5 * flat(evidence), pushed_out(evidence)),
    )
    curved, nudged = evidence.value("curvature_drop"), evidence.value("nudge_fall")
    along = f"along the most negative curvature it {fall(curved)}"
    if "negative_curvature" in evidence:
        ratio = measured(evidence["negative_curvature"])
        along = along.replace("curvature", f"curvature (λ_min/λ_max = {ratio})")
    pushed = f"after a nudge and descent it {fall(nudged)}"
    ways = [along] if curved > t.SADDLE_DROP else []
    ways += [pushed] if nudged > t.SADDLE_DROP else []
    likeliest = along if curved > nudged or not nudged > 0 else pushed
    sentence = (
        f"A saddle: along the gradient the loss {at_most(evidence.value('gradient_drop'))}, but "
        f"{' and '.join(ways or [likeliest])}."
    )
    return judged(
        Cause.SADDLE,
        probability,
        sentence,
        evidence,
        ("gradient_drop", "curvature_drop", "negative_curvature", "nudge_fall", "descent_fall"),
        _cures(evidence),
    )


def _cures(evidence: Evidence) -> tuple[Cure, ...]:
    """Curvature itself first, where no noise of mini-batches hides it and a step of all the data costs
    no more than one of the user's; else a nudge, the larger the less there is to lose by it."""
    nudge = cures.perturb(1.0 if fits_poorly(evidence) > 0.5 else 0.3)
    others = (cures.negative_curvature(), cures.restart(), cures.adam())
    quiet = evidence.value("noise_share") == 0
    return (cures.saddle_free_newton(), nudge, *others) if quiet else (nudge, *others)
