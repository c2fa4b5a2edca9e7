"""Two cures at once, as one more arm of a race."""

from collections.abc import Sequence

from thalweg.diagnose.cures import Cure, Ground, cure_named
from thalweg.run.training import Training

__all__ = ["best_combination", "combined", "named"]

JOINT = " + "

_REPLACES_OPTIMIZER = {"momentum", "nesterov", "rmsprop", "adam", "adamw"}
"""First words of the cures that put another optimizer in place of the user's: two exclude each
other, and one comes before what changes the rate."""

_SETS_RATE = {"learning_rate", "decay_rate"}


def combined(first: Cure, second: Cure) -> Cure | None:
    """Both cures as one; None where one undoes the other."""
    if first.change is None or second.change is None or _family(first) == _family(second):
        return None
    pair = sorted((first, second), key=lambda cure: _family(cure) != "optimizer")
    changes = [cure.change for cure in pair if cure.change is not None]

    def change(training: Training, ground: Ground) -> None:
        for each in changes:
            each(training, ground)

    return Cure(
        JOINT.join(cure.name for cure in pair),
        "Both at once.",
        "\n".join(cure.code for cure in pair),
        change,
    )


def best_combination(ranked: Sequence[Cure]) -> Cure | None:
    """Of the two best that go together; the cures come best first."""
    for second in range(1, len(ranked)):
        for first in range(second):
            both = combined(ranked[first], ranked[second])
            if both is not None:
                return both
    return None


def named(name: str) -> Cure | None:
    """The cure of that name, or the combination of two joined by `` + ``."""
    if JOINT not in name:
        return cure_named(name)
    pair = [cure_named(part) for part in name.split(JOINT)]
    if len(pair) != 2 or pair[0] is None or pair[1] is None:
        return None
    return combined(pair[0], pair[1])


def _family(cure: Cure) -> str:
    kind = cure.name.split(" ")[0]
    if kind in _REPLACES_OPTIMIZER:
        return "optimizer"
    return "rate" if kind in _SETS_RATE else kind
