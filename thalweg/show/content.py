"""What is said about a Finding or a Race, as plain pieces that every medium renders its own way."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thalweg.diagnose.finding import Finding
from thalweg.diagnose.race import Arm, Race
from thalweg.show.vitals import THRESHOLDS, Reading, in_order, read, vital
from thalweg.show.wording import (
    cause_label,
    cause_tone,
    clean,
    confidence_text,
    cost_text,
    number,
    outcome_tone,
    unit_text,
    value_and_error,
)

__all__ = [
    "Block",
    "Code",
    "Grid",
    "Heading",
    "Item",
    "Prose",
    "Row",
    "Verdict",
    "arm_rows",
    "evidence_rows",
    "finding_blocks",
    "race_blocks",
    "reading_text",
]


@dataclass(frozen=True)
class Verdict:
    """The line that comes first: a word, what stands beside it, its tone and whose it is."""

    lead: str
    word: str
    beside: str
    tone: str
    name: str


@dataclass(frozen=True)
class Heading:
    """The title of a part, with a remark beside it."""

    text: str
    remark: str = ""


@dataclass(frozen=True)
class Prose:
    """A paragraph; a ``quiet`` one is there for who looks for it."""

    text: str
    quiet: bool = False


@dataclass(frozen=True)
class Item:
    """One entry of a list."""

    marker: str
    name: str
    text: str


@dataclass(frozen=True)
class Code:
    """Lines to paste, with what they are."""

    lines: str
    title: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table: cells, whether it is a sub-heading, its tone, whether it is marked, and
    the name of the Estimate that it shows."""

    cells: tuple[str, ...]
    title: bool = False
    tone: str = "calm"
    marked: bool = False
    key: str = ""


@dataclass(frozen=True)
class Grid:
    """A table: one letter a column says how it is aligned, ``l`` or ``r``; the last one wraps."""

    columns: tuple[str, ...]
    align: str
    rows: tuple[Row, ...]


Block = Verdict | Heading | Prose | Item | Code | Grid


def reading_text(reading: Reading | None) -> str:
    """A reading in words, with the thresholds that its error bar crosses."""
    if reading is None:
        return ""
    crossed = " and ".join(number(cut) for cut in reading.straddles)
    return f"{reading.word} (may cross {crossed})" if crossed else reading.word


def evidence_rows(
    finding: Finding, thresholds: Mapping[str, float] = THRESHOLDS
) -> list[tuple[str, list[Row]]]:
    """The evidence by group: label, value, error with unit, what it reads; marked if relied upon."""
    tables = []
    for group, names in in_order(finding.evidence):
        rows = []
        for name in names:
            sign, estimate = vital(name), finding.evidence[name]
            reading = read(sign, estimate, thresholds)
            value, error = value_and_error(estimate)
            cells = (clean(sign.label), value, _with_unit(error, estimate.unit))
            tone = "calm" if reading is None else reading.tone
            marked = name in finding.relied_on
            rows.append(Row((*cells, reading_text(reading)), tone=tone, marked=marked, key=name))
        tables.append((group, rows))
    return tables


def arm_rows(race: Race) -> list[Row]:
    """The arms: name, final loss, gain, its error, range over the seeds, outcome."""
    rows = []
    for arm in race.arms:
        value, error = value_and_error(arm.gain)
        value = value if math.isfinite(arm.gain.value) else "not finite"
        low, high = arm.spread
        error = _with_unit(error, "1")
        gain = (
            ("", "", "") if arm.name == "unchanged" else (value, error, f"{low:.2g} to {high:.2g}")
        )
        if not (math.isfinite(low) and math.isfinite(high)):
            gain = (*gain[:2], "")
        outcome = "" if arm.name == "unchanged" else clean(arm.outcome)
        cells = (clean(arm.name), _ended(arm), *gain, outcome)
        rows.append(Row(cells, tone=outcome_tone(arm.outcome), marked=arm.name == race.winner))
    return rows


def finding_blocks(finding: Finding, thresholds: Mapping[str, float] = THRESHOLDS) -> list[Block]:
    """Everything there is to say about a finding, in the order to say it."""
    blocks: list[Block] = [
        Verdict(
            "Verdict",
            cause_label(finding.cause),
            confidence_text(finding.confidence, finding.cause),
            cause_tone(finding.cause),
            clean(finding.name),
        ),
        Prose(clean(finding.sentence)),
    ]
    if finding.mechanisms:
        blocks.append(Heading("Mechanisms", "seen beside the cause"))
        for mechanism in finding.mechanisms:
            blocks.append(Item("-", clean(mechanism.name), clean(mechanism.sentence)))
            if mechanism.line:
                blocks.append(Code(clean(mechanism.line), "mend it"))
    blocks += _evidence_blocks(finding, thresholds)
    if finding.findings:
        blocks.append(Heading("Other findings", "ranked behind the verdict"))
        for place, other in enumerate(finding.findings, 1):
            name = f"{cause_label(other.cause)} ({other.confidence:.2f})"
            blocks.append(Item(f"{place}.", name, clean(other.sentence)))
    if finding.cures:
        blocks.append(Heading("Cures", "in the order to try them"))
        for place, cure in enumerate(finding.cures, 1):
            blocks.append(Item(f"{place}.", clean(cure.name), clean(cure.summary)))
            if cure.code:
                blocks.append(Code(clean(cure.code)))
    blocks.append(Heading("How it was measured"))
    blocks += [Item("-", "", clean(note)) for note in finding.notes]
    return [*blocks, Item("-", "", cost_text(finding.cost))]


def race_blocks(race: Race) -> list[Block]:
    """Everything there is to say about a race, in the order to say it."""
    won = race.winner is not None
    word = clean(race.winner) if race.winner is not None else "none"
    blocks: list[Block] = [
        Verdict("Winner", word, "", "good" if won else "calm", clean(race.name)),
        Prose(clean(race.sentence)),
    ]
    if race.arms:
        seeds = "1 seed" if len(race.seeds) == 1 else f"{len(race.seeds)} seeds"
        columns = ("arm", "final loss", "gain", "error", "range", "outcome")
        blocks.append(Heading("Arms", f"best first; {seeds}; * the winner"))
        blocks.append(Grid(columns, "lrrlll", tuple(arm_rows(race))))
    winning = next((arm for arm in race.arms if arm.name == race.winner and arm.code), None)
    if winning is not None:
        blocks += [Heading("To paste"), Code(clean(winning.code))]
    return [*blocks, Prose(cost_text(race.cost), quiet=True)]


def _evidence_blocks(finding: Finding, thresholds: Mapping[str, float]) -> Sequence[Block]:
    tables = evidence_rows(finding, thresholds)
    if not tables:
        return (Heading("Evidence"), Prose("Nothing was measured."))
    rows: list[Row] = []
    for group, members in tables:
        rows.append(Row((group, "", "", ""), title=True))
        rows += members
    remark = "* the verdict rests on it" if any(row.marked for row in rows) else ""
    columns = ("", "value", "error", "reads")
    return (Heading("Evidence", remark), Grid(columns, "lrll", tuple(rows)))


def _with_unit(error: str, unit: str) -> str:
    if not error:
        return ""
    if error == "exact":
        return f"{unit_text(unit)}, exact".removeprefix(", ")
    return f"± {error} {unit_text(unit)}".strip()


def _ended(arm: Arm) -> str:
    finals = [row[-1] for row in arm.losses if row]
    if not finals:
        return "not measured"
    mean = sum(finals) / len(finals)
    return number(mean) if math.isfinite(mean) else "not finite"
