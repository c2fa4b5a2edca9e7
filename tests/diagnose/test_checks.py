"""Every check is silent on healthy trainings and speaks on the one that it is for."""

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.diagnose.miswired import BROKEN, dead, holding, targets
from tests.diagnose.wired import HEALTHY, classifier, language_model, mlp, regression, vectors
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks import check_state, check_wiring
from thalweg.diagnose.finding import Mechanism
from thalweg.estimate import Estimate
from thalweg.measure.fit import constant_loss, overfit_one_batch
from thalweg.measure.layers import layers
from thalweg.measure.signal import label_signal
from thalweg.objective.supervised import Supervised
from thalweg.task import Task


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_trainings_give_no_alarm(name: str) -> None:
    make, expected = HEALTHY[name]
    found = check_wiring(make())
    assert [m for m in found if m.explains is not None] == []
    assert {m.name for m in found} == expected


@pytest.mark.parametrize(
    ("name", "cause", "make"), BROKEN, ids=[f"{i}-{b[0]}" for i, b in enumerate(BROKEN)]
)
def test_each_fault_is_named_with_the_line_that_mends_it(
    name: str, cause: Cause | None, make: Callable[[], Task]
) -> None:
    found = {m.name: m for m in check_wiring(make())}
    assert name in found, found.keys()
    assert found[name].explains == cause
    assert found[name].line and found[name].sentence.endswith((".", ".)"))
    assert not re.search(r"\b(nan|inf)\b", found[name].sentence)
    if cause is None:
        assert all(m.explains is None for m in found.values()), found


def test_the_names_said_are_the_right_ones() -> None:
    (mechanism,) = check_wiring(holding("2.weight", "2.bias"))
    assert "2 of 4" in mechanism.sentence
    assert "`0.weight`, `0.bias`" in mechanism.sentence
    (mechanism,) = check_wiring(targets(lambda y: y + 1))
    assert "are 3." in mechanism.sentence and mechanism.line.startswith("y = y - 1")
    assert "1.0" not in check_wiring(classifier(mlp(end=nn.Softmax(1))))[0].sentence
    floor = math.log(math.e + 2) - 1
    assert f"{floor:.3f}" in check_wiring(classifier(mlp(end=nn.Softmax(1))))[0].sentence


def broken_model() -> Task:
    return classifier(nn.Sequential(nn.Linear(7, 3)))


def broken_data() -> Task:
    class Raising(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> Any:
            raise OSError("no such file")

    return classifier(train=Raising())


@pytest.mark.parametrize(
    "make",
    [
        broken_model,
        broken_data,
        lambda: classifier(train=(torch.zeros(0, 6), torch.zeros(0).long())),
        lambda: classifier(train=(torch.zeros(4, 6), torch.zeros(5).long())),
        lambda: classifier(train=(vectors()[0].long(), vectors()[1])),
        lambda: classifier(loss=lambda o, t: F.cross_entropy(o, t, reduction="none")),
        lambda: classifier(train=[vectors()] * 3, loss=lambda o, t: None),
        lambda: classifier(train=(vectors()[0],)),
    ],
)
def test_what_cannot_be_evaluated_is_left_to_others(make: Callable[[], Task]) -> None:
    assert all(isinstance(m, Mechanism) for m in check_wiring(make()))


def test_dead_units_and_whole_numbers_are_no_output_without_the_input() -> None:
    """The way from the inputs is there, though nothing comes through; or it cannot be asked for."""
    lookup: nn.Module = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(0, 1))
    torch.nn.init.zeros_(lookup.get_parameter("0.weight"))
    tokens = (torch.arange(9)[:, None], torch.arange(9) % 3)
    for task in (dead(), classifier(lookup, train=tokens)):
        assert "output without the input" not in {m.name for m in check_wiring(task)}


def bits(task: Task) -> list[Any]:
    state = task.model.state_dict()
    return [
        {name: value.clone() for name, value in state.items()},
        [None if p.grad is None else p.grad.clone() for p in task.model.parameters()],
        [m.training for m in task.model.modules()],
        [p.data_ptr() for p in task.model.parameters()],
        copy.deepcopy(task.optimizer.state_dict()),
        None if task.schedule is None else copy.deepcopy(task.schedule.state_dict()),
        torch.random.get_rng_state(),
    ]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)) and a.dtype == b.dtype
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b) or callable(a)


