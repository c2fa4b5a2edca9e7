"""Signs that several causes share, each a pure function of Evidence giving a probability."""

import math

from thalweg.diagnose import thresholds as t
from thalweg.estimate import Estimate, Evidence

__all__ = [
    "bends_down",
    "best_fall",
    "better_known",
    "blind",
    "blocked",
    "bounces",
    "bowl",
    "comes_down",
    "curvature_leads",
    "diverges",
    "falls",
    "falls_at_all",
    "fits_poorly",
    "flat",
    "held_level",
    "lower_wins",
    "no_signal",
    "no_slope",
    "noisy",
    "overfits",
    "pace",
    "pushed_out",
    "settled",
    "slopeless",
    "spiky",
    "steady",
    "still",
    "too_slow",
    "way_down",
]

_OTHERS = ("descent_fall", "lower_rate_fall", "raised_rate_fall", "krylov_drop", "curvature_drop")


def steady(evidence: Evidence, name: str) -> Estimate:
    """A fall whose scatter is taken as no wider than itself: wider is noise, not hope."""
    fall = evidence.measured(name)
    return Estimate(fall.value, min(fall.error, abs(fall.value)))


def best_fall(evidence: Evidence) -> Estimate:
    """The largest fall that any way from here has shown, probes apart."""
    names = ("unchanged_fall", *_OTHERS)
    found = [evidence[n] for n in names if n in evidence and math.isfinite(evidence.value(n))]
    return max(found, key=lambda fall: fall.value, default=Estimate(math.nan, math.nan))


def pace(evidence: Evidence) -> Estimate:
    """Fall of the unchanged run as a share of the best fall; NaN where it is the only one known."""
    best, own = best_fall(evidence), evidence.measured("unchanged_fall")
    if math.isinf(own.value):
        return Estimate(-math.inf)
    if not best.value > 0 or not any(name in evidence for name in _OTHERS):
        return Estimate(math.nan, math.nan)
    return Estimate(own.value / best.value, own.error / best.value)


def falls(evidence: Evidence) -> float:
    """The unchanged run falls, beyond its scatter, by more than nothing."""
    return t.above(evidence.measured("unchanged_fall"), t.STILL)


def comes_down(evidence: Evidence) -> float:
    """The unchanged run falls by a good part of the range, at a fair share of the best fall seen."""
    return t.both(
        t.above(evidence.measured("unchanged_fall"), t.DOWN),
        t.above(pace(evidence), t.PACE),
    )


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


def noisy(evidence: Evidence) -> float:
    """The noise of the mini-batches makes most of the second-order term of a step.

    Where that term is no curvature upwards, the noise is larger than the gradient itself.
    """
    if math.isnan(evidence.value("noise_share")):
        return t.below(evidence.measured("gradient_signal"), 1.0)
    return t.above(evidence.measured("noise_share"), t.NOISE_SHARE)


def lower_wins(evidence: Evidence) -> float:
    """A tenth of the rate ends lower than the run as it is, beyond the scatter of both.

    And by a good part of its own fall, or the run as it is has come to rest above it.
    """
    lower, own = evidence.measured("lower_rate_fall"), evidence.measured("unchanged_fall")
    if math.isinf(own.value):
        own = Estimate(-1.0)
    ahead = Estimate(lower.value - own.value, math.hypot(lower.error, own.error))
    late = evidence.measured("late_fall")
    return t.both(
        t.above(lower, t.STILL),
        t.above(ahead, t.STILL),
        t.either(
            t.above(lower, t.AHEAD * max(own.value, 1e-9)),
            t.below(late, max(t.LATE * ahead.value, 1e-9)),
        ),
        t.below(own, max(t.SEVERAL * ahead.value, 1e-9)),
    )


def falls_at_all(evidence: Evidence) -> float:
    """The unchanged run goes down, however little."""
    return evidence.measured("unchanged_fall").confidence_above(0.0)


def diverges(evidence: Evidence) -> float:
    """Continued unchanged, the loss ends above its start by the range or more, or has been thrown up.

    What blows up in one order of the data and not in another may do either.
    """
    blown = evidence.value("blown_up")
    return t.either(
        t.above(-evidence.measured("unchanged_fall"), t.RISE),
        thrown(evidence),
        t.SOMETIMES if 0 < blown < 1 else 0.0,
    )


