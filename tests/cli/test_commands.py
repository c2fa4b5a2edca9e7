"""What each command asks of the library, prints, writes and answers."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Library, Program
from tests.show import samples
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.finding import Finding
from thalweg.record.folder import RunFolder
from thalweg.task import Task

CASE = "case:least_squares"
TASK_FILE = f"""
from thalweg.reference import load_task
print("what a user's file prints")
task = lambda: load_task("{CASE}")
"""


@pytest.fixture
def run(here: Path) -> str:
    """A run folder that names its task, in a file beside it."""
    (here / "mine.py").write_text(TASK_FILE)
    folder = RunFolder.create("runs/mine", task_reference="mine.py:task")
    folder.append(0, loss=1.0)
    folder.close()
    return "runs/mine"


# diagnose -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", Cause)
def test_the_exit_status_is_the_verdict(
    cause: Cause, thalweg_program: Program, library: Library
) -> None:
    library.finding = Finding(cause, "A sentence.", 0.9)
    fine = cause in (Cause.HEALTHY, Cause.MINIMUM)
    assert thalweg_program("diagnose", CASE).status == (0 if fine else 1)


def test_a_diagnosis_in_text_holds_all_that_was_found(
    thalweg_program: Program, library: Library
) -> None:
    _, out, err = thalweg_program("diagnose", CASE)
    assert out == f"{library.finding}\n"
    assert err == "what a user's model prints\n", "no progress where there is no terminal"


def test_json_is_one_object_whatever_a_users_code_prints(
    thalweg_program: Program, library: Library, here: Path
) -> None:
    (here / "mine.py").write_text(TASK_FILE)
    _, out, err = thalweg_program("diagnose", "mine.py:task", "--json")
    found = json.loads(out)
    keys = {
        "cause",
        "sentence",
        "confidence",
        "mechanisms",
        "evidence",
        "findings",
        "cures",
        "cost",
    }
    assert keys <= found.keys()
    assert {"value", "error", "unit", "cost"} == found["evidence"]["loss"].keys()
    assert "what a user's file prints" in err and "what a user's model prints" in err


def test_not_finite_evidence_is_still_json(thalweg_program: Program, library: Library) -> None:
    library.finding = samples.not_finite()
    found = json.loads(thalweg_program("diagnose", CASE, "--json").out)
    assert found["evidence"]["loss"]["value"] is None


def test_a_quiet_diagnosis_is_one_line(thalweg_program: Program, library: Library) -> None:
    _, out, _ = thalweg_program("diagnose", CASE, "--quiet")
    assert out == f"saddle (0.93): {library.finding.sentence}\n"


def test_a_quiet_diagnosis_that_is_not_decided_states_no_confidence(
    thalweg_program: Program, library: Library
) -> None:
    library.finding = dataclasses.replace(library.finding, cause=Cause.UNDETERMINED)
    _, out, _ = thalweg_program("diagnose", CASE, "--quiet")
    assert out == f"undetermined: {library.finding.sentence}\n"


def test_the_options_of_a_diagnosis_reach_the_library(
    thalweg_program: Program, library: Library
) -> None:
    thalweg_program(
        *f"diagnose {CASE} --budget 99 --no-probe --seed 3 --checkpoint w.safetensors".split()
    )
    ((name, (source,), given),) = library.calls
    assert name == "diagnose" and isinstance(source, Task) and source.name == "least_squares"
    assert given.pop("progress") is not None
    assert given == {
        "budget": 99.0,
        "probe": False,
        "seed": 3,
        "checkpoint": Path("w.safetensors"),
        "share": None,
    }


def test_a_share_takes_the_place_of_the_budget(thalweg_program: Program, library: Library) -> None:
    thalweg_program(*f"diagnose {CASE} --share 0.05".split())
    given = library.calls[0][2]
    assert given["share"] == 0.05 and "budget" not in given


def test_a_report_is_written_and_its_path_said(
    thalweg_program: Program, library: Library, here: Path
) -> None:
    _, out, err = thalweg_program("diagnose", CASE, "--report", "mine.html")
    assert "Report: mine.html" in err and "Report" not in out
    assert library.finding.sentence in (here / "mine.html").read_text()


def test_a_run_is_diagnosed_without_running_the_code_it_names(
    thalweg_program: Program, library: Library, here: Path, run: str
) -> None:
    err = thalweg_program("diagnose", run).err
    ((_, (source,), given),) = library.calls
    assert source == Path(run) and "task" not in given
    assert "what a user's file prints" not in err
    assert (
        "runs/mine names its task, mine.py:task, which was not loaded since that runs code: " in err
    )
    assert Finding.load(here / run / "finding.json").cause is library.finding.cause


@pytest.mark.parametrize("how", [["--own-task"], ["--task", "mine.py:task"]])
def test_a_run_takes_the_task_that_is_asked_for(
    how: list[str], thalweg_program: Program, library: Library, run: str
) -> None:
    thalweg_program("diagnose", run, *how)
    ((_, (source,), given),) = library.calls
    assert source == Path(run) and isinstance(given["task"], Task)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            f"{CASE} --task {CASE}",
            f"--task must go with a run folder, but {CASE} is a task by itself",
        ),
        (f"{CASE} --own-task", "--own-task must go with a run folder, but "),
        (f"runs/mine --own-task --task {CASE}", "--task and --own-task must not both be given"),
        ("runs/mine --task runs/mine", "runs/mine must lead to a task, but is a run folder"),
        ("runs", "it holds the runs runs/mine"),
        ("runs/nameless --own-task", "--own-task must find a task in runs/nameless/run.toml"),
    ],
)
def test_a_task_goes_with_a_run(
    arguments: str, expected: str, thalweg_program: Program, library: Library, run: str
) -> None:
    RunFolder.create("runs/nameless").close()
    status, _, err = thalweg_program("diagnose", *arguments.split())
    assert status == 2 and expected in err and not library.calls


# race ---------------------------------------------------------------------------------------------


def test_a_race_without_cures_diagnoses_first_and_says_the_verdict(
    thalweg_program: Program, library: Library
) -> None:
    library.finding = dataclasses.replace(library.finding, cures=tuple(map(raceable, CURES)))
    status, out, _ = thalweg_program("race", CASE, "--seeds", "2", "--budget", "40")
    assert status == 0
    assert [name for name, *_ in library.calls] == ["diagnose", "race"]
    _, (source, cures), given = library.calls[1]
    assert isinstance(source, Task) and cures == [raceable(CURES[0])]
    assert (given["seeds"], given["budget"]) == (2, 40.0)
    assert out.startswith("Verdict: saddle, confident (0.93)\n")
    assert out.endswith(f"{library.race_result}\n")


def test_cures_named_are_raced_without_a_diagnosis(
    thalweg_program: Program, library: Library
) -> None:
    thalweg_program("race", CASE, "--cures", "Adam, learning rate x0.1")
    ((name, (_, cures), _),) = library.calls
    assert name == "race" and cures == ("Adam", "learning rate x0.1")


def test_apply_goes_to_the_race_with_what_leads_to_the_task(
    thalweg_program: Program, library: Library, here: Path
) -> None:
    status, _, _ = thalweg_program("race", CASE, "--cures", "Adam", "--apply", "cured")
    ((_, _, given),) = library.calls
    assert status == 0 and given["apply"] == Path("cured") and given["task_reference"] == CASE
    RunFolder.create("runs/mine", task_reference=CASE).close()
    for beside in (("--own-task",), ("--task", CASE)):
        thalweg_program("race", "runs/mine", *beside, "--cures", "Adam", "--apply", "cured")
        assert library.calls[-1][2]["task_reference"] == CASE


def test_a_race_as_json_is_one_object(thalweg_program: Program, library: Library) -> None:
    library.race_result = Outcomes()
    out = thalweg_program("race", CASE, "--cures", "Adam", "--json").out
    assert json.loads(out) == {"winner": "Adam", "finding": None}


def test_where_nothing_is_advised_there_is_no_race(
    thalweg_program: Program, library: Library, here: Path
) -> None:
    library.finding = samples.bare()
    status, out, _ = thalweg_program("race", CASE, "--report", "r.html")
    assert status == 0 and "There is no race" in out and (here / "r.html").exists()
    assert [name for name, *_ in library.calls] == ["diagnose"]


# cases --------------------------------------------------------------------------------------------


def test_the_clinic_as_a_table_with_totals(thalweg_program: Program, library: Library) -> None:
    library.finding = Finding(Cause.MINIMUM, "A sentence.", 0.9, cost=100.4)
    status, out, _ = thalweg_program("cases", "least_squares", "tiny_start")
    assert status == 0
    head, *rows, totals = [line.split() for line in out.splitlines()]
    assert head == ["case", "true", "cause", "verdict", "confidence", "cost"]
    assert rows == [
        ["least_squares", "minimum", "minimum", "0.90", "100", "right"],
        ["tiny_start", "saddle", "minimum", "0.90", "100", "wrong,", "confidently"],
    ]
    assert " ".join(totals) == "1 of 2 right, 1 confident error, 201 gradient evaluations in all"


def test_the_clinic_as_json(thalweg_program: Program, library: Library) -> None:
    found = json.loads(thalweg_program("cases", "tiny_start", "--json", "--seed", "2").out)
    assert (found["right"], found["seed"]) == (1, 2)
    assert found["cases"][0] | {"cause": "saddle", "verdict": "saddle"} == found["cases"][0]


# demo ---------------------------------------------------------------------------------------------


def test_the_demo_tells_a_story_and_writes_a_report(
    thalweg_program: Program, library: Library, here: Path
) -> None:
    library.finding = dataclasses.replace(library.finding, cures=tuple(map(raceable, CURES)))
    status, out, _ = thalweg_program("demo", "--folder", "shown", "--seeds", "2")
    assert status == 0
    places = [out.index(f"{n}. ") for n in range(1, 5)]
    assert places == sorted(places)
    assert "steps its loss went from" in out
    assert library.finding.sentence[:60] in out and str(library.race_result) in out
    assert str(here / "shown" / "report.html") in out
    assert library.race_result.winner in (here / "shown" / "report.html").read_text()


class Outcomes:
    """A race of which only plain data is known."""

    sentence = "Adam wins."

    def to_dict(self) -> dict[str, str]:
        return {"winner": "Adam"}


CURES = (samples.NUDGE, samples.ADAM)


def raceable(cure: object) -> object:
    """The first of the cures as one that can be applied; the second is left to a person."""
    if cure is not samples.NUDGE:
        return cure
    return dataclasses.replace(samples.NUDGE, change=lambda training, generator: None)
