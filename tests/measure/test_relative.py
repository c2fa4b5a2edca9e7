"""Relative flatness against the dense Hessian, and against a rescaling of layers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tests.problems import classes, network, plain_derivatives, redrawn, vectors
from thalweg.errors import UsageError
from thalweg.measure import filter_curvature, random_rise, relative_flatness
from thalweg.objective.supervised import Supervised

SEEDS = 200


def relu(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    return redrawn(model, seed)


def loss_of(model: nn.Module, inputs: int) -> Supervised:
    """With the model's own classes as targets, so that curvature is mostly positive."""
    rows = vectors(20, inputs)
    return Supervised(model, F.cross_entropy, (rows, model(rows).argmax(1)), decay=0.1)


def dense(model: nn.Module, loss: Supervised) -> Tensor:
    plain = loss.on(loss.data, decay=False)
    inputs, targets = plain.data.fetch(slice(0, 20))
    return plain_derivatives(model, lambda m: F.cross_entropy(m(inputs), targets), plain.point())[2]


def by_definition(model: nn.Module, hessian: Tensor) -> dict[str, float]:
    """κ_l written out: Σ over pairs of rows of their inner product times the trace of their block."""
    found, begin = {}, 0
    for name, p in model.named_parameters():
        if p.ndim > 1:
            rows, columns = p.shape
            block = hessian[begin : begin + p.numel(), begin : begin + p.numel()]
            block = block.reshape(rows, columns, rows, columns)
            found[name] = sum(
                float(p[s].detach() @ p[t].detach()) * float(block[s, :, t, :].trace())
                for s in range(rows)
                for t in range(rows)
            )
        begin += p.numel()
    return found


def test_relative_flatness_is_its_definition() -> None:
    model = network()
    loss = loss_of(model, 5)
    expected = by_definition(model, dense(model, loss))
    found = relative_flatness(loss, probes=150)
    assert set(found.layers) == set(expected) == {"0.weight", "2.weight"}
    for name, value in expected.items():
        layer = found.layers[name]
        assert abs(layer.value - value) < 4 * layer.error < 0.7 * value
    assert abs(found.total.value - sum(expected.values())) < 4 * found.total.error
    assert found.total.cost == 2 * 150 + 1


def test_filter_curvature_is_the_weighted_trace_of_blocks() -> None:
    model = network()
    loss = loss_of(model, 5)
    diagonal = dense(model, loss).diagonal()
    expected, begin = 0.0, 0
    for p in model.parameters():
        if p.ndim > 1:
            own = diagonal[begin : begin + p.numel()].reshape(p.shape)
            expected += float((p.detach().square().sum(1) / p.shape[1] * own.sum(1)).sum())
        begin += p.numel()
    found = filter_curvature(loss, probes=150)
    assert abs(found.value - expected) < 4 * found.error < 0.7 * expected


def test_error_bars_cover() -> None:
    model = network()
    loss = loss_of(model, 5)
    expected = sum(by_definition(model, dense(model, loss)).values())
    found = [relative_flatness(loss, probes=5, seed=seed).total for seed in range(SEEDS)]
    hits = sum(abs(each.value - expected) <= 1.96 * each.error for each in found)
    assert hits >= 0.9 * SEEDS


@settings(max_examples=12)
@given(st.floats(0.05, 20.0), st.integers(0, 5))
def test_a_rescaling_of_layers_fakes_nothing(factor: float, seed: int) -> None:
    """The first layer times a factor, the second divided by it: the same ReLU network."""
    model = relu(seed)
    loss = loss_of(model, 4)
    weight, bias, after, last = loss.placed.split(loss.point())
    scaled = torch.cat(
        [(factor * weight).reshape(-1), factor * bias, (after / factor).reshape(-1), last]
    )
    x = loss.point()
    plain = loss.on(loss.data, decay=False)
    assert plain.value(scaled) == pytest.approx(plain.value(x))
    before, now = (relative_flatness(loss, at, probes=4, seed=1) for at in (x, scaled))
    for name, layer in before.layers.items():
        assert now.layers[name].value == pytest.approx(layer.value, rel=1e-6, abs=1e-9)
    before, now = (filter_curvature(loss, at, probes=4, seed=1) for at in (x, scaled))
    assert now.value == pytest.approx(before.value, rel=1e-6, abs=1e-9)
    rises = [random_rise(plain, at, (0.3, 1.0), draws=3, seed=1).rises for at in (x, scaled)]
    for one, other in zip(*rises, strict=True):
        assert other.value == pytest.approx(one.value, rel=1e-6, abs=1e-9)


def test_the_plain_rise_is_faked() -> None:
    loss = loss_of(relu(), 4).on(loss_of(relu(), 4).data, decay=False)
    weight, bias, after, last = loss.placed.split(loss.point())
    scaled = torch.cat([(9 * weight).reshape(-1), 9 * bias, (after / 9).reshape(-1), last])
    before, now = (
        random_rise(loss, at, (0.5,), normalised="sphere").rises[0].value
        for at in (loss.point(), scaled)
    )
    assert abs(now - before) > 0.3 * abs(before)


def test_filters_of_a_convolution_are_rows() -> None:
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9, 2))
    loss = Supervised(redrawn(model.double()), F.cross_entropy, (vectors(8, 2, 5), classes(8, 2)))
    found = relative_flatness(loss, probes=2)
    assert set(found.layers) == {"0.weight", "3.weight"}


def test_mistakes_are_one_sentence() -> None:
    loss = loss_of(relu(), 4)
    with pytest.raises(UsageError, match="probes must be a whole number of 2 or more, not 1"):
        relative_flatness(loss, probes=1)
    with pytest.raises(UsageError, match="objective must be a Supervised"):
        filter_curvature(network())  # type: ignore[arg-type]
