"""The data or the model do not allow a better fit."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import measured, share
from thalweg.diagnose.signs import better_known, blind, fits_poorly, flat, no_signal, settled
from thalweg.estimate import Evidence

__all__ = ["cannot_fit"]


def cannot_fit(evidence: Evidence) -> Finding | None:
    """Settled, hardly better than a constant predictor, and nothing better is known."""
    probability = t.both(
        t.either(settled(evidence), 0.8 * no_signal(evidence)),
        fits_poorly(evidence),
        t.opposite(better_known(evidence)),
        t.opposite(flat(evidence)),
        t.opposite(blind(evidence)),
    )
    if evidence.value("data_faults") > 0:
        probability = t.either(probability, 0.9)
    signal = evidence.measured("label_signal")
    told = f"(label signal {measured(signal)})"
    if t.above(signal, t.SIGNAL) > 0.9:
        why = f"the inputs tell the targets {told}, but this model cannot say how"
    elif no_signal(evidence) > 0.9:
        why = f"the inputs say too little about the targets {told}"
    else:
        why = "the inputs say too little about the targets, or the model is too small"
    sentence = (
        f"The fit explains {share(evidence.value('explained'))} of the loss of a constant "
        f"predictor, and nothing leads further down: {why}."
    )
    return judged(
        Cause.CANNOT_FIT,
        probability,
        sentence,
        evidence,
        ("explained", "label_signal", "descent_fall", "escape_fall", "one_batch_fall"),
        (cures.look_at_data(), cures.larger_model()),
    )
