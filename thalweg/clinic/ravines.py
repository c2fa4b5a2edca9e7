"""Cases in a ravine: steep walls hold the rate down, and the floor barely slopes."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from thalweg.clinic.data import Split, linear_made
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.interventions import momentum, rate
from thalweg.clinic.mends import centre_inputs, scale_inputs
from thalweg.clinic.training import sharpness, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["RAVINES"]


def _changed(data: Split, matrix: Tensor, shift: Tensor | float = 0.0) -> Split:
    """The inputs through a linear map and a shift; the targets stay."""
    (rows, targets), (held_out, others) = data
    return Split((rows @ matrix + shift, targets), (held_out @ matrix + shift, others))


def _unscaled_columns(draw: Draw) -> Task:
    columns = draw.integer(10, 24)
    data = linear_made(draw.generator, draw.integer(200, 500), columns, noise=0.1)
    scales = 10 ** (draw.uniform(2.6, 3.2) * torch.linspace(0, 1, columns))
    order = torch.randperm(columns, generator=draw.generator)
    data = _changed(data, scales[order].diag())
    model = nn.Linear(columns, 1)
    with torch.no_grad():
        model.weight.zero_()
    lr = draw.uniform(0.5, 0.9) * 2 / sharpness(model, mse_loss, data.train)
    task = trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=lr),
        steps=draw.integer(400, 600),
        generator=draw.generator,
    )
    return replace(task, history=None)


def _ill_conditioned(draw: Draw) -> Task:
    """Directions of all lengths between 1 and 1e-2, none along a column, that matter alike."""
    columns = draw.integer(12, 24)
    data = linear_made(draw.generator, draw.integer(300, 500), columns, noise=0.1)
    lengths = torch.logspace(0, -draw.uniform(1.9, 2.3), columns)
    basis = torch.linalg.qr(torch.randn(columns, columns, generator=draw.generator))[0]
    data = _changed(data, lengths.diag() @ basis)
    model = nn.Linear(columns, 1)
    with torch.no_grad():
        model.weight.zero_()
    lr = draw.uniform(0.5, 0.9) * 2 / sharpness(model, mse_loss, data.train)
    return trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=lr),
        steps=draw.integer(200, 400),
        generator=draw.generator,
    )


def _uncentred_columns(draw: Draw) -> Task:
    columns = draw.integer(8, 20)
    data = linear_made(draw.generator, draw.integer(200, 500), columns, noise=0.1)
    shift = draw.uniform(12.0, 24.0) * torch.randn(columns, generator=draw.generator).sign()
    data = _changed(data, torch.eye(columns), shift)
    model = nn.Linear(columns, 1)
    with torch.no_grad():
        model.weight.zero_()
    lr = draw.uniform(0.5, 0.9) * 2 / sharpness(model, mse_loss, data.train)
    return trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=lr),
        steps=draw.integer(200, 300),
        generator=draw.generator,
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
    Case(
        name="ill_conditioned",
        cause=Cause.RAVINE,
        summary="A regression whose directions differ in length by a hundred, none along a column: "
        "momentum falls several times further, a higher rate diverges.",
        build=_ill_conditioned,
        helps=momentum(0.97),
        hurts_or_not=rate(5),
    ),
    Case(
        name="uncentred_columns",
        cause=Cause.RAVINE,
        summary="Columns far from zero make one wall hundreds of times steeper than all "
        "else: centred, they bear a rate that falls at once; as they are, a higher one diverges.",
        build=_uncentred_columns,
        helps=centre_inputs,
        hurts_or_not=rate(5),
    ),
)
