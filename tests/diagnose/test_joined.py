"""The code of two cures at once does, pasted, what their arm does; where there is none, it says so."""

import itertools
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.diagnose.stuck import momentum, same
from tests.diagnose.test_cures import EPOCHS, ground, pasted, with_test
from thalweg.diagnose.combination import combined, named
from thalweg.diagnose.cures import CATALOGUE, Cure, cure_named, full_name, in_loop
from thalweg.diagnose.cures.joined import joined
from thalweg.diagnose.cures.places import Places
from thalweg.diagnose.race import race
from thalweg.run.training import Training
from thalweg.task import Task

SHORT = {
    "batch_size": "batch_size x0.5",
    "range_test": "range_test 9",
    "newton_cg": "newton_cg 2",
    "saddle_free_newton": "saddle_free_newton 2",
    "basin_hopping": "basin_hopping 4",
    "staged": "staged over 1",
    "ema": "ema 0.8",
    "warmup": "warmup over 7",
    "perturbed_descent": "perturbed_descent 0.3",
    **{kind: f"{kind} 1" for kind in ("early_stopping", "decay_then_stop", "decay_on_plateau")},
}
"""Numbers with which something happens in a few epochs."""

SLOW = ("newton_cg", "saddle_free_newton", "basin_hopping")


def short(kind: str) -> str:
    return SHORT.get(kind, full_name(kind).replace("over 100", "over 10"))


def pairs() -> list[str]:
    """All pairs that once had wrong code for a reason of their own, and others by lot."""
    # The race looks for negative curvature itself, once for all its arms.
    kinds = [kind for kind in CATALOGUE if kind != "negative_curvature"]
    every = [" + ".join(map(short, pair)) for pair in itertools.permutations(kinds, 2)]
    found = [name for name in every if named(name) is not None]
    slow = [n for n in found if any(kind in n for kind in SLOW) and "batch" not in n]
    fast = [n for n in found if not any(kind in n for kind in SLOW)]
    drawn = random.Random(4)
    chosen = [
        *("cosine over 10 + clip 1", "one_cycle over 10 + ema 0.8", "staged over 1 + ema 0.8"),
        *("cosine over 10 + swa", "decay_on_plateau 1 + ema 0.8", "restart + early_stopping 1"),
        *("adam 0.01 + early_stopping 1", "snapshots over 10 + gradient_noise 0.01"),
        *("batch_size x0.5 + drop_erratic", "down_weight_erratic 0.1 + batch_size x0.5"),
        *("sharpness_aware 0.05 + perturbed_descent 0.3", "range_test 9 + batch_by_noise"),
        *drawn.sample(fast, 80),
        *drawn.sample(slow, 8),
    ]
    return list(dict.fromkeys(chosen))


