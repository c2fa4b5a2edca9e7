"""Cases on networks beyond the perceptron: convolutional, residual, recurrent, a small transformer."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.architectures import convolutional, recurrent, residual, tokens
from thalweg.clinic.data import Split, curved, digits, flip_classes
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.interventions import (
    constant_rate,
    decay,
    nothing,
    nudge,
    rate,
    reinitialise,
)
from thalweg.clinic.mends import drop_softmax
from thalweg.clinic.training import mlp, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["NETWORKS"]


def _convolution_midway(draw: Draw) -> Task:
    model = convolutional(10, draw.integer(5, 8))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(300, 500)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.03, 0.06), momentum=0.9),
        steps=draw.integer(8, 16),
        batch_size=64,
        generator=draw.generator,
    )


def _transformer_midway(draw: Draw) -> Task:
    model = tokens(10, draw.one_of(16, 20))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(300, 500)),
        torch.optim.Adam(model.parameters(), lr=draw.log_uniform(4e-3, 8e-3)),
        steps=draw.integer(10, 20),
        batch_size=64,
        generator=draw.generator,
    )


def _slow_start(draw: Draw) -> Task:
    """Three layers from small weights: hardly anything happens for a while, and then it falls."""
    columns = draw.integer(4, 6)
    model = mlp((columns, 24, 24, 1), nn.Tanh)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 0.35
    return trained(
        model,
        mse_loss,
        curved(draw.generator, draw.integer(300, 400), columns, noise=0.05),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.07, 0.1), momentum=0.9),
        steps=draw.integer(3, 8),
        batch_size=32,
        generator=draw.generator,
    )


def _low_phase(draw: Draw) -> Task:
    """Warm restarts, caught where the rate is all but zero before the next one."""
    model = mlp((64, draw.integer(32, 64), 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(0.15, 0.3))
    period = draw.integer(16, 24)
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(1000, 1400)),
        optimizer,
        steps=int(0.93 * period),
        batch_size=64,
        schedule=torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, period),
        generator=draw.generator,
    )


def _crawling_recurrent(draw: Draw) -> Task:
    model = recurrent(10, draw.integer(12, 24), draw.one_of(nn.GRU, nn.LSTM))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(300, 500)),
        torch.optim.Adam(model.parameters(), lr=draw.log_uniform(1e-6, 3e-6)),
        steps=draw.integer(40, 100),
        batch_size=64,
        generator=draw.generator,
    )


def _crawling_residual(draw: Draw) -> Task:
    model = residual(64, 10, draw.integer(16, 32), 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(0.03, 0.06), momentum=0.9)
    steps = draw.integer(20, 40)
    gamma = draw.log_uniform(1e-5, 1e-4) ** (1 / steps)
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(300, 500)),
        optimizer,
        steps=steps,
        batch_size=64,
        schedule=torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma),
        generator=draw.generator,
    )


def _dead_convolution(draw: Draw) -> Task:
    """A bias far below zero in the second convolution: nothing of the image reaches the output."""
    model = convolutional(10, draw.integer(4, 5))
    second = [m for m in model.modules() if isinstance(m, nn.Conv2d)][1]
    with torch.no_grad():
        assert second.bias is not None
        second.bias.sub_(draw.uniform(15.0, 30.0))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(300, 500)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.2, 0.4)),
        steps=draw.integer(300, 500),
        generator=draw.generator,
    )


def _memorising_recurrent(draw: Draw) -> Task:
    (rows, targets), test = digits(draw.generator, draw.integer(60, 120))
    targets = flip_classes(targets, draw.uniform(0.15, 0.25), draw.generator)
    model = recurrent(10, draw.integer(24, 32), nn.GRU)
    optimizer = torch.optim.Adam(model.parameters(), lr=draw.log_uniform(8e-3, 1.2e-2))
    task = trained(
        model,
        cross_entropy,
        Split((rows, targets), test),
        optimizer,
        steps=draw.integer(180, 240),
        batch_size=16,
        generator=draw.generator,
    )
    return replace(task, history=None)


def _transformer_softmax(draw: Draw) -> Task:
    model = nn.Sequential(tokens(10, 16), nn.Softmax(1))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(300, 500)),
        torch.optim.Adam(model.parameters(), lr=draw.log_uniform(2e-3, 4e-3)),
        steps=draw.integer(100, 150),
        batch_size=64,
        generator=draw.generator,
    )


NETWORKS = (
    Case(
        name="convolution_midway",
        cause=Cause.HEALTHY,
        summary="A convolutional network with momentum, some steps down a good training.",
        build=_convolution_midway,
        helps=nothing,
        hurts_or_not=rate(0.1),
        steps=60,
    ),
    Case(
        name="transformer_midway",
        cause=Cause.HEALTHY,
        summary="A small transformer under Adam, some steps down a good training.",
        build=_transformer_midway,
        helps=nothing,
        hurts_or_not=rate(0.1),
        steps=100,
    ),
    Case(
        name="slow_start",
        cause=Cause.HEALTHY,
        summary="Small weights in three layers: the loss hardly moves at first, and falls by "
        "itself soon, as far as after a nudge.",
        build=_slow_start,
        helps=nothing,
        hurts_or_not=rate(0.1),
        steps=300,
    ),
    Case(
        name="low_phase",
        cause=Cause.HEALTHY,
        summary="The low phase of warm restarts: the loss stands for some steps, until the "
        "schedule itself raises the rate again.",
        build=_low_phase,
        helps=nothing,
        hurts_or_not=rate(0.1),
        steps=200,
    ),
    Case(
        name="crawling_recurrent",
        cause=Cause.STEP_TOO_SMALL,
        summary="A recurrent network under Adam at a rate thousands of times too small; raised, "
        "it falls.",
        build=_crawling_recurrent,
        helps=rate(3000),
        hurts_or_not=rate(0.1),
    ),
    Case(
        name="crawling_residual",
        cause=Cause.STEP_TOO_SMALL,
        summary="A schedule has taken the rate of a residual network down by 1e4 within a few "
        "epochs; held constant where it began, it falls.",
        build=_crawling_residual,
        helps=constant_rate(0.03),
        hurts_or_not=rate(0.1),
    ),
    Case(
        name="dead_convolution",
        cause=Cause.PLATEAU,
        summary="A bias far below zero keeps the second convolution dead on every image, and the "
        "output has settled at the classes' frequencies; a fresh start trains.",
        build=_dead_convolution,
        helps=reinitialise,
        hurts_or_not=nudge(0.1),
        steps=200,
        mechanisms=("dead units", "constant output"),
    ),
    Case(
        name="memorising_recurrent",
        cause=Cause.OVERFITTING,
        summary="A recurrent network learns a hundred digits by heart, wrong labels and all, and "
        "the held-out loss rises; weight decay holds it down.",
        build=_memorising_recurrent,
        helps=decay(0.05),
        hurts_or_not=nudge(0.01),
        steps=200,
    ),
    Case(
        name="transformer_softmax",
        cause=Cause.MISWIRED,
        summary="A small transformer hands probabilities to a cross-entropy that takes logits; "
        "without the softmax it trains on.",
        build=_transformer_softmax,
        helps=drop_softmax,
        hurts_or_not=rate(0.1),
        mechanisms=("softmax before cross-entropy",),
    ),
)
