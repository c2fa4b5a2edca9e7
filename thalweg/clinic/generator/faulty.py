"""Families of runs whose wiring or data are at fault."""

import copy
import math
from dataclasses import replace

import torch
from torch import nn

from thalweg.clinic.entry import Draw
from thalweg.clinic.generator.drawn import Drawn, run
from thalweg.clinic.generator.setting import draw_setting, good_rate
from thalweg.clinic.mends import drop_bad_rows, drop_softmax, hold_every_parameter, unfreeze
from thalweg.clinic.training import train

__all__ = ["blown_up", "missing_values", "miswired"]


def miswired(draw: Draw) -> Drawn:
    """A softmax too many, an optimizer of other parameters, of too few, or frozen ones."""
    how = draw.one_of("softmax", "stale", "frozen", "held out")
    setting = draw_setting(
        draw,
        names=("digits",)
        if how in ("softmax", "held out")
        else ("digits", "breast_cancer", "curved"),
        architectures=("perceptron", "convolutional", "recurrent", "residual", "transformer"),
        batches=(16, 32, 64),
    )
    model = setting.build()
    setting = good_rate(setting, model, draw)
    rate, steps = 0.5 * setting.rate, draw.integer(20, 100)
    if how == "softmax":
        build = setting.build
        setting = replace(setting, build=lambda: nn.Sequential(build(), nn.Softmax(1)))
        drawn = run(
            setting, draw, model=nn.Sequential(model, nn.Softmax(1)), rate=rate, steps=steps
        )
        drawn = replace(drawn, mend=drop_softmax)
    elif how == "frozen":
        model.requires_grad_(False)
        last = list(model.parameters())[-1]
        last.requires_grad_(True)
        drawn = replace(run(setting, draw, model=model, rate=rate, steps=steps), mend=unfreeze)
    else:
        drawn = _held_wrongly(draw, setting, model, rate, steps, stale=how == "stale")
    return replace(drawn, words={**drawn.words, "fault": how})


def _held_wrongly(
    draw: Draw, setting, model: nn.Module, rate: float, steps: int, *, stale: bool
) -> Drawn:
    drawn = run(setting, draw, model=copy.deepcopy(model), rate=rate, steps=0)
    held = copy.deepcopy(model).parameters() if stale else list(model.parameters())[-1:]
    optimizer = (
        torch.optim.Adam(held, lr=rate)
        if setting.kind == "adam"
        else torch.optim.SGD(held, lr=rate, momentum=0.9 * (setting.kind == "momentum"))
    )
    history = train(
        model,
        setting.loss,
        setting.data.train,
        optimizer,
        steps=steps,
        batch_size=setting.batch_size,
        generator=draw.generator,
    )
    task = replace(drawn.task, model=model, optimizer=optimizer, history=history)
    return replace(drawn, task=task, mend=hold_every_parameter)


def missing_values(draw: Draw) -> Drawn:
    """NaN in a few inputs; the run has not met them, or has and is lost."""
    model = (setting := draw_setting(draw)).build()
    setting = good_rate(setting, model, draw)
    drawn = run(setting, draw, model=model, rate=0.5 * setting.rate, steps=draw.integer(5, 40))
    rows = drawn.task.train[0].clone()
    for _ in range(draw.integer(1, 5)):
        rows[draw.integer(0, len(rows) - 1), draw.integer(0, rows.shape[1] - 1)] = draw.one_of(
            math.nan, math.inf
        )
    task = replace(drawn.task, train=(rows, drawn.task.train[1]))
    return replace(drawn, task=task, mend=drop_bad_rows())


def blown_up(draw: Draw) -> Drawn:
    """A rate so high that the weights have ceased to be finite."""
    setting = draw_setting(draw, names=("curved", "linear"), kinds=("sgd", "momentum"))
    model = setting.build()
    setting = good_rate(setting, model, draw)
    rate = setting.rate * draw.log_uniform(30.0, 300.0)
    return run(
        setting,
        draw,
        model=model,
        rate=rate,
        steps=400,
        stop=lambda losses: not math.isfinite(losses[-1]),
    )
