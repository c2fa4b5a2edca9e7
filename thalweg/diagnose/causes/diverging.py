"""The steps overshoot so far that the loss grows."""

import math

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import fall, number, part
from thalweg.estimate import Evidence

__all__ = ["diverging"]


def diverging(evidence: Evidence) -> Finding | None:
    """Continued unchanged the loss ends far above its start; a lower rate lets it fall."""
    rise = t.above(-evidence.measured("unchanged_fall"), t.RISE)
    if evidence.value("unchanged_rise") > 100:
        rise = t.either(rise, t.above(evidence["unchanged_rise"], 10 * t.RISE))
    lower = evidence.measured("lower_rate_fall")
    probability = t.both(rise, 0.6 + 0.4 * t.above(lower, t.STILL))
    risen, stability = evidence.value("unchanged_rise"), evidence.value("stability")
    grows = (
        f"rises by {part(risen, of='its range')}" if math.isfinite(risen) else "grows without bound"
    )
    limit = f" (stability {number(stability)}, where 1 is the limit)"
    sentence = (
        f"Continued as it is, the loss {grows}{limit if math.isfinite(stability) else ''}; at a "
        f"tenth of the rate it {fall(lower, of='its range')}."
    )
    return judged(
        Cause.DIVERGING,
        probability,
        sentence,
        evidence,
        ("unchanged_fall", "unchanged_rise", "lower_rate_fall", "stability", "step"),
        (cures.learning_rate(0.1), cures.clip(), cures.adam()),
    )
