"""Constants with a closed form, batches that can and cannot be learnt, labels with and without signal."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from thalweg.estimate import Estimate
from thalweg.measure.fit import constant_loss, output_floor, overfit_one_batch
from thalweg.measure.signal import label_signal, reachable_loss
from thalweg.objective.supervised import Supervised
from thalweg.task import Task


def network(outputs: int = 3, end: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    tail = [] if end is None else [end]
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, outputs), *tail)


def vectors(n: int = 300) -> Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(0))


def classes(n: int = 300) -> Tensor:
    return torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(1)).clamp_min(1) - 1


def entropy(y: Tensor) -> float:
    p = y.bincount().double() / len(y)
    p = p[p > 0]
    return -float((p * p.log()).sum())


ONES = (classes()[:, None] > 0).float()
REAL = torch.randn(300, 2, generator=torch.Generator().manual_seed(2)) * 3 + 5


@pytest.mark.parametrize(
    ("model", "loss", "y", "expected"),
    [
        (network(), F.cross_entropy, classes(), entropy(classes())),
        (network(end=nn.LogSoftmax(1)), F.nll_loss, classes(), entropy(classes())),
        (network(1), nn.BCEWithLogitsLoss(), ONES, entropy(classes())),
        (network(1, nn.Sigmoid()), nn.BCELoss(), ONES, entropy(classes())),
        (network(2), F.mse_loss, REAL, float(REAL.var(0, correction=0).mean())),
        (network(2), F.l1_loss, REAL, float((REAL - REAL.median(0).values).abs().mean())),
    ],
)
def test_the_constant_loss_has_its_closed_form(
    model: nn.Module, loss: Any, y: Tensor, expected: float
) -> None:
    found = constant_loss(Supervised(model, loss, (vectors(), y)))
    assert math.isclose(found.value, expected, rel_tol=1e-4)
    assert found.error == 0 and found.cost < 0.1


def test_the_constant_loss_of_a_sum_is_that_of_as_many_examples_as_the_loss() -> None:
    def total(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="sum")

    found = constant_loss(Supervised(network(), total, (vectors(), classes()), unit=16))
    assert math.isclose(found.value, 16 * entropy(classes()), rel_tol=1e-4)


SOFT = torch.softmax(torch.randn(300, 3, generator=torch.Generator().manual_seed(4)), 1)


@pytest.mark.parametrize(
    ("model", "loss", "y", "expected"),
    [
        (network(), F.cross_entropy, classes(), 0.0),
        (network(), lambda o, t: F.cross_entropy(o, t) + 5, classes(), 5.0),
        (network(), F.cross_entropy, SOFT.double().mean(0).expand(300, 3), None),
        (network(end=nn.LogSoftmax(1)), F.nll_loss, classes(), 0.0),
        (network(2), F.mse_loss, REAL, 0.0),
    ],
)
def test_the_best_outputs_leave_what_no_output_takes_away(
    model: nn.Module, loss: Any, y: Tensor, expected: float | None
) -> None:
    if expected is None:  # the same soft label for all: its entropy
        expected = -float((y[0] * y[0].log()).sum())
    found = output_floor(Supervised(model, loss, (vectors(), y.float() if y.ndim > 1 else y)))
    assert found.value == pytest.approx(expected, abs=1e-4)
    assert found.cost < 0.1


def test_the_loss_within_reach_is_that_share_of_the_way_to_the_floor() -> None:
    for shift in (0.0, 7.0):
        constant, floor = Estimate(2.0 + shift, 0.0), Estimate(0.5 + shift, math.nan)
        found = reachable_loss(constant, floor, Estimate(0.9, 0.05))
        assert found.value == pytest.approx(2.0 + shift - 0.8 * 1.5)
        none = reachable_loss(constant, floor, Estimate(-0.1, 0.01))
        assert none.value == constant.value
    assert math.isnan(reachable_loss(constant, Estimate(math.nan), Estimate(0.9)).value)
    assert math.isnan(reachable_loss(constant, floor, Estimate(math.nan)).value)


def test_a_single_output_at_zero_is_no_logarithm_of_a_probability() -> None:
    model = network(1, nn.Sigmoid())
    with torch.no_grad():
        model.get_parameter("2.bias").fill_(-30.0)
    found = constant_loss(Supervised(model, F.mse_loss, (vectors(), ONES)))
    assert math.isclose(found.value, float(ONES.var(correction=0)), rel_tol=1e-4)


def test_a_sample_of_the_targets_says_its_error() -> None:
    objective = Supervised(network(2), F.mse_loss, (vectors().repeat(10, 1), REAL.repeat(10, 1)))
    found, truth = constant_loss(objective, examples=320), constant_loss(objective)
    assert 0 < found.error < 0.2 * truth.value
    assert abs(found.value - truth.value) < 4 * found.error


@pytest.mark.parametrize(
    ("model", "loss"), [(network(), F.nll_loss), (network(), lambda o, t: o.mean())]
)
def test_a_loss_without_lowest_value_is_unknown(model: nn.Module, loss: Any) -> None:
    assert math.isnan(constant_loss(Supervised(model, loss, (vectors(), classes()))).value)


def test_outputs_that_are_no_tensor_and_batch_losses_are_unknown() -> None:
    def whole(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    data = (vectors(), classes())
    assert math.isnan(constant_loss(Supervised(network(), data=data, batch_loss=whole)).value)


def task(model: nn.Module | None = None, **changed: Any) -> Task:
    model = network() if model is None else model
    given: dict[str, Any] = {
        "loss": F.cross_entropy,
        "train": (vectors(), vectors()[:, :3].argmax(1)),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }
    return Task(model=model, **(given | changed))


def dead() -> nn.Module:
    model = network()
    with torch.no_grad():
        model.get_parameter("0.bias").fill_(-100.0)
    return model


def test_a_healthy_network_learns_one_batch_and_a_dead_one_only_afresh() -> None:
    healthy = overfit_one_batch(task())
    assert healthy.keys() == {"one_batch_fall"} and healthy["one_batch_fall"].value > 0.7
    assert math.isclose(healthy["one_batch_fall"].cost, 60 * 16 / 300)
    stuck = overfit_one_batch(task(dead()))
    assert stuck["one_batch_fall"].value < 0.3
    assert stuck["one_batch_fresh_fall"].value > 0.7
    assert overfit_one_batch(task(dead())) == stuck


def test_a_batch_that_no_one_can_learn_is_not_learnt_afresh() -> None:
    x = torch.zeros(300, 6)
    found = overfit_one_batch(task(train=(x, torch.arange(300) % 3)))
    assert found["one_batch_fall"].value < 0.3 and found["one_batch_fresh_fall"].value < 0.3


def test_what_soft_labels_leave_is_not_counted() -> None:
    soft = torch.rand(300, 3, generator=torch.Generator().manual_seed(5)).softmax(1)
    found = overfit_one_batch(task(train=(vectors(), soft)))
    assert found["one_batch_fall"].value > 0.7


def test_sparse_gradients_are_unknown() -> None:
    tokens = torch.randint(0, 9, (60, 4), generator=torch.Generator().manual_seed(6))
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Flatten(), nn.Linear(16, 3))
    found = overfit_one_batch(task(model, train=(tokens, tokens[:, 0] % 3)))
    assert math.isnan(found["one_batch_fall"].value)


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: task(train=DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)),
        lambda x, y: task(
            train={"x": x, "y": y},
            loss=None,
            batch_loss=lambda model, batch: F.cross_entropy(model(batch["x"]), batch["y"]),
        ),
    ],
)
def test_data_of_any_form_will_do(make: Callable[[Tensor, Tensor], Task]) -> None:
    x = vectors()
    assert overfit_one_batch(make(x, x[:, :3].argmax(1)))["one_batch_fall"].value > 0.7


@pytest.mark.parametrize("lent", [False, True])
def test_nothing_of_the_users_is_changed(lent: bool) -> None:
    given = task(dead())
    before = copy.deepcopy((given.model.state_dict(), given.optimizer.state_dict()))
    pointers = [p.data_ptr() for p in given.model.parameters()]
    state = torch.random.get_rng_state()
    overfit_one_batch(given, lent=lent)
    constant_loss(Supervised(given.model, given.loss, given.train))
    label_signal(given)
    after = (given.model.state_dict(), given.optimizer.state_dict())
    assert all(torch.equal(before[0][k], after[0][k]) for k in before[0])
    assert before[1] == after[1] and all(p.grad is None for p in given.model.parameters())
    assert pointers == [p.data_ptr() for p in given.model.parameters()]
    assert torch.equal(state, torch.random.get_rng_state())


def xor() -> tuple[Tensor, Tensor]:
    x = vectors(600)[:, :2]
    return x, (x[:, 0] * x[:, 1] > 0).long()


@pytest.mark.parametrize(
    "data",
    [
        (vectors(), vectors()[:, :3].argmax(1)),
        (vectors(), vectors()[:, :1] * 2 + 1),
        (vectors() * torch.logspace(0, 5, 6), vectors()[:, 0]),
        xor(),
    ],
)
def test_labels_that_can_be_known_have_signal(data: Any) -> None:
    found = label_signal(task(train=data))
    assert found.value > 0.3 and found.value > 5 * found.error


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_labels_have_none(seed: int) -> None:
    x = vectors(600)
    order = torch.randperm(600, generator=torch.Generator().manual_seed(seed))
    for y in (x[:, :3].argmax(1), x[:, :1] * 2 + 1):
        found = label_signal(task(train=(x, y[order])))
        assert found.value < max(0.02, 3 * found.error)


def test_a_noisy_linear_relation_is_measured_as_large_as_it_is() -> None:
    x = torch.randn(1000, 4, generator=torch.Generator().manual_seed(3))
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(4))
    found = label_signal(task(train=(x, x[:, 0] + noise)))
    assert abs(found.value - 0.5) < 4 * found.error + 0.02


def test_tokens_few_examples_and_constant_targets_are_unknown() -> None:
    x, y = vectors(), classes()
    for data in ((x.long(), y), (x[:10], y[:10]), (x, y * 0), (x, torch.arange(300))):
        assert math.isnan(label_signal(task(train=data)).value)
