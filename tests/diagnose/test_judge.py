"""The verdict on Evidence: what goes first, what rivals take away, what is left open."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.diagnose.evidence import BOWL, FALLING, STILL, TOLD, of
from thalweg.diagnose import cures, verdict
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.finding import Finding, Mechanism
from thalweg.diagnose.verdict import judge
from thalweg.estimate import Estimate, Evidence

CAUSES = st.sampled_from([c for c in Cause if c is not Cause.UNDETERMINED])
EVIDENCE = Evidence({"loss": Estimate(1.0, 0.1, "loss", 3.0)})


def judged(monkeypatch: pytest.MonkeyPatch, *found: tuple[Cause, float]) -> Finding:
    """The verdict where the rules say just this."""
    rules = [
        (lambda evidence, c=cause, p=p: Finding(c, f"It is {c}.", p, relied_on=("loss",)))
        for cause, p in found
    ]
    with monkeypatch.context() as patch:
        patch.setattr(verdict, "RULES", tuple(rules))
        return judge(EVIDENCE)


def test_the_most_probable_cause_is_the_verdict_and_the_others_stand_behind_it_ranked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = judged(monkeypatch, (Cause.SADDLE, 0.3), (Cause.RAVINE, 0.9), (Cause.MINIMUM, 0.6))
    assert found.cause is Cause.RAVINE
    assert [f.cause for f in found.findings] == [Cause.MINIMUM, Cause.SADDLE]
    assert found.relied_on == ("loss",) and found.evidence == EVIDENCE
    assert found.cost == 3.0


def test_a_cause_without_a_rival_keeps_its_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(monkeypatch, (Cause.SADDLE, 0.83)).confidence == 0.83


@given(st.floats(0.5, 0.97), st.floats(0.05, 0.97), st.floats(0.05, 0.97))
def test_the_stronger_a_rival_the_lower_the_confidence(
    first: float, one: float, other: float
) -> None:
    weak, strong = sorted((min(one, first), min(other, first)))
    with pytest.MonkeyPatch.context() as patch:
        alone = judged(patch, (Cause.SADDLE, first)).confidence
        against_weak = judged(patch, (Cause.SADDLE, first), (Cause.RAVINE, weak)).confidence
        against_strong = judged(patch, (Cause.SADDLE, first), (Cause.RAVINE, strong)).confidence
    assert alone >= against_weak >= against_strong > 0


@given(st.floats(0.5, 0.97))
def test_against_an_equal_no_verdict_is_confident(probability: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = judged(patch, (Cause.SADDLE, probability), (Cause.RAVINE, probability))
    assert found.confidence < 0.8


def test_two_causes_that_are_about_as_probable_decide_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = judged(monkeypatch, (Cause.SADDLE, 0.6), (Cause.RAVINE, 0.55))
    assert found.cause is Cause.UNDETERMINED
    assert "saddle or ravine" in found.sentence
    assert [f.cause for f in found.findings] == [Cause.SADDLE, Cause.RAVINE]


@given(st.lists(st.tuples(CAUSES, st.floats(0.05, 0.97)), max_size=6, unique_by=lambda f: f[0]))
def test_the_order_in_which_rules_are_asked_changes_nothing_but_ties(
    said: list[tuple[Cause, float]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found, turned = judged(patch, *said), judged(patch, *reversed(said))
    assert 0 <= found.confidence <= 1
    if len({p for _, p in said}) == len(said):
        assert found == turned
    if max((p for _, p in said), default=0.0) < 0.5 and not {c for c, _ in said} & {
        Cause.MISWIRED,
        Cause.NOT_FINITE,
    }:
        assert found.cause is Cause.UNDETERMINED


def test_below_even_chance_nothing_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(monkeypatch, (Cause.SADDLE, 0.49), (Cause.LOCAL_MINIMUM, 0.2))
    assert found.cause is Cause.UNDETERMINED
    assert [f.cause for f in found.findings] == [Cause.SADDLE, Cause.LOCAL_MINIMUM]
    assert found.sentence == "The evidence does not decide: it may be saddle or local minimum."
    assert judged(monkeypatch).sentence == "The evidence does not decide."
    assert judged(monkeypatch).cause is Cause.UNDETERMINED


def test_what_is_open_carries_the_cures_of_what_it_may_be_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tenth of the rate cures a noise floor as well as the edge of stability."""
    tenth, third, noise = cures.learning_rate(0.1), cures.learning_rate(0.3), cures.batch_size(8)
    rules = (
        lambda evidence: Finding(Cause.NOISE_FLOOR, "Noise.", 0.45, cures=(tenth, noise)),
        lambda evidence: Finding(Cause.EDGE_OF_STABILITY, "Edge.", 0.4, cures=(third, tenth)),
        lambda evidence: Finding(Cause.SADDLE, "Saddle.", 0.1, cures=(cures.perturb(),)),
    )
    monkeypatch.setattr(verdict, "RULES", rules)
    found = judge(EVIDENCE)
    assert found.cause is Cause.UNDETERMINED and found.cures == (tenth, noise, third)


