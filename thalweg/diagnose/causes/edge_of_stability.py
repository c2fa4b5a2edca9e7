"""The rate is at the limit of the sharpest direction."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import fall, measured
from thalweg.diagnose.signs import bounces, diverges, lower_wins, noisy
from thalweg.estimate import Evidence

__all__ = ["edge_of_stability"]


def edge_of_stability(evidence: Evidence) -> Finding | None:
    """Stability near or past 1 without noise: a lower rate falls further than the run does."""
    stability = evidence.measured("stability")
    probability = t.both(
        t.either(t.both(t.above(stability, t.EDGE), lower_wins(evidence)), bounces(evidence)),
        t.opposite(noisy(evidence)),
        t.opposite(diverges(evidence)),
    )
    sentence = (
        f"Stability is {measured(stability)}, where 1 is the limit of the sharpest direction: steps "
        f"bounce along it. At a tenth of the rate the loss "
        f"{fall(evidence.value('lower_rate_fall'), of='its range')}; as the run is, it "
        f"{fall(evidence.value('unchanged_fall'), of='its range')}."
    )
    return judged(
        Cause.EDGE_OF_STABILITY,
        probability,
        sentence,
        evidence,
        ("stability", "noise_share", "unchanged_fall", "lower_rate_fall", "top_eigenvalue"),
        (cures.learning_rate(0.3), cures.learning_rate(0.1), cures.decay_rate(), cures.adam()),
    )
