"""The program as a whole: its help, its options file, its exit status, its silence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import thalweg
from tests.cli.conftest import Library, Program
from thalweg.cli.program import COMMANDS
from thalweg.errors import BudgetError

ROOT = Path(__file__).resolve().parents[2]
CALL = "import sys; sys.argv[0] = 'thalweg'; from thalweg.cli import main; sys.exit(main())"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_the_help_lists_every_command_with_its_summary(thalweg_program: Program) -> None:
    status, out, err = thalweg_program("--help")
    assert status == 0 and err == ""
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").splitlines()[0]
        assert name in out and summary[:40] in out
    assert "runs" in out and "code" in out, "that a TASK runs code is to be said"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, thalweg_program: Program) -> None:
    status, out, err = thalweg_program(name, "--help")
    assert status == 0 and err == ""
    assert f"Usage: thalweg {name}" in out and "--config" in out and "--traceback" in out


def test_nothing_asked_for_shows_the_help(thalweg_program: Program) -> None:
    status, out, _ = thalweg_program()
    assert status == 0 and "Usage: thalweg COMMAND" in out


def test_the_version(thalweg_program: Program) -> None:
    assert thalweg_program("--version")[:2] == (0, f"thalweg {thalweg.__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["diagnose", "--help"], ["diagnose", "--seed", "x"]]
)
def test_starting_up_loads_no_torch(arguments: list[str]) -> None:
    code = f"import sys; from thalweg.cli import main; main({arguments}); print()\n" + (
        "print(*(n for n in ('torch', 'plotly', 'sklearn', 'numpy') if n in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("diagnos", "there is no command diagnos: did you mean diagnose?"),
        ("xyzzy", "there is no command xyzzy: there are demo, diagnose, race, cases"),
        ("diagnose", "TASK|RUN must be given: see --help"),
        ("race a b", "there is one argument too many, b: see --help"),
        ("diagnose a --bugdet 3", "there is no option --bugdet: did you mean --budget?"),
        ("diagnose a -z", "there is no option -z: see --help"),
        ("diagnose a --budget", "--budget must be followed by a value: see --help"),
        ("diagnose a --budget 0", "--budget must be a number above 0, not 0"),
        ("diagnose a --budget -3", "--budget must be a number above 0, not -3"),
        ("diagnose a --budget nan", "--budget must be a number above 0, not nan"),
        ("diagnose a --budget inf", "--budget must be a number above 0, not inf"),
        ("diagnose a --budget x", "--budget must be a number above 0, not x"),
        ("diagnose a --budget 1 --budget 2", "--budget must be given once"),
        ("diagnose a --share 1.5", "--share must be a number above 0 and at most 1, not 1.5"),
        ("diagnose a --budget 9 --share 0.1", "--budget and --share must not both be given"),
        ("diagnose a --seed -1", "--seed must be a whole number of 0 or more, not -1"),
        ("diagnose a --seed 2.5", "--seed must be a whole number of 0 or more, not 2.5"),
        (
            "diagnose a --seed 9223372036854775808",
            "--seed must be a whole number of 0 or more and at most 9223372036854775807, "
            "not 9223372036854775808",
        ),
        ("race a --seeds 0", "--seeds must be a whole number of 1 or more, not 0"),
        ("race a --budget 0", "--budget must be a number above 0, not 0"),
        ("race a --cures a,,b", "--cures must be names with commas between them, none of them"),
        ("cases --seed -1", "--seed must be a whole number of 0 or more, not -1"),
        ("cases tiny_strat", "there is no case tiny_strat: did you mean tiny_start?"),
        ("demo --case xyzzy", "must name one of the clinic's cases, not 'xyzzy'"),
        ("demo --seeds 0", "--seeds must be a whole number of 1 or more, not 0"),
        ("demo --folder /dev/null/x", "--folder /dev/null/x cannot be made: Not a directory"),
        ("diagnose a --report /no/such/x.html", "--report must be in a folder that exists, but "),
        ("diagnose a --report .", "--report must be a file, but . is a folder"),
        ("diagnose a --config no.toml", "--config no.toml cannot be read: No such file"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(
    arguments: str, expected: str, thalweg_program: Program, here: Path
) -> None:
    status, out, err = thalweg_program(*arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("thalweg: ") and expected in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[diagnose]\nbudgt = 3", "there is no option budgt in "),
        ("[diagnose]\nbudget = 'x'", "--budget must be a number above 0, not x"),
        ("[diagnose]\nseed = -1", "--seed must be a whole number of 0 or more, not -1"),
        ("[diagnoze]\nbudget = 3", "but has diagnoze: did you mean diagnose?"),
        ("budget = 3", "must hold tables named after commands, but has budget: there are demo"),
        ("diagnose = 3", "must have a table [diagnose], not a value diagnose"),
        ("[diagnose", "must be a TOML file: "),
    ],
)
def test_a_mistake_in_the_options_file_is_one_sentence(
    content: str, expected: str, thalweg_program: Program, here: Path
) -> None:
    (here / "options.toml").write_text(content)
    status, out, err = thalweg_program("diagnose", "a", "--config", "options.toml")
    assert (status, out) == (2, "") and expected in err and err.count("\n") == 1


def test_options_may_be_kept_in_a_file_and_the_command_line_has_the_last_word(
    thalweg_program: Program, library: Library, here: Path
) -> None:
    (here / "options.toml").write_text(
        "[diagnose]\nbudget = 12.5\nseed = 4\nprobe = false\n[race]\nseeds = 2\n"
    )
    thalweg_program("diagnose", "case:least_squares", "--config=options.toml", "--seed", "7")
    _, _, given = library.calls[0]
    assert (given["budget"], given["seed"], given["probe"]) == (12.5, 7, False)


def test_a_failure_of_ours_is_one_sentence_and_exit_3(
    thalweg_program: Program, library: Library
) -> None:
    library.raises = RuntimeError("two\nlines")
    status, out, err = thalweg_program("diagnose", "case:least_squares")
    assert (status, out) == (3, "")
    last = err.splitlines()[-1]
    assert last == "thalweg: unforeseen failure: RuntimeError: two lines; " + (
        "--traceback shows where it arose"
    )
    assert "Traceback" not in err


@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_traceback_is_shown_to_who_asks_for_it(
    how: str, thalweg_program: Program, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.raises = RuntimeError("a reason")
    if how == "variable":
        monkeypatch.setenv("THALWEG_TRACEBACK", "1")
    asked = ["--traceback"] if how == "option" else []
    status, _, err = thalweg_program("diagnose", "case:least_squares", *asked)
    assert status == 3 and "Traceback (most recent call last)" in err
    assert err.splitlines()[-1] == "thalweg: unforeseen failure: RuntimeError: a reason"


def test_a_budget_too_small_is_no_failure_of_ours(
    thalweg_program: Program, library: Library
) -> None:
    library.raises = BudgetError("budget must be at least 4 gradient evaluations, not 1")
    status, _, err = thalweg_program("diagnose", "case:least_squares", "--budget", "1")
    assert status == 2 and err.endswith(
        "thalweg: budget must be at least 4 gradient evaluations, not 1\n"
    )


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ("diagnose case:least_squares", "nothing was kept, and nothing changed"),
        (
            "race case:least_squares --cures Adam",
            "nothing changed; with --folder DIR the runs that",
        ),
        ("race case:least_squares --cures Adam --folder arms", "as no run of an arm was finished"),
        (
            "race case:least_squares --cures Adam --folder full",
            "were finished are in full, and the ",
        ),
        ("cases least_squares ridge_softmax", "0 of 2 cases were diagnosed"),
    ],
)
def test_an_interruption_says_what_was_kept(
    arguments: str, kept: str, thalweg_program: Program, library: Library, here: Path
) -> None:
    library.raises = KeyboardInterrupt()
    (here / "full").mkdir()
    (here / "full" / "race.jsonl").write_text("{}")
    status, _, err = thalweg_program(*arguments.split())
    last = err.splitlines()[-1]
    assert status == 130 and last.startswith("thalweg: interrupted: ") and kept in last
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", [["cases", "--list"], ["cases", "--list", "--json"], ["--help"]]
)
def test_a_reader_who_has_seen_enough_is_no_failure(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # before the program writes its first line
    result = subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        env=ENVIRONMENT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(writing)
    assert result.returncode == 0 and result.stderr == ""


def test_a_terminal_that_knows_no_greek_is_no_failure() -> None:
    result = subprocess.run(
        [sys.executable, "-c", CALL, "cases", "--list", "two_cycle"],
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0 and "2 / ?_max" in result.stdout


def test_the_cases_are_listed_with_their_true_causes(thalweg_program: Program) -> None:
    from thalweg.clinic import CASES

    status, out, _ = thalweg_program("cases", "--list")
    assert status == 0
    listed = [line.split(maxsplit=2)[:2] for line in out.splitlines()]
    assert listed == [[case.name, case.cause.value] for case in CASES.values()]
    listed = json.loads(thalweg_program("cases", "--list", "--json").out)["cases"]
    assert {row["name"]: row["cause"] for row in listed} == {
        case.name: case.cause.value for case in CASES.values()
    }
