"""Losses as users write them: penalties read in their own ways, sums, wrapped models."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import classes, network, plain_derivatives, redrawn, vectors
from thalweg.measure.steps import loss_and_error
from thalweg.objective.derivatives import Hessian
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised

X, Y = vectors(9, 5), classes(9)
Loss = Callable[[Tensor, Tensor], Tensor]


def agree(objective: Supervised, value: Tensor, slope: Tensor, hessian: Tensor) -> None:
    point = elsewhere(objective)
    found = objective.value_and_gradient(point)
    torch.testing.assert_close(found[0], value, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(found[1], slope, rtol=1e-9, atol=1e-11)
    assert abs(objective.value(point) - float(value)) < 1e-10 * max(1, abs(float(value)))
    vector = vectors(1, objective.dim, seed=3)[0]
    for keep in (True, False):
        products = Hessian(objective, point, keep=keep)
        for _ in range(2):
            found_product = products @ vector
            torch.testing.assert_close(found_product, hessian @ vector, rtol=1e-8, atol=1e-10)


def elsewhere(objective: Supervised) -> Tensor:
    return 0.9 * objective.point() + 0.1 * vectors(1, objective.dim, seed=7)[0]


class Watched(nn.Sequential):
    """Says whether a parameter is one, as filters of users do."""

    def weights(self) -> list[Tensor]:
        return [p for p in self.parameters() if isinstance(p, nn.Parameter) and p.requires_grad]


READERS: dict[str, Callable[[Any, torch.optim.Optimizer], Callable[[], list[Tensor]]]] = {
    "model.parameters()": lambda model, optimizer: lambda: list(model.parameters()),
    "named, weights alone": lambda model, optimizer: (
        lambda: [p for name, p in model.named_parameters() if "weight" in name]
    ),
    "a captured list": lambda model, optimizer: (lambda kept: lambda: kept)(
        list(model.parameters())
    ),
    "optimizer.param_groups": lambda model, optimizer: (
        lambda: [p for group in optimizer.param_groups for p in group["params"]]
    ),
    "a filter": lambda model, optimizer: model.weights,
    "one layer": lambda model, optimizer: lambda: [model[0].weight],
    "state_dict(keep_vars)": lambda model, optimizer: (
        lambda: list(model.state_dict(keep_vars=True).values())
    ),
}


@pytest.mark.parametrize("coefficient", [0.1, 1e-5])
@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_penalty_on_the_users_own_weights_is_taken_at_the_point(
    reader: str, coefficient: float
) -> None:
    model = redrawn(Watched(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    read = READERS[reader](model, optimizer)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        penalty: Any = sum(p.pow(2).sum() for p in read())
        return F.cross_entropy(output, target) + coefficient * penalty

    objective = Supervised(model, loss, (X, Y), chunk=4)
    assert objective.placed.restore
    count = sum(p.numel() for p in read())
    point = elsewhere(objective)
    value, slope, hessian = plain_derivatives(model, lambda m: F.cross_entropy(m(X), Y), point)
    sizes = torch.cat(
        [
            torch.full((p.numel(),), float(any(p is q for q in read())), dtype=torch.float64)
            for p in model.parameters()
        ]
    )
    assert float(sizes.sum()) == count
    value = value + coefficient * (sizes * point**2).sum()
    slope = slope + 2 * coefficient * sizes * point
    hessian = hessian + 2 * coefficient * sizes.diag()
    agree(objective, value, slope, hessian)


@pytest.mark.parametrize("way", ["given", "own"])
def test_a_batch_loss_may_call_the_model_it_is_given_or_its_own(way: str) -> None:
    model = network()

    def loss(given: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy((given if way == "given" else model)(batch[0]), batch[1])

    objective = Supervised(model, data=(X, Y), batch_loss=loss)
    assert objective.placed.restore == (way == "own")
    point = elsewhere(objective)
    agree(objective, *plain_derivatives(model, lambda m: F.cross_entropy(m(X), Y), point))


def test_a_penalty_is_found_where_the_shifted_loss_is_infinite() -> None:
    """At 1.5 times the weights exp overflows, whoever reads what."""
    model = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(600.0)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return output.exp().mean() * 1e-260 + 1e-6 * model.weight.square().sum()

    objective = Supervised(model, loss, (torch.ones(4, 1).double(), torch.ones(4, 1)))
    assert objective.placed.restore
    assert objective.value(torch.tensor([100.0]).double()) == pytest.approx(0.01)


SUMS: dict[str, tuple[Loss, Loss]] = {
    "cross-entropy": (
        lambda o, y: F.cross_entropy(o, y, reduction="sum"),
        lambda o, y: F.cross_entropy(o, y),
    ),
    "squares over a constant": (
        lambda o, y: (o**2).sum() / 50,
        lambda o, y: (o**2).sum(1).mean() / 50,
    ),
}


@pytest.mark.parametrize("unit", [1, 4])
@pytest.mark.parametrize("form", ["tensors", "dataset", "dict", "loader"])
@pytest.mark.parametrize("name", sorted(SUMS))
def test_a_sum_is_told_from_a_mean(name: str, form: str, unit: int) -> None:
    """The objective is ``unit`` times the mean, however the data are kept and chunked."""
    total, mean = SUMS[name]
    model = network()
    dataset = torch.utils.data.TensorDataset(X, Y)
    data: Any = {
        "tensors": (X, Y),
        "dataset": dataset,
        "loader": torch.utils.data.DataLoader(dataset, batch_size=4),
        "dict": {"x": X, "y": Y},
    }[form]
    if form == "dict":
        objective = Supervised(
            model, data=data, batch_loss=lambda m, b: total(m(b["x"]), b["y"]), chunk=4, unit=unit
        )
    else:
        objective = Supervised(model, total, data, chunk=4, unit=unit)
    assert objective.sums
    point = elsewhere(objective)
    agree(objective, *plain_derivatives(model, lambda m: unit * mean(m(X), Y), point))
    assert not Supervised(model, mean, (X, Y)).sums


@pytest.mark.parametrize("chunk", [9, 4, 1])
@pytest.mark.parametrize("unit", [1, 9])
@pytest.mark.parametrize("own", [False, True])
def test_a_penalty_beside_a_sum_is_counted_once(chunk: int, unit: int, own: bool) -> None:
    """Ridge regression as textbooks write it: Σ(y − f)² + λ‖θ‖²."""
    model, y = network(), vectors(9, 3, seed=5)

    def ridge(given: nn.Module, batch: Any) -> Tensor:
        weights = (model if own else given).parameters()
        penalty: Any = sum(p.square().sum() for p in weights)
        return (given(batch[0]) - batch[1]).square().sum() + 0.7 * penalty

    objective = Supervised(model, data=(X, y), batch_loss=ridge, chunk=chunk, unit=unit)
    assert objective.sums
    point = elsewhere(objective)

    def plain(m: nn.Module) -> Tensor:
        penalty: Any = sum(p.square().sum() for p in m.parameters())
        return unit / 9 * (m(X) - y).square().sum() + 0.7 * penalty

    agree(objective, *plain_derivatives(model, plain, point))


def test_a_sum_that_draws_is_a_sum_all_the_same() -> None:
    """The loss of a variational autoencoder, whose passes differ by what they draw."""

    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + 0.1 * torch.randn_like(x))

    model = redrawn(Noisy(5, 5).double())
    total = Supervised(model, lambda o, t: (o - t).square().sum(), (X, X))
    mean = Supervised(model, lambda o, t: (o - t).square().sum(1).mean(), (X, X))
    assert total.sums and not mean.sums
    assert total.value(total.point()) == pytest.approx(mean.value(mean.point()))


@pytest.mark.parametrize("unit", [1, 5])
def test_the_standard_error_of_a_sum_is_that_of_its_mean(unit: int) -> None:
    x, y = vectors(300, 5), classes(300)
    some = Examples.of((x, y)).subsample(64, torch.Generator().manual_seed(0))
    mean = Supervised(network(), F.cross_entropy, some)
    total = Supervised(
        network(), lambda o, t: F.cross_entropy(o, t, reduction="sum"), some, unit=unit
    )
    one, two = loss_and_error(mean, mean.point()), loss_and_error(total, total.point())
    assert two.value == pytest.approx(unit * one.value)
    assert two.error == pytest.approx(unit * one.error)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_wrappers_are_taken_off() -> None:
    model = network()
    plain = Supervised(model, F.cross_entropy, (X, Y))
    point = elsewhere(plain)
    vector = vectors(1, plain.dim, seed=3)[0]
    expected = plain.value_and_gradient(point), Hessian(plain, point) @ vector
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(model, backend="eager")
        compiled(X)
        inside = nn.Sequential(torch.compile(network(), backend="eager"))
        inside(X)
        called = network()
        called.compile(backend="eager")
        called(X)
    for wrapped in (
        compiled,
        nn.DataParallel(model),
        nn.DataParallel(nn.DataParallel(model)),
        inside,
        called,
    ):
        objective = Supervised(wrapped, F.cross_entropy, (X, Y))
        assert objective.dim == plain.dim
        value, slope = objective.value_and_gradient(point)
        torch.testing.assert_close(value, expected[0][0])
        torch.testing.assert_close(slope, expected[0][1])
        hessian = Hessian(objective, point)
        torch.testing.assert_close(hessian @ vector, expected[1])
        assert hessian.exact
    own = Supervised(
        model, data=(X, Y), batch_loss=lambda m, b: F.cross_entropy(compiled(b[0]), b[1])
    )
    torch.testing.assert_close(own.value_and_gradient(point)[1], expected[0][1])
    torch.testing.assert_close(Hessian(own, point) @ vector, expected[1])
