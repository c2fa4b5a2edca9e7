"""Successive halving: how far each arm of a race runs before the worst are dropped."""

from dataclasses import dataclass

__all__ = ["FULL_FIELD", "MARKS", "Rung", "rungs"]

MARKS = 20
"""Looks at the loss along an arm that runs to the end."""

FULL_FIELD = 3
"""As many cures run to the end without any being dropped."""


@dataclass(frozen=True)
class Rung:
    """A stage before the last: arms run for ``marks`` of MARKS, then the best ``keep`` go on."""

    marks: int
    keep: int


def rungs(cures: int) -> tuple[Rung, ...]:
    """The stages of a race of so many cures, before the last.

    Up to FULL_FIELD cures all run to the end. Of more, every one gets at least 15% of the longest
    run before it may be dropped; the two best go to 30%, and one to the end. Each stage starts from
    the user's state on seeds that no later verdict uses. With the unchanged run and the combination
    of the two best, n cures cost 0.15 (n + 1) + 0.6 + 2 longest runs a seed: 3.95 for eight.
    """
    return () if cures <= FULL_FIELD else (Rung(3, 2), Rung(6, 1))
