"""Cases on a plateau: flat ground far above what the same network reaches from a good start."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from thalweg.clinic.case import Case, Draw
from thalweg.clinic.data import digits
from thalweg.clinic.interventions import nudge, reinitialise
from thalweg.clinic.training import mlp, train
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["PLATEAUS"]


def _saturated_sigmoid(draw: Draw) -> Task:
    data = digits(draw.generator, draw.integer(600, 1200))
    width = draw.integer(16, 32)
    model = mlp((64, width, 10), nn.Sigmoid)
    first = model[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.weight *= draw.uniform(1.0, 2.0)
        first.bias.copy_(torch.randn(width).sign() * draw.uniform(25.0, 40.0))
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(0.1, 0.2))
    history = train(
        model,
        cross_entropy,
        data.train,
        optimizer,
        steps=draw.integer(400, 800),
        batch_size=None,
        generator=draw.generator,
    )
    return Task(
        model=model,
        loss=cross_entropy,
        train=data.train,
        test=data.test,
        optimizer=optimizer,
        history=history,
    )


PLATEAUS = (
    Case(
        name="saturated_sigmoid",
        cause=Cause.PLATEAU,
        summary="Biases of 25 to 40 saturate every hidden sigmoid, so that nothing reaches the "
        "first layer and the output has settled at the classes' frequencies; a fresh start trains.",
        build=_saturated_sigmoid,
        helps=reinitialise,
        hurts_or_not=nudge(0.1),
        mechanisms=("saturated_units", "constant_output"),
    ),
)
