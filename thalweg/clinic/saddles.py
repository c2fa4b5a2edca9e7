"""Cases at a saddle: the gradient is all but zero, and negative curvature leads down."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.data import curved, digits, linear_made
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.hessian import dense_hessian
from thalweg.clinic.interventions import nudge, rate
from thalweg.clinic.training import linear_layers, mlp, settle, sharpness, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["SADDLES"]


def _scale(model: nn.Module, factor: float) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight *= factor


def _log_frequencies(targets: Tensor) -> Tensor:
    return torch.bincount(targets, minlength=10).double().log().float()


def _tiny_start(draw: Draw) -> Task:
    data = digits(draw.generator, draw.integer(600, 1200))
    model = mlp((64, draw.integer(10, 20), 10), nn.Tanh)
    _scale(model, draw.log_uniform(1e-9, 1e-8))
    with torch.no_grad():
        linear_layers(model)[-1].bias.copy_(_log_frequencies(data.train[1]))
    return trained(
        model,
        cross_entropy,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.06, 0.12)),
        steps=draw.integer(20, 50),
        generator=draw.generator,
    )


def _factorisation(draw: Draw) -> Task:
    columns, rank, outputs = draw.integer(8, 16), draw.integer(4, 6), draw.integer(6, 12)
    data = linear_made(draw.generator, draw.integer(200, 400), columns, noise=0.05, outputs=outputs)
    model = nn.Sequential(
        nn.Linear(columns, rank, bias=False), nn.Linear(rank, outputs, bias=False)
    )
    _scale(model, draw.log_uniform(1e-10, 1e-9))
    task = trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.02, 0.03) * outputs),
        steps=draw.integer(10, 30),
        generator=draw.generator,
    )
    return replace(task, test=None)


def _make_equal(first: nn.Linear, last: nn.Linear) -> None:
    with torch.no_grad():
        first.weight.copy_(first.weight.mean(0, keepdim=True).expand_as(first.weight))
        first.bias.fill_(float(first.bias.mean()))
        last.weight.copy_(last.weight.mean(1, keepdim=True).expand_as(last.weight))


def _equal_units(draw: Draw) -> Task:
    """Hidden units that started equal, where such a network has settled under its weight decay."""
    data = digits(draw.generator, draw.integer(400, 800))
    model = mlp((64, draw.one_of(8, 12, 16), 10), nn.Tanh)
    first, last = linear_layers(model)
    decay = draw.log_uniform(5e-4, 2e-3)
    for _ in range(25):  # rounding would tell the units apart in the end
        _make_equal(first, last)
        settle(model, cross_entropy, data.train, decay=decay, steps=15)
    _make_equal(first, last)
    lr = draw.uniform(0.25, 0.4) * 2 / sharpness(model, cross_entropy, data.train)
    return trained(
        model,
        cross_entropy,
        data,
        torch.optim.SGD(model.parameters(), lr=lr, weight_decay=decay),
        steps=draw.integer(20, 60),
        generator=draw.generator,
    )


def _shallow_saddle(draw: Draw) -> Task:
    """Three layers at a scale where curvature, linear in the scale, is 3000 times below the top."""
    columns = draw.integer(4, 8)
    data = curved(draw.generator, draw.integer(200, 400), columns, noise=0.05)
    width = draw.integer(6, 10)
    model = mlp((columns, width, width, 1), nn.Tanh)
    layers = linear_layers(model)
    _scale(model, 1e-3)
    with torch.no_grad():
        for layer in layers:
            layer.bias.zero_()
        layers[-1].bias.copy_(data.train[1].mean(0))
    eigenvalues = torch.linalg.eigvalsh(dense_hessian(model, mse_loss, data.train)[1])
    ratio = float(-eigenvalues[0] / eigenvalues[-1])
    with torch.no_grad():
        for layer in layers:
            layer.weight *= 1 / (draw.uniform(2800, 3200) * ratio)
    return trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.03, 0.05), momentum=0.9),
        steps=draw.integer(20, 40),
        generator=draw.generator,
    )


SADDLES = (
    Case(
        name="tiny_start",
        cause=Cause.SADDLE,
        summary="Every weight started near 1e-9, so that the network stands at the saddle at zero: "
        "a nudge leaves it, a lower rate does not.",
        build=_tiny_start,
        helps=nudge(0.1),
        hurts_or_not=rate(0.1),
        steps=100,
    ),
    Case(
        name="factorisation",
        cause=Cause.SADDLE,
        summary="A product of two matrices that both started near zero: neither has a gradient "
        "before the other has grown; a nudge leaves at once.",
        build=_factorisation,
        helps=nudge(0.1),
        hurts_or_not=rate(0.1),
        steps=150,
    ),
    Case(
        name="equal_units",
        cause=Cause.SADDLE,
        summary="All hidden units started equal and stay so, at the optimum of a single one; a "
        "nudge makes them differ and the loss falls far below.",
        build=_equal_units,
        helps=nudge(0.1),
        hurts_or_not=rate(0.1),
        steps=150,
    ),
    Case(
        name="shallow_saddle",
        cause=Cause.SADDLE,
        summary="Three layers started so small that the negative curvature is 3000 times below the "
        "largest: only a nudge of finite size followed by descent leaves.",
        build=_shallow_saddle,
        helps=nudge(0.3),
        hurts_or_not=nudge(1e-4),
        steps=400,
    ),
)