@pytest.mark.parametrize("told", TOLD, ids=lambda told: str(told.cause))
def test_what_is_broken_goes_before_everything_else(told: object) -> None:
    signs = told.signs  # type: ignore[attr-defined]
    for name, cause in (("wiring_faults", Cause.MISWIRED), ("not_finite", Cause.NOT_FINITE)):
        found = judge(of(signs, {"wiring_faults": 0.0, "not_finite": 0.0, name: 1.0}))
        assert found.cause is cause and found.confidence > 0.9, found.findings
    both = judge(of(signs, {"wiring_faults": 1.0, "not_finite": 1.0}))
    assert both.cause is Cause.NOT_FINITE and both.findings[0].cause is Cause.MISWIRED


def test_a_mechanism_that_explains_the_cause_gives_the_sentence_and_all_are_kept() -> None:
    softmax = Mechanism("softmax twice", "A softmax is applied twice.", "drop it", Cause.MISWIRED)
    second = Mechanism("held twice", "A weight is held twice.", "hold it once", Cause.MISWIRED)
    beside = Mechanism("dead units", "A third of the units is dead.", "lower the rate")
    found = judge(of({"wiring_faults": 2.0}), (beside, softmax, second))
    assert found.sentence == softmax.sentence  # the first that explains
    assert found.mechanisms == (beside, softmax, second)
    healthy = judge(of(), (beside,))
    assert healthy.cause is Cause.HEALTHY and healthy.mechanisms == (beside,)
    assert healthy.sentence != beside.sentence


def test_notes_name_and_cost_are_kept() -> None:
    found = judge(of(), notes=("on a subsample",), name="mine", cost=17.0)
    assert (found.notes, found.name, found.cost) == (("on a subsample",), "mine", 17.0)


def test_evidence_that_straddles_its_threshold_is_left_open() -> None:
    """The same values with errors as wide as themselves decide nothing."""
    sure = of(STILL, {"negative_curvature": -0.3, "curvature_drop": 0.2, "nudge_fall": 0.2})
    assert judge(sure).cause is Cause.SADDLE and judge(sure).confidence > 0.8
    wide = Evidence({n: Estimate(e.value, 3 * abs(e.value) + 0.02) for n, e in sure.items()})
    assert judge(wide).confidence < 0.8


def test_an_escape_probe_that_found_nothing_makes_a_minimum_surer_only_if_it_came_back() -> None:
    gone = judge(of(BOWL, {"escape_return": 0.0}))
    back = judge(of(BOWL, {"escape_return": 1.0}))
    assert gone.cause is back.cause is Cause.MINIMUM
    assert gone.confidence < 0.8 < back.confidence


def test_a_verdict_from_nothing_is_undetermined() -> None:
    for evidence in (Evidence(), Evidence({n: Estimate(math.nan, math.nan) for n in FALLING})):
        found = judge(evidence)
        assert found.cause is Cause.UNDETERMINED and found.findings == () == found.cures
