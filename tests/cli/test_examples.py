"""The examples do what their first lines say."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Program
from thalweg.reference import resolve

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def examples(here: Path) -> Path:
    """The examples in an empty folder."""
    return Path(shutil.copytree(EXAMPLES, here / "examples"))


def test_the_digits_crawl(thalweg_program: Program, examples: Path) -> None:
    status, out, err = thalweg_program("diagnose", "examples/digits.py:task", "--quiet")
    assert (status, err) == (1, "") and out.startswith("step_too_small (")


def test_a_watched_loop_leaves_a_run_to_diagnose(
    thalweg_program: Program, examples: Path, here: Path
) -> None:
    from importlib import import_module

    resolve("examples/watched.py:task")
    import_module("watched").main(steps=60)
    status, _, err = thalweg_program("diagnose", "runs/wine")
    assert status in (0, 1) and "runs/wine names its task, examples/watched.py:task" in err
    status, _, err = thalweg_program("diagnose", "runs/wine", "--own-task")
    assert status in (0, 1) and err == "" and (here / "runs" / "wine" / "finding.json").exists()
