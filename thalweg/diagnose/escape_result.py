"""What an escape found: rounds of noise, warm restarts, fresh starts, and what they say of a minimum."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.finding import Finding
from thalweg.estimate import Estimate, number
from thalweg.run.ends import Proportion

__all__ = ["Attempt", "End", "Escape", "Round"]


@dataclass(frozen=True)
class End:
    """Where one trial ended, seen from the minimum it began at.

    Attributes:
        loss: there.
        fall: how much lower it is; below 0 where it is higher.
        distance: in the units of the parameters.
        barrier: how far the loss on the straight line rises above the line between its ends; NaN
            where nobody looked.
        agreement: share of the examples that both put into the same class; NaN without classes.
        kind: ``lower``, ``back`` (the same minimum, or one valley with it) or ``other`` (not lower,
            and elsewhere).
    """

    loss: float
    fall: float
    distance: float
    barrier: float
    agreement: float
    kind: str


@dataclass(frozen=True)
class Round:
    """Trials with noise of one size, each followed by descent.

    Attributes:
        radius: length of the noise, in the units of the parameters; of warm restarts the peak of
            the learning rate.
        relative: the same in lengths of a whole fresh weight vector; of warm restarts in the
            learning rates that the training stands at.
        ends: of the trials.
    """

    radius: float
    relative: float
    ends: tuple[End, ...]

    def share(self, kind: str) -> Proportion:
        """How often the trials ended so, with its 95% interval."""
        return Proportion(sum(end.kind == kind for end in self.ends), len(self.ends))

    @property
    def fall(self) -> float:
        """The largest fall."""
        return max(end.fall for end in self.ends)


@dataclass(frozen=True)
class Attempt:
    """One way out, in rounds of growing size.

    Attributes:
        rounds: by size.
    """

    rounds: tuple[Round, ...]

    @property
    def first(self) -> Round | None:
        """The round of smallest size in which a trial ended lower; None where none did."""
        return next((r for r in self.rounds if r.share("lower").successes), None)


@dataclass(frozen=True)
class Escape:
    """What :func:`thalweg.escape` returns.

    Attributes:
        loss: at the bottom that descent from the task's point reaches: where the trials begin.
        settled: how far that descent fell; a run that has come to rest has about 0.
        noise: rounds of noise of growing length, then descent.
        warm: rounds of warm restarts of growing rate, then descent; no rounds where none were asked
            for.
        restarts: where descents from fresh weights end.
        tolerance: the fall that counts as lower.
        diameter: of the largest ball about the minimum from which every trial came back: twice the
            radius between the last round of which all came back and the first of which one did not,
            with half their difference as error. Infinite error where every trial came back.
        cost: gradient evaluations over the training data.
        name: of the task.
        notes: remarks.
    """

    loss: Estimate
    settled: Estimate
    noise: Attempt
    warm: Attempt
    restarts: tuple[End, ...]
    tolerance: float
    diameter: Estimate
    cost: float
    name: str = "task"
    notes: tuple[str, ...] = ()

    @property
    def fall(self) -> float:
        """The largest fall of all trials; what is below the tolerance is none."""
        return max((end.fall for end in self.ends), default=-math.inf)

    @property
    def ends(self) -> tuple[End, ...]:
        """Of all trials."""
        rounds = (*self.noise.rounds, *self.warm.rounds)
        return (*(end for each in rounds for end in each.ends), *self.restarts)

    @property
    def cause(self) -> Cause:
        """``local_minimum`` where any trial ended lower, else ``minimum``, as far as these tell."""
        return Cause.LOCAL_MINIMUM if self.fall > self.tolerance else Cause.MINIMUM

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        count = len(self.ends)
        if self.cause is Cause.MINIMUM:
            return (
                f"No way out was found: none of {count} trials ended lower than "
                f"{number(self.loss.value, 4)}."
            )
        words = [f"Better is reachable, by {number(self.fall, 3)}:"]
        first = self.noise.first
        if first is not None:
            share = first.share("lower")
            low, high = share.interval
            words.append(
                f"noise of length {number(first.radius, 3)} leads out in {share.successes} of "
                f"{share.trials} trials (95% interval {low:.0%} to {high:.0%}), a shorter one in none"
            )
        else:
            words.append("no length of noise leads lower, but other starts do")
        return f"{' '.join(words)}."

    def revised(self, finding: Finding) -> Finding:
        """A Finding whose minimum is a local one, or none any more, by what was found here.

        Any other verdict comes back as it is.
        """
        kinds = (Cause.MINIMUM, Cause.LOCAL_MINIMUM)
        if finding.cause not in kinds or finding.cause is self.cause or not self.ends:
            return finding
        return replace(finding, cause=self.cause, sentence=self.sentence)

    def __str__(self) -> str:
        from thalweg.show.escape_text import plain_escape

        return plain_escape(self)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: not-finite numbers become None."""
        return {
            "name": self.name,
            "cause": self.cause.value,
            "sentence": self.sentence,
            "loss": _plain(self.loss.value),
            "settled": _plain(self.settled.value),
            "tolerance": _plain(self.tolerance),
            "fall": _plain(self.fall),
            "diameter": {
                "value": _plain(self.diameter.value),
                "error": _plain(self.diameter.error),
            },
            "noise": [_plain_round(each) for each in self.noise.rounds],
            "warm": [_plain_round(each) for each in self.warm.rounds],
            "restarts": _plain_ends(self.restarts),
            "cost": self.cost,
            "notes": list(self.notes),
        }


def _plain_round(each: Round) -> dict[str, Any]:
    return {
        "radius": each.radius,
        "relative": each.relative,
        "lower": each.share("lower").value,
        "interval": list(each.share("lower").interval),
        "back": each.share("back").value,
        "fall": _plain(each.fall),
        "ends": _plain_ends(each.ends),
    }


def _plain_ends(ends: Sequence[End]) -> list[dict[str, Any]]:
    return [
        {
            name: value if isinstance(value, str) else _plain(value)
            for name, value in vars(end).items()
        }
        for end in ends
    ]


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
