"""Controls: trainings that are not stuck, though some of them look it."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.data import curved, digits
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.interventions import nothing, nudge, rate
from thalweg.clinic.training import mlp, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["HEALTHY"]


def _fresh_network(draw: Draw) -> Task:
    model = mlp((64, draw.integer(32, 64), 10))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(1000, 1400)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.15, 0.3)),
        steps=draw.integer(10, 20),
        batch_size=draw.one_of(64, 128),
        generator=draw.generator,
    )


def _momentum_midway(draw: Draw) -> Task:
    model = mlp((64, draw.integer(32, 64), 10))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(1000, 1400)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.02, 0.04), momentum=0.9),
        steps=draw.integer(25, 50),
        batch_size=draw.one_of(64, 128),
        generator=draw.generator,
    )


def _adam_midway(draw: Draw) -> Task:
    model = mlp((64, draw.integer(32, 64), draw.integer(24, 32), 10))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(1000, 1400)),
        torch.optim.Adam(model.parameters(), lr=draw.log_uniform(3e-3, 6e-3)),
        steps=draw.integer(25, 45),
        batch_size=draw.one_of(64, 128),
        generator=draw.generator,
    )


def _warmup(draw: Draw) -> Task:
    model = mlp((64, draw.integer(32, 64), 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(0.2, 0.4))
    length = draw.integer(60, 120)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, 1.0, total_iters=length)
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(1000, 1400)),
        optimizer,
        steps=int(draw.uniform(0.15, 0.3) * length),
        batch_size=draw.one_of(64, 128),
        schedule=schedule,
        generator=draw.generator,
    )


def _noisy_but_falling(draw: Draw) -> Task:
    model = mlp((64, draw.integer(32, 64), 10), nn.Tanh)
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(1000, 1400)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.03, 0.06)),
        steps=draw.integer(40, 80),
        batch_size=8,
        generator=draw.generator,
    )


def _falling_regression(draw: Draw) -> Task:
    columns = draw.integer(4, 8)
    model = mlp((columns, draw.integer(24, 48), 1), nn.Tanh)
    return trained(
        model,
        mse_loss,
        curved(draw.generator, draw.integer(400, 800), columns, noise=0.05),
        torch.optim.Adam(model.parameters(), lr=draw.log_uniform(2e-2, 3e-2)),
        steps=draw.integer(30, 50),
        batch_size=draw.one_of(32, 64),
        generator=draw.generator,
    )


HEALTHY = (
    Case(
        name="fresh_network",
        cause=Cause.HEALTHY,
        summary="A network a few steps into a good training: unchanged it falls, and no other rate "
        "falls much faster.",
        build=_fresh_network,
        helps=nothing,
        hurts_or_not=rate(0.1),
        steps=100,
    ),
    Case(
        name="momentum_midway",
        cause=Cause.HEALTHY,
        summary="Descent with momentum 0.9, whose loss has come half the way and goes on falling.",
        build=_momentum_midway,
        helps=nothing,
        hurts_or_not=nudge(0.01),
        steps=100,
    ),
    Case(
        name="adam_midway",
        cause=Cause.HEALTHY,
        summary="Adam at a usual rate, whose loss has come half the way and goes on falling.",
        build=_adam_midway,
        helps=nothing,
        hurts_or_not=rate(0.1),
        steps=100,
    ),
    Case(
        name="warmup",
        cause=Cause.HEALTHY,
        summary="The rate is still in its warmup, so the loss has hardly moved; the schedule "
        "itself brings it down, and a higher rate soon gains little.",
        build=_warmup,
        helps=nothing,
        hurts_or_not=rate(0.1),
        steps=200,
    ),
    Case(
        name="noisy_but_falling",
        cause=Cause.HEALTHY,
        summary="Batches of 8 make the loss of a step jump about, yet the loss over all examples "
        "falls at a rate that no other beats by much.",
        build=_noisy_but_falling,
        helps=nothing,
        hurts_or_not=rate(0.1),
        steps=200,
    ),
    Case(
        name="falling_regression",
        cause=Cause.HEALTHY,
        summary="Adam fits a curved function of a few inputs, and the error goes on falling.",
        build=_falling_regression,
        helps=nothing,
        hurts_or_not=rate(0.1),
        steps=150,
    ),
)
