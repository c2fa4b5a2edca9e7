"""Cases on a plateau: flat ground far above what the same network reaches from a good start."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.data import breast_cancer, digits
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.interventions import nudge, reinitialise
from thalweg.clinic.training import linear_layers, mlp, train, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["PLATEAUS"]


def _saturated_sigmoid(draw: Draw) -> Task:
    width = draw.integer(12, 20)
    model = mlp((64, width, 10), nn.Sigmoid)
    first = linear_layers(model)[0]
    with torch.no_grad():
        first.weight *= draw.uniform(1.0, 2.0)
        first.bias.copy_(torch.randn(width).sign() * draw.uniform(25.0, 40.0))
    return trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(600, 1200)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.3, 0.5)),
        steps=draw.integer(400, 800),
        generator=draw.generator,
    )


def _dead_relu(draw: Draw) -> Task:
    model = mlp((64, draw.integer(12, 20), 10))
    with torch.no_grad():
        linear_layers(model)[0].bias.sub_(draw.uniform(15.0, 30.0))
    task = trained(
        model,
        cross_entropy,
        digits(draw.generator, draw.integer(600, 1200)),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.2, 0.4)),
        steps=draw.integer(400, 600),
        generator=draw.generator,
    )
    return replace(task, history=None)


def _dead_after_high_rate(draw: Draw) -> Task:
    """Steps at a rate far too high, until a layer of ReLUs answers to nothing; then a usual one."""
    data = digits(draw.generator, draw.integer(600, 1200))
    width = draw.integer(12, 18)
    while True:
        model = mlp((64, width, width, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(8.0, 12.0))
        steps = draw.integer(10, 20)
        history = train(
            model, cross_entropy, data.train, optimizer, steps=steps, generator=draw.generator
        )
        answers = model[:3](data.train[0])
        if bool((answers < -3).all()) and bool((answers > -1e9).all()):
            break
    for group in optimizer.param_groups:
        group["lr"] = draw.uniform(0.2, 0.4)
    steps = draw.integer(500, 700)
    task = trained(model, cross_entropy, data, optimizer, steps=steps, generator=draw.generator)
    return replace(task, history=history + list(task.history or ()))


def _saturated_output(draw: Draw) -> Task:
    data = breast_cancer(draw.generator, draw.integer(300, 450)).as_numbers()
    model = mlp((30, draw.integer(6, 16), 1), nn.Tanh).append(nn.Sigmoid())
    with torch.no_grad():
        linear_layers(model)[-1].bias.fill_(draw.one_of(-1.0, 1.0) * draw.uniform(20.0, 30.0))
    return trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.2, 0.5)),
        steps=draw.integer(100, 300),
        batch_size=draw.one_of(32, None),
        generator=draw.generator,
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
        steps=300,
        mechanisms=("saturated units", "constant output"),
    ),
    Case(
        name="dead_relu",
        cause=Cause.PLATEAU,
        summary="Biases far below zero keep every ReLU at zero for every example, and the output "
        "has settled at the classes' frequencies; a fresh start trains.",
        build=_dead_relu,
        helps=reinitialise,
        hurts_or_not=nudge(0.1),
        mechanisms=("dead units", "constant output"),
    ),
    Case(
        name="dead_after_high_rate",
        cause=Cause.PLATEAU,
        summary="Steps at a rate far too high killed a whole layer of ReLUs, and only the last "
        "bias has learnt since, at a usual rate; a fresh start trains.",
        build=_dead_after_high_rate,
        helps=reinitialise,
        hurts_or_not=nudge(0.1),
        steps=300,
        mechanisms=("dead units", "constant output"),
    ),
    Case(
        name="saturated_output",
        cause=Cause.PLATEAU,
        summary="The output sigmoid is saturated at one class under a squared error, so that the "
        "ground is flat in every direction; a fresh start trains.",
        build=_saturated_output,
        helps=reinitialise,
        hurts_or_not=nudge(0.1),
        mechanisms=("saturated units", "constant output"),
    ),
)
