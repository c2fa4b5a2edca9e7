"""The training step does not do what it was meant to do."""

from thalweg.diagnose import cures
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.estimate import Evidence

__all__ = ["miswired"]


def miswired(evidence: Evidence) -> Finding | None:
    """A check of the wiring found a fault that explains being stuck."""
    faults = evidence.value("wiring_faults")
    probability = 0.95 if faults > 0 else 0.0
    return judged(
        Cause.MISWIRED,
        probability,
        "The training step does not do what it was meant to do.",
        evidence,
        ("wiring_faults",),
        (cures.mend_the_wiring(),),
    )
