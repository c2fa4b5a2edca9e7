"""Cases in a ravine: steep walls hold the rate down, and the floor barely slopes."""

import torch
from torch.nn.functional import mse_loss

from thalweg.clinic.case import Case, Draw
from thalweg.clinic.data import linear_made
from thalweg.clinic.interventions import rate, scale_inputs
from thalweg.clinic.training import sharpness, train
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["RAVINES"]


def _unscaled_columns(draw: Draw) -> Task:
    columns = draw.integer(10, 24)
    data = linear_made(draw.generator, draw.integer(200, 500), columns, noise=0.1)
    widest = draw.uniform(2.0, 3.0)
    scales = 10 ** (widest * torch.linspace(0, 1, columns))
    order = torch.randperm(columns, generator=draw.generator)
    rows = (data.train[0] * scales[order], data.train[1])
    held_out = (data.test[0] * scales[order], data.test[1])
    model = torch.nn.Linear(columns, 1)
    with torch.no_grad():
        model.weight.zero_()
    lr = draw.uniform(0.5, 0.9) * 2 / sharpness(model, mse_loss, rows)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    history = train(
        model, mse_loss, rows, optimizer, steps=draw.integer(200, 400), generator=draw.generator
    )
    return Task(
        model=model,
        loss=mse_loss,
        train=rows,
        test=held_out,
        optimizer=optimizer,
        history=history,
    )


RAVINES = (
    Case(
        name="unscaled_columns",
        cause=Cause.RAVINE,
        summary="Columns whose scales differ by 1e2 to 1e3: the rate is as high as the largest "
        "allows, and the others wait; with scaled inputs the same steps fall far more.",
        build=_unscaled_columns,
        helps=scale_inputs,
        hurts_or_not=rate(3),
    ),
)
