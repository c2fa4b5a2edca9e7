"""Vital signs read their zones, and gauges draw value, error and thresholds where they are."""

import itertools
import math
import re
from pathlib import Path

import pytest

from tests.show import samples
from thalweg.diagnose import thresholds
from thalweg.estimate import Estimate
from thalweg.show.catalogue import VITALS, Scale, Vital
from thalweg.show.content import evidence_tables
from thalweg.show.gauge import gauge_svg, gauges
from thalweg.show.vitals import THRESHOLDS, in_order, read, vital


@pytest.mark.parametrize("sign", VITALS.values(), ids=VITALS)
def test_a_sign_has_one_word_and_one_tone_for_each_zone(sign) -> None:
    if sign.words:
        assert len(sign.words) == len(sign.tones) == len(sign.cuts) + 1
    cuts = sign.cuts_at(THRESHOLDS)
    assert list(cuts) == sorted(cuts)
    if sign.scale is not None:
        assert all(sign.scale.low < cut < sign.scale.high for cut in cuts)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("stability", 0.01, "far below the limit"),
        ("stability", 0.1, "within the limit"),
        ("stability", 0.5, "at the edge: steps may bounce"),
        ("stability", 3.0, "past the limit"),
        ("negative_curvature", -0.2, "curves down: no minimum"),
        ("negative_curvature", 0.0, "level within its error"),
        ("unchanged_fall", -3.0, "blows up"),
        ("unchanged_fall", -0.5, "rises"),
        ("unchanged_fall", 0.0, "stands still"),
        ("predicted_change", -1e-9, "the next step lowers the loss"),
    ],
)
def test_a_value_reads_its_zone(name: str, value: float, word: str) -> None:
    reading = read(vital(name), Estimate(value, unit=vital(name).unit))
    assert reading is not None and reading.word == word and not reading.straddles


def test_an_error_bar_across_a_threshold_is_told() -> None:
    reading = read(vital("stability"), Estimate(0.95, 0.1))
    assert reading is not None and reading.straddles == (1.0,)


def test_thresholds_can_be_given() -> None:
    reading = read(vital("stability"), Estimate(0.95), {**THRESHOLDS, "edge": 0.96})
    assert reading is not None and reading.word.startswith("near the limit")


def test_zones_do_not_apply_in_another_unit() -> None:
    assert read(vital("gradient_drop"), Estimate(0.5, 0.1, "loss")) is None


def test_what_is_not_a_number_has_no_zone_and_no_gauge() -> None:
    assert read(vital("stability"), Estimate(math.nan)) is None
    undefined = read(vital("step"), Estimate(math.nan))
    assert undefined is not None and undefined.word == "undefined here"
    assert gauges(samples.not_finite()) == []


def test_what_is_undefined_has_a_dash_and_its_reason() -> None:
    rows = {row.key: row.cells for t in evidence_tables(samples.saddle()) for row in t.rows}
    assert rows["step"] == ("step", "-", "", "undefined here")
    full_batch = read(vital("gradient_signal"), Estimate(math.inf))
    assert full_batch is not None and full_batch.word == "full batches have no noise"


def test_only_what_was_measured_has_a_gauge() -> None:
    finding = samples.saddle()
    first, signs, *rest = gauges(finding)
    assert [gauge.name for gauge in first.members] == list(finding.relied_on)
    assert "stability" in {gauge.name for gauge in signs.members}
    assert not first.folded and not signs.folded and all(group.folded for group in rest)
    names = [gauge.name for group in (first, signs, *rest) for gauge in group.members]
    assert len(names) == len(set(names)) and set(names) <= set(finding.evidence)


@pytest.mark.parametrize(
    "scale", [Scale("linear", -1, 3), Scale("log", 1e-3, 10), Scale("signed", -1, 1)]
)
def test_a_scale_rises_from_end_to_end(scale: Scale) -> None:
    values = [scale.low + (scale.high - scale.low) * k / 50 for k in range(51)]
    places = [scale.position(value) for value in values]
    assert places[0] == 0 and places[-1] == 1
    assert all(a < b for a, b in itertools.pairwise(places))
    assert scale.position(-1e9) == 0 and scale.position(math.inf) == 1
    assert math.isnan(scale.position(math.nan))


