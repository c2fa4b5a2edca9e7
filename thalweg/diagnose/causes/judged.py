"""How a rule's probability becomes a Finding."""

from collections.abc import Sequence

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.cures import Cure
from thalweg.diagnose.finding import Finding
from thalweg.estimate import Evidence

__all__ = ["judged"]

LEAST = 0.05
"""A cause less probable than this is not listed."""

MOST = 0.97
"""No rule of thumb is surer than this."""


def judged(
    cause: Cause,
    probability: float,
    sentence: str,
    evidence: Evidence,
    relied_on: Sequence[str],
    cures: Sequence[Cure] = (),
) -> Finding | None:
    """The Finding, or None where the probability says that it is not this cause."""
    if not probability >= LEAST:
        return None
    used = tuple(name for name in relied_on if name in evidence)
    return Finding(
        cause,
        sentence,
        min(probability, MOST),
        relied_on=used,
        evidence=Evidence({name: evidence[name] for name in used}),
        cures=tuple(cures),
    )
