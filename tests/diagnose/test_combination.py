"""Two cures at once."""

import pytest
import torch

from tests.diagnose.stuck import momentum
from thalweg.diagnose import cures
from thalweg.diagnose.combination import best_combination, combined, named
from thalweg.diagnose.cures import Ground, cure_named
from thalweg.diagnose.examination import Examination, fan_in_scales
from thalweg.run.training import Training


def changed(name: str) -> Training:
    task = momentum()
    objective = Examination.of(task, budget=1.0).objective
    training = Training.of(task)
    cure = named(name)
    assert cure is not None and cure.change is not None
    scales = fan_in_scales(task.model)
    cure.change(training, Ground(torch.Generator().manual_seed(1), None, scales, objective))
    return training


def test_both_changes_are_made_the_optimizer_first_whatever_the_order() -> None:
    for name in ("adam 0.01 + learning_rate x0.5", "learning_rate x0.5 + adam 0.01"):
        training = changed(name)
        assert isinstance(training.optimizer, torch.optim.Adam)
        assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
        cure = named(name)
        assert cure is not None and cure.name == "adam 0.01 + learning_rate x0.5"
        assert cure.code.index("Adam") < cure.code.index("0.5")
        assert cure.code.count("leave out the step() of a schedule") == 1


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("adam 0.01", "momentum 0.9"),
        ("learning_rate x0.1", "learning_rate x10"),
        ("perturb 0.1", "perturb 0.3"),
        ("clip 1", "scale_inputs"),
    ],
)
def test_cures_that_undo_each_other_and_advice_are_not_combined(one: str, two: str) -> None:
    first, second = cure_named(one), cure_named(two)
    assert first is not None and second is not None and combined(first, second) is None
    assert named(f"{one} + {two}") is None


def test_the_best_combination_is_of_the_best_that_go_together() -> None:
    ranked = [cures.adam(), cures.momentum(), cures.clip(), cures.perturb()]
    found = best_combination(ranked)
    assert found is not None and found.name == "adam 0.01 + clip 1"
    assert best_combination(ranked[:2]) is best_combination(ranked[:1]) is None
    assert best_combination([cures.adam(), cures.learning_rate(1000)]) is None


def test_a_combination_is_not_joined_to_a_third() -> None:
    """Its name could not be raced again, and the third may undo one of the two."""
    both = named("cosine over 10 + perturb 0.1")
    assert both is not None
    assert best_combination([both, cures.learning_rate(0.1)]) is None
    found = best_combination([both, cures.learning_rate(0.1), cures.clip()])
    assert found is not None and named(found.name) == found
    assert found.name == "learning_rate x0.1 + clip 1"


@pytest.mark.parametrize("name", ["adam 0.01 + ", "a + b", "clip 1 + perturb 0.1 + adam 0.01"])
def test_what_is_no_pair_of_cures_has_no_such_name(name: str) -> None:
    assert named(name) is None
