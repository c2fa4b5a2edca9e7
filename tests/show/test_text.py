"""Text says everything there is, without colour codes, and says what was not measured."""

import io
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from tests.show import samples
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.cures import Cure
from thalweg.diagnose.finding import Finding
from thalweg.estimate import Estimate, Evidence
from thalweg.show.text import plain_finding, plain_race, rich_cases, rich_finding, rich_race
from thalweg.show.vitals import vital
from thalweg.show.wording import cause_label, confidence_text, estimate_text, shown

FINDINGS = {
    "saddle": samples.saddle(),
    "not finite": samples.not_finite(),
    "bare": samples.bare(),
    "hostile": samples.hostile(),
}


def printed(renderable: RenderableType, width: int, *, colours: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=colours, legacy_windows=False).print(renderable)
    return out.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", FINDINGS)
def test_plain_text_has_no_control_characters(name: str) -> None:
    text = plain_finding(FINDINGS[name])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_plain_text_begins_with_the_verdict_and_its_confidence() -> None:
    lines = plain_finding(samples.saddle()).splitlines()
    assert lines[0] == "Verdict: saddle, confident (0.93)"


def test_plain_text_fits_its_width() -> None:
    for text in (plain_finding(samples.saddle()), plain_race(samples.race())):
        assert max(map(len, text.splitlines())) <= 100


def test_a_line_of_code_is_never_broken() -> None:
    line = "optimizer = torch.optim.Adam(model.parameters(), " + "lr=0.01, " * 12 + ")"
    finding = replace(samples.saddle(), cures=(Cure("adam", "Why.", line),))
    for text in (plain_finding(finding), printed(rich_finding(finding), 60)):
        assert f"  {line}\n" in text
    coloured = printed(rich_finding(finding), 60, colours=True)
    assert line in coloured and not re.search(r"\x1b\[\d*;?\d*H", coloured)


def test_internal_rows_are_left_out_of_the_text() -> None:
    text = plain_finding(samples.saddle())
    assert "more in the report and in JSON" in text
    assert "eigenvalue 7" not in text and "faults in the wiring" not in text


def test_an_undetermined_verdict_names_the_two_likeliest_and_what_would_decide() -> None:
    text = plain_finding(samples.undetermined())
    first = "Verdict: undetermined, not decided: plateau (0.41) or saddle (0.33)"
    assert text.splitlines()[0] == first
    assert "What would decide: a larger budget, such as budget=600 (--budget 600)." in text
    assert "What would decide: the task" in plain_finding(samples.bare())
    assert "What would decide" not in plain_finding(samples.saddle())


@pytest.mark.parametrize("width", [80, 120])
def test_plain_and_rich_say_the_same(width: int) -> None:
    finding = samples.saddle()
    for text in (plain_finding(finding), printed(rich_finding(finding), width)):
        said = words(text)
        for name, estimate in finding.evidence.items():
            if name != "step" and (name in finding.relied_on or vital(name).main):
                value, error, unit = shown(estimate)
                row = f"{value} ± {error} {unit}" if error else f"{value} {unit}"
                assert vital(name).label in said
                assert vital(name).share or row.strip() in said
        for cure in finding.cures:
            assert cure.name in said
            assert all(line.strip() in said for line in cure.code.splitlines())
        for mechanism in finding.mechanisms:
            assert mechanism.name in said and mechanism.line in said
        for other in finding.findings:
            assert f"{cause_label(other.cause)} ({other.confidence:.2f})" in said
        assert "216 gradient evaluations" in said


def test_what_the_verdict_rests_on_comes_first_and_in_its_order() -> None:
    finding = samples.saddle()
    text = plain_finding(finding)
    rows = text[text.index("What the verdict rests on") : text.index("Vital signs")].splitlines()[
        1:
    ]
    labels = [vital(name).label for name in finding.relied_on]
    assert [line.strip().split("  ")[0] for line in rows if line.strip()] == labels


def test_what_is_not_finite_is_said_and_never_a_zero() -> None:
    rows = {
        line.strip(" *").split("  ")[0]: line
        for line in plain_finding(samples.not_finite()).splitlines()
    }
    assert rows["training loss"].endswith("not a number")
    assert rows["stability"].endswith("not measured")


def test_a_race_names_its_winner_and_every_arm() -> None:
    race = samples.race()
    for text in (plain_race(race), printed(rich_race(race), 120)):
        said = words(text)
        assert f"Winner{':' if text.startswith('Winner:') else ''} {race.winner}" in said
        for arm in race.arms:
            assert arm.name in said
        assert "1.98 ± 0.04" in said and "diverged" in said
        assert "weight.add_(step, alpha=0.1)" in said
    assert plain_race(samples.race_without_winner()).startswith("Winner: none\n")


def test_rich_does_not_read_markup_in_a_sentence() -> None:
    finding = Finding(Cause.RAVINE, "[bold]steep[/bold] [link=x]walls[/link]", 0.9)
    assert "[bold]steep[/bold] [link=x]walls[/link]" in printed(rich_finding(finding), 120)
    assert "\x1b[31m" not in printed(rich_finding(samples.hostile()), 80)


def test_the_clinic_counts_what_is_right() -> None:
    rows = [
        {"name": "a", "cause": "saddle", "verdict": "saddle", "confidence": 0.93, "right": True},
        {
            "name": "b",
            "cause": Cause.NOISE_FLOOR,
            "verdict": "minimum",
            "confidence": 0.4,
            "right": False,
        },
    ]
    text = printed(rich_cases(rows), 80)
    assert "1 of 2 right." in text
    assert "noise floor" in text and "0.40" in text and "wrong" in text


def test_the_unit_of_a_loss_is_said_by_its_label() -> None:
    assert estimate_text(Estimate(0.25, 0.01, "loss")) == "0.25 ± 0.01"
    assert estimate_text(Estimate(0.25, 0.01), share=True) == "25% ± 1%"


def test_an_unknown_estimate_gets_a_plain_row() -> None:
    finding = Finding(Cause.HEALTHY, "x", 0.9, evidence=Evidence({"odd_one": Estimate(3.0, 1.0)}))
    assert re.search(r"odd one\s+3 ± 1$", plain_finding(finding), re.MULTILINE)


def test_confidence_in_words() -> None:
    said = [confidence_text(c) for c in (0.99, 0.81, 0.8, 0.5, 0.1)]
    assert said == [
        "very confident (0.99)",
        "confident (0.81)",
        "likely (0.80)",
        "leaning this way (0.50)",
        "a weak guess (0.10)",
    ]
    assert confidence_text(0.9, Cause.UNDETERMINED) == "not decided"
    assert confidence_text(math.nan) == "confidence not known"


def test_text_needs_no_plotly() -> None:
    code = "import sys, thalweg.show.text, thalweg.show; assert 'plotly' not in sys.modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=root)
