"""What is said about a Race, as plain pieces that every medium renders its own way."""

import math
from collections.abc import Sequence

from thalweg.diagnose.race_result import UNCHANGED, Arm, Race
from thalweg.estimate import number, rounded
from thalweg.show.content import Block, Code, Grid, Heading, Item, Prose, Row, Verdict
from thalweg.show.wording import clean, cost_text, outcome_tone

__all__ = ["arm_columns", "arm_rows", "before_and_after", "race_blocks", "race_notes"]

LOSSES = {"train": "training loss", "test": "held-out loss"}


def arm_columns(race: Race) -> tuple[str, ...]:
    """The titles over :func:`arm_rows`."""
    return ("arm", *_losses(race), "lower by", "95% interval", "outcome")


def arm_rows(race: Race) -> list[Row]:
    """The arms: name, where they ended (the loss that is judged, then the other), the gain over the
    unchanged run with its standard error, its interval, the outcome."""
    rows = []
    for arm in race.arms:
        ends = [_number(arm.level(kind)) for kind in _kinds(race)]
        cells = (clean(arm.name), *ends, *_gained(arm, len(race.seeds)))
        rows.append(Row(cells, tone=outcome_tone(arm.outcome), marked=arm.name == race.winner))
    return rows


def before_and_after(race: Race) -> tuple[tuple[str, ...], list[Row]]:
    """A table: the losses where the training stood, of the unchanged run, with the winner, and of
    the weights saved. Empty where there is no winner."""
    kinds = _kinds(race)
    columns = ("run", *_losses(race))
    if race.winner is None:
        return columns, []
    winner, unchanged = race.arm(race.winner), race.arm(UNCHANGED)
    at = f"after {number(winner.evaluations[-1], 3)} gradient evaluations"
    stood = [_number(_rows(winner, kind)[0][0]) for kind in kinds]
    rows = [
        Row(("before", *stood)),
        Row((f"unchanged, {at}", *(_number(unchanged.level(kind)) for kind in kinds))),
        Row((f"with {clean(winner.name)}, {at}", *(_number(winner.level(kind)) for kind in kinds))),
    ]
    if race.applied is not None:
        after = dict(zip(LOSSES, race.applied.after, strict=True))
        rows.append(Row(("the weights saved", *(_number(after[kind]) for kind in kinds))))
    return columns, rows


def race_notes(race: Race) -> list[str]:
    """Sentences under the table: what more seeds would tell, what is claimed, what was saved."""
    notes = [
        f"{arm.name} ended {'lower' if arm.gain.value > 0 else 'higher'} by "
        f"{number(abs(arm.gain.value), 2)} on average, which {len(race.seeds)} seeds do not tell from "
        f"none: about {arm.seeds_needed} would."
        for arm in race.arms
        if arm.seeds_needed is not None
    ]
    notes += [race.claim] if race.claim else []
    if race.applied is not None:
        notes.append(
            f"{race.applied.cure} went on for {race.applied.steps} steps on a copy; the weights it "
            f"came to are in {race.applied.weights}, and {race.applied.folder} is a run folder."
        )
    return [clean(note) for note in notes]


def race_blocks(race: Race) -> list[Block]:
    """Everything there is to say about a race, in the order to say it."""
    won = race.winner is not None
    word = clean(race.winner) if race.winner is not None else "none"
    blocks: list[Block] = [
        Verdict("Winner", word, "", "good" if won else "calm", clean(race.name)),
        Prose(clean(race.sentence)),
    ]
    columns, rows = before_and_after(race)
    if rows:
        blocks.append(Heading("Before and after"))
        blocks.append(Grid(columns, "l" + "r" * (len(columns) - 1), tuple(rows)))
    if race.arms:
        seeds = "1 seed" if len(race.seeds) == 1 else f"{len(race.seeds)} seeds"
        columns = arm_columns(race)
        blocks.append(Heading("Arms", f"best first; {seeds}; * the winner"))
        align = "l" + "r" * (len(columns) - 3) + "ll"
        blocks.append(Grid(columns, align, tuple(arm_rows(race))))
    winning = next((arm for arm in race.arms if arm.name == race.winner and arm.code), None)
    if winning is not None:
        blocks += [Heading("To paste"), Code(clean(winning.code))]
    if notes := race_notes(race):
        blocks += [Heading("What this says"), *(Item("-", "", note) for note in notes)]
    return [*blocks, Prose(cost_text(race.cost), quiet=True)]


def _kinds(race: Race) -> list[str]:
    """Of the losses, the one that is judged first; the other where it was looked at."""
    other = "train" if race.judged_by == "test" else "test"
    return [race.judged_by, *([other] if any(_rows(arm, other) for arm in race.arms) else [])]


def _losses(race: Race) -> Sequence[str]:
    return [LOSSES[kind] for kind in _kinds(race)]


def _rows(arm: Arm, kind: str) -> tuple[tuple[float, ...], ...]:
    return arm.test_losses if kind == "test" else arm.losses


def _number(value: float | None) -> str:
    if value is None:
        return "not measured"
    return number(value) if math.isfinite(value) else "not finite"


def _gained(arm: Arm, seeds: int) -> tuple[str, str, str]:
    """Gain with its error, its interval, and the outcome."""
    if arm.name == UNCHANGED:
        return "", "", "-"
    if arm.outcome.startswith("dropped"):
        return "", "", clean(arm.outcome)
    if not math.isfinite(arm.gain.value):
        return "not finite", "", clean(arm.outcome)
    if seeds < 2:
        return number(arm.gain.value), "one seed", clean(arm.outcome)
    gain, error = rounded(arm.gain.value, arm.gain.error)
    gain = f"{gain} ± {error}" if error else gain
    if arm.spread[0] == arm.spread[1]:
        return gain, f"same in {'both' if seeds == 2 else f'all {seeds}'} seeds", clean(arm.outcome)
    return gain, _interval(arm), clean(arm.outcome)


def _interval(arm: Arm) -> str:
    low, high = arm.interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    ends = number(low, 3), number(high, 3)
    return f"{ends[0]} to {ends[1]}" if ends[0] != ends[1] else f"about {ends[0]}"
