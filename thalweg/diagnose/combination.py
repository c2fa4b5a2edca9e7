"""Two cures at once, as one more arm of a race."""

from collections.abc import Sequence

from thalweg.diagnose.cures import Cure, Ground, cure_named
from thalweg.run.training import Training

__all__ = ["best_combination", "combined", "named", "why_not"]

JOINT = " + "


def combined(first: Cure, second: Cure) -> Cure | None:
    """Both cures as one; None where one undoes the other.

    Another optimizer comes before what changes its rate.
    """
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
        _joined(pair[0].code, pair[1].code),
        change,
    )


def best_combination(ranked: Sequence[Cure]) -> Cure | None:
    """Of the two best that go together, none of them one already; the cures come best first.

    A factor of the learning rate that was found for one optimizer is not carried to another.
    """
    ranked = [cure for cure in ranked if JOINT not in cure.name]
    for second in range(1, len(ranked)):
        for first in range(second):
            pair = ranked[first], ranked[second]
            fitted = any(cure.name.startswith("learning_rate ") for cure in pair)
            if fitted and any(_family(cure) == "optimizer" for cure in pair):
                continue
            both = combined(*pair)
            if both is not None:
                return both
    return None


def named(name: str) -> Cure | None:
    """The cure of that name, or the combination of two joined by `` + ``."""
    if JOINT not in name:
        return cure_named(name)
    pair = _parts(name)
    return combined(*pair) if len(pair) == 2 else None


def why_not(name: str) -> str | None:
    """Why cures that are known one by one are not raced under this name; None if one is not known."""
    pair = _parts(name)
    if len(pair) < 2:
        return None
    advice = next((cure.name for cure in pair if cure.change is None), None)
    if len(pair) > 2:
        return "no more than two can be joined"
    if advice is not None:
        return f"{advice} is advice that only a person can follow"
    return "the second would undo the first"


def _parts(name: str) -> list[Cure]:
    """The cures joined in a name; none where one of them is not known."""
    found = [cure_named(part) for part in name.split(JOINT)]
    known = [cure for cure in found if cure is not None]
    return known if len(known) == len(found) else []


def _joined(first: str, second: str) -> str:
    """The lines of both; what both say of a schedule, or the like, at their end is said once."""
    *begin, last = first.splitlines()
    if last.startswith("#") and second.endswith(last):
        return "\n".join([*begin, second])
    return f"{first}\n{second}"


def _family(cure: Cure) -> str:
    return cure.family or cure.name.split(" ")[0]
