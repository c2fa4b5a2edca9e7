"""Two cures at once, as one more arm of a race."""

from collections.abc import Sequence

from thalweg.diagnose.cures import Cure, Ground, cure_named, out_of_range
from thalweg.diagnose.cures.joined import joined
from thalweg.diagnose.cures.places import Places
from thalweg.run.training import Training

__all__ = ["best_combination", "combined", "named", "parts", "why_not"]

JOINT = " + "

TURNS = (
    *("optimizer", "batch", "examples"),
    # What looks at the slope before what takes another, and what measures the weights as they are
    # before what moves them.
    *("perturbed_descent", "sharpness_aware", "noise", "clip", "weight_decay", "move"),
    # A rate before what begins from it, and what ends a schedule before what begins one.
    *("learning_rate", "range_test", "average", "stopping", "rate"),
)
"""Kinds or families of cures in the order in which two of them are made, the pair named as it may be."""


def combined(first: Cure, second: Cure) -> Cure | None:
    """Both cures as one; None where one undoes the other.

    Another optimizer comes before what changes its rate.
    """
    undone = _family(first) == _family(second) or set(first.decides) & set(second.decides)
    if first.change is None or second.change is None or undone:
        return None
    pair = sorted((first, second), key=lambda cure: _family(cure) != "optimizer")
    one, other = map(_turn, pair)
    made = pair if one is None or other is None or one <= other else pair[::-1]
    changes = [cure.change for cure in made if cure.change is not None]

    def change(training: Training, ground: Ground) -> None:
        for each in changes:
            each(training, ground)

    return Cure(
        JOINT.join(cure.name for cure in pair),
        "Both at once.",
        _code(*made),
        change,
        " ".join(cure.costs for cure in pair if cure.costs),
        "; ".join(cure.source for cure in pair if cure.source),
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
    pair = _known(name)
    return combined(*pair) if len(pair) == 2 else None


def parts(name: str) -> frozenset[str]:
    """The names of the cures joined in one, whichever comes first."""
    return frozenset(name.split(JOINT))


def why_not(name: str) -> str | None:
    """The rule that a name breaks whose cures are known by kind; None where one is not known."""
    broken = next(filter(None, map(out_of_range, name.split(JOINT))), None)
    pair = _known(name)
    if broken is not None or len(pair) < 2:
        return broken
    advice = next((cure.name for cure in pair if cure.change is None), None)
    if len(pair) > 2:
        return "no more than two can be joined"
    if advice is not None:
        return f"{advice} is advice that only a person can follow"
    return "the second would undo the first"


def _known(name: str) -> list[Cure]:
    """The cures joined in a name; none where one of them is not known."""
    found = [cure_named(part) for part in name.split(JOINT)]
    known = [cure for cure in found if cure is not None]
    return known if len(known) == len(found) else []


def _code(first: Cure, second: Cure) -> str:
    """The lines of both in their places, or that there are none to paste."""
    if not (first.code.strip() or second.code.strip()):
        return ""
    missing = [cure.name for cure in (first, second) if not Places.of(cure.code).is_code]
    if missing:
        return f"# no lines for both: {missing[0]} has none"
    both = joined(first.code, second.code)
    said = f"# no lines for both: those of {first.name} and {second.name} are to be joined by hand"
    return said if both is None else both


def _turn(cure: Cure) -> int | None:
    kind = cure.name.split(" ")[0]
    word = kind if kind in TURNS else cure.family
    return TURNS.index(word) if word in TURNS else None


def _family(cure: Cure) -> str:
    return cure.family or cure.name.split(" ")[0]
