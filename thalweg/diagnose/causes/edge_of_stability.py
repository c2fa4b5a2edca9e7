"""The rate is at the limit of the sharpest direction."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.signs import diverges, lower_wins, noisy
from thalweg.estimate import Evidence

__all__ = ["edge_of_stability"]


def edge_of_stability(evidence: Evidence) -> Finding | None:
    """Stability near or past 1 without noise: a lower rate falls further than the run does."""
    stability = evidence.measured("stability")
    probability = t.both(
        t.either(
            t.above(stability, t.EDGE),
            t.both(
                t.above(stability, t.NEAR_LIMIT), t.above(evidence.measured("bounce"), t.BOUNCE)
            ),
        ),
        t.opposite(noisy(evidence)),
        lower_wins(evidence),
        t.opposite(diverges(evidence)),
    )
    sentence = (
        f"Stability is {stability}, where 1 is the limit of the sharpest direction: steps bounce "
        f"along it. A tenth of the rate falls by {evidence.value('lower_rate_fall'):.1%} of the "
        f"range, the run as it is by {evidence.value('unchanged_fall'):.1%}."
    )
    return judged(
        Cause.EDGE_OF_STABILITY,
        probability,
        sentence,
        evidence,
        ("stability", "noise_share", "unchanged_fall", "lower_rate_fall", "top_eigenvalue"),
        (cures.learning_rate(0.3), cures.learning_rate(0.1), cures.decay_rate(), cures.adam()),
    )
