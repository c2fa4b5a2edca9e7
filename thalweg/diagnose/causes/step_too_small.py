"""The rate is far below what the curvature allows."""

import math

from thalweg.diagnose import cures
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import fall, measured, number
from thalweg.diagnose.signs import too_slow
from thalweg.estimate import Evidence

__all__ = ["step_too_small"]


def step_too_small(evidence: Evidence) -> Finding | None:
    """Stability far below 1, a slope to go down, and a raised rate that falls several times faster."""
    raised = evidence.value("raised_by")
    sentence = (
        f"The learning rate is far too small: stability is "
        f"{measured(evidence.measured('stability'))}, where 1 is the limit. At "
        f"{f'{number(raised)} times the' if raised > 1 else 'a higher'} rate the loss "
        f"{fall(evidence.value('raised_rate_fall'), of='its range')} in the same steps in which, as "
        f"it is, it {fall(evidence.value('unchanged_fall'), of='its range')}."
    )
    options = [cures.range_test(), cures.adam()]
    if 1 < raised < math.inf:
        options = [cures.learning_rate(raised), cures.range_test(), cures.adam()]
    return judged(
        Cause.STEP_TOO_SMALL,
        too_slow(evidence),
        sentence,
        evidence,
        ("stability", "unchanged_fall", "raised_rate_fall", "raised_by", "gradient_reach"),
        options,
    )
