"""`thalweg figures`: what it prints, writes and answers."""

import json
from pathlib import Path

import plotly.graph_objects as go
import pytest

from tests.cli.conftest import Program
from thalweg.show import gallery
from thalweg.show.gallery import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel


def stand_in(name: str, holds: bool = True) -> Exhibit:
    def build(seed: int) -> Drawn:
        panel = Panel(f"{name}-one", "", "A caption.", go.Figure(go.Scatter(x=[0, 1], y=[0, seed])))
        return Drawn((panel,), (Claim(f"Seed {seed} shows it.", holds), Claim("And this.", True)))

    return Exhibit(name, f"Title of {name}", "A lesson.", "Why?", build)


@pytest.fixture(autouse=True)
def lesson(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setattr(gallery, "LESSON", (stand_in("good"), stand_in("bad", holds=False)))


def test_every_claim_is_told_and_a_failed_one_sets_the_status(
    thalweg_program: Program, here: Path
) -> None:
    status, out, _ = thalweg_program("figures", "--seed", "3")
    assert status == 1
    assert out.splitlines() == [
        "good: Title of good",
        "  holds  Seed 3 shows it.",
        "  holds  And this.",
        "bad: Title of bad",
        "  FAILS  Seed 3 shows it.",
        "  holds  And this.",
        f"Written: {Path('figures/figures.html')}",
    ]
    page = (here / "figures" / "figures.html").read_text(encoding="utf-8")
    assert "Title of good" in page and "Not borne out here:" in page and "--seed 3" in page


def test_only_the_named_ones_are_made(thalweg_program: Program, here: Path) -> None:
    status, out, _ = thalweg_program("figures", "good", "--folder", "a/b", "--quiet")
    assert (status, out) == (0, "")
    page = (here / "a" / "b" / "figures.html").read_text(encoding="utf-8")
    assert "Title of good" in page and "Title of bad" not in page


def test_quiet_tells_what_fails(thalweg_program: Program) -> None:
    status, out, _ = thalweg_program("figures", "--quiet")
    assert (status, out) == (1, "bad: Title of bad\n  FAILS  Seed 0 shows it.\n")


def test_json_is_one_object(thalweg_program: Program) -> None:
    status, out, _ = thalweg_program("figures", "--json")
    told = json.loads(out)
    assert status == 1 and told["holds"] is False and told["seed"] == 0
    assert [each["name"] for each in told["exhibits"]] == ["good", "bad"]
    assert told["exhibits"][1]["claims"][0] == {"sentence": "Seed 0 shows it.", "holds": False}
    assert told["files"] == [str(Path("figures/figures.html"))]


def test_the_list_makes_nothing(thalweg_program: Program, here: Path) -> None:
    status, out, _ = thalweg_program("figures", "--list")
    assert (status, out) == (0, "good  Title of good\nbad   Title of bad\n")
    assert json.loads(thalweg_program("figures", "--list", "--json").out)["exhibits"][0] == {
        "name": "good",
        "title": "Title of good",
    }
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("figures", "god"), "there is no exhibit god: did you mean good?"),
        (("figures", "--seed", "-1"), "--seed must be a whole number of 0 or more, not -1"),
        (("figures", "--folder", "file"), "--folder file cannot be made"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], message: str, thalweg_program: Program, here: Path
) -> None:
    (here / "file").write_text("")
    status, out, err = thalweg_program(*arguments)
    assert status == 2 and out == ""
    assert err.startswith(f"thalweg: {message}") and err.count("\n") == 1


def test_png_without_kaleido_says_what_to_install(
    thalweg_program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kaleido", None)
    status, _, err = thalweg_program("figures", "good", "--png")
    assert status == 2
    assert 'pip install "thalweg[png]"' in err and err.count("\n") == 1
