"""What the runs of a race say of its arms: levels, paired gains, their intervals, verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import t as student

from thalweg.diagnose.cures import Cure
from thalweg.diagnose.race_result import UNCHANGED, Arm, last_looks
from thalweg.diagnose.track import Ran
from thalweg.estimate import Estimate, number, rounded

__all__ = ["Ended", "arms_of", "claim", "going_on", "level", "ranked", "sentence"]

CONFIDENCE = 0.95

MOST_SEEDS = 200
"""Above as many, what it takes to tell a gain from none is not said."""


@dataclass(frozen=True)
class Ended:
    """The runs of one arm as far as it came, and whether that was the end of the race."""

    cure: Cure | None
    runs: tuple[Ran, ...]
    evaluations: tuple[float, ...]
    seeds: tuple[int, ...]
    dropped: bool = False

    @property
    def name(self) -> str:
        """Of the arm."""
        return UNCHANGED if self.cure is None else self.cure.name

    def levels(self, judged_by: str) -> list[float]:
        """Where each run ended."""
        return [level(run, judged_by) for run in self.runs]


def level(run: Ran, judged_by: str) -> float:
    """Where a run ended: the mean of its last looks; NaN where it diverged."""
    return last_looks(run.test_losses if judged_by == "test" else run.losses)


def ranked(ended: Sequence[Ended], judged_by: str) -> list[Ended]:
    """Best first, by the mean level over the seeds; without those that diverged on one."""
    means = [(_mean(each, judged_by), each) for each in ended]
    finite = [pair for pair in means if math.isfinite(pair[0])]
    return [each for _, each in sorted(finite, key=lambda pair: pair[0])]


def going_on(ended: Sequence[Ended], keep: int, judged_by: str) -> list[Ended]:
    """Which arms are not dropped: the best, then of the others the one that falls most steeply.

    A nudge, or a lower rate, first costs something; who falls may pass who stands still. But not
    from anywhere: no higher above the start than half of the loss there, or than the best has come
    down. Further places go to the best again.
    """
    first = ranked(ended, judged_by)
    if not first:
        return []
    start = _rows(first[0], judged_by)[0][0]
    reach = start + max(start - _mean(first[0], judged_by), 0.5 * abs(start))
    others = [each for each in first[1:] if _mean(each, judged_by) <= reach] or first[1:]
    others = sorted(others, key=lambda each: min(0.0, _trend(each, judged_by)))
    falling = others[:1]  # by level where none falls: sorting keeps the order of equals
    return [first[0], *falling, *(each for each in first[1:] if each not in falling)][:keep]


def _trend(ended: Ended, judged_by: str) -> float:
    """How much the loss rose from the first look to the last, a mean over the seeds."""
    rows = _rows(ended, judged_by)
    return math.fsum(row[-1] - row[1] for row in rows) / len(rows)


def _mean(ended: Ended, judged_by: str) -> float:
    return math.fsum(ended.levels(judged_by)) / len(ended.runs)


def _rows(ended: Ended, judged_by: str) -> list[tuple[float, ...]]:
    return [run.test_losses if judged_by == "test" else run.losses for run in ended.runs]


def arms_of(ended: Mapping[str, Ended], judged_by: str) -> tuple[Arm, ...]:
    """The arms of a race: judged best first, then those dropped, the farthest first, then diverged."""
    base = ended[UNCHANGED].levels(judged_by)
    arms = [_arm(each, base, judged_by) for each in ended.values()]
    return tuple(sorted(arms, key=lambda arm: _rank(arm, ended[arm.name], judged_by)))


def _arm(ended: Ended, base: list[float], judged_by: str) -> Arm:
    levels = ended.levels(judged_by)
    finite = all(map(math.isfinite, levels))
    gains = torch.tensor(
        [start - end for start, end in zip(base, levels, strict=True)], dtype=torch.float64
    )
    count, mean = len(gains), float(gains.mean())
    error = float(gains.std() / math.sqrt(count)) if count > 1 else math.inf
    half = _half(error, count)
    interval = (mean - half, mean + half)
    down = all(end < row[0] for end, row in zip(levels, _rows(ended, judged_by), strict=True))
    outcome = _outcome(mean, half, base, finite, down)
    needed = _needed(mean, error, count) if outcome == "no difference" else None
    spread = (float(gains.min()), float(gains.max()))
    if ended.dropped:  # on other seeds, and not as far: nothing is claimed
        mean = error = math.nan
        interval = spread = (math.nan, math.nan)
        needed = None
        outcome = f"dropped at {number(ended.evaluations[-1], 3)}" if finite else "diverged"
    raised = next((run.raised for run in ended.runs if run.raised), "")
    if outcome == "diverged" and raised:
        outcome = f"diverged: {raised}"
    return Arm(
        ended.name,
        "" if ended.cure is None else ended.cure.code,
        ended.evaluations,
        tuple(run.losses for run in ended.runs),
        tuple(run.test_losses for run in ended.runs if run.test_losses),
        Estimate(mean, error, "loss", sum(run.cost for run in ended.runs)),
        spread,
        outcome,
        interval,
        needed,
        ended.seeds,
    )


def _half(error: float, count: int) -> float:
    """Half the width of Student's interval for a mean of ``count`` whose standard error is given."""
    return float(student.ppf(0.5 + CONFIDENCE / 2, count - 1)) * error if count > 1 else math.inf


