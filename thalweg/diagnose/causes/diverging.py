"""The steps overshoot so far that the loss grows."""

import math

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import fall, number
from thalweg.diagnose.signs import diverges
from thalweg.estimate import Evidence

__all__ = ["diverging"]


def diverging(evidence: Evidence) -> Finding | None:
    """Continued unchanged the loss ends far above its start; a lower rate lets it fall."""
    rise = diverges(evidence)
    if t.FAR < evidence.value("unchanged_rise") < math.inf:  # though it came back
        rise = t.either(rise, t.above(evidence["unchanged_rise"], 10 * t.RISE))
    lower = evidence.measured("lower_rate_fall")
    probability = t.both(rise, 0.6 + 0.4 * t.above(lower, t.STILL))
    stability, end = evidence.value("stability"), -evidence.value("unchanged_fall")
    risen = max(evidence.value("unchanged_rise"), end) if "unchanged_rise" in evidence else end
    limit = f" (stability {number(stability)}, where 1 is the limit)"
    sentence = (
        f"Continued as it is, the loss {fall(-risen, of='its range')}"
        f"{limit if math.isfinite(stability) else ''}; at a tenth of the rate it "
        f"{fall(lower, of='its range')}."
    )
    return judged(
        Cause.DIVERGING,
        probability,
        sentence,
        evidence,
        ("unchanged_fall", "unchanged_rise", "lower_rate_fall", "stability", "step"),
        (cures.learning_rate(0.1), cures.range_test(), cures.adam()),
    )
