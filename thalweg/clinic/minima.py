"""Cases that have arrived: nothing near leads down, and nothing better is known."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.data import breast_cancer, digits, linear_made
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.interventions import nothing, nudge
from thalweg.clinic.training import mlp, settle, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["MINIMA"]


def _ridge_softmax(draw: Draw) -> Task:
    data = digits(draw.generator, draw.integer(600, 1200))
    model = nn.Linear(64, 10)
    decay = draw.log_uniform(3e-3, 3e-2)
    task = trained(
        model,
        cross_entropy,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.05, 0.15), weight_decay=decay),
        steps=draw.integer(200, 400),
        generator=draw.generator,
    )
    settle(model, cross_entropy, data.train, decay=decay)
    return task


def _least_squares(draw: Draw) -> Task:
    columns = draw.integer(5, 30)
    data = linear_made(
        draw.generator, draw.integer(200, 600), columns, noise=draw.uniform(0.1, 0.3)
    )
    model = nn.Linear(columns, 1)
    task = trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.1, 0.3)),
        steps=draw.integer(100, 200),
        generator=draw.generator,
    )
    settle(model, mse_loss, data.train)
    return replace(task, test=None, history=None)


def _decayed_network(draw: Draw) -> Task:
    data = breast_cancer(draw.generator, draw.integer(250, 450)).double()
    model = mlp((30, draw.integer(4, 8), 2), nn.Tanh).double()
    decay = draw.log_uniform(5e-3, 1.5e-2)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=draw.uniform(0.1, 0.2), momentum=0.9, weight_decay=decay
    )
    steps = draw.integer(200, 300)
    task = trained(model, cross_entropy, data, optimizer, steps=steps, generator=draw.generator)
    settle(model, cross_entropy, data.train, decay=decay)
    optimizer.state.clear()
    return task


MINIMA = (
    Case(
        name="ridge_softmax",
        cause=Cause.MINIMUM,
        summary="Softmax regression with weight decay at its only optimum: the loss alone "
        "still has a gradient, the loss with its decay has none.",
        build=_ridge_softmax,
        helps=nothing,
        hurts_or_not=nudge(0.1),
    ),
    Case(
        name="least_squares",
        cause=Cause.MINIMUM,
        summary="Linear regression at its only optimum, which explains nearly all that the noise "
        "leaves to explain.",
        build=_least_squares,
        helps=nothing,
        hurts_or_not=nudge(0.1),
    ),
    Case(
        name="decayed_network",
        cause=Cause.MINIMUM,
        summary="A small network with weight decay in float64, settled where the gradient is zero "
        "and the Hessian positive; no restart ends lower.",
        build=_decayed_network,
        helps=nothing,
        hurts_or_not=nudge(0.1),
    ),
)
