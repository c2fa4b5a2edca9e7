"""Rare steps throw the loss far up."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import number, part, share
from thalweg.diagnose.signs import diverges, spiky
from thalweg.estimate import Evidence

__all__ = ["spikes"]


def spikes(evidence: Evidence) -> Finding | None:
    """Jumps far outside the usual spread, rare and high, which come back."""
    sentence = (
        f"Rare steps throw the loss up by {number(evidence.value('jump'))} times its usual spread, "
        f"{part(evidence.value('jump_height'), of='its range')}, in "
        f"{share(evidence.value('jump_share'))} of the steps."
    )
    return judged(
        Cause.SPIKES,
        t.both(spiky(evidence), t.opposite(diverges(evidence))),
        sentence,
        evidence,
        ("jump", "jump_height", "jump_share", "unchanged_fall"),
        (cures.ema(), cures.learning_rate(0.1), cures.clip(), cures.look_at_examples()),
    )
