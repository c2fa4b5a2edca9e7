"""Cases in which a number has become NaN or infinite."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.data import curved, digits
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.interventions import rate, reinitialise, together
from thalweg.clinic.mends import drop_bad_rows, safe_logarithm
from thalweg.clinic.training import mlp, sharpness, train, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["FINITENESS", "log_of_probability"]


def _nan_inputs(draw: Draw) -> Task:
    """A few missing values were left in as NaN; the weights are those of before the first step."""
    data = digits(draw.generator, draw.integer(800, 1400))
    rows = data.train[0]
    for _ in range(draw.integer(1, 5)):
        rows[draw.integer(0, len(rows) - 1), draw.integer(0, 63)] = math.nan
    model = mlp((64, draw.integer(24, 64), 10))
    return Task(
        model=model,
        loss=cross_entropy,
        train=data.train,
        test=data.test,
        optimizer=torch.optim.SGD(model.parameters(), lr=draw.uniform(0.1, 0.2)),
        batch_size=draw.one_of(32, 64),
    )


def _blown_up(draw: Draw) -> Task:
    columns = draw.integer(4, 8)
    data = curved(draw.generator, draw.integer(400, 800), columns, noise=0.05)
    model = mlp((columns, draw.integer(24, 64), 1))
    limit = 2 / sharpness(model, mse_loss, data.train)
    return trained(
        model,
        mse_loss,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(8.0, 16.0) * limit, momentum=0.9),
        steps=400,
        batch_size=draw.one_of(32, 64),
        generator=draw.generator,
        stop=lambda losses: math.isnan(losses[-1]),
    )


def log_of_probability(output: Tensor, targets: Tensor) -> Tensor:
    """Minus the logarithm of the probability of each class, with nothing to guard it from zero."""
    return -output.gather(1, targets[:, None]).log().mean()


def _log_of_zero(draw: Draw) -> Task:
    """A confident classifier meets examples of a class that it gives probability zero."""
    data = digits(draw.generator, draw.integer(800, 1400))
    rows, targets = data.train
    model = mlp((64, draw.integer(24, 64), 10))
    lr = draw.uniform(0.1, 0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    history = train(
        model, cross_entropy, data.train, optimizer, steps=200, generator=draw.generator
    )
    rows[: draw.integer(2, 6)] *= draw.uniform(20.0, 40.0)
    with torch.no_grad():
        chosen = model(rows[:2]).argmin(1)
    targets[:2] = chosen
    model.append(nn.Softmax(dim=1))
    return Task(
        model=model,
        loss=log_of_probability,
        train=data.train,
        test=data.test,
        optimizer=optimizer,
        batch_size=None,
        history=history,
    )


FINITENESS = (
    Case(
        name="nan_inputs",
        cause=Cause.NOT_FINITE,
        summary="Some inputs are NaN, so that one batch turns every weight into NaN; without "
        "those examples it trains.",
        build=_nan_inputs,
        helps=drop_bad_rows(),
        hurts_or_not=rate(0.1),
        mechanisms=("inputs not finite",),
    ),
    Case(
        name="blown_up",
        cause=Cause.NOT_FINITE,
        summary="The run has diverged and its weights are NaN: no rate brings them back, a fresh "
        "start at a hundredth of the rate trains.",
        build=_blown_up,
        helps=together(reinitialise, rate(0.02)),
        hurts_or_not=rate(0.02),
        mechanisms=("weights not finite",),
    ),
    Case(
        name="log_of_zero",
        cause=Cause.NOT_FINITE,
        summary="The loss takes the logarithm of a probability that has underflown to zero: "
        "infinite at any rate, finite when it is taken from the logits.",
        build=_log_of_zero,
        helps=together(safe_logarithm, rate(0.03)),
        hurts_or_not=rate(0.1),
        mechanisms=("loss not finite",),
    ),
)
