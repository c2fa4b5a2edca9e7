"""How the run moves, and what its steps do: pure functions of Evidence that give a probability."""

import math

from thalweg.diagnose import thresholds as t
from thalweg.estimate import Estimate, Evidence

__all__ = [
    "best_fall",
    "bounces",
    "comes_down",
    "diverges",
    "falls",
    "falls_at_all",
    "lower_wins",
    "noisy",
    "pace",
    "spiky",
    "steady",
    "thrown",
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


def falls_at_all(evidence: Evidence) -> float:
    """The unchanged run goes down, however little."""
    return evidence.measured("unchanged_fall").confidence_above(0.0)


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
        pull = t.above(evidence["rare_share"], t.FEW_PULL)
        few = t.either(pull, _overstepped(evidence))
        return t.both(high, few, t.above(evidence.measured("jumps"), t.SEEN_AGAIN), rare)
    kicked = t.both(high, t.above(evidence.measured("kick"), t.KICK))
    towering = t.both(t.above(jump, t.TOWERING_JUMP), t.above(height, t.TOWERING))
    repeated = t.above(evidence.measured("jumps"), t.REPEATED)
    return t.both(t.either(kicked, towering), rare, repeated)


def _overstepped(evidence: Evidence) -> float:
    """Steps that overshoot the own minimum of a few examples, though of no others, throw the run out."""
    return t.both(
        t.above(evidence.measured("overstep"), t.OVERSTEP),
        t.below(evidence.measured("overstep_share"), t.FEW),
        t.above(evidence.measured("kick"), t.KICK),
        t.above(evidence.measured("jumps"), t.REPEATED),
    )
