"""The quick form of the check of the true causes; `python -m benchmarks.clinic_truth` is the slow one."""

from dataclasses import replace

import pytest

from thalweg.clinic import CASES
from thalweg.clinic.truth import established
from thalweg.diagnose.cause import Cause

QUICK = (
    "fresh_network",
    "warmup",
    "replaced_head",
    "softmax_twice",
    "left_in_eval",
    "held_twice",
    "targets_from_one",
    "nan_inputs",
    "crawling_sgd",
    "decayed_too_early",
    "diverging_regression",
    "edge_of_digits",
    "noisy_regression",
    "wild_inputs",
    "factorisation",
    "shallow_saddle",
    "saturated_output",
    "unscaled_columns",
    "ill_conditioned",
    "wrong_frequency",
    "least_squares",
    "few_examples",
    "noise_inputs",
    "line_on_rings",
)


@pytest.mark.parametrize("name", QUICK)
def test_the_true_cause_is_established(name: str) -> None:
    checks = established(CASES[name], 1)
    assert checks and not [str(check) for check in checks if not check.holds]


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("fresh_network", Cause.STEP_TOO_SMALL),
        ("falling_regression", Cause.SADDLE),
        ("crawling_sgd", Cause.HEALTHY),
        ("warmup", Cause.STEP_TOO_SMALL),
        ("diverging_regression", Cause.EDGE_OF_STABILITY),
        ("noisy_regression", Cause.EDGE_OF_STABILITY),
        ("unscaled_columns", Cause.STEP_TOO_SMALL),
        ("factorisation", Cause.MINIMUM),
        ("shallow_saddle", Cause.PLATEAU),
        ("saturated_output", Cause.SADDLE),
        ("wrong_frequency", Cause.MINIMUM),
        ("least_squares", Cause.SADDLE),
        ("least_squares", Cause.LOCAL_MINIMUM),
        ("noise_inputs", Cause.OVERFITTING),
        ("few_examples", Cause.NOISE_FLOOR),
    ],
)
def test_a_wrong_claim_is_refuted(name: str, claim: Cause) -> None:
    checks = established(replace(CASES[name], cause=claim), 1)
    assert [check for check in checks if not check.holds]
