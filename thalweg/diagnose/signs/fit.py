"""How good the fit is, on what was trained on and on what was held out."""

from thalweg.diagnose import thresholds as t
from thalweg.diagnose.signs.motion import falls, lower_wins
from thalweg.estimate import Evidence

__all__ = [
    "better_known",
    "fits_poorly",
    "no_signal",
    "overfits",
]


def fits_poorly(evidence: Evidence) -> float:
    """The fit explains next to nothing of the constant predictor's loss."""
    return t.below(evidence.measured("explained"), t.EXPLAINED)


def no_signal(evidence: Evidence) -> float:
    """Neither a linear predictor nor neighbours see a relation of inputs and targets."""
    return t.below(evidence.measured("label_signal"), t.SIGNAL)


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


def better_known(evidence: Evidence) -> float:
    """A lower loss is known: seen earlier in the run, or reached by the escape probe."""
    return t.either(
        t.above(evidence.measured("earlier_fall"), t.BETTER),
        t.above(evidence.measured("escape_fall"), t.BETTER),
    )
