"""The loss, a gradient, a weight or the data is NaN or infinite."""

from thalweg.diagnose import cures
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.estimate import Evidence

__all__ = ["not_finite"]


def not_finite(evidence: Evidence) -> Finding | None:
    """Something that was evaluated once is not finite."""
    probability = 0.97 if evidence.value("not_finite") > 0 else 0.0
    return judged(
        Cause.NOT_FINITE,
        probability,
        "The loss, its gradient, a weight or the data is not finite.",
        evidence,
        ("not_finite", "loss", "gradient_norm"),
        (cures.clean_data(), cures.learning_rate(0.1), cures.clip()),
    )