def draw_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise and fresh weights that are the same whatever they are drawn from."""

    def flat(*shape: Any, generator: Any = None, dtype: Any = None, device: Any = None) -> Tensor:
        return torch.full(torch.empty(*shape).shape, 0.01, dtype=dtype, device=device)

    def constants(layer: nn.Linear) -> None:
        nn.init.constant_(layer.weight, 0.3)
        nn.init.constant_(layer.bias, 0.1)

    monkeypatch.setattr(torch, "randn", flat)
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.full_like(x, 0.01))
    monkeypatch.setattr(nn.Linear, "reset_parameters", constants)


def by_arm(task: Task, cure: Cure) -> list[dict[str, Tensor]]:
    """The states that answer after the epochs."""
    training = Training.of(task)
    assert cure.change is not None
    cure.change(training, ground(task))
    train: Any = training.task.train
    rows = len(train[0]) if isinstance(train, tuple) else len(train.dataset)
    size = training.batch_size or getattr(train, "batch_size", 1)
    training.advance(EPOCHS * -(-rows // size))
    return [dict(state) for state in training.answering() or [training.state()]]


@pytest.mark.parametrize("name", pairs())
def test_the_pasted_code_of_two_goes_the_way_of_their_arm_to_the_bit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cure, task = named(name), with_test(momentum)
    assert cure is not None
    draw_constants(monkeypatch)
    torch.manual_seed(21)
    answers = by_arm(task, cure)
    names = pasted(task, cure)
    mine = names["snapshots"][-4:] if "snapshots" in names else [names["model"].state_dict()]
    mine = [dict(state) for state in mine]
    if "perturb" in name:  # whose noise is added piece by piece, which is rounded otherwise
        torch.testing.assert_close(mine, answers)
    else:
        assert same(mine, answers)


@pytest.mark.parametrize(
    "name",
    [
        "cosine over 10 + snapshots over 10",
        "fast_ensemble over 10 + warmup over 5",
        "swa + early_stopping 1",
        "ema 0.9 + decay_then_stop 1",
        "decay_on_plateau 1 + decay_then_stop 1",
        "newton_cg 10 + sharpness_aware 0.05",
    ],
)
def test_of_two_that_decide_the_same_the_second_would_undo_the_first(name: str) -> None:
    first, _, second = name.partition(" + ")
    assert named(name) is named(f"{second} + {first}") is None


@pytest.mark.parametrize("kind", CATALOGUE)
def test_the_text_of_a_code_by_place_is_the_code(kind: str) -> None:
    cure = cure_named(full_name(kind))
    assert cure is not None and Places.of(cure.code).text == cure.code


def own(name: str, code: str) -> Cure:
    return Cure(name, "For a test.", code, lambda training, ground: None)


def test_each_of_two_that_end_after_so_many_steps_ends_after_its_own() -> None:
    late = own("late", "log = []\n# after each optimizer.step() of the next 5:\nlog.append(1)")
    soon = own("soon", "log = []\n# after each optimizer.step() of the next 2:\nlog.append(2)")
    both = combined(late, soon)
    assert both is not None
    names = pasted(with_test(momentum), both)
    assert names["log"] == [1] * 5 and names["log_2"] == [2] * 2


def test_names_are_made_distinct_where_they_last_and_nowhere_else() -> None:
    first = "a = 1\nb = 2\nfor p in range(3):\n    b += p\n# at the end:\nout = a"
    second = (
        "a = 5\nf = dict(a=a).get\n# at the end:\nfor p in [lambda a: a]:\n    c = p(f('a')) + a"
    )
    code = joined(first, second)
    assert code is not None and "for p in [lambda a: a]:\n    c = p(f('a')) + a_2" in code
    names: dict[str, Any] = {}
    exec(code, names)
    assert (names["a"], names["a_2"], names["b"], names["out"], names["c"]) == (1, 5, 5, 1, 10)
    # What the one takes from outside is not what the other calls so.
    code = joined("k = 1\n# at the end:\nseen = k", "total = k")
    names = {"k": 7}
    exec(str(code), names)
    assert (names["seen"], names["total"]) == (1, 7)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("n = 1\n# at the end:\nn += 1", "this is no code"),
        ("n = 1\n# at the end:\nm = n", "def n():\n    pass\n# at the end:\nn()"),
        ("from time import time\n# at the end:\ntime()", "import time\n# at the end:\ntime.time()"),
    ],
)
def test_what_cannot_be_joined_is_said_and_no_code_is_given(first: str, second: str) -> None:
    both = combined(own("one", first), own("two", second))
    assert both is not None
    assert both.code == "# no lines for both: those of one and two are to be joined by hand"
    assert in_loop(both) == f"{both.code}\n"


def test_two_without_code_are_raced_and_their_combination_has_none() -> None:
    def faster(training: Training, _: object) -> None:
        for group in training.optimizer.param_groups:
            group["lr"] *= 1.5

    one, two = (Cure(name, "", "", faster) for name in ("one", "two"))
    result = race(momentum(), [one, two], budget=2, seeds=1)
    assert result.arm("one + two").code == ""
    with_one = combined(one, own("three", "pass"))
    assert with_one is not None and with_one.code == "# no lines for both: one has none"
