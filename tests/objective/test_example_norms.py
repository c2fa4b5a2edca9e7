"""The squared norms of each example's own gradient: against one example at a time."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import classes, network, redrawn, vectors
from thalweg.objective.example_norms import traced, understood
from thalweg.objective.supervised import Supervised


class Tied(nn.Module):
    """The same layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(self.inner(x).tanh()))


class Borrowed(nn.Module):
    """A weight that is used beside its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(x).tanh()) + x[:, :3] * self.inner.weight.sum()


class Centred(nn.Module):
    """An output that depends on the other examples."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.inner(x)
        return out - out.mean(0)


def image_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 3, 2, dilation=2),
        nn.Flatten(),
        nn.LayerNorm(12),
        nn.Linear(12, 3),
    )


def series_model() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3), nn.Flatten())


UNDERSTOOD: dict[str, tuple[Any, Tensor]] = {
    "plain": (network(), vectors(6, 5)),
    "images": (image_model(), vectors(6, 2, 8, 8)),
    "series": (series_model(), vectors(6, 4, 5)),
}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_norms_are_those_of_single_examples(name: str) -> None:
    model, x = UNDERSTOOD[name]
    model = redrawn(model.double())
    objective = Supervised(model, F.cross_entropy, (x, classes(6)))
    assert understood(objective, objective.point())
    with objective.placed.at(objective.point(), "eval"), traced(objective) as run:
        done = run(x)
        u = vectors(6, *done.output.shape[1:], seed=3)
        found = done.squared_norms(u)
    for i in range(6):
        output = model.eval()(x[i : i + 1])
        slopes = torch.autograd.grad(output, list(model.parameters()), u[i : i + 1])
        expected = sum(float((s * s).sum()) for s in slopes)
        assert float(found[i]) == pytest.approx(expected, rel=1e-9)


def test_hooks_are_gone_and_the_model_is_as_before() -> None:
    objective = Supervised(network(), F.cross_entropy, (vectors(6, 5), classes(6)))
    assert understood(objective, objective.point())
    assert all(not m._forward_hooks for m in objective.placed.model.modules())


@pytest.mark.parametrize(
    "model",
    [Tied(), Borrowed(), Centred(), nn.Sequential(nn.Bilinear(5, 5, 3))],
    ids=["tied weights", "a weight used twice", "coupled examples", "an unknown layer"],
)
def test_what_is_not_understood_is_seen(model: nn.Module) -> None:
    first = model[0] if isinstance(model, nn.Sequential) else None
    if first is not None:
        model.forward = lambda x: first(x, x)  # type: ignore[method-assign]
    data = (vectors(6, 5), classes(6))
    objective = Supervised(redrawn(model.double()), F.cross_entropy, data)
    assert not understood(objective, objective.point())


def test_a_loss_that_is_no_mean_over_examples_is_seen() -> None:
    weights = torch.tensor([1.0, 5.0, 0.2]).double()
    data = (vectors(6, 5), torch.tensor([0, 1, 2, 0, 1, 1]))
    loss = nn.CrossEntropyLoss(weight=weights)
    weighted = Supervised(network(), loss, data)
    assert not understood(weighted, weighted.point())
    batch = Supervised(network(), batch_loss=lambda m, b: F.cross_entropy(m(b[0]), b[1]), data=data)
    assert not understood(batch, batch.point())
