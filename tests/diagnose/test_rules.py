"""Every rule is a pure function of Evidence, right on Evidence built by hand, and speaks plainly."""

import copy
import math
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.diagnose.evidence import NAMES, TOLD, Told, of
from thalweg.diagnose import phrases
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes import RULES
from thalweg.diagnose.cures import cure_named
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.verdict import CAUSES_OF_STANDSTILL, CAUTIOUS, judge
from thalweg.estimate import Estimate, Evidence

RULE = {Cause(rule.__name__): rule for rule in RULES}
IDS = [f"{told.cause}: {told.boundary}" for told in TOLD]


class Asked(Evidence):
    """Evidence that keeps the names it was asked for."""

    def __init__(self, evidence: Evidence, names: set[str]) -> None:
        super().__init__(evidence.estimates, evidence.curves)
        object.__setattr__(self, "names", names)

    def value(self, name: str) -> float:
        self.names.add(name)  # type: ignore[attr-defined]
        return super().value(name)

    def measured(self, name: str) -> Estimate:
        self.names.add(name)  # type: ignore[attr-defined]
        return super().measured(name)

    def __getitem__(self, name: str) -> Estimate:
        self.names.add(name)  # type: ignore[attr-defined]
        return super().__getitem__(name)


def asked_for() -> set[str]:
    """Every name that any rule reads, on any of the Evidence built by hand."""
    names: set[str] = set()
    for told in TOLD:
        for rule in RULES:
            rule(Asked(of(told.signs), names))
            rule(Asked(of(told.signs, told.neighbour), names))
    return names


def reads_well(sentence: str) -> None:
    assert sentence.endswith(".") and not sentence.endswith(".."), sentence
    assert sentence[0].isupper(), sentence
    assert not re.search(r"\b(nan|inf|None)\b", sentence), sentence
    assert not re.search(r"  | [,.;)]|\(\)|\( ", sentence), sentence
    assert not re.search(r"\d[eE][+]|\d[eE]-0|-0(\.0*)?%|\b0(\.0*)?%", sentence), sentence
    # What falls by a negative amount rises, and nothing falls by nought.
    assert not re.search(r"(falls|rises|lowers?|lowers it) by (-|0 |no)", sentence), sentence
    assert not re.search(r"\d{9}", sentence), sentence


def test_there_is_a_rule_for_every_cause_but_undetermined() -> None:
    assert set(RULE) == set(Cause) - {Cause.UNDETERMINED}


# On what nobody measured -----------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_fires_on_nothing(rule: Any) -> None:
    assert rule(Evidence()) is None
    for error in (0.0, 1.0, math.inf, math.nan):
        assert rule(Evidence({name: Estimate(math.nan, error) for name in NAMES})) is None


# On Evidence built by hand ---------------------------------------------------------------------


@pytest.mark.parametrize("told", TOLD, ids=IDS)
def test_a_cause_is_named_by_what_tells_it(told: Told) -> None:
    evidence = of(told.signs)
    verdict = judge(evidence)
    assert verdict.cause == told.cause, verdict.findings
    if told.cause in CAUSES_OF_STANDSTILL and evidence.value("unchanged_fall") > 0.1:
        assert verdict.confidence == CAUTIOUS, "a run that comes down is not surely stuck"
    else:
        assert verdict.confidence > 0.8, verdict.findings
    reads_well(verdict.sentence)


@pytest.mark.parametrize("told", TOLD, ids=IDS)
def test_what_stands_still_is_told_as_surely_as_its_signs_are(told: Told) -> None:
    falls = of(told.signs).value("unchanged_fall") > 0.01
    verdict = judge(of(told.signs, {"unchanged_fall": 0.0, "late_fall": 0.0} if falls else {}))
    if verdict.cause == told.cause and told.cause in CAUSES_OF_STANDSTILL:
        assert verdict.confidence > 0.8


@pytest.mark.parametrize("told", TOLD, ids=IDS)
def test_and_not_by_its_neighbour(told: Told) -> None:
    evidence = of(told.signs, told.neighbour)
    found = RULE[told.cause](evidence)
    assert found is None or found.confidence < 0.2
    assert judge(evidence).cause != told.cause


# Purity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", TOLD, ids=IDS)
def test_rules_are_pure(told: Told) -> None:
    evidence = of(told.signs)
    before = copy.deepcopy(evidence)
    names = list(evidence)
    random.Random(1).shuffle(names)
    shuffled = Evidence({name: evidence[name] for name in names})
    for rule in RULES:
        once = rule(evidence)
        assert once == rule(evidence) == rule(shuffled)
        assert evidence == before and list(evidence) == list(before)


@pytest.mark.parametrize("told", TOLD, ids=IDS)
def test_a_rule_tells_of_what_it_relied_on(told: Told) -> None:
    evidence = of(told.signs)
    for rule in RULES:
        found = rule(evidence)
        if found is None:
            continue
        assert found.relied_on and set(found.relied_on) == set(found.evidence) <= set(evidence)
        assert all(found.evidence[name] is evidence[name] for name in found.relied_on)


