"""Every number that a verdict turns on, in one place, dimensionless, each with its reason.

Falls are shares of the range of the loss: from the best constant predictor to the lowest loss known, or
promised by plain predictors of the targets.
"""

import math
from statistics import NormalDist

from thalweg.estimate import Estimate

__all__ = ["above", "below", "both", "either", "opposite"]

STILL = 0.005
"""A fall below this share of the range is none. Converged runs show 1e-7 to 1e-3 in a continuation,
runs that go on 1e-2 and more."""

DOWN = 0.05
"""A fall of such a share of the range in a continuation is a good part."""

WORTH = 0.01
"""A fall that another rate or descent must reach for its way to count as open."""

PACE = 0.2
"""A run is slow that falls by less than this share of what thirty steps of L-BFGS or the best other
arm reach from the same point. Healthy runs reach 0.4 to 1, ravines 0.001 to 0.1."""

TINY_STABILITY = 0.1
"""A step is too small where stability is far below 1 and a raised rate falls several times faster."""

SEVERAL, MANY = 3.0, 10.0
"""'Several times' in the above; and how many times further a raised rate must fall that has not come
far."""

NEAR_LIMIT = 0.15
"""A rate that can be raised at most six times is held by the walls of the valley: a ravine's sign."""

EDGE = 0.4
"""Stability from which full-batch steps are seen to bounce: 1 by theory at a fixed point; half of a
two-cycle's points lie where the curvature is lower."""

UP, KEPT_UP = 0.15, 0.3
"""Heights above a constant predictor, as shares of the way from there to the lowest loss known: above the
first a run has been thrown up, and it is kept up where a lower rate ends lower by the second."""

FAR = 100.0
"""A rise by so many times the range is a divergence even where the loss comes back."""

SOMETIMES = 0.7
"""How sure a divergence is that one order of the data shows and another does not."""

NOISE_SHARE = 0.35
"""Noise makes a good part of the second-order term of a step: near a floor, where one gradient is as
large as the next, half of it and more; full batches have none."""

SADDLE_DROP = 0.02
"""A fall along negative curvature or from a nudge that is worth the name of a way out."""

BENT = 0.03
"""Most negative curvature as a share of the largest: near saddles 0.1 to 1, in valleys 0.01 and less."""

BETTER = 0.02
"""A probe or the history must have been lower by this for a minimum to be called local."""

REACH = 0.01
"""Slope times the usual length of a fresh weight vector: below this share of the range a move as
large as the whole initialisation would not change the loss: flat ground. Runs on a slope have 0.2
to 1, saturated networks 1e-6 and less."""

EXPLAINED = 0.1
"""Share of the constant predictor's loss that is explained (R², McFadden's pseudo-R²), below which
nothing was learnt. A verdict needs signs beside it."""

RISE = 1.0
"""A rise by the whole range within a continuation is a divergence."""

SPIKE = 10.0
"""Spreads by which a loss must stand above both neighbours' medians; sampling gives 3 to 6."""

SPIKE_HEIGHT = 0.5
"""The same as a share of the range, so that smooth runs, whose spread is rounding, have no spikes."""

RARE = 0.15
"""Spikes in more steps than this are the noise itself."""

REPEATED = 6
"""A few jumps are accidents."""

FEW_PULL, SEEN_AGAIN = 0.6, 1.5
"""What a hundredth of the examples has of all squared gradients where they are wild, 0.5 to 1; else it is
0.03 to 0.45. Then more jumps than one tell."""

OVERSTEP, FEW = 1.0, 0.01
"""A step that is to take off more than twice the loss of an example overshoots it. Where more examples
than this are overshot, the rate is too high, not an example wild."""

KICK = 3.5
"""Spreads by which the losses after a jump stand higher than before: the step threw the run out. A
batch that was merely hard leaves none."""

TOWERING, TOWERING_JUMP = 12.0, 100.0
"""A jump of so many ranges of the loss, and so many spreads, needs no further sign."""

GAP = 0.08
"""Held-out loss above training loss, as a share of the range, from which fits are too close."""

TEST_RISE = 0.002
"""Rise of the held-out loss over a continuation, as a share of the range."""

FLAT_SHARE = 0.65
"""Share of a layer's units that are dead or stuck at an end: a third is usual under ReLU, nearly all
block the layer."""

SAME_OUTPUT = 1e-3
"""Deviation of the outputs over the examples, relative to their size, below which they are one and
the same for all inputs. Networks that learn have 0.1 and more."""

LEARNT = 0.5
"""Share of one small batch's loss that Adam takes away from a network that can learn: all but all of
it; dead and saturated networks give up their offset, 0.02 to 0.15."""

AHEAD = 1.5
"""A tenth of the rate must fall this many times further than the run to be called better."""

LATE = 0.3
"""Fall of the run's last quarter as a share of its distance from the lower rate: at rest below it."""

BOUNCE = 0.02
"""Change of the loss in one full-batch step, as a share of the range, without a fall to go with it."""

RETURN = 0.6
"""Share of the escape probe's trials that end at the loss where they began: one basin takes them."""

SIGNAL = 0.03
"""Held-out R² of simple predictors; shuffled labels give 0 within 0.01 to 0.03."""

SOFTNESS = 0.25
"""No threshold is known better than to a quarter of itself: a margin is told in these units, with
the Estimate's own error added in quadrature."""

_NORMAL = NormalDist()


def above(estimate: Estimate, threshold: float) -> float:
    """Probability that the Estimate lies above a positive threshold; 0 where it was not measured."""
    value, error = estimate.value, estimate.error
    if math.isnan(value) or not threshold < math.inf:
        return 0.0
    if math.isinf(value):
        return float(value > 0)
    error = 0.0 if math.isnan(error) else error
    if value > 2 * error:
        return _NORMAL.cdf(
            (math.log(value) - math.log(threshold)) / math.hypot(error / value, SOFTNESS)
        )
    return _NORMAL.cdf((value - threshold) / math.hypot(error, SOFTNESS * threshold))


def below(estimate: Estimate, threshold: float) -> float:
    """Probability that the Estimate lies below a positive threshold; 0 where it was not measured."""
    return 0.0 if math.isnan(estimate.value) else 1 - above(estimate, threshold)


def both(*probabilities: float) -> float:
    """All of them: the least, as the signs of one cause come together."""
    return min(probabilities)


def either(*probabilities: float) -> float:
    """Any of them: the greatest."""
    return max(probabilities)


def opposite(probability: float) -> float:
    """The contrary."""
    return 1 - probability
