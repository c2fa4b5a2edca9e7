"""Cases in which the noise of the mini-batches decides."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.data import breast_cancer, curved, digits, flip_classes, linear_made
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.interventions import clip, nudge, rate
from thalweg.clinic.mends import drop_bad_rows
from thalweg.clinic.training import mlp, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["NOISE"]


def _noisy_logistic(draw: Draw) -> Task:
    rows, targets = (data := breast_cancer(draw.generator, draw.integer(300, 450))).train
    targets = flip_classes(targets, draw.uniform(0.1, 0.2), draw.generator)
    model = nn.Linear(30, 2)
    return trained(
        model,
        cross_entropy,
        data._replace(train=(rows, targets)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.2, 0.3), weight_decay=3e-3),
        steps=draw.integer(2000, 3000),
        batch_size=4,
        generator=draw.generator,
    )


def _noisy_regression(draw: Draw) -> Task:
    columns = draw.integer(6, 12)
    batch_size = draw.one_of(2, 4)
    model = nn.Linear(columns, 1)
    return trained(
        model,
        mse_loss,
        linear_made(draw.generator, draw.integer(200, 500), columns, noise=draw.uniform(0.3, 0.6)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.15, 0.3) * batch_size / columns),
        steps=draw.integer(800, 1500),
        batch_size=batch_size,
        generator=draw.generator,
    )


def _noisy_network(draw: Draw) -> Task:
    rows, targets = (data := digits(draw.generator, draw.integer(800, 1200))).train
    targets = flip_classes(targets, draw.uniform(0.15, 0.25), draw.generator)
    model = mlp((64, draw.integer(10, 16), 10), nn.Tanh)
    return trained(
        model,
        cross_entropy,
        data._replace(train=(rows, targets)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.4, 0.6)),
        steps=draw.integer(2500, 4000),
        batch_size=4,
        generator=draw.generator,
    )


def _wild_inputs(draw: Draw) -> Task:
    columns = draw.integer(6, 10)
    lr = draw.uniform(0.1, 0.14)
    data = linear_made(draw.generator, draw.integer(1600, 2000), columns, noise=0.15)
    rows = data.train[0]
    # A step on a wild example overshoots it: 2 * lr * |row|^2 / 16 lies near 2.
    length = (draw.uniform(1.7, 2.3) * 16 / (2 * lr)) ** 0.5
    wild = data.train[1].flatten().abs().topk(2).indices
    rows[wild] *= length / rows[wild].norm(dim=1, keepdim=True)
    model = nn.Linear(columns, 1)
    return trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=lr),
        steps=draw.integer(500, 800),
        batch_size=16,
        generator=draw.generator,
    )


def _wild_targets(draw: Draw) -> Task:
    columns = draw.integer(4, 8)
    data = curved(draw.generator, draw.integer(800, 1000), columns, noise=0.1)
    targets = data.train[1]
    targets[:2] = draw.uniform(40.0, 80.0) * torch.randn(2, 1, generator=draw.generator).sign()
    model = mlp((columns, draw.integer(16, 32), 1), nn.Tanh)
    return trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.03, 0.05)),
        steps=draw.integer(600, 900),
        batch_size=16,
        generator=draw.generator,
    )


NOISE = (
    Case(
        name="noisy_logistic",
        cause=Cause.NOISE_FLOOR,
        summary="Logistic regression on partly wrong labels in batches of 4 has reached "
        "its stationary noise: a tenth of the rate ends far lower, a nudge does not.",
        build=_noisy_logistic,
        helps=rate(0.1),
        hurts_or_not=nudge(0.1),
        steps=800,
    ),
    Case(
        name="noisy_regression",
        cause=Cause.NOISE_FLOOR,
        summary="Linear regression on noisy targets in batches of 2 or 4 wanders about its "
        "optimum; a tenth of the rate ends far closer to it.",
        build=_noisy_regression,
        helps=rate(0.1),
        hurts_or_not=nudge(0.1),
        steps=800,
    ),
    Case(
        name="noisy_network",
        cause=Cause.NOISE_FLOOR,
        summary="A narrow network on partly wrong labels in batches of 4 stands still at a high "
        "loss; a tenth of the rate falls at once.",
        build=_noisy_network,
        helps=rate(0.1),
        hurts_or_not=nudge(0.01),
        steps=800,
    ),
    Case(
        name="wild_inputs",
        cause=Cause.SPIKES,
        summary="Two examples are several times too large: each time one is drawn the loss is "
        "thrown up and has to come back; without them it never is.",
        build=_wild_inputs,
        helps=drop_bad_rows(8.0),
        hurts_or_not=nudge(0.01),
        steps=600,
    ),
    Case(
        name="wild_targets",
        cause=Cause.SPIKES,
        summary="Two targets are fifty times too large: the loss jumps whenever one is "
        "drawn, and a clipped gradient or their removal ends it.",
        build=_wild_targets,
        helps=clip(1.0),
        hurts_or_not=nudge(0.01),
        steps=600,
    ),
)
