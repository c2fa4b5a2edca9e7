"""The steps overshoot so far that the loss grows."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.estimate import Evidence

__all__ = ["diverging"]


def diverging(evidence: Evidence) -> Finding | None:
    """Continued unchanged the loss ends far above its start; a lower rate lets it fall."""
    rise = t.above(-evidence.measured("unchanged_fall"), t.RISE)
    if evidence.value("unchanged_rise") > 100:
        rise = t.either(rise, t.above(evidence["unchanged_rise"], 10 * t.RISE))
    lower = evidence.measured("lower_rate_fall")
    probability = t.both(rise, 0.6 + 0.4 * t.above(lower, t.STILL))
    sentence = (
        f"Continued as it is, the loss grows past {evidence.value('unchanged_rise'):.3g} times its "
        f"range (stability {evidence.value('stability'):.2g}, where 1 is the limit); at a tenth of "
        f"the rate it falls by {lower.value:.0%}."
    )
    return judged(
        Cause.DIVERGING,
        probability,
        sentence,
        evidence,
        ("unchanged_fall", "unchanged_rise", "lower_rate_fall", "stability", "step"),
        (cures.learning_rate(0.1), cures.clip(), cures.adam()),
    )
