"""Controls: trainings that are not stuck, though some of them look it."""

import torch
from torch.nn.functional import cross_entropy

from thalweg.clinic.case import Case, Draw
from thalweg.clinic.data import digits
from thalweg.clinic.interventions import nothing, rate
from thalweg.clinic.training import mlp, train
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["HEALTHY"]


def _fresh_network(draw: Draw) -> Task:
    data = digits(draw.generator, draw.integer(1000, 1400))
    model = mlp((64, draw.integer(32, 64), 10))
    batch_size = draw.one_of(64, 128)
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(0.15, 0.3))
    history = train(
        model,
        cross_entropy,
        data.train,
        optimizer,
        steps=draw.integer(10, 20),
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
)
