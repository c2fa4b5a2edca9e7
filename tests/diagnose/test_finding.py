"""A Finding leaves as JSON and comes back."""

import dataclasses
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.diagnose.evidence import TOLD, of
from thalweg.diagnose import cures
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.finding import Finding, Mechanism
from thalweg.diagnose.verdict import judge
from thalweg.errors import FolderError
from thalweg.estimate import Curve, Estimate, Evidence

NUMBERS = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf])
ESTIMATES = st.builds(Estimate, NUMBERS, NUMBERS, st.text(max_size=5), st.floats(0, 1e9))
CURVES = st.builds(
    lambda x, y: Curve(tuple(x), tuple(y), "step", "loss"),
    st.lists(NUMBERS, max_size=4),
    st.lists(NUMBERS, max_size=4),
)
EVIDENCE = st.builds(
    Evidence,
    st.dictionaries(st.text(max_size=8), ESTIMATES, max_size=5),
    st.dictionaries(st.text(max_size=8), CURVES, max_size=2),
)
MECHANISMS = st.lists(
    st.builds(
        Mechanism,
        st.text(max_size=9),
        st.text(max_size=9),
        st.text(max_size=9),
        st.none() | st.sampled_from(Cause),
    ),
    max_size=3,
)


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    told = draw(st.sampled_from(TOLD))
    return dataclasses.replace(
        judge(of(told.signs), tuple(draw(MECHANISMS)), notes=("λ",), name=draw(st.text())),
        evidence=draw(EVIDENCE),
        cost=draw(st.floats(0, 1e9)),
    )


def strict(text: str) -> Any:
    """JSON as others read it, in which NaN and Infinity are no numbers."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@settings(max_examples=40)
@given(findings())
def test_to_dict_is_json_and_the_way_back_loses_nothing_of_it(finding: Finding) -> None:
    plain = finding.to_dict()
    assert strict(json.dumps(plain)) == plain
    back = Finding.from_dict(plain)
    assert back.to_dict() == plain
    for name in ("cause", "sentence", "confidence", "relied_on", "mechanisms", "cures", "notes"):
        assert getattr(back, name) == getattr(finding, name)
    for name, estimate in finding.evidence.items():
        kept = back.evidence[name]
        for one, other in ((estimate.value, kept.value), (estimate.error, kept.error)):
            # What is not finite is null in JSON, and not a number when it comes back.
            assert one == other if math.isfinite(one) else math.isnan(other)
        assert (kept.unit, kept.cost) == (estimate.unit, estimate.cost)
    assert [(f.cause, f.confidence) for f in back.findings] == [
        (f.cause, f.confidence) for f in finding.findings
    ]


@settings(max_examples=40)
@given(findings())
def test_saved_and_loaded(finding: Finding) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = finding.save(Path(folder) / "finding.json")
        assert strict(path.read_text(encoding="utf-8")) == finding.to_dict()
        assert Finding.load(path).to_dict() == Finding.load(str(path)).to_dict()
        assert Finding.load(path).to_dict() == finding.to_dict()


def test_the_keys_that_the_command_line_promises_are_there() -> None:
    plain = judge(of()).to_dict()
    promised = [
        "cause",
        "sentence",
        "confidence",
        "mechanisms",
        "evidence",
        "findings",
        "cures",
        "cost",
    ]
    assert set(promised) <= set(plain)
    assert set(plain["evidence"]["loss"]) == {"value", "error", "unit", "cost"}


def test_cures_come_back_able_to_be_raced_and_unknown_ones_are_left_out() -> None:
    finding = dataclasses.replace(judge(of()), cures=(cures.learning_rate(0.3), cures.perturb(2)))
    plain = finding.to_dict()
    plain["cures"].insert(1, {"name": "levitate x3", "summary": "", "code": ""})
    back = Finding.from_dict(plain)
    assert back.cures == finding.cures
    assert all(cure.change is not None for cure in back.cures)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        '"finding"',
        '{"evidence": []}',
        '{"evidence": {"loss": 1.0}}',
        '{"cause": "bad luck", "sentence": "", "confidence": 1, "evidence": {}, "cures": []}',
    ],
)
def test_what_is_no_finding_is_said_in_a_sentence(content: str, tmp_path: Path) -> None:
    path = tmp_path / "finding.json"
    path.write_text(content)
    with pytest.raises(FolderError, match=r"finding\.json cannot be read as a finding"):
        Finding.load(path)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00\xd8")
    for name in ("nowhere.json", "bytes.json", "."):
        with pytest.raises(FolderError, match="cannot be read as a finding"):
            Finding.load(tmp_path / name)


def test_each_cause_says_what_it_means_what_tells_it_and_what_cures_it() -> None:
    for cause in Cause:
        assert cause == cause.value == str(cause) and Cause(cause.value) is cause
        for said in (cause.meaning, cause.tells, cause.cured_by):
            assert said.endswith(".") and said[0].isupper() and "  " not in said
    assert len(set(Cause)) == 16
