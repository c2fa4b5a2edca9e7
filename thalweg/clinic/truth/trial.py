"""The trial: what the battery's experiments establish, or that they leave it open.

Every criterion is yes, no or open: between its two thresholds, which lie a factor of 2 to 5 apart,
nobody could say. A cause is established where all its criteria are met, and excluded where one
is not. A run has a true cause where one is established and every other is excluded; the rest are
thrown away, and counted with the reason. Nothing here is shared with the rules of the diagnosis:
not its measurements, nor its thresholds, nor its probes.
"""

import math
from dataclasses import dataclass

from thalweg.clinic.interventions import nothing, rate
from thalweg.clinic.truth.battery import Battery, fresh, push
from thalweg.clinic.truth.experiment import mean
from thalweg.diagnose.cause import Cause

__all__ = ["Truth", "tried"]

Ternary = bool | None
"""Yes, no, or open."""


@dataclass(frozen=True)
class Truth:
    """The cause, or None and why it is open; ``numbers`` are those that decided."""

    cause: Cause | None
    reason: str
    numbers: dict[str, float]


def over(value: float, no: float, yes: float) -> Ternary:
    """Yes from ``yes`` up, no below ``no``, open between."""
    if math.isnan(value):
        return None
    return True if value >= yes else False if value <= no else None


def under(value: float, yes: float, no: float) -> Ternary:
    """Yes up to ``yes``, no from ``no`` on, open between."""
    return negated(over(value, yes, no))


def negated(answer: Ternary) -> Ternary:
    """The contrary; open stays open."""
    return None if answer is None else not answer


def every(*answers: Ternary) -> Ternary:
    """No if one is, else open if one is."""
    return False if False in answers else None if None in answers else True


def some(*answers: Ternary) -> Ternary:
    """Yes if one is, else open if one is."""
    return negated(every(*map(negated, answers)))


def tried(battery: Battery) -> Truth:
    """Make the experiments and say what they establish."""
    b = battery
    if not math.isfinite(b.start):
        return _not_finite(b)
    if b.mend is not None and "example" not in str(b.mend):
        return _miswired(b)
    causes = _causes(b)
    numbers = {k: round(float(v), 5) for k, v in _numbers(b).items()}
    held = [cause for cause, answer in causes.items() if answer]
    doubtful = [cause for cause, answer in causes.items() if answer is None]
    if Cause.DIVERGING in held:
        return Truth(Cause.DIVERGING, "", numbers)
    if len(held) == 1 and not doubtful:
        return Truth(held[0], "", numbers)
    if len(held) > 1:
        reason = "more than one: " + ", ".join(sorted(held))
    elif held:
        reason = f"{held[0]}, but open: " + ", ".join(sorted(doubtful))
    elif doubtful:
        reason = "open: " + ", ".join(sorted(doubtful))
    else:
        reason = "none"
    return Truth(None, reason, numbers)


def _not_finite(b: Battery) -> Truth:
    slow = mean([run.end for run in b.runs(rate(0.1))])
    if not math.isfinite(slow):
        return Truth(Cause.NOT_FINITE, "", {})
    return Truth(None, "not finite, yet a lower rate mends it", {})


def _miswired(b: Battery) -> Truth:
    assert b.mend is not None
    try:
        own, tenth = b.fall(nothing), max(b.fall(rate(0.1)), b.fall(rate(10)))
    except (IndexError, RuntimeError):
        return Truth(Cause.MISWIRED, "", {})
    mended = b.runs(b.mend)
    first, last = mean([r.objectives[0] for r in mended]), mean([r.end for r in mended])
    numbers = {"own": own, "rates": tenth, "mended": (first - last) / b.range}
    # The softmax's loss has another scale: ends are compared, not falls.
    gain = (b.start - max(own, tenth, 0.0) * b.range) - last
    if over(gain / b.range, 0.02, 0.1):
        return Truth(Cause.MISWIRED, "", numbers)
    return Truth(None, "the fault in the wiring costs little", numbers)


def _numbers(b: Battery) -> dict[str, float]:
    keys = {str(c): b.fall(c, orders=2) for c in (nothing, rate(0.1))} | {
        "pushed": b.fall(push(0.1)),
        "slope": b.slope,
    }
    return keys | {
        "raised": max(b.raised().values()),
        "other": max(b.others().values()),
        "late": b.late(),
        "start": b.start,
        "constant": b.constant,
        "range": b.range,
        "L-BFGS": b.descent(),
    }


