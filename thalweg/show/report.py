"""The report: one HTML file that opens offline and asks nothing of the network."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from thalweg.diagnose.finding import Finding
from thalweg.diagnose.race import Race
from thalweg.show.content import beside, evidence_tables, what_would_decide
from thalweg.show.gauge import gauges
from thalweg.show.notebook import notebook_finding, notebook_race
from thalweg.show.offline import page, write_page
from thalweg.show.panels import finding_sections, race_panels
from thalweg.show.race_content import arm_columns, arm_rows, before_and_after, race_notes
from thalweg.show.sketch import sketch
from thalweg.show.vitals import THRESHOLDS, vital
from thalweg.show.wording import (
    cause_label,
    cause_tone,
    confidence_text,
    cost_text,
    number,
    precise,
)

__all__ = ["notebook_finding", "notebook_race", "report", "report_html"]

MEND = "Mend this first"


def report(
    finding: Finding,
    path: Path | str = "report.html",
    *,
    race: Race | None = None,
    thresholds: Mapping[str, float] = THRESHOLDS,
) -> Path:
    """Write the finding, and the race of its cures if there was one, as one HTML file.

    The file holds all it needs, plotly's code among it (2.2 MB). It appears under its name only when
    it is whole.

    Raises:
        FolderError: the path cannot be written.
    """
    return write_page(report_html(finding, race=race, thresholds=thresholds), path)


def report_html(
    finding: Finding, *, race: Race | None = None, thresholds: Mapping[str, float] = THRESHOLDS
) -> str:
    """The text of the report. Names and sentences in it are escaped, wherever they come from."""
    sections = finding_sections(finding)
    raced = [] if race is None else race_panels(race)
    panels = [*raced, *(panel for section in sections for panel in section.panels)]
    first = _first(finding, race)
    mended = first["name"] if first is not None and first["heading"] == MEND else ""
    date = datetime.now().astimezone()
    return page(
        "report.html",
        panels,
        finding=finding,
        name=finding.name,
        cause=cause_label(finding.cause),
        tone=cause_tone(finding.cause),
        confidence=beside(finding),
        advice=what_would_decide(finding),
        sketch=sketch(finding.cause, width=150),
        first=first,
        mechanisms=[m for m in finding.mechanisms if m.name != mended],
        other_cures=[
            c
            for c in finding.cures
            if (first is None or c.name != first["name"])
            and (not mended or c.name != "mend_the_wiring")
        ],
        gauges=gauges(finding, thresholds),
        race=race,
        columns=() if race is None else arm_columns(race),
        arms=[] if race is None else arm_rows(race),
        compared=((), []) if race is None else before_and_after(race),
        race_notes=[] if race is None else race_notes(race),
        race_cost="" if race is None else cost_text(race.cost),
        panels={"race": raced, "sections": sections},
        evidence=evidence_tables(finding, thresholds),
        precise={name: precise(e) for name, e in finding.evidence.items()},
        signs={name: vital(name) for name in finding.evidence},
        costs={n: number(e.cost, 3) if e.cost else "" for n, e in finding.evidence.items()},
        others=[
            {
                "label": cause_label(other.cause),
                "sentence": other.sentence,
                "confidence": confidence_text(other.confidence, other.cause),
            }
            for other in finding.findings
        ],
        cost=cost_text(finding.cost),
        date=f"{date.day} {date:%B %Y, %H:%M %Z}".strip(),
    )


def _first(finding: Finding, race: Race | None) -> dict[str, str] | None:
    """What to do, for the top of the page: the race's winner, else what explains
    the cause by itself, else the first cure."""
    if race is not None and race.winner is None:
        return {
            "heading": "The race has no winner",
            "name": "",
            "summary": race.sentence,
            "code": "",
        }
    if race is not None:
        code = next((arm.code for arm in race.arms if arm.name == race.winner), "")
        summary = next((c.summary for c in finding.cures if c.name == race.winner), race.sentence)
        return {
            "heading": "What won the race",
            "name": race.winner or "",
            "summary": summary,
            "code": code,
        }
    for mechanism in finding.mechanisms:
        if mechanism.explains is finding.cause and mechanism.line:
            return {
                "heading": MEND,
                "name": mechanism.name,
                "summary": "" if mechanism.sentence == finding.sentence else mechanism.sentence,
                "code": mechanism.line,
            }
    if not finding.cures:
        return None
    cure = finding.cures[0]
    return {
        "heading": "Try this first",
        "name": cure.name,
        "summary": cure.told,
        "code": cure.code,
    }
