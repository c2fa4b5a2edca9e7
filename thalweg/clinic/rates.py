"""Cases of a learning rate that does not fit the curvature."""

import torch
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.case import Case, Draw
from thalweg.clinic.data import digits, linear_made
from thalweg.clinic.interventions import rate
from thalweg.clinic.training import mlp, sharpness, train
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["RATES"]


def _crawling_sgd(draw: Draw) -> Task:
    data = digits(draw.generator, draw.integer(800, 1400))
    model = mlp((64, draw.integer(24, 64), 10))
    batch_size = draw.one_of(32, 64, 128)
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.log_uniform(1e-5, 4e-5))
    history = train(
        model,
        cross_entropy,
        data.train,
        optimizer,
        steps=draw.integer(100, 300),
        batch_size=batch_size,
        generator=draw.generator,
    )
    return Task(
        model=model,
        loss=cross_entropy,
        train=data.train,
        test=data.test,
        optimizer=optimizer,
        batch_size=batch_size,
        history=history,
    )


def _diverging_regression(draw: Draw) -> Task:
    columns = draw.integer(10, 40)
    data = linear_made(draw.generator, draw.integer(200, 500), columns, noise=0.1)
    model = torch.nn.Linear(columns, 1)
    limit = 2 / sharpness(model, mse_loss, data.train)
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(1.15, 1.6) * limit)
    history = train(
        model,
        mse_loss,
        data.train,
        optimizer,
        steps=100,
        generator=draw.generator,
        stop=lambda losses: losses[-1] > 3 * losses[0],
    )
    return Task(
        model=model,
        loss=mse_loss,
        train=data.train,
        test=data.test,
        optimizer=optimizer,
        history=history,
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
        name="diverging_regression",
        cause=Cause.DIVERGING,
        summary="Full-batch descent of a quadratic at 1.15 to 1.6 times the limit 2 / λ_max grows "
        "without bound; a tenth of the rate falls.",
        build=_diverging_regression,
        helps=rate(0.1),
        hurts_or_not=rate(1.5),
        steps=60,
    ),
)
