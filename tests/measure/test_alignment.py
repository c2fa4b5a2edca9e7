"""Units put into order: a permuted copy is found again, whatever its layers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tests.problems import classes, redrawn, vectors
from thalweg.errors import UsageError
from thalweg.measure import align, interpolation
from thalweg.objective.supervised import Supervised


class Functional(nn.Module):
    """Functions in place of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(F.relu(self.two(torch.tanh(self.one(x)))))


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 5, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 4, 2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


MODELS = {
    "linear": (plain, (4,)),
    "functions": (Functional, (4,)),
    "convolutions": (convolutions, (64,)),
}


def loss_of(name: str) -> Supervised:
    make, shape = MODELS[name]
    with torch.random.fork_rng():
        model = redrawn(make().double())
    rows = vectors(30, *shape)
    with torch.no_grad():
        data = rows, model(rows)  # its own answers: other weights do worse
    mode = "batch" if name == "convolutions" else "eval"
    return Supervised(
        model, F.cross_entropy, data, mode=mode, chunk=15 if mode == "batch" else None
    )


def permuted(loss: Supervised, seed: int) -> Tensor:
    """The same network with its hidden units in another order, written out layer by layer."""
    generator = torch.Generator().manual_seed(seed)
    weights = dict(loss.placed.model.named_parameters())
    pieces = {
        name: piece.clone()
        for name, piece in zip(weights, loss.placed.split(loss.point()), strict=True)
    }
    modules = [
        (name, m)
        for name, m in loss.placed.model.named_modules()
        if isinstance(m, nn.Linear | nn.Conv2d | nn.BatchNorm2d)
    ]
    order: Tensor | None = None
    last = [name for name, m in modules if not isinstance(m, nn.BatchNorm2d)][-1]
    for name, module in modules:
        weight = pieces[f"{name}.weight"]
        if isinstance(module, nn.BatchNorm2d):
            pieces[f"{name}.weight"] = weight[order]
            pieces[f"{name}.bias"] = pieces[f"{name}.bias"][order]
            continue
        if order is not None:
            blocks = weight.reshape(len(weight), len(order), -1)
            weight = blocks[:, order].reshape(weight.shape)
        if name != last:
            order = torch.randperm(len(weight), generator=generator)
            weight = weight[order]
            pieces[f"{name}.bias"] = pieces[f"{name}.bias"][order]
        pieces[f"{name}.weight"] = weight
    return torch.cat([piece.reshape(-1) for piece in pieces.values()])


@pytest.mark.parametrize("name", MODELS)
def test_a_permuted_copy_is_found_again(name: str) -> None:
    loss = loss_of(name)
    x, other = loss.point(), permuted(loss, 3)
    assert loss.value(other) == pytest.approx(loss.value(x), rel=1e-12)
    assert interpolation(loss, x, other).barrier.value > 1e-3
    found = align(loss, x, other)
    assert torch.equal(found.point, x) and found.moved > 0
    assert interpolation(loss, x, found.point).barrier.value == 0


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_a_noisy_permuted_copy_is_found_nearly(seed: int) -> None:
    loss = loss_of("linear")
    x = loss.point()
    other = permuted(loss, seed) + 0.01 * vectors(loss.dim, seed=seed)
    found = align(loss, x, other)
    assert float((found.point - x).norm()) < 0.02 * loss.dim**0.5
    assert loss.value(found.point) == pytest.approx(loss.value(other), rel=1e-9)


def test_weights_alone_bring_a_copy_nearer() -> None:
    """The permuted copy is no farther away than it was."""
    loss = loss_of("linear")
    one, other = loss.point(), vectors(loss.dim, seed=8)
    found = align(loss, one, other)
    assert loss.value(found.point) == pytest.approx(loss.value(other), rel=1e-9)
    assert sorted(found.point.tolist()) == sorted(other.tolist())


class Skipping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(x + torch.relu(self.one(x)))


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) if float(x.sum()) > 0 else -self.one(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Skipping, "but has branches"),
        (Deciding, "cannot be traced"),
        (lambda: nn.Sequential(nn.Linear(4, 3)), "must have a hidden layer"),
        (lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3)), "a LayerNorm"),
        (
            lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)),
            "running statistics",
        ),
        (lambda: nn.Sequential(nn.Linear(4, 6), nn.Softmax(1), nn.Linear(6, 3)), "a Softmax"),
    ],
    ids=["branches", "decisions", "one layer", "layer norm", "statistics", "softmax"],
)
def test_what_is_no_chain_is_said_to_be_none(make: object, message: str) -> None:
    with torch.random.fork_rng():
        model = make().double()  # type: ignore[operator]
    loss = Supervised(model, F.cross_entropy, (vectors(10, 4), classes(10)))
    with pytest.raises(UsageError, match=message):
        align(loss, loss.point(), loss.point())


def test_frozen_and_tied_layers_are_refused() -> None:
    with torch.random.fork_rng():
        frozen = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)).double()
        one = nn.Linear(4, 4).double()
        tied = nn.Sequential(one, nn.Tanh(), one, nn.Linear(4, 3).double())
    frozen[0].weight.requires_grad_(False)
    for model, message in ((frozen, "frozen parameters"), (tied, "use each layer once")):
        loss = Supervised(model, F.cross_entropy, (vectors(10, 4), classes(10)))
        with pytest.raises(UsageError, match=message):
            align(loss, loss.point(), loss.point())