def thrown(evidence: Evidence) -> float:
    """The steps have thrown the loss above a constant predictor's and keep it there; smaller ones do not.

    Heights above that predictor are told as shares of what lies between it and the lowest loss known.
    """
    below = 1 - max(evidence.value("above_constant"), 0.0)

    def height(name: str) -> Estimate:
        above = evidence.measured(name)
        return (
            Estimate(above.value / below, above.error / below) if below > 0 else Estimate(math.nan)
        )

    end, lower = height("unchanged_above"), height("lower_rate_above")
    kept = t.above(Estimate(end.value - lower.value, math.hypot(end.error, lower.error)), t.KEPT_UP)
    return t.both(t.above(height("above_constant"), t.UP), t.above(end, t.UP), kept)


def too_slow(evidence: Evidence) -> float:
    """Far inside the stability limit, on a slope, with a raised rate several times faster."""
    own = max(evidence.value("unchanged_fall"), 0.0)
    raised = steady(evidence, "raised_rate_fall")
    some = t.both(t.above(raised, t.STILL), t.above(raised, max(t.MANY * own, 1e-9)))
    return t.both(
        t.below(evidence.measured("stability"), t.TINY_STABILITY),
        t.either(t.above(raised, t.WORTH), t.both(some, t.above(best_fall(evidence), t.WORTH))),
        t.above(raised, max(t.SEVERAL * own, 1e-9)),
        t.either(t.opposite(slopeless(evidence)), _further_than_pushed(evidence)),
        t.opposite(blocked(evidence)),
    )


def _further_than_pushed(evidence: Evidence) -> float:
    """A raised rate leads further down than a push and descent: no saddle holds the run."""
    pushed = evidence.value("nudge_fall")
    if not pushed > 0:
        return 0.0
    return t.above(steady(evidence, "raised_rate_fall"), t.AHEAD * pushed)


def spiky(evidence: Evidence) -> float:
    """Jumps of the loss that are high, rare and repeated, of which a few examples are the cause.

    Those have most of the squared gradients. Where single examples were not looked at, the losses
    after a jump stand higher than before it, or the jumps tower over everything. Where every step
    takes all the examples none can be the rare one: such a jump is overshooting.
    """
    if evidence.value("noise_share") == 0:
        return 0.0
    jump, height = evidence.measured("jump"), evidence.measured("jump_height")
    rare = t.below(evidence.measured("jump_share"), t.RARE)
    high = t.both(t.above(jump, t.SPIKE), t.above(height, t.SPIKE_HEIGHT))
    if "rare_share" in evidence:
        few = t.above(evidence["rare_share"], t.FEW_PULL)
        return t.both(high, few, t.above(evidence.measured("jumps"), t.SEEN_AGAIN), rare)
    kicked = t.both(high, t.above(evidence.measured("kick"), t.KICK))
    towering = t.both(t.above(jump, t.TOWERING_JUMP), t.above(height, t.TOWERING))
    repeated = t.above(evidence.measured("jumps"), t.REPEATED)
    return t.both(t.either(kicked, towering), rare, repeated)


def bounces(evidence: Evidence) -> float:
    """Near the limit and without noise to blame, single steps raise the loss, and it falls no further
    than at a lower rate."""
    lower = max(evidence.value("lower_rate_fall"), 1e-9)
    return t.both(
        t.above(evidence.measured("stability"), t.NEAR_LIMIT),
        t.above(evidence.measured("bounce"), t.BOUNCE),
        t.opposite(noisy(evidence)),
        t.below(evidence.measured("unchanged_fall"), lower),
    )


def overfits(evidence: Evidence) -> float:
    """Held-out loss stands above training loss and rises as the run goes on.

    Of a poor fit it must rise far, while training loss falls.
    """
    rise = evidence.measured("test_rise")
    return t.both(
        t.above(evidence.measured("test_gap"), t.GAP),
        t.either(
            t.both(t.above(rise, t.TEST_RISE), t.opposite(fits_poorly(evidence))),
            t.both(t.above(rise, t.GAP), falls(evidence), t.opposite(lower_wins(evidence))),
        ),
    )


def fits_poorly(evidence: Evidence) -> float:
    """The fit explains next to nothing of the constant predictor's loss."""
    return t.below(evidence.measured("explained"), t.EXPLAINED)


def no_signal(evidence: Evidence) -> float:
    """Neither a linear predictor nor neighbours see a relation of inputs and targets."""
    return t.below(evidence.measured("label_signal"), t.SIGNAL)


def better_known(evidence: Evidence) -> float:
    """A lower loss is known: seen earlier in the run, or reached by the escape probe."""
    return t.either(
        t.above(evidence.measured("earlier_fall"), t.BETTER),
        t.above(evidence.measured("escape_fall"), t.BETTER),
    )