def test_every_named_number_is_one_that_the_rules_read() -> None:
    """A name that no rule reads would be a slip of the pen, here or there."""
    told = {"loss", "gradient_norm", "constant_loss", "output_spread", "conditioning", "step"}
    told |= {"gradient_signal", "top_eigenvalue", "one_batch_fall", "krylov_drop", "jump"}
    assert set(NAMES) - asked_for() <= told


def test_a_change_to_one_cause_does_not_hang_on_another() -> None:
    """Each cure that a rule gives has the name under which it is found again."""
    for told in TOLD:
        for rule in RULES:
            found = rule(of(told.signs))
            for cure in () if found is None else found.cures:
                assert cure_named(cure.name) == cure


# Sentences -------------------------------------------------------------------------------------

EXTREME = st.sampled_from(
    [0.0, 1e-12, 1e-6, 0.004, 0.05, 0.3, 0.995, 1.0, 2.0, 40.0, 1e9, 1e300, math.inf, math.nan]
)
ANY = st.builds(
    lambda size, sign, error: Estimate(sign * size, error),
    EXTREME,
    st.sampled_from([1.0, -1.0]),
    st.sampled_from([0.0, 1e-12, 0.01, 3.0, 1e9, math.inf, math.nan]),
)


@st.composite
def near_a_cause(draw: st.DrawFn) -> Evidence:
    """Evidence of a cause in which a few numbers are extreme, or missing."""
    estimates = dict(of(draw(st.sampled_from(TOLD)).signs))
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=8)):
        if draw(st.booleans()):
            estimates[name] = draw(ANY)
        else:
            estimates.pop(name, None)
    return Evidence(estimates)


@settings(max_examples=250)
@given(near_a_cause() | st.dictionaries(st.sampled_from(NAMES), ANY).map(Evidence))
def test_whatever_was_measured_every_finding_reads_well(evidence: Evidence) -> None:
    for rule in RULES:
        found = rule(evidence)
        if found is not None:
            assert isinstance(found, Finding) and RULE[found.cause] is rule
            assert 0.05 <= found.confidence <= 0.97
            assert set(found.relied_on) <= set(evidence)
            reads_well(found.sentence)
    reads_well(judge(evidence).sentence)


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (0.12, 0.0, "falls by 12% of the range"),
        (-0.0043, 0.003, "rises by 0.43% ± 0.3% of the range"),
        (0.0, 0.0, "stands still"),
        (-1e-12, 0.0, "stands still"),
        (9.361, 0.0, "falls by 9.4 times the range"),
        (-1e9, 0.0, "rises by more than a million times the range"),
        (-math.inf, 0.0, "does not stay finite"),
        (math.nan, 0.0, "changes by an unknown amount"),
        (0.00074, 0.0, "falls by 0.074% of the range"),
        (0.5, math.inf, "falls by 50% of the range"),
    ],
)
def test_how_a_fall_is_said(value: float, error: float, said: str) -> None:
    assert phrases.fall(Estimate(value, error)) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "does not fall"),
        (-0.2, "does not fall"),
        (math.nan, "was not seen to fall"),
        (0.02, "falls by at most 2% of the range"),
        (1e-9, "falls by less than 0.001% of the range"),
    ],
)
def test_how_an_upper_bound_of_a_fall_is_said(value: float, said: str) -> None:
    assert phrases.at_most(value) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Estimate(3.97e-06, 7e-08), "3.97e-6 ± 7e-8"),
        (Estimate(0.592, 3e-7), "0.592"),
        (Estimate(75497.3), "75500"),
        (Estimate(1.13, 0.031), "1.13 ± 0.03"),
        (Estimate(2.0, math.inf), "2 ± unknown"),
        (Estimate(math.nan, math.nan), "unknown"),
        (Estimate(math.inf), "without bound"),
    ],
)
def test_how_a_number_is_said(found: Estimate, said: str) -> None:
    assert phrases.measured(found) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "an unknown part"),
        (-0.1, "none"),
        (0.0, "none"),
        (1e-9, "less than 0.001%"),
        (0.0956, "10%"),
        (0.0123, "1.2%"),
        (0.994, "99%"),
        (1.0, "100%"),
        (7.0, "all"),
    ],
)
def test_how_a_share_is_said(value: float, said: str) -> None:
    assert phrases.share(value) == said


def test_data_that_cannot_be_fitted_are_told_without_any_measurement() -> None:
    found = RULE[Cause.CANNOT_FIT](Evidence({"data_faults": Estimate(1.0)}))
    assert found is not None
    reads_well(found.sentence)


def test_the_share_that_a_label_signal_leaves_open_is_said() -> None:
    told = {"explained": 0.001, "escape_fall": 0.0}
    stuck = next(t for t in TOLD if t.cause is Cause.CANNOT_FIT).signs | told
    said = [
        str(RULE[Cause.CANNOT_FIT](of(stuck, {"label_signal": signal})).sentence)  # type: ignore[union-attr]
        for signal in (0.99, 0.0, math.nan)
    ]
    assert "cannot say how" in said[0] and "too little" not in said[0]
    assert "say too little about the targets (label" in said[1] and "too small" not in said[1]
    assert "or the model is too small" in said[2]
