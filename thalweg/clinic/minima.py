"""Cases that have arrived: nothing lower is near, whether the ground is good or poor."""

import torch
from torch.nn.functional import cross_entropy

from thalweg.clinic.case import Case, Draw
from thalweg.clinic.data import digits
from thalweg.clinic.interventions import nudge, rate
from thalweg.clinic.training import settle, train
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["MINIMA"]


def _ridge_softmax(draw: Draw) -> Task:
    data = digits(draw.generator, draw.integer(600, 1200))
    model = torch.nn.Linear(64, 10)
    decay = draw.log_uniform(3e-3, 3e-2)
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(0.05, 0.15), weight_decay=decay)
    history = train(
        model, cross_entropy, data.train, optimizer, steps=300, generator=draw.generator
    )
    settle(model, cross_entropy, data.train, decay=decay)
    return Task(
        model=model,
        loss=cross_entropy,
        train=data.train,
        test=data.test,
        optimizer=optimizer,
        history=history,
    )


MINIMA = (
    Case(
        name="ridge_softmax",
        cause=Cause.MINIMUM,
        summary="Softmax regression with weight decay at its only optimum: the loss alone "
        "still has a gradient, the loss with its decay has none.",
        build=_ridge_softmax,
        helps=rate(1.0),
        hurts_or_not=nudge(0.1),
    ),
)
