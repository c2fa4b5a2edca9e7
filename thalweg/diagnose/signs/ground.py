"""What the ground under the run is: its slope, its ways down, what keeps it from being learnt on."""

import math

from thalweg.diagnose import thresholds as t
from thalweg.diagnose.signs.fit import fits_poorly
from thalweg.diagnose.signs.motion import best_fall, steady
from thalweg.estimate import Estimate, Evidence

__all__ = [
    "bends_down",
    "blind",
    "blocked",
    "bowl",
    "curvature_leads",
    "flat",
    "held_level",
    "no_slope",
    "pushed_out",
    "settled",
    "slopeless",
    "still",
    "too_slow",
    "way_down",
]


def still(evidence: Evidence) -> float:
    """The run goes nowhere; nor does another rate or descent, unless the slope itself gives nothing.

    Without a slope, a raised rate or descent that lets its step grow leaves a saddle as a nudge does.
    """
    if "descent_fall" not in evidence:
        return 0.0
    bounce = Estimate(evidence.measured("unchanged_fall").error)
    level = slopeless(evidence)
    arms = [n for n in ("unchanged_fall", "lower_rate_fall") if n in evidence]
    others = [n for n in ("raised_rate_fall", "descent_fall") if n in evidence]
    return min(
        t.below(bounce, t.WORTH),
        *(t.below(steady(evidence, n), t.STILL) for n in arms),
        *(t.either(t.below(steady(evidence, n), t.STILL), level) for n in others),
    )


def slopeless(evidence: Evidence) -> float:
    """Neither the gradient nor a Krylov step lowers the loss by a share worth having."""
    drops = ("gradient_drop", "krylov_drop")
    level = [t.below(evidence[n], t.STILL) for n in drops if n in evidence]
    return t.either(no_slope(evidence), min(level, default=0.0))


def held_level(evidence: Evidence) -> float:
    """No slope, and no fall as it is or at a lower rate, however much noise shakes the run."""
    arms = [n for n in ("unchanged_fall", "lower_rate_fall") if n in evidence]
    return t.both(slopeless(evidence), *(t.below(steady(evidence, n), t.WORTH) for n in arms))


def way_down(evidence: Evidence) -> float:
    """From where the run stands still, negative curvature, a nudge or descent leads down."""
    names = ("curvature_drop", "nudge_fall", "descent_fall")
    return max(t.above(evidence.measured(name), t.SADDLE_DROP) for name in names)


def pushed_out(evidence: Evidence) -> float:
    """A push by a small part of a fresh weight, and descent, leads down: no dead unit wakes up by that."""
    return t.above(evidence.measured("nudge_fall"), t.SADDLE_DROP)


def bends_down(evidence: Evidence) -> float:
    """The way down needs negative curvature: that leads down, is strong, or a nudge gains what
    descent without one does not. Else it is the floor of a valley that leads down."""
    nudged, descent = evidence.measured("nudge_fall"), evidence.value("descent_fall")
    return t.either(
        t.above(evidence.measured("curvature_drop"), t.SADDLE_DROP),
        t.above(-evidence.measured("negative_curvature"), t.BENT),
        t.above(nudged, max(2.0 * descent, 1e-9)) if math.isfinite(descent) else 1.0,
    )


def curvature_leads(evidence: Evidence) -> float:
    """The run hardly falls, and negative curvature leads down several times further than the slope."""
    names = ("unchanged_fall", "lower_rate_fall", "gradient_drop", "krylov_drop")
    others = max((evidence.value(n) for n in names if n in evidence), default=math.nan)
    drop = evidence.measured("curvature_drop")
    return t.both(
        t.below(steady(evidence, "unchanged_fall"), t.WORTH),
        t.above(drop, t.SADDLE_DROP),
        t.above(drop, max(t.SEVERAL * others, 1e-12)),
    )


def settled(evidence: Evidence) -> float:
    """Still, with no way down at hand: an apparent minimum, or a plateau."""
    return t.both(still(evidence), t.opposite(way_down(evidence)))


def flat(evidence: Evidence) -> float:
    """Units are dead or saturated: flat ground rather than a bowl."""
    return t.either(
        t.above(evidence.measured("dead_share"), t.FLAT_SHARE),
        t.above(evidence.measured("saturated_share"), t.FLAT_SHARE),
    )


def blind(evidence: Evidence) -> float:
    """One output for all inputs, though a plain predictor tells the targets from them, and no bowl.

    Nothing that the inputs say arrives at the output, as where the gradient vanishes on its way.
    """
    return t.both(
        t.below(evidence.measured("output_spread"), t.SAME_OUTPUT),
        t.above(evidence.measured("label_signal"), t.SIGNAL),
        fits_poorly(evidence),
        t.opposite(bowl(evidence)),
    )


def blocked(evidence: Evidence) -> float:
    """Dead or saturated units keep even one small batch from being learnt, which fresh ones learn.

    Whether the loss still falls then says little: an offset may be all that moves.
    """
    return t.both(
        flat(evidence),
        t.below(evidence.measured("one_batch_fall"), t.LEARNT),
        t.above(evidence.measured("one_batch_fresh_fall"), t.LEARNT),
    )


def no_slope(evidence: Evidence) -> float:
    """A move as large as the whole initialisation would not change the loss along the slope."""
    return t.below(evidence.measured("gradient_reach"), t.REACH)


def bowl(evidence: Evidence) -> float:
    """The smallest eigenvalue is positive beyond its error: a strict minimum."""
    low = evidence.measured("bottom_eigenvalue")
    return low.confidence_above(0.0) if low.value > 3 * low.error else 0.0


def too_slow(evidence: Evidence) -> float:
    """Far inside the stability limit, on a slope, with a raised rate several times faster."""
    own = max(evidence.value("unchanged_fall"), 0.0)
    raised = steady(evidence, "raised_rate_fall")
    some = t.both(t.above(raised, t.STILL), t.above(raised, max(t.MANY * own, 1e-9)))
    return t.both(
        t.below(evidence.measured("stability"), t.TINY_STABILITY),
        t.either(t.above(raised, t.WORTH), t.both(some, t.above(best_fall(evidence), t.WORTH))),
        t.above(raised, max(t.SEVERAL * own, 1e-9)),
        t.either(
            t.opposite(slopeless(evidence)), _promises(evidence), _further_than_pushed(evidence)
        ),
        t.opposite(blocked(evidence)),
    )


def _promises(evidence: Evidence) -> float:
    """So many times the rate promise so many times the fall, and that is a good part of the range."""
    own, factor = evidence.measured("unchanged_fall"), evidence.value("raised_by")
    if not factor > 1:
        return 0.0
    return t.above(Estimate(own.value * factor, own.error * factor), t.DOWN)


def _further_than_pushed(evidence: Evidence) -> float:
    """A raised rate leads further down than a push and descent: no saddle holds the run."""
    pushed = evidence.value("nudge_fall")
    if not pushed > 0:
        return 0.0
    return t.above(steady(evidence, "raised_rate_fall"), t.AHEAD * pushed)
