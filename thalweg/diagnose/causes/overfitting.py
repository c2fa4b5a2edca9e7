"""The training loss is low while the held-out loss rises."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import fall, measured, number
from thalweg.diagnose.signs import diverges, overfits
from thalweg.estimate import Evidence

__all__ = ["overfitting"]


def overfitting(evidence: Evidence) -> Finding | None:
    """Held-out loss above training loss and rising, beyond their errors."""
    sentence = (
        f"Overfitting: held-out loss is {measured(evidence.measured('test_loss'))} against "
        f"{number(evidence.value('plain_loss'))} in training, and as the run goes on it "
        f"{fall(-evidence.value('test_rise'))}."
    )
    return judged(
        Cause.OVERFITTING,
        t.both(overfits(evidence), t.opposite(diverges(evidence))),
        sentence,
        evidence,
        ("test_loss", "plain_loss", "test_gap", "test_rise", "unchanged_fall"),
        (cures.early_stopping(), cures.weight_decay(), cures.learning_rate(0.1)),
    )
