"""Cases whose training step does not do what it was meant to do."""

import copy
import warnings
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.data import digits, linear_made
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.interventions import rate
from thalweg.clinic.mends import (
    drop_softmax,
    hold_every_parameter,
    shift_targets,
    train_mode,
    unfreeze,
)
from thalweg.clinic.training import linear_layers, mlp, sharpness, train, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["WIRING"]


def _stale_optimizer(draw: Draw) -> Task:
    """The model was made anew (or copied) after its optimizer."""
    model = mlp((64, draw.integer(24, 64), 10))
    kind = draw.one_of(torch.optim.SGD, torch.optim.Adam)
    lr = draw.uniform(0.1, 0.2) if kind is torch.optim.SGD else draw.uniform(2e-3, 5e-3)
    return trained(
        copy.deepcopy(model),
        cross_entropy,
        digits(draw.generator, draw.integer(800, 1400)),
        kind(model.parameters(), lr=lr),
        steps=draw.integer(50, 150),
        batch_size=draw.one_of(32, 64),
        generator=draw.generator,
    )


def _replaced_head(draw: Draw) -> Task:
    """A body trained on five classes gets a head for ten; the optimizer keeps the old head."""
    width = draw.integer(24, 48)
    model = mlp((64, width, 5))
    body, head = linear_layers(model)
    data = digits(draw.generator, draw.integer(800, 1400))
    lr = draw.uniform(0.1, 0.2)
    few = data.train[1] < 5
    known = (data.train[0][few], data.train[1][few])
    before = torch.optim.SGD(model.parameters(), lr=lr)
    train(model, cross_entropy, known, before, steps=100, batch_size=32, generator=draw.generator)
    optimizer = torch.optim.SGD(
        [{"params": body.parameters(), "lr": lr * 1e-3}, {"params": head.parameters()}], lr=lr
    )
    model[2] = nn.Linear(width, 10)
    return trained(
        model,
        cross_entropy,
        data,
        optimizer,
        steps=draw.integer(50, 150),
        batch_size=draw.one_of(32, 64),
        generator=draw.generator,
    )


def _softmax_twice(draw: Draw) -> Task:
    model = mlp((64, draw.integer(24, 64), 10)).append(nn.Softmax(dim=1))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(800, 1400)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.1, 0.2)),
        steps=draw.integer(200, 400),
        batch_size=draw.one_of(32, 64),
        generator=draw.generator,
    )


def _frozen_layers(draw: Draw) -> Task:
    """All but the last layer were frozen for an experiment and never released."""
    width = draw.integer(6, 10)
    model = mlp((64, width, width, 10), nn.Tanh)
    for layer in linear_layers(model)[:2]:
        layer.requires_grad_(False)
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(800, 1400)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.2, 0.4)),
        steps=draw.integer(400, 800),
        batch_size=draw.one_of(64, 128),
        generator=draw.generator,
    )


def _left_in_eval(draw: Draw) -> Task:
    """After an evaluation nobody called model.train(): BatchNorm divides by what it was born with."""
    layers: list[nn.Module] = []
    widths = [64] + [draw.integer(16, 32)] * draw.integer(4, 5)
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(widths[-1], 10)).eval()
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(800, 1400)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.2, 0.4)),
        steps=draw.integer(100, 200),
        batch_size=draw.one_of(64, 128),
        generator=draw.generator,
    )


def _held_twice(draw: Draw) -> Task:
    """Every parameter is listed twice, so that each step is taken twice."""
    columns = draw.integer(10, 40)
    data = linear_made(draw.generator, draw.integer(200, 500), columns, noise=0.1)
    model = nn.Linear(columns, 1)
    lr = draw.uniform(0.6, 0.9) * 2 / sharpness(model, mse_loss, data.train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says so too, to whoever reads warnings
        optimizer = torch.optim.SGD([*model.parameters(), *model.parameters()], lr=lr)
    return trained(
        model,
        mse_loss,
        data,
        optimizer,
        steps=100,
        generator=draw.generator,
        stop=lambda losses: losses[-1] > 3 * losses[0],
    )


def _targets_from_one(draw: Draw) -> Task:
    """Classes counted from 1: the largest lies outside what the model answers."""
    (rows, targets), (held_out, others) = digits(draw.generator, draw.integer(800, 1400))
    model = mlp((64, draw.integer(24, 64), 10))
    return Task(
        model=model,
        loss=cross_entropy,
        train=(rows, targets + 1),
        test=(held_out, others + 1),
        optimizer=torch.optim.SGD(model.parameters(), lr=draw.uniform(0.1, 0.2)),
        batch_size=draw.one_of(32, 64),
    )


WIRING = (
    Case(
        name="stale_optimizer",
        cause=Cause.MISWIRED,
        summary="The optimizer holds the parameters of another copy of the model, so that nothing "
        "moves; one over the model's own trains at once.",
        build=_stale_optimizer,
        helps=hold_every_parameter,
        hurts_or_not=rate(10),
        mechanisms=("optimizer of another model",),
    ),
    Case(
        name="replaced_head",
        cause=Cause.MISWIRED,
        summary="The head was replaced after the optimizer had taken the old one: only the body "
        "moves, at its small rate; with the new head in the group the loss falls at once.",
        build=_replaced_head,
        helps=hold_every_parameter,
        hurts_or_not=rate(0.1),
        mechanisms=("optimizer of another model",),
    ),
    Case(
        name="softmax_twice",
        cause=Cause.MISWIRED,
        summary="The model ends in a softmax and the cross-entropy takes another: the loss cannot "
        "fall below 1.46; without the first it does.",
        build=_softmax_twice,
        helps=drop_softmax,
        hurts_or_not=rate(0.1),
        mechanisms=("softmax before cross-entropy",),
    ),
    Case(
        name="frozen_layers",
        cause=Cause.MISWIRED,
        summary="The hidden layers no longer require gradients although the optimizer holds them; "
        "released, they bring the loss down.",
        build=_frozen_layers,
        helps=unfreeze,
        hurts_or_not=rate(0.1),
        steps=300,
        mechanisms=("frozen parameters",),
    ),
    Case(
        name="left_in_eval",
        cause=Cause.MISWIRED,
        summary="The model is in eval mode while it trains, so that BatchNorm normalises nothing "
        "and a deep stack of sigmoids stands still; in train mode it falls.",
        build=_left_in_eval,
        helps=train_mode,
        hurts_or_not=rate(0.1),
        mechanisms=("evaluation mode",),
    ),
    Case(
        name="held_twice",
        cause=Cause.MISWIRED,
        summary="The optimizer lists every parameter twice and steps twice, which makes a stable "
        "rate diverge; held once, the loss falls.",
        build=_held_twice,
        helps=hold_every_parameter,
        hurts_or_not=rate(1.5),
        steps=60,
        mechanisms=("parameters held twice",),
    ),
    Case(
        name="targets_from_one",
        cause=Cause.MISWIRED,
        summary="The classes count from 1, so that the last lies outside the model's outputs and "
        "the loss cannot be evaluated; counted from 0 it trains.",
        build=_targets_from_one,
        helps=shift_targets,
        hurts_or_not=rate(0.1),
        mechanisms=("targets outside the classes",),
    ),
)
