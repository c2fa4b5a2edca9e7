"""Layers whose state is known by construction."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.measure.layers import Activation, LayerReport, layers
from thalweg.objective.supervised import Supervised


def data(n: int = 120, columns: int = 5) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, columns, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()


def report(model: nn.Module, train: Any = None, **options: Any) -> LayerReport:
    objective = Supervised(model, F.cross_entropy, data() if train is None else train)
    return layers(objective, objective.point(), **options)


def network(activation: nn.Module, width: int = 8, depth: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    widths = [5] + [width] * depth
    parts = [[nn.Linear(a, b), activation] for a, b in pairwise(widths)]
    return nn.Sequential(*(part for pair in parts for part in pair), nn.Linear(width, 2))


def named(found: LayerReport, name: str) -> Activation:
    return next(a for a in found.activations if a.name == name)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(), nn.SiLU()])
def test_dead_units_are_counted(activation: nn.Module) -> None:
    model = network(activation)
    with torch.no_grad():
        model[0].bias[:3] = -100.0
    found = report(model)
    assert named(found, "1").dead.value == 3 / 8
    assert found.dead_share.value == max(a.dead.value for a in found.activations)
    assert named(found, "1").dead.error == 0
    assert math.isclose(found.cost, 1.0)


@pytest.mark.parametrize(
    "activation", [nn.Tanh(), nn.Sigmoid(), nn.Hardtanh(), nn.Hardsigmoid(), nn.Softsign()]
)
def test_saturated_units_are_counted(activation: nn.Module) -> None:
    model = network(activation)
    with torch.no_grad():
        model[0].weight[:2] *= 1e-3
        model[0].bias[:2] = torch.tensor([200.0, -200.0])
        model[0].weight[2:] *= 0.1
        model[0].bias[2:] = 0.0
    found = report(model)
    assert named(found, "1").stuck.value == 2 / 8
    assert named(found, "1").saturated.value == 2 / 8
    assert named(found, "1").dead.value == 0


def test_functions_called_in_forward_are_seen_as_well() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(6, 7), nn.Linear(7, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(F.relu(self.a(x))).sigmoid().mul(2).relu_())

    model = Functional()
    with torch.no_grad():
        model.a.bias[0] = -100.0
        model.b.bias[1] = 100.0
    found = report(model)
    assert [(a.name, a.kind, a.units) for a in found.activations] == [
        ("relu", "relu", 6),
        ("sigmoid", "sigmoid", 7),
        ("relu (call 2)", "relu", 7),
    ]
    assert found.activations[0].dead.value == 1 / 6
    assert found.activations[1].stuck.value == 1 / 7
    assert [s.name for s in found.slopes] == [
        "a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias"
    ]  # fmt: skip


def test_channels_are_the_units_of_a_convolution() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        model[0].bias[1] = -100.0
    x = torch.randn(40, 1, 6, 6)
    found = report(model, (x, torch.arange(40) % 2))
    assert (found.activations[0].units, found.activations[0].dead.value) == (4, 0.25)


def test_features_are_the_units_of_a_sequence_and_recurrent_layers_are_seen() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.lstm = nn.Embedding(9, 4), nn.LSTM(4, 6, batch_first=True)
            self.deep, self.head = nn.Linear(6, 3), nn.Linear(3, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.deep(self.lstm(self.embedding(tokens))[0]).relu().mean(1))

    tokens = torch.randint(0, 7, (30, 5))
    found = report(Words(), (tokens, tokens[:, 0] % 2))
    assert [(a.name, a.kind, a.units) for a in found.activations] == [
        ("lstm", "lstm", 6),
        ("relu", "relu", 3),
    ]
    (slope,) = [s for s in found.slopes if s.name == "embedding.weight"]
    weight = Words().embedding.weight.detach()
    assert math.isclose(slope.weight_norm, float(weight[:7].norm()), rel_tol=1e-5)


def test_gradients_are_those_of_autograd() -> None:
    model = network(nn.Tanh())
    x, y = data()
    F.cross_entropy(model(x), y).backward()
    for slope in report(model).slopes:
        parameter = model.get_parameter(slope.name)
        assert parameter.grad is not None
        assert math.isclose(slope.gradient_norm.value, float(parameter.grad.norm()), rel_tol=1e-5)
        assert math.isclose(slope.weight_norm, float(parameter.detach().norm()), rel_tol=1e-5)
        assert slope.gradient_norm.error == 0


def test_vanishing_gradients_show_in_the_first_layers() -> None:
    deep = report(network(nn.Sigmoid(), depth=8))
    assert deep.gradient_decay.value < 1e-3
    healthy = report(network(nn.ReLU(), width=32))
    assert 0.03 < healthy.gradient_decay.value < 30


def test_an_output_that_does_not_depend_on_the_input() -> None:
    model = network(nn.Sigmoid())
    assert report(model).output_spread.value > 1e-3
    with torch.no_grad():
        model[0].weight.zero_()
    found = report(model)
    assert found.output_spread.value == 0
    assert named(found, "1").spread.value == 0


def test_a_sharp_output_is_not_saturation_but_a_constant_one_is() -> None:
    model = nn.Sequential(nn.Linear(5, 1), nn.Sigmoid())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1e3, 0.0, 0.0, 0.0, 0.0]]))
    x, y = data()
    objective = Supervised(model, F.mse_loss, (x, y.float()[:, None]))
    found = layers(objective, objective.point())
    assert found.activations[0].output and found.activations[0].stuck.value == 1
    assert math.isnan(found.saturated_share.value)
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(30.0)
    objective = Supervised(model, F.mse_loss, (x, y.float()[:, None]))
    assert layers(objective, objective.point()).saturated_share.value == 1


def test_a_sample_says_its_error_and_its_cost() -> None:
    model = network(nn.ReLU(), width=64)
    with torch.no_grad():
        model[0].bias -= 2.0
    x, y = data(4000)
    whole = report(model, (x, y), examples=4000)
    part = report(model, (x, y), examples=100)
    assert part.cost == 100 / 4000 and part.examples == 100
    dead, truth = named(part, "1").dead, named(whole, "1").dead.value
    assert dead.error > 0 and abs(dead.value - truth) < 4 * dead.error
    for few, all_ in zip(part.slopes, whole.slopes, strict=True):
        assert abs(few.gradient_norm.value - all_.gradient_norm.value) < 6 * few.gradient_norm.error
    assert part == report(model, (x, y), examples=100)


def test_nothing_of_the_users_is_changed() -> None:
    model = network(nn.ReLU())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, training = torch.random.get_rng_state(), model.training
    report(model)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(state, torch.random.get_rng_state()) and model.training == training
    assert all(p.grad is None for p in model.parameters())
    assert not torch.nn.modules.module._global_forward_hooks
