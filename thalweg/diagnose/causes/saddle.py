"""The gradient is tiny, but there is a way down along negative curvature."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
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
    along = (
        f"along the most negative curvature (λ_min/λ_max = "
        f"{evidence.measured('negative_curvature')}) the loss falls by {curved:.0%} of its range"
    )
    pushed = f"a nudge and descent lower it by {nudged:.0%}"
    ways = [along] if curved > t.SADDLE_DROP else []
    ways += [pushed] if nudged > t.SADDLE_DROP else []
    gradient = evidence.value("gradient_drop")
    sentence = (
        f"A saddle: along the gradient the loss falls by {max(gradient, 0.0):.1g} of its range at "
        f"most, but {' and '.join(ways or [pushed])}."
    )
    return judged(
        Cause.SADDLE,
        probability,
        sentence,
        evidence,
        ("gradient_drop", "curvature_drop", "negative_curvature", "nudge_fall", "descent_fall"),
        (cures.perturb(), cures.negative_curvature(), cures.restart(), cures.adam()),
    )
