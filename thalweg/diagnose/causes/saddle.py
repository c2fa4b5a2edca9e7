"""The gradient is tiny, but there is a way down along negative curvature."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import at_most, fall, measured
from thalweg.diagnose.signs import bowl, curvature_leads, flat, still, way_down
from thalweg.estimate import Evidence

__all__ = ["saddle"]


def saddle(evidence: Evidence) -> Finding | None:
    """Stands still, yet negative curvature or a nudge leads down."""
    probability = t.both(
        t.either(t.both(still(evidence), way_down(evidence)), curvature_leads(evidence)),
        t.opposite(bowl(evidence)),
        1 - 0.5 * flat(evidence),
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
        (cures.perturb(), cures.negative_curvature(), cures.restart(), cures.adam()),
    )