def _causes(b: Battery) -> dict[Cause, Ternary]:
    own, tenth = b.fall(nothing, orders=2), b.fall(rate(0.1), orders=2)
    third = b.fall(rate(1 / 3))
    lower = max(tenth, third)
    diverging = every(
        some(over(-own, 0.3, 2.0), _thrown(b, own)),
        over(lower - max(own, -10.0), 0.2, 0.5),
    )
    if diverging:
        return {Cause.DIVERGING: True}
    raised = max(b.raised().values())
    pushed = b.fall(push(0.1))
    other = max(b.others().values())
    here = max(own, 0.0)
    falls = over(own, 0.004, 0.015)
    spiky, held_out = _spiky(b), _overfits(b)

    gain = lower - own
    lower_wins = _lower_wins(b, own, lower)
    noise = False
    if b.noisy and gain > 0:
        noise = over(b.without_noise() - own, 0.25 * gain, 0.5 * gain)

    # A nudge, and then the run's own steps or descent, go where the run by itself does not.
    further = pushed - here
    if falls is not True:
        further = max(further, b.gain_of_push)
    leaves = over(further, 0.01, 0.04)
    steep = over(b.slope, 0.02, 0.1)  # then what a nudge gains is gained without one
    slower = every(over(raised, 0.005, 0.02), over(raised, 2.0 * here, 4.0 * here))
    slope = over(b.descent(), 0.004, 0.015)
    crawls = every(over(other, 0.005, 0.02), over(other, 3.0 * here, 6.0 * here))
    best = max(lower, raised, pushed)
    if b.start > 0.8 * b.constant:  # next to nothing was learnt that a fresh start would lose
        best = max(best, 0.5 * b.fall(fresh(b.build)))
    found = {
        Cause.DIVERGING: diverging,
        Cause.EDGE_OF_STABILITY: every(lower_wins, negated(noise), negated(spiky)),
        Cause.NOISE_FLOOR: every(lower_wins, noise, negated(spiky)),
        Cause.STEP_TOO_SMALL: every(slower, slope, some(negated(leaves), steep), negated(spiky)),
        Cause.SPIKES: spiky,
        Cause.SADDLE: every(
            negated(falls),
            under(-own, 0.05, 0.3),
            leaves,
            negated(steep),
            _bends_down(b),
            negated(spiky),
        ),
        Cause.RAVINE: every(
            over(own, 1e-6, 1e-5),
            crawls,
            negated(slower),
            under(raised, 1.5 * here, 2.5 * here),
            negated(lower_wins),
            negated(leaves),
            negated(spiky),
            negated(held_out),
            _walled(b),
        ),
        Cause.HEALTHY: every(
            falls,
            under(
                (b.start - own * b.range) / b.constant, 0.9, 0.98
            ),  # more than an offset is learnt
            under(best, 1.6 * here, 3 * here),
            negated(crawls),
            negated(lower_wins),
            negated(held_out),
            negated(spiky),
        ),
        Cause.OVERFITTING: every(held_out, negated(lower_wins), negated(slower)),
    }
    settled = every(
        under(abs(own), 0.005, 0.015),
        under(abs(tenth), 0.005, 0.015),
        negated(slope),
        negated(leaves),
        negated(spiky),
        negated(held_out),
    )
    return found | _at_rest(b, settled)


def _lower_wins(b: Battery, own: float, lower: float) -> Ternary:
    """A lower rate ends lower, and the run as it is has come to rest above that.

    A run that comes down by several times what the lower rate would add is not held up by its rate,
    though it will be some day. Nor is it the rate that holds a run where next to nothing is learnt,
    if the lower one too goes only a small part of the way that the same training goes from fresh
    weights: then there are two causes, and which is the first stays open or is no.
    """
    gain = lower - own
    if not gain > 0:
        return False
    learns: Ternary = True
    if b.start > 0.8 * b.constant:
        anew = max(b.fall(fresh(b.build)), 0.0)
        learns = over(lower, 0.1 * anew, 0.4 * anew)
    return every(
        over(gain, 0.005, 0.02),
        over(lower, 0.002, 0.01),
        under(b.late(), 0.25 * gain, 0.6 * gain),
        under(own, 2.0 * gain, 4.0 * gain),
        learns,
    )


def _thrown(b: Battery, own: float) -> Ternary:
    """The steps have thrown the loss above a constant predictor's, and keep it there."""
    end = b.start - own * b.range
    return every(over(b.start / b.constant, 1.0, 1.5), over(end / b.constant, 0.9, 1.2))


def _walled(b: Battery) -> Ternary:
    """A valley's walls rise: where curvature falls off as steeply as it rises, there is no valley."""
    return under(-b.lean, 0.15, 0.5)


def _bends_down(b: Battery) -> Ternary:
    """Whether an eigenvalue is negative beyond rounding; yes where the Hessian is too large."""
    if b.spectrum is None:
        return True
    lowest, top = float(b.spectrum[0]), float(b.spectrum[-1])
    return over(-lowest / top, 1e-10, 1e-7)


def _at_rest(b: Battery, settled: Ternary) -> dict[Cause, Ternary]:
    """What the ground is where nothing near leads down."""
    names = (Cause.PLATEAU, Cause.LOCAL_MINIMUM, Cause.MINIMUM, Cause.CANNOT_FIT)
    if not settled:
        return dict.fromkeys(names, settled)
    best = min(*b.search, b.restarted)
    better = over((b.start - best) / b.range, 0.01, 0.05)
    explained = 1 - b.plain() / b.constant
    flat = None if b.flat is None else over(b.flat, 0.4, 0.8)
    poor = under(explained, 0.06, 0.13)
    return {
        Cause.PLATEAU: every(settled, better, flat),
        Cause.LOCAL_MINIMUM: every(settled, better, negated(flat)),
        Cause.MINIMUM: every(settled, negated(better), negated(poor)),
        Cause.CANNOT_FIT: every(settled, negated(better), poor),
    }


def _overfits(b: Battery) -> Ternary:
    """Held-out loss above that of training, and rising as the run goes on."""
    if b.task.test is None:
        return False
    return every(over(b.test_gap(), 0.03, 0.08), over(b.test_rise(), 0.001, 0.01))


def _spiky(b: Battery) -> Ternary:
    """Wild examples were put in; without them the rest are fitted far better."""
    if b.mend is None or "example" not in str(b.mend):
        return False
    own = b.runs(nothing, typical=True)
    mended = b.runs(b.mend, typical=True)
    size = len(own[0].typical) // 2
    before = mean([mean(r.typical[-size:]) for r in own])
    after = mean([mean(r.typical[-size:]) for r in mended])
    medians = [sorted(r.losses)[len(r.losses) // 2] for r in own]
    jumps = mean(
        [
            sum(v > 8 * m for v in r.losses) / len(r.losses)
            for r, m in zip(own, medians, strict=True)
        ]
    )
    return every(under(after / before, 0.7, 0.95), over(jumps, 0.0, 0.004), under(jumps, 0.12, 0.2))
