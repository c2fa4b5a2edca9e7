"""Cases of a learning rate that does not fit the curvature."""

import copy

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.data import breast_cancer, curved, digits, flip_classes, linear_made
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.interventions import constant_rate, rate
from thalweg.clinic.training import mlp, settle, sharpness, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["RATES"]


def _crawling_sgd(draw: Draw) -> Task:
    model = mlp((64, draw.integer(24, 64), 10))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(800, 1400)),
        torch.optim.SGD(model.parameters(), lr=draw.log_uniform(1e-5, 4e-5)),
        steps=draw.integer(100, 300),
        batch_size=draw.one_of(32, 64, 128),
        generator=draw.generator,
    )


def _crawling_adam(draw: Draw) -> Task:
    model = mlp((64, draw.integer(24, 64), 10))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(800, 1400)),
        torch.optim.Adam(model.parameters(), lr=draw.log_uniform(1e-7, 4e-7)),
        steps=draw.integer(100, 300),
        batch_size=draw.one_of(32, 64, 128),
        generator=draw.generator,
    )


def _decayed_too_early(draw: Draw) -> Task:
    model = mlp((64, draw.integer(24, 64), 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(0.1, 0.2))
    steps = draw.integer(100, 200)
    gamma = draw.log_uniform(1e-5, 1e-4) ** (1 / steps)
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(800, 1400)),
        optimizer,
        steps=steps,
        batch_size=draw.one_of(64, 128),
        schedule=torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma),
        generator=draw.generator,
    )


def _grown(losses: list[float]) -> bool:
    return losses[-1] > 3 * losses[0]


def _diverging_regression(draw: Draw) -> Task:
    columns = draw.integer(10, 40)
    data = linear_made(draw.generator, draw.integer(200, 500), columns, noise=0.1)
    model = nn.Linear(columns, 1)
    limit = 2 / sharpness(model, mse_loss, data.train)
    return trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(1.15, 1.6) * limit),
        steps=100,
        generator=draw.generator,
        stop=_grown,
    )


def _diverging_network(draw: Draw) -> Task:
    columns = draw.integer(4, 8)
    data = curved(draw.generator, draw.integer(400, 800), columns, noise=0.05)
    model = mlp((columns, draw.integer(24, 64), 1), nn.Tanh)
    limit = 2 / sharpness(model, mse_loss, data.train)
    return trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(2.0, 3.0) * limit),
        steps=100,
        batch_size=draw.one_of(32, 64),
        generator=draw.generator,
        stop=_grown,
    )


def _edge_of_digits(draw: Draw) -> Task:
    model = mlp((64, draw.integer(16, 32), 10), nn.Tanh)
    return trained(
        model,
        mse_loss,
        digits(draw.generator, draw.integer(200, 400)).one_hot(),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(4.0, 5.0)),
        steps=draw.integer(700, 1000),
        generator=draw.generator,
    )


def _two_cycle(draw: Draw) -> Task:
    data = breast_cancer(draw.generator, draw.integer(300, 450))
    targets = flip_classes(data.train[1], draw.uniform(0.2, 0.3), draw.generator)
    data = data._replace(train=(data.train[0], targets))
    model = nn.Linear(30, 2)
    settled = settle(copy.deepcopy(model), cross_entropy, data.train, decay=1e-3)
    lr = draw.uniform(1.3, 1.7) * 2 / sharpness(settled, cross_entropy, data.train)
    return trained(
        model,
        cross_entropy,
        data,
        torch.optim.SGD(model.parameters(), lr=lr, weight_decay=1e-3),
        steps=draw.integer(300, 500),
        generator=draw.generator,
    )


RATES = (
    Case(
        name="crawling_sgd",
        cause=Cause.STEP_TOO_SMALL,
        summary="The learning rate is 1e-4 of what the network bears: 5000 times the rate "
        "falls at once, a tenth of it stands still.",
        build=_crawling_sgd,
        helps=rate(5000),
        hurts_or_not=rate(0.1),
        steps=100,
    ),
    Case(
        name="crawling_adam",
        cause=Cause.STEP_TOO_SMALL,
        summary="Adam at 1e-7 moves no weight by more than that in a step: ten thousand times the "
        "rate falls at once, a tenth of it stands still.",
        build=_crawling_adam,
        helps=rate(1e4),
        hurts_or_not=rate(0.1),
        steps=100,
    ),
    Case(
        name="decayed_too_early",
        cause=Cause.STEP_TOO_SMALL,
        summary="The schedule has taken the rate down ten thousandfold while the loss was still "
        "falling: the first rate, kept, falls at once.",
        build=_decayed_too_early,
        helps=constant_rate(0.1),
        hurts_or_not=rate(0.1),
        steps=100,
    ),
    Case(
        name="diverging_regression",
        cause=Cause.DIVERGING,
        summary="Full-batch descent of a quadratic at 1.15 to 1.6 times the limit 2 / λ_max grows "
        "without bound; a tenth of the rate falls.",
        build=_diverging_regression,
        helps=rate(0.1),
        hurts_or_not=rate(1.5),
        steps=60,
    ),
    Case(
        name="diverging_network",
        cause=Cause.DIVERGING,
        summary="A tanh network's loss grows at over twice its stable rate; a tenth of it falls.",
        build=_diverging_network,
        helps=rate(0.1),
        hurts_or_not=rate(1.5),
        steps=60,
    ),
    Case(
        name="edge_of_digits",
        cause=Cause.EDGE_OF_STABILITY,
        summary="Full-batch descent has made a tanh network as sharp as its rate bears, 2 / λ_max, "
        "and bounces there without blowing up; a quarter of the rate ends lower.",
        build=_edge_of_digits,
        helps=rate(0.25),
        hurts_or_not=rate(1.5),
        steps=60,
    ),
    Case(
        name="two_cycle",
        cause=Cause.EDGE_OF_STABILITY,
        summary="Full-batch logistic regression past 2 / λ_max on classes that cannot be told "
        "apart bounces in a cycle; a quarter of the rate ends lower.",
        build=_two_cycle,
        helps=rate(0.25),
        hurts_or_not=rate(1.5),
        steps=100,
    ),
)
