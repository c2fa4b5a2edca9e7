"""The report is one whole file that fetches nothing, runs nothing of others, and leaves nothing out."""

import base64
import gzip
import hashlib
import itertools
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from tests.show import samples
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.finding import Finding, Mechanism
from thalweg.errors import FolderError
from thalweg.show.notebook import notebook_finding, notebook_race
from thalweg.show.report import report, report_html
from thalweg.show.sketch import sketch
from thalweg.show.vitals import vital
from thalweg.show.wording import cause_label, precise, shown

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text outside scripts and styles, and the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: dict[str, str] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes = self.tags[-1][1]
            self.scripts[attributes.get("id") or "own"] = data
        elif "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def full() -> str:
    return report_html(samples.saddle(), race=samples.race())


@pytest.fixture(scope="module")
def page(full: str) -> Page:
    return Page(full)


def test_every_tag_is_closed(page: Page) -> None:
    assert page.open == []


def test_it_is_small(full: str) -> None:
    assert len(full.encode()) < 3_000_000


def test_it_fetches_nothing(full: str, page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        assert not {"src", "srcset", "action", "data"} & set(attributes)
        if "href" in attributes:
            assert (attributes["href"] or "").startswith("#")
    assert not re.search(r"https?://|url\(|@import", full)


def test_the_policy_allows_two_scripts_by_digest_and_no_request(page: Page) -> None:
    (policy,) = [
        a["content"] or "" for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    library = gzip.decompress(base64.b64decode(page.scripts["plotly"])).decode()
    assert library == get_plotlyjs()
    digests = [
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in (page.scripts["own"], library)
    ]
    assert rules["script-src"].split() == digests


def test_the_verdict_comes_before_everything(page: Page) -> None:
    text, finding = page.text, samples.saddle()
    order = [
        "saddle",
        "confident (0.93)",
        finding.sentence,
        samples.NUDGE.code.splitlines()[0],
        "constant output",
        "Vital signs",
        "The race",
        "Loss so far",
        "Ways down from here",
        "Eigenvalues",
        "Evidence",
        "Other findings",
        "How it was measured",
    ]
    start = text.index("Verdict")
    for words in order:
        start = text.index(words, start)


def test_every_estimate_stands_there_with_its_error(page: Page) -> None:
    evidence_part = page.text[page.text.rindex("Everything that was measured") :]
    titles = {attributes.get("title") for _, attributes in page.tags}
    for name, estimate in samples.saddle().evidence.items():
        if name not in ("wiring_faults", "step"):
            value, error, unit = shown(estimate, share=vital(name).share)
            row = f"{value} ± {error} {unit}" if error else f"{value} {unit}"
            assert vital(name).label in evidence_part
            assert row.strip() in evidence_part
            assert precise(estimate) in titles
    assert "faults in the wiring" not in evidence_part


def test_every_arm_stands_there(page: Page) -> None:
    for arm in samples.race().arms:
        assert arm.name in page.text
    assert "1.98 ± 0.04 1.9 to 2.06 helps" in page.text
    assert "What won the race nudge along negative curvature" in page.text


def test_internal_rows_are_folded_away(full: str) -> None:
    before, _, folded = full.partition(" more measurements</summary>")
    assert "lowest level" not in before and ">stability <" in before
    assert re.search(r"\d+$", before)
    assert "eigenvalue 7" in folded


def test_a_race_without_chance_says_so_once() -> None:
    text = Page(report_html(samples.saddle(), race=samples.race_of_twins())).text
    assert "2.07 same in all 3 seeds helps" in text and "± 0 " not in text


def test_the_unchanged_arm_has_no_outcome() -> None:
    text = Page(report_html(samples.saddle(), race=samples.race_without_winner())).text
    assert re.search(r"unchanged [\d.]+ - ", text)


def test_an_undetermined_verdict_is_none() -> None:
    text = Page(report_html(samples.undetermined())).text
    assert "undetermined not decided: plateau (0.41) or saddle (0.33)" in text
    assert "a larger budget, such as budget=600" in text and "very confident" not in text


def test_what_mends_the_cause_is_said_once() -> None:
    said = "The optimizer does not hold `0.weight`."
    mend = Mechanism("another optimizer", said, "optimizer = ...", Cause.MISWIRED)
    html = report_html(Finding(Cause.MISWIRED, said, 0.95, mechanisms=(mend,)))
    assert html.count("The optimizer does not hold <code>0.weight</code>.") == 1
    assert "Seen beside the cause" not in html


def test_the_figures_hold_the_data(page: Page) -> None:
    figures = json.loads(page.scripts["figures"])
    assert set(figures) == {"race", "gains", "history", "drops", "ahead", "spectrum"}
    places = {a.get("id") for _, a in page.tags}
    assert {f"plot-{key}" for key in figures} <= places
    curve = samples.saddle().evidence.curves["history"]
    assert tuple(figures["history"]["data"][0]["y"]) == curve.y


def test_pictures_are_said_in_words_and_headings_are_in_order(page: Page) -> None:
    pictures = [a for _, a in page.tags if a.get("role") == "img"]
    assert len(pictures) > 15 and all(a.get("aria-label") for a in pictures)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_not_finite_is_said_and_drawn_as_a_gap() -> None:
    page = Page(report_html(samples.not_finite()))
    assert "not a number" in page.text and "infinite" in page.text and "not measured" in page.text
    assert json.loads(page.scripts["figures"])["history"]["data"][0]["y"][5:] == [None] * 3
    assert "Mend this first data" in page.text


def test_a_bare_finding_makes_a_page_without_plotly() -> None:
    html = report_html(samples.bare())
    assert len(html) < 60_000
    assert "Nothing was measured." in html


def test_a_race_that_nobody_won_says_so() -> None:
    page = Page(report_html(samples.saddle(), race=samples.race_without_winner()))
    assert "The race has no winner None of the 2 cures beats the unchanged run." in page.text


@pytest.mark.parametrize(
    "html",
    [
        report_html(samples.hostile()),
        notebook_finding(samples.hostile()),
        notebook_finding(samples.saddle()),
        notebook_race(samples.race()),
    ],
    ids=["report", "hostile notebook", "notebook", "race in a notebook"],
)
def test_names_are_text_and_never_tags(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert "<script>alert" not in html and "<img" not in html and "\x1b" not in html
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)


def test_hostile_names_are_still_readable() -> None:
    shown = samples.HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
    assert shown in unescape(report_html(samples.hostile()))


def test_a_notebook_gets_small_static_html() -> None:
    for html in (notebook_finding(samples.saddle()), notebook_race(samples.race())):
        assert "<script" not in html
        assert len(html) < 60_000
    finding = samples.saddle()
    text = Page(notebook_finding(finding)).text
    for name, estimate in finding.evidence.items():
        value, error, _ = shown(estimate, share=vital(name).share)
        assert name == "step" or (value in text and (not error or f"± {error}" in text))
    assert finding.cures[0].code.splitlines()[0] in text


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_drawing_and_a_page(cause: Cause) -> None:
    assert "<path" in sketch(cause)
    assert cause_label(cause) in report_html(Finding(cause, "Because.", 0.5))


def test_it_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = report(samples.saddle(), tmp_path / "out.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    again = report(samples.bare(), str(path))
    assert again == path and "Nothing was measured." in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["no/such/folder/report.html", ".", "a-folder"])
def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path: Path, where: str) -> None:
    (tmp_path / "a-folder").mkdir()
    with pytest.raises(FolderError, match="path must be a file that can be written") as caught:
        report(samples.bare(), tmp_path / where)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["a-folder"]
