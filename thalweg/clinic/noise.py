"""Cases in which the noise of the mini-batches decides."""

import torch
from torch.nn.functional import cross_entropy

from thalweg.clinic.case import Case, Draw
from thalweg.clinic.data import breast_cancer
from thalweg.clinic.interventions import nudge, rate
from thalweg.clinic.training import train
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["NOISE"]


def _noisy_logistic(draw: Draw) -> Task:
    data = breast_cancer(draw.generator, draw.integer(300, 450))
    model = torch.nn.Linear(30, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(1.5, 3.0), weight_decay=1e-3)
    history = train(
        model,
        cross_entropy,
        data.train,
        optimizer,
        steps=draw.integer(3000, 5000),
        batch_size=4,
        generator=draw.generator,
    )
    return Task(
        model=model,
        loss=cross_entropy,
        train=data.train,
        test=data.test,
        optimizer=optimizer,
        batch_size=4,
        history=history,
    )


NOISE = (
    Case(
        name="noisy_logistic",
        cause=Cause.NOISE_FLOOR,
        summary="Logistic regression in batches of 4 at a rate near 2 has reached its stationary "
        "noise: a tenth of the rate ends far lower, more of the same does not.",
        build=_noisy_logistic,
        helps=rate(0.1),
        hurts_or_not=nudge(0.1),
        steps=400,
    ),
)
