"""The noise throws the run about as far as the gradient pulls it."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import fall, share
from thalweg.diagnose.signs import blocked, diverges, lower_wins, noisy, spiky
from thalweg.estimate import Evidence

__all__ = ["noise_floor"]


def noise_floor(evidence: Evidence) -> Finding | None:
    """A tenth of the rate ends lower, and noise makes a good part of the second-order term."""
    probability = t.both(
        noisy(evidence),
        lower_wins(evidence),
        t.opposite(diverges(evidence)),
        t.opposite(spiky(evidence)),
        t.opposite(blocked(evidence)),
    )
    sentence = (
        f"Noise of the mini-batches holds the loss up: {share(evidence.value('noise_share'))} of "
        f"the second-order term of a step is noise. As it is, the loss "
        f"{fall(evidence.measured('unchanged_fall'), of='its range')}; at a tenth of the rate it "
        f"{fall(evidence.value('lower_rate_fall'), of='its range')}."
    )
    return judged(
        Cause.NOISE_FLOOR,
        probability,
        sentence,
        evidence,
        ("noise_share", "step", "gradient_signal", "unchanged_fall", "lower_rate_fall"),
        (
            cures.learning_rate(0.1),
            cures.staged(),
            cures.batch_size(8),
            cures.ema(),
        ),
    )
