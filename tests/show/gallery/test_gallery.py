"""Every exhibit says what it shows, and shows it, for any seed."""

import json
from dataclasses import replace

import pytest
from plotly.utils import PlotlyJSONEncoder

from thalweg.errors import UsageError
from thalweg.show.gallery import LESSON, Claim, Drawn, Exhibit, exhibit

NAMES = [each.name for each in LESSON]

SLOW = {
    "averages",
    "batch-minima",
    "batches",
    "cures-compared",
    "early-stopping",
    "erratic-examples",
    "escape-times",
    "flat-minimum",
    "index",
    "path",
    "ravine",
    "same-classes",
    "schedules",
    "sgd-and-descent",
    "shrinking-rates",
    "skip-connections",
    "smoothing",
    "step",
    "two-escapes",
    "width",
}
"""Built for one seed here; `thalweg figures --seed N` tries others."""

BUILDS = [(each, seed) for each in LESSON for seed in range(1 if each.name in SLOW else 3)]


def test_names_are_unique_and_fit_for_a_command_line() -> None:
    assert len(set(NAMES)) == len(NAMES) > 0
    assert all(name.replace("-", "").isalnum() and name == name.lower() for name in NAMES)
    assert len({each.title for each in LESSON}) == len(LESSON)


@pytest.mark.parametrize("each", LESSON, ids=NAMES)
def test_an_exhibit_teaches_and_asks(each: Exhibit) -> None:
    assert len(each.lesson.split()) > 40
    assert each.question.endswith("?")


def test_an_exhibit_is_found_by_its_name() -> None:
    assert exhibit(NAMES[0]) is LESSON[0]
    with pytest.raises(
        UsageError, match=f"there is no exhibit {NAMES[0]}s: did you mean {NAMES[0]}"
    ):
        exhibit(f"{NAMES[0]}s")
    with pytest.raises(UsageError, match=f"there are {NAMES[0]}"):
        exhibit("§§§")


def test_one_claim_that_fails_makes_an_exhibit_fail() -> None:
    drawn = Drawn((), (Claim("One.", True), Claim("Two.", True)))
    assert drawn.holds
    assert not replace(drawn, claims=(*drawn.claims, Claim("Three.", False))).holds


def test_what_is_slow_exists() -> None:
    assert set(NAMES) >= SLOW


@pytest.mark.parametrize(("each", "seed"), BUILDS, ids=[f"{e.name}-{s}" for e, s in BUILDS])
def test_its_claims_hold(each: Exhibit, seed: int) -> None:
    drawn = each.build(seed)
    assert drawn.panels and drawn.claims
    failed = [claim.sentence for claim in drawn.claims if not claim.holds]
    assert not failed
    if seed == 0:
        check_panels(each, drawn)


def check_panels(each: Exhibit, drawn: Drawn) -> None:
    keys = [panel.key for panel in drawn.panels]
    assert len(set(keys)) == len(keys) and all(key.startswith(each.name) for key in keys)
    for panel in drawn.panels:
        assert panel.caption and panel.figure.data
        text = json.dumps(panel.figure.to_plotly_json(), allow_nan=False, cls=PlotlyJSONEncoder)
        assert len(text) < 1_500_000, f"{panel.key} is {len(text)} characters long"
    for claim in drawn.claims:
        assert claim.sentence.endswith(".")
