"""Vital signs read their zones, and gauges draw value, error and thresholds where they are."""

import itertools
import math
import re

import pytest

from tests.show import samples
from thalweg.estimate import Estimate
from thalweg.show.catalogue import VITALS, Scale
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
        ("stability", 0.5, "within the limit"),
        ("stability", 1.0, "at the limit or past it"),
        ("negative_curvature", -0.2, "curves down: not a minimum"),
        ("negative_curvature", 0.0, "no curve down beyond the error"),
        ("unchanged_fall", -0.5, "rises"),
        ("unchanged_fall", 0.0, "stands still"),
        ("predicted_change", -1e-9, "the next step lowers the loss"),
    ],
)
def test_a_value_reads_its_zone(name: str, value: float, word: str) -> None:
    reading = read(vital(name), Estimate(value))
    assert reading is not None and reading.word == word and not reading.straddles


def test_an_error_bar_across_a_threshold_is_told() -> None:
    reading = read(vital("stability"), Estimate(0.95, 0.1))
    assert reading is not None and reading.straddles == (1.0,)


def test_thresholds_can_be_given() -> None:
    reading = read(vital("stability"), Estimate(0.95), {**THRESHOLDS, "stability_edge": 0.9})
    assert reading is not None and reading.word == "at the limit or past it"


def test_zones_do_not_apply_in_another_unit() -> None:
    assert read(vital("gradient_drop"), Estimate(0.5, 0.1, "loss")) is None


def test_what_is_not_a_number_has_no_zone_and_no_gauge() -> None:
    assert read(vital("stability"), Estimate(math.nan)) is None
    undefined = read(vital("step"), Estimate(math.nan))
    assert undefined is not None and undefined.word == "undefined here"
    assert gauges(samples.not_finite()) == []


def test_only_what_was_measured_has_a_gauge() -> None:
    finding = samples.saddle()
    drawn = gauges(finding)
    assert {gauge.name for gauge in drawn} <= set(finding.evidence)
    assert "stability" in {gauge.name for gauge in drawn}
    assert {gauge.name for gauge in drawn if gauge.marked} == set(finding.relied_on)


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
    assert re.findall(r">(0\.2|0\.8)</text>", svg) == ["0.2", "0.8"]
    assert "noise share 0.50 ± 0.10, gradient and noise; thresholds 0.2, 0.8" in svg


def test_a_value_off_the_scale_is_an_arrow_at_its_end() -> None:
    svg = str(gauge_svg(vital("stability"), Estimate(50.0, 1.0)))
    assert "<circle" not in svg and '<svg x="100%"' in svg
    assert '<svg x="0%"' in str(gauge_svg(vital("gradient_drop"), Estimate(-0.5, 0.1)))


def test_a_sign_without_a_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="scale"):
        gauge_svg(vital("loss"), Estimate(1.0))


def test_every_estimate_is_put_into_one_group() -> None:
    evidence = samples.saddle().evidence
    names = [name for _, members in in_order(evidence) for name in members]
    assert sorted(names) == sorted(evidence)
    ranks = [name for name in names if name.startswith("eigenvalue_")]
    assert ranks == [f"eigenvalue_{k}" for k in range(1, 11)]