def test_a_gauge_draws_the_value_its_error_and_the_thresholds() -> None:
    svg = str(gauge_svg(vital("noise_share"), Estimate(0.5, 0.1)))
    assert '<circle cx="50.00%"' in svg
    assert 'x1="40.00%" x2="60.00%"' in svg
    assert re.findall(r">([^<]+)</text>", svg) == ["35%", "0%", "100%"]
    assert "noise share 50% ± 10%, noise is a good part; threshold 35%" in svg


def test_ticks_that_would_overlap_have_no_number() -> None:
    near = Vital(
        "near",
        "near",
        cuts=("0.5", "0.52"),
        words=("a", "b", "c"),
        tones=("calm", "calm", "calm"),
        scale=Scale("linear", 0.0, 1.0),
    )
    svg = str(gauge_svg(near, Estimate(0.7)))
    assert svg.count('y1="9"') == 2
    assert re.findall(r">([^<]+)</text>", svg) == ["0.5", "0", "1"]


def test_a_value_off_the_scale_is_an_arrow_at_its_end() -> None:
    svg = str(gauge_svg(vital("stability"), Estimate(50.0, 1.0)))
    assert "<circle" not in svg and '<svg x="100%"' in svg
    assert '<svg x="0%"' in str(
        gauge_svg(vital("gradient_drop"), Estimate(-0.5, 0.1, "of the range"))
    )


def test_a_sign_without_a_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="scale"):
        gauge_svg(vital("loss"), Estimate(1.0))


def test_what_the_verdict_rests_on_comes_first_and_internals_are_folded() -> None:
    finding = samples.saddle()
    first, signs, *rest = in_order(finding.evidence, finding.relied_on)
    assert first.names == finding.relied_on
    assert {"loss", "test_loss", "stability", "step", "noise_share"} <= set(signs.names)
    assert all(group.folded for group in rest)
    names = [name for group in (first, signs, *rest) for name in group.names]
    assert sorted(names) == sorted(set(finding.evidence) - {"wiring_faults"})
    ranks = [name for name in names if name.startswith("eigenvalue_")]
    assert ranks == [f"eigenvalue_{k}" for k in range(1, 11)]


def test_a_count_is_told_only_where_there_is_something() -> None:
    assert in_order({"wiring_faults": Estimate(0.0)}) == []
    assert in_order({"wiring_faults": Estimate(2.0)})[0].names == ("wiring_faults",)


@pytest.mark.parametrize("sign", VITALS.values(), ids=VITALS)
def test_a_sign_is_said_in_words(sign) -> None:
    assert sign.label and sign.meaning.endswith(".") and "_" not in sign.label


def test_thresholds_are_those_of_the_verdict() -> None:
    for name in ("stability", "noise_share", "explained", "label_signal", "jump", "bounce"):
        cuts = VITALS[name].cuts_at(THRESHOLDS)
        assert set(cuts) <= {value for value in vars(thresholds).values() if _number(value)} | {1.0}
    moved = {key: 2 * value for key, value in THRESHOLDS.items()}
    assert VITALS["unchanged_fall"].cuts_at(moved)[-1] == 2 * thresholds.STILL


def _number(value: object) -> bool:
    return isinstance(value, int | float)


NAMED = re.compile(r"""\b(?:add|add_fall|measured|value)\(\s*"(\w+)"|estimates\["(\w+)"\]""")


def test_every_name_that_a_diagnosis_makes_is_in_the_catalogue() -> None:
    made = {
        name
        for path in Path(thresholds.__file__).parent.rglob("*.py")
        for pair in NAMED.findall(path.read_text())
        for name in pair
        if name
    }
    assert len(made) > 40
    assert made <= set(VITALS)
