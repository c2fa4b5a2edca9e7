"""Findings and races in a notebook: small static HTML, in the colours of the page around it."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from thalweg.diagnose.finding import Finding
from thalweg.diagnose.race import Race
from thalweg.show.content import beside, evidence_tables, what_would_decide
from thalweg.show.gauge import COLOURS, gauges
from thalweg.show.race_content import arm_columns, arm_rows, race_notes
from thalweg.show.sketch import sketch
from thalweg.show.wording import (
    cause_label,
    cause_tone,
    clean,
    cost_text,
)

__all__ = ["environment", "notebook_finding", "notebook_race"]

PAGE = Path(__file__).parent / "page"


def environment() -> Environment:
    """Where the templates are; what is not Markup is escaped and loses its control characters."""
    made = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    made.filters["prose"] = _prose
    return made


def _prose(text: str) -> Markup:
    """A sentence, with what stands in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(clean(text)))))


def notebook_finding(finding: Finding) -> str:
    """The finding as a piece of HTML without scripts, for ``_repr_html_``."""
    drawn = [gauge for group in gauges(finding)[:1] for gauge in group.members]
    return (
        environment()
        .get_template("notebook_finding.html")
        .render(
            finding=finding,
            cause=cause_label(finding.cause),
            colour=COLOURS[cause_tone(finding.cause)],
            confidence=beside(finding),
            advice=what_would_decide(finding),
            sketch=sketch(finding.cause, width=84),
            gauges=drawn[:6],
            evidence=evidence_tables(finding),
            others=[
                f"{cause_label(other.cause)} ({other.confidence:.2f}): {other.sentence}"
                for other in finding.findings
            ],
            colours=COLOURS,
            cost=cost_text(finding.cost),
        )
    )


def notebook_race(race: Race) -> str:
    """The race as a piece of HTML without scripts, for ``_repr_html_``."""
    winner = next((arm for arm in race.arms if arm.name == race.winner), None)
    return (
        environment()
        .get_template("notebook_race.html")
        .render(
            race=race,
            winner=winner,
            columns=arm_columns(race),
            arms=arm_rows(race),
            notes=race_notes(race),
            colours=COLOURS,
            cost=cost_text(race.cost),
        )
    )
