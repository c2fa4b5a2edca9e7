"""Steep walls keep the rate small while the floor barely slopes."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.cures import Cure
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import fall, measured, part
from thalweg.diagnose.signs import (
    best_fall,
    bounces,
    curvature_leads,
    falls_at_all,
    lower_wins,
    overfits,
    pace,
    spiky,
    still,
)
from thalweg.estimate import Evidence

__all__ = ["ravine"]


def ravine(evidence: Evidence) -> Finding | None:
    """The rate cannot be raised, a lower one is slower, and L-BFGS from here falls many times further."""
    best, speed = best_fall(evidence), pace(evidence)
    probability = t.both(
        t.above(evidence.measured("stability"), t.NEAR_LIMIT),
        t.below(speed, t.PACE),
        t.above(best, t.WORTH),
        t.opposite(lower_wins(evidence)),
        t.opposite(still(evidence)),
        t.opposite(spiky(evidence)),
        t.opposite(bounces(evidence)),
        t.opposite(curvature_leads(evidence)),
        t.opposite(overfits(evidence)),
        falls_at_all(evidence),
    )
    sentence = (
        f"A ravine: stability is {measured(evidence.measured('stability'))}, so the rate can hardly "
        f"be raised, and the loss {fall(evidence.value('unchanged_fall'), of='its range')}, where "
        f"descent that knows the curvature lowers it by {part(best.value)} at a like cost."
    )
    return judged(
        Cause.RAVINE,
        probability,
        sentence,
        evidence,
        ("stability", "unchanged_fall", "descent_fall", "krylov_drop", "conditioning"),
        _cures(evidence),
    )


def _cures(evidence: Evidence) -> tuple[Cure, ...]:
    """Curvature itself first, where no noise of mini-batches hides it and a step of all the data costs
    no more than one of the user's."""
    ways = (cures.adam(), cures.momentum(0.9))
    quiet = evidence.value("noise_share") == 0
    return (*((cures.newton_cg(),) if quiet else ()), *ways, cures.scale_inputs())
