"""`thalweg diagnose` of several runs, and of one whose live rules had something to say."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Program
from thalweg.record.events import Event, append_events
from thalweg.record.folder import RunFolder


def recorded(path: str, losses: np.ndarray, **looks: np.ndarray) -> Path:
    run = RunFolder.create(path)
    steps = list(range(1, len(losses) + 1))
    run.append_block(steps, {"loss": losses.tolist(), "learning_rate": [0.1] * len(losses)})
    for name, values in looks.items():
        run.append_block(steps[: len(values)], {name: values.tolist()})
    run.close()
    return run.path


@pytest.fixture
def runs(here: Path) -> Path:
    noise = 0.02 * np.random.default_rng(0).normal(size=400)
    recorded("falls", 2 * np.exp(-np.arange(400) / 150) + noise)
    product = np.full(40, 0.2) + noise[:40]
    recorded(
        "rises",
        np.r_[np.linspace(2, 1, 200), np.linspace(1, 9, 200)] + noise,
        gradient_norm=np.ones(40),
        gradient_product=product,
    )
    return here


def test_runs_stand_side_by_side(thalweg_program: Program, runs: Path) -> None:
    status, out, err = thalweg_program("diagnose", "falls", "rises")
    header, falls, rises = out.splitlines()
    assert header.split("  ")[0] == "run" and status == 1 and err == ""
    assert falls.startswith("falls  healthy (") and falls.split()[3:5] == ["400", "0.1"]
    assert rises.endswith("rising, signal below one")
    assert (runs / "falls" / "finding.json").exists() and (runs / "rises" / "finding.json").exists()


def test_their_findings_are_one_object(thalweg_program: Program, runs: Path) -> None:
    told = json.loads(thalweg_program("diagnose", "falls", "rises", "--json").out)
    assert [run["name"] for run in told["runs"]] == ["falls", "rises"]
    signal = told["runs"][1]["evidence"]["gradient_signal"]
    assert signal["value"] == pytest.approx(0.25, abs=0.02)
    out = thalweg_program("diagnose", "falls", "falls", "--quiet").out
    assert out.count("falls: healthy: ") == 2


def test_what_live_rules_see_and_saw_is_told(thalweg_program: Program, runs: Path) -> None:
    append_events(
        runs / "rises",
        [Event(60, "spiking", "the loss has spikes"), Event(300, "rising", "the loss rises: 3")],
    )
    out = " ".join(thalweg_program("diagnose", "rises").out.split())
    assert "as it stands: the loss rises: " in out
    assert "at step 60: the loss has spikes" in out and "at step 300" not in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--report", "page.html"), "--report must go with one TASK or RUN, not with 2"),
        (("--checkpoint", "some.pt"), "--checkpoint must go with one TASK or RUN"),
    ],
)
def test_what_goes_with_one_run_only_is_refused(
    options: tuple[str, ...], message: str, thalweg_program: Program, runs: Path
) -> None:
    status, out, err = thalweg_program("diagnose", "falls", "rises", *options)
    assert (status, out) == (2, "") and message in err
