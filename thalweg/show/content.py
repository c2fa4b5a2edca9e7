"""What is said about a Finding, as plain pieces that every medium renders its own way."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.finding import Finding
from thalweg.show.vitals import THRESHOLDS, Reading, Vital, in_order, read, vital
from thalweg.show.wording import (
    cause_label,
    cause_tone,
    clean,
    confidence_text,
    cost_text,
    shown,
)

__all__ = [
    "Block",
    "Code",
    "Grid",
    "Heading",
    "Item",
    "Prose",
    "Row",
    "Table",
    "Verdict",
    "beside",
    "evidence_tables",
    "finding_blocks",
    "reading_text",
    "what_would_decide",
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


@dataclass(frozen=True)
class Table:
    """Rows of evidence under a heading; a ``folded`` one is for who looks for it."""

    title: str
    rows: tuple[Row, ...]
    folded: bool = False


def reading_text(sign: Vital, reading: Reading | None) -> str:
    """A reading in words, with the thresholds that its error bar crosses."""
    if reading is None:
        return ""
    crossed = " and ".join(sign.cut_text(cut) for cut in reading.straddles)
    return f"{reading.word} (may cross {crossed})" if crossed else reading.word


def evidence_tables(finding: Finding, thresholds: Mapping[str, float] = THRESHOLDS) -> list[Table]:
    """The evidence: label, value, error with unit, what it reads; first what the verdict rests on."""
    tables = []
    for group in in_order(finding.evidence, finding.relied_on):
        rows = []
        for name in group.names:
            sign, estimate = vital(name), finding.evidence[name]
            reading = read(sign, estimate, thresholds)
            value, error, unit = shown(estimate, share=sign.share)
            said = reading_text(sign, reading)
            if not math.isfinite(estimate.value) and said == sign.undefined != "":
                value = "-"
            cells = (clean(sign.label), value, _with_unit(error, unit), said)
            tone = "calm" if reading is None else reading.tone
            rows.append(Row(cells, tone=tone, marked=group.relied_on, key=name))
        tables.append(Table(group.title, tuple(rows), group.folded))
    return tables


def beside(finding: Finding) -> str:
    """What stands beside the verdict: how sure it is; where it is none, the two likeliest causes."""
    words = confidence_text(finding.confidence, finding.cause)
    if finding.cause is not Cause.UNDETERMINED or not finding.findings:
        return words
    near = [f"{cause_label(f.cause)} ({f.confidence:.2f})" for f in finding.findings[:2]]
    return f"{words}: {' or '.join(near)}"


def what_would_decide(finding: Finding) -> str:
    """What to do about an undetermined verdict; nothing for any other."""
    if finding.cause is not Cause.UNDETERMINED:
        return ""
    if not finding.cost > 0:
        return "What would decide: the task beside the history, so that something can be measured."
    more = f"{float(f'{max(3 * finding.cost, 300.0):.0e}'):.0f}"
    return f"What would decide: a larger budget, such as budget={more} (--budget {more})."


def finding_blocks(finding: Finding, thresholds: Mapping[str, float] = THRESHOLDS) -> list[Block]:
    """Everything there is to say about a finding, in the order to say it."""
    blocks: list[Block] = [
        Verdict(
            "Verdict",
            cause_label(finding.cause),
            beside(finding),
            cause_tone(finding.cause),
            clean(finding.name),
        ),
        Prose(clean(finding.sentence)),
    ]
    if advice := what_would_decide(finding):
        blocks.append(Prose(advice))
    if finding.mechanisms:
        blocks.append(Heading("Mechanisms", "seen beside the cause"))
        for mechanism in finding.mechanisms:
            said = "" if mechanism.sentence == finding.sentence else clean(mechanism.sentence)
            blocks.append(Item("-", clean(mechanism.name), said))
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
            blocks.append(Item(f"{place}.", clean(cure.name), clean(cure.told)))
            if cure.code:
                blocks.append(Code(clean(cure.code)))
    blocks.append(Heading("How it was measured"))
    blocks += [Item("-", "", clean(note)) for note in finding.notes]
    return [*blocks, Item("-", "", cost_text(finding.cost))]


def _evidence_blocks(finding: Finding, thresholds: Mapping[str, float]) -> Sequence[Block]:
    tables = evidence_tables(finding, thresholds)
    if not tables:
        return (Heading("Evidence"), Prose("Nothing was measured."))
    open_ones = [table for table in tables if not table.folded] or tables
    rows: list[Row] = []
    for table in open_ones:
        rows.append(Row((table.title, "", "", ""), title=True))
        rows += (replace(row, marked=False) for row in table.rows)
    hidden = sum(len(t.rows) for t in tables) - sum(len(t.rows) for t in open_ones)
    remark = f"{hidden} more in the report and in JSON" if hidden else ""
    columns = ("", "value", "error", "reads")
    return (Heading("Evidence", remark), Grid(columns, "lrll", tuple(rows)))


def _with_unit(error: str, unit: str) -> str:
    return f"± {error} {unit}".strip() if error else unit