EVERY = [make for make, _ in HEALTHY.values()] + [make for *_, make in BROKEN]


@pytest.mark.parametrize("make", EVERY)
def test_nothing_of_the_users_is_changed(make: Callable[[], Task]) -> None:
    task = make()
    before = bits(task)
    first = check_wiring(task)
    assert same(before, bits(task))
    assert check_wiring(task) == first


# What the layers and the labels say ------------------------------------------------------------


def state_of(task: Task, *, deep: bool = True) -> dict[str, Mechanism]:
    objective = Supervised(task.model, task.loss, task.train, batch_loss=task.batch_loss)
    report = layers(objective, objective.point())
    more: dict[str, Any] = {}
    if deep:
        more = {"signal": label_signal(task), "one_batch": overfit_one_batch(task)}
    found = check_state(task, objective, report, constant_loss(objective), **more)
    assert all(m.explains is None and m.line for m in found)
    return {m.name: m for m in found}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_layers_give_no_sign_but_that_nothing_is_learnt_yet(name: str) -> None:
    task = HEALTHY[name][0]()
    given = {"no better than a constant"}
    if name == "images":
        given.add("labels without signal")  # there is none: they are counted off
    assert state_of(task).keys() <= given


def saturated() -> Task:
    model = nn.Sequential(nn.Linear(6, 16), nn.Sigmoid(), nn.Linear(16, 3))
    with torch.no_grad():
        model[0].bias.fill_(40.0)
    return classifier(model)


def shuffled() -> Task:
    x, y = vectors(600)
    return classifier(train=(x, y[torch.randperm(600, generator=torch.Generator().manual_seed(0))]))


def deep_sigmoids() -> Task:
    torch.manual_seed(0)
    hidden = [part for _ in range(8) for part in (nn.Linear(16, 16), nn.Sigmoid())]
    return classifier(nn.Sequential(nn.Linear(6, 16), *hidden, nn.Linear(16, 3)))


def one_sided_output() -> Task:
    model = mlp(outputs=1, end=nn.Sigmoid())
    with torch.no_grad():
        model.get_parameter("2.bias").fill_(-25.0)
    x, y = vectors()
    return regression(model, train=(x, (y == 0).float()[:, None]))


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (dead, {"dead units", "constant output", "one batch cannot be learnt"}),
        (saturated, {"saturated units", "vanishing gradient"}),
        (one_sided_output, {"saturated units", "constant output", "one batch cannot be learnt"}),
        (deep_sigmoids, {"vanishing gradient"}),
        (shuffled, {"labels without signal"}),
    ],
)
def test_each_sign_is_named(make: Callable[[], Task], names: set[str]) -> None:
    assert names <= state_of(make()).keys()


def test_the_layer_and_the_number_of_classes_are_said() -> None:
    task = dead()
    with torch.no_grad():
        task.model.get_parameter("2.bias").zero_()
    x, _ = vectors()
    found = state_of(classifier(task.model, train=(x, torch.arange(96) % 3)), deep=False)
    assert "`1` (relu)" in found["dead units"].sentence
    assert found["dead units"].line.startswith("model[0].reset_parameters()")
    assert f"ln 3 = {math.log(3):.3f}" in found["constant output"].sentence
    assert f"ln 3 = {math.log(3):.3f}" in found["no better than a constant"].sentence


def test_what_was_not_measured_is_not_judged() -> None:
    task = language_model()
    objective = Supervised(task.model, task.loss, task.train)
    report = layers(objective, objective.point())
    unknown = Estimate(math.nan, math.nan)
    assert check_state(task, objective, report, unknown) == ()


def test_a_straddling_error_bar_gives_no_sign() -> None:
    task = classifier()
    objective = Supervised(task.model, task.loss, task.train)
    report = layers(objective, objective.point())
    sure, unsure = Estimate(0.0, 0.01), Estimate(0.0, 0.1)
    given = (task, objective, report, Estimate(100.0))
    assert [m.name for m in check_state(*given, signal=sure)] == ["labels without signal"]
    assert check_state(*given, signal=unsure) == ()
