"""The lesson is one whole file that fetches nothing and says every claim, held or not."""

import json
import re
from pathlib import Path

import plotly.graph_objects as go
import pytest

from tests.show.test_report import Page
from thalweg.errors import FolderError, UsageError
from thalweg.show.figure import styled
from thalweg.show.gallery import Claim, Drawn, Exhibit
from thalweg.show.gallery.drawing import animated
from thalweg.show.lesson import lesson, lesson_html
from thalweg.show.panels import Panel
from thalweg.show.picture import pictures


def moving() -> go.Figure:
    figure = styled(go.Figure(go.Scatter(x=[0, 1], y=[0, 1])), "x", "y")
    return animated(figure, [("0", [go.Scatter(x=[0], y=[0])]), ("1", [go.Scatter(x=[1], y=[1])])])


def an_exhibit(name: str, *claims: Claim) -> tuple[Exhibit, Drawn]:
    panel = Panel(f"{name}-one", "A <title>", f"What {name} & others show.", moving())
    drawn = Drawn((panel,), claims or (Claim(f"{name} holds.", True),))
    return Exhibit(
        name, f"Title of {name}", f"Lesson of {name}.", f"Why {name}?", lambda _: drawn
    ), drawn


@pytest.fixture(scope="module")
def html() -> str:
    failing = an_exhibit("second", Claim("It <rises>.", True), Claim("It falls.", False))
    return lesson_html([an_exhibit("first"), failing], seed=7)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_it_asks_nothing_of_the_network(html: str, page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        assert not {"src", "srcset", "action", "data"} & set(attributes)
        if "href" in attributes:
            assert (attributes["href"] or "").startswith("#")
    assert not re.search(r"https?://|url\(|@import", html)
    (policy,) = [
        a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert page.open == []
    assert html.count('id="plotly"') == 1


def test_it_reads_as_a_lesson_from_top_to_bottom(page: Page) -> None:
    at = 0
    for words in (
        "Why descent gets stuck",
        "Title of first Title of second",
        "1 Title of first",
        "Lesson of first.",
        "What first & others show.",
        "first holds.",
        "Question Why first?",
        "2 Title of second",
        "It <rises>.",
        "Not borne out here: It falls.",
        "--seed 7",
        "1 of its 3 claims failed",
    ):
        at = page.text.index(words, at)


def test_links_of_the_contents_lead_to_exhibits(page: Page) -> None:
    ids = {a.get("id") for _, a in page.tags}
    targets = [a["href"] for tag, a in page.tags if tag == "a"]
    assert len(targets) == 3 and all((target or "#")[1:] in ids for target in targets)


def test_figures_keep_their_frames_and_wait_to_be_seen(page: Page) -> None:
    figures = json.loads(page.scripts["figures"])
    assert set(figures) == {"first-one", "second-one"}
    frames = figures["first-one"]["frames"]
    assert [frame["name"] for frame in frames] == ["0", "1"]
    assert all(frame["traces"] == [0] for frame in frames)
    assert "IntersectionObserver" in page.scripts["own"]
    assert any(tag == "main" and a.get("class") == "lesson" for tag, a in page.tags)


def test_the_slider_goes_to_every_moment() -> None:
    figure = moving()
    steps = figure.layout.sliders[0].steps
    assert [step.args[0][0] for step in steps] == [frame.name for frame in figure.frames]
    assert figure.layout.sliders[0].active == 1


def test_it_is_written_whole(tmp_path: Path) -> None:
    path = lesson([an_exhibit("first")], tmp_path / "figures.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FolderError, match="path must be a file that can be written"):
        lesson([an_exhibit("first")], tmp_path / "no" / "figures.html")


def test_without_kaleido_a_picture_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kaleido", None)
    with pytest.raises(UsageError, match=r'a PNG needs kaleido: pip install "thalweg\[png\]"'):
        list(pictures([(moving(), tmp_path / "one.png")]))
    assert list(tmp_path.iterdir()) == []
