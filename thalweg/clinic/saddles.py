"""Cases at a saddle: the gradient is all but zero, and negative curvature leads down."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from thalweg.clinic.case import Case, Draw
from thalweg.clinic.data import digits
from thalweg.clinic.interventions import nudge, rate
from thalweg.clinic.training import mlp, train
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["SADDLES"]


def _tiny_start(draw: Draw) -> Task:
    data = digits(draw.generator, draw.integer(600, 1200))
    model = mlp((64, draw.integer(12, 32), 10), nn.Tanh)
    scale = draw.log_uniform(1e-9, 1e-8)
    last = model[2]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= scale
        last.bias.copy_(torch.bincount(data.train[1], minlength=10).double().log())
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(0.06, 0.12))
    steps = draw.integer(20, 50)
    history = train(
        model, cross_entropy, data.train, optimizer, steps=steps, generator=draw.generator
    )
    return Task(
        model=model,
        loss=cross_entropy,
        train=data.train,
        test=data.test,
        optimizer=optimizer,
        history=history,
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
)
