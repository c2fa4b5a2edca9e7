"""Successive halving: how far each arm of a race runs before the worst are dropped."""

from dataclasses import dataclass

__all__ = ["FULL_FIELD", "LONGEST_RUNS", "MARKS", "Rung", "rungs"]

MARKS = 20
"""Looks at the loss along an arm that runs to the end."""

FULL_FIELD = 3
"""As many cures run to the end without any being dropped."""

FLOOR = 3
"""Marks that an arm runs at least before it may be dropped: 15% of the longest run."""

LONGEST_RUNS = 4
"""What a race of up to eight cures may cost for each seed, in longest runs."""

FIRST_KEPT = 2


@dataclass(frozen=True)
class Rung:
    """A stage before the last: arms run for ``marks`` of MARKS, then ``keep`` of them go on."""

    marks: int
    keep: int


def rungs(cures: int) -> tuple[Rung, ...]:
    """The stages of a race of so many cures, before the last.

    Up to FULL_FIELD cures all run to the end. Of more, all and the combination of the two best run
    for a share f of the longest run, two go on to 2 f, and one to the end beside the unchanged run.
    Each stage starts from the user's state, on seeds that no later verdict uses. f is as large as
    (n + 1) f + 2 · 2 f + 2 ≤ 4 longest runs a seed allows for n cures, and never below 15%, at which
    eight cures cost 3.95; each more costs 0.15. Where cures spend much before their first step, the
    combination and the second stage are left out as the cost of the whole asks.
    """
    if cures <= FULL_FIELD:
        return ()
    spare = (LONGEST_RUNS - 2) * MARKS
    marks = max(FLOOR, spare // (cures + 1 + 2 * FIRST_KEPT))
    return Rung(marks, FIRST_KEPT), Rung(2 * marks, 1)