def _outcome(mean: float, half: float, base: list[float], finite: bool, down: bool) -> str:
    """By the interval of the gain; a rounding of the loss is no difference.

    Where the unchanged run diverged there is no gain, and help is to end lower than the start.
    """
    if not finite:
        return "diverged"
    if not all(map(math.isfinite, base)):
        return "helps" if down else "no difference"
    least = max(half, 1e-5 * max(map(abs, base)))
    return "helps" if mean > least else "harms" if mean < -least else "no difference"


def _needed(mean: float, error: float, count: int) -> int | None:
    """Fewest seeds at which the interval of a gain of this size and scatter would leave 0 out."""
    if not 0 < error < math.inf or mean == 0:
        return None
    deviation = error * math.sqrt(count)
    return next(
        (
            n
            for n in range(count + 1, MOST_SEEDS + 1)
            if _half(deviation / math.sqrt(n), n) < abs(mean)
        ),
        None,
    )


def _rank(arm: Arm, ended: Ended, judged_by: str) -> tuple[int, float, float]:
    """By gain; where the unchanged run diverged there is none, and the lowest end is best."""
    if arm.outcome.startswith("diverged"):
        return 3, 0.0, 0.0
    end = math.fsum(ended.levels(judged_by))
    if ended.dropped:
        return 2, -ended.evaluations[-1], end
    if math.isfinite(arm.gain.value):
        return 0, -arm.gain.value, end
    return 1, 0.0, end


def sentence(
    best: Arm | None, arms: Sequence[Arm], base: list[float], length: float, judged_by: str
) -> str:
    """Who won by how much, in plain words."""
    seeds = len(base)
    after = f"after {number(length, 3)} gradient evaluation{'' if length == 1 else 's'} each"
    if len(arms) == 1:
        return "No cure was given: only the unchanged run was made."
    if best is None and seeds == 1:
        return f"One seed names no winner, {after}: what a cure gains is judged by its spread."
    if best is None:
        nobody = f"No cure beats the unchanged run beyond the spread over {seeds} seeds, {after}"
        return f"{nobody}.{_what_would_tell(arms)}"
    kind = "held-out loss" if judged_by == "test" else "loss"
    if not all(map(math.isfinite, base)):
        return f"{best.name} wins: {after} its {kind} is finite while the unchanged run diverged."
    gain, error = rounded(best.gain.value, best.gain.error)
    scatter = f" ± {error}" if error else ""
    return (
        f"{best.name} wins: {after} its {kind} is {gain}{scatter} below the unchanged run's "
        f"{number(math.fsum(base) / seeds, 3)}, {_in_how_many(best, base, judged_by)} seeds."
    )


def _in_how_many(best: Arm, base: list[float], judged_by: str) -> str:
    rows = best.test_losses if judged_by == "test" else best.losses
    better = sum(start > last_looks(row) for start, row in zip(base, rows, strict=True))
    every = "both" if len(base) == 2 else f"all {len(base)}"
    if best.spread[0] == best.spread[1]:
        return f"the same in {every}"
    return f"and lower in {every if better == len(base) else f'{better} of {len(base)}'}"


def _what_would_tell(arms: Sequence[Arm]) -> str:
    """How many seeds the most promising arm would need, where more seeds would tell."""
    for arm in arms:
        if arm.seeds_needed is not None and arm.gain.value > 0:
            return (
                f" {arm.name} ended {number(arm.gain.value, 2)} lower on average: about "
                f"{arm.seeds_needed} seeds would tell that from none."
            )
    return ""


def claim(arms: Sequence[Arm], seeds: int, length: float) -> str:
    """What the intervals of a race say, and what they do not; and which arms never moved."""
    return " ".join(filter(None, (_of_intervals(arms, seeds, length), _at_rest(arms))))


def _at_rest(arms: Sequence[Arm]) -> str:
    """Of arms whose loss is to the bit what it was at the start, at every look on every seed.

    Chance does not do that: no step was taken, or none that moved anything.
    """
    still = [
        f"{arm.name} (up to {number(arm.evaluations[-1], 3)})"
        for arm in arms
        if arm.losses and all(set(row) == {row[0]} for row in arm.losses)
    ]
    if not still:
        return ""
    return (
        f"Did not move within their gradient evaluations, as a single step or what goes before it "
        f"costs more, or as steps change nothing here: {', '.join(still)}."
    )


def _of_intervals(arms: Sequence[Arm], seeds: int, length: float) -> str:
    judged = [arm for arm in arms if arm.name != UNCHANGED and not arm.outcome.startswith("drop")]
    judged = [arm for arm in judged if math.isfinite(arm.interval[0] + arm.interval[1])]
    dropped = sum(arm.outcome.startswith("drop") for arm in arms)
    if not judged:
        return ""
    told = (
        f"Each interval is one arm's own: 95%, Student's t over {seeds} seeds of its gain over the "
        f"unchanged run of the same seed, at {number(length, 3)} gradient evaluations."
    )
    if dropped:
        arm_was = "1 arm was" if dropped == 1 else f"{dropped} arms were"
        return (
            f"{told} {arm_was} dropped on other seeds than these, so that having been "
            "chosen does not flatter the one that was left; of those dropped nothing is claimed."
        )
    if len(judged) > 1:
        return (
            f"{told} Of {len(judged)} arms judged alike, one that does nothing would read as help "
            f"in up to {number(100 * (1 - CONFIDENCE) / 2 * len(judged), 2)}% of races, and the best "
            "one's gain is told a little too large."
        )
    return told
