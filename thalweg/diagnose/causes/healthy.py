"""The run falls, and no change tried falls much faster."""

import math

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import number, part, share
from thalweg.diagnose.signs import (
    blocked,
    bounces,
    diverges,
    falls,
    lower_wins,
    overfits,
    pace,
    spiky,
    too_slow,
)
from thalweg.estimate import Evidence

__all__ = ["healthy"]


def healthy(evidence: Evidence) -> Finding | None:
    """Falls clearly, at a fair share of the best fall seen, and held-out loss does not rise."""
    speed = pace(evidence)
    probability = t.both(
        falls(evidence),
        0.7 if math.isnan(speed.value) else t.above(speed, t.PACE),
        t.opposite(too_slow(evidence)),
        t.opposite(blocked(evidence)),
        t.opposite(overfits(evidence)),
        t.opposite(spiky(evidence)),
        t.opposite(bounces(evidence)),
        t.opposite(diverges(evidence)),
        t.opposite(lower_wins(evidence)),
    )
    steps = evidence.value("continuation_steps")
    over = f" over {number(steps)} steps as they are" if math.isfinite(steps) else ""
    others = any(name in evidence for name in ("descent_fall", "lower_rate_fall", "krylov_drop"))
    pace_said = f", {share(speed.value)} of the best that anything tried here reached"
    sentence = (
        f"The loss falls: by {part(evidence.value('unchanged_fall'), of='its range')}{over}"
        f"{pace_said if others and math.isfinite(speed.value) else ''}."
    )
    soon = t.above(evidence.measured("test_rise"), t.GAP) > 0.5
    if soon:
        rise = part(evidence.value("test_rise"), of="that")
        sentence += (
            f" Held-out loss has no gap yet, but rises by {rise} over the same steps: stop in time."
        )
    return judged(
        Cause.HEALTHY,
        probability,
        sentence,
        evidence,
        ("unchanged_fall", "descent_fall", "lower_rate_fall", "raised_rate_fall", "stability"),
        (cures.early_stopping(),) if soon else (),
    )
