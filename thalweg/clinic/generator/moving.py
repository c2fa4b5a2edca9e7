"""Families of runs whose rate, noise or steps hold them back."""

import copy
import math
from dataclasses import replace

import torch
from torch.nn.functional import cross_entropy

from thalweg.clinic.data import Split, flip_classes
from thalweg.clinic.entry import Draw
from thalweg.clinic.generator.drawn import Drawn, run
from thalweg.clinic.generator.setting import Setting, draw_setting, good_rate, optimizer_of
from thalweg.clinic.mends import drop_bad_rows
from thalweg.clinic.training import sharpness, train

__all__ = ["decayed_early", "edge", "noise_floor", "overshooting", "ravine", "too_small", "wild"]


def too_small(draw: Draw) -> Drawn:
    """A rate some orders of magnitude below a good one."""
    model = (setting := draw_setting(draw)).build()
    setting = good_rate(setting, model, draw)
    rate = setting.rate * draw.log_uniform(1e-5, 1e-2)
    return run(setting, draw, model=model, rate=rate, steps=draw.integer(20, 150))


def decayed_early(draw: Draw) -> Drawn:
    """A schedule that has taken the rate down while there was still far to go."""
    setting = draw_setting(draw, batches=(16, 32, 64))
    model = setting.build()
    setting = good_rate(setting, model, draw)
    steps = draw.integer(30, 80)
    gamma = draw.log_uniform(1e-5, 1e-3) ** (1 / steps)
    rate = 0.5 * setting.rate

    def decaying(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)

    return run(setting, draw, model=model, rate=rate, steps=steps, schedule=decaying)


def overshooting(draw: Draw) -> Drawn:
    """After a good beginning or none, a rate at which the loss grows until someone looks."""
    setting = draw_setting(draw, kinds=("sgd", "sgd", "momentum", "adam"))
    model = setting.build()
    setting = good_rate(setting, model, draw)
    begun = draw.integer(0, 40)
    optimizer = optimizer_of(setting.kind, model, 0.5 * setting.rate)
    before = train(
        model,
        setting.loss,
        setting.data.train,
        optimizer,
        steps=begun,
        batch_size=setting.batch_size,
        generator=draw.generator,
    )
    rate = _limit(setting, model) * draw.log_uniform(1.1, 4.0)

    def grown(losses: list[float]) -> bool:
        return losses[-1] > 2 * max(losses[0], 0.3)

    return run(
        setting,
        draw,
        model=model,
        rate=rate,
        steps=draw.integer(3, 40),
        stop=grown,
        before=before,
    )


def _limit(setting: Setting, model: torch.nn.Module) -> float:
    """The smallest rate, of a grid by 1.6, at which the full loss grows within 60 steps."""
    inputs, targets = setting.data.train
    rate = setting.rate / 2
    while rate < 1e4 * setting.rate:
        walker = copy.deepcopy(model)
        optimizer = optimizer_of(setting.kind, walker, rate)
        losses = train(
            walker,
            setting.loss,
            (inputs, targets),
            optimizer,
            steps=60,
            batch_size=setting.batch_size,
            generator=torch.Generator().manual_seed(1),
        )
        tail = sum(losses[-10:]) / 10
        if not math.isfinite(tail) or tail > 1.5 * losses[0]:
            break
        rate *= 1.6
    return rate


def edge(draw: Draw) -> Drawn:
    """Every example in each step, and a rate at the limit of the sharpest direction."""
    setting = draw_setting(
        draw,
        architectures=("perceptron", "residual", "linear", "factorised", "convolutional"),
        kinds=("sgd",),
        batches=(None,),
    )
    model = setting.build()
    setting = good_rate(setting, model, draw)
    rate = setting.rate * draw.log_uniform(0.7, 1.5)
    steps = draw.integer(150, 500)
    drawn = run(setting, draw, model=copy.deepcopy(model), rate=rate, steps=steps)
    top = 2 / sharpness(drawn.task.model, setting.loss, setting.data.train)
    if math.isfinite(top) and top > 0 and draw.uniform(0, 1) < 0.5:
        # A user who raised the rate to where it just holds.
        rate = top * draw.uniform(1.02, 1.3)
        return run(setting, draw, model=drawn.task.model, rate=rate, steps=draw.integer(30, 150))
    return drawn


def noise_floor(draw: Draw) -> Drawn:
    """Partly wrong targets, small batches, a high rate, and long enough to have come to rest."""
    setting = draw_setting(draw, architectures=("perceptron", "linear"), batches=(2, 4, 8))
    setting = replace(setting, data=_muddied(setting, draw))
    model = setting.build()
    setting = good_rate(setting, model, draw)
    rate = setting.rate * draw.log_uniform(0.7, 2.0)
    return run(setting, draw, model=model, rate=rate, steps=draw.integer(800, 2000))


def _muddied(setting: Setting, draw: Draw) -> Split:
    rows, targets = setting.data.train
    if setting.loss is cross_entropy:
        targets = flip_classes(targets, draw.uniform(0.1, 0.4), draw.generator)
    else:
        spread = draw.uniform(0.2, 0.6) * targets.std()
        targets = targets + spread * torch.randn(targets.shape, generator=draw.generator)
    return setting.data._replace(train=(rows, targets))


def wild(draw: Draw) -> Drawn:
    """A few examples far too large, in the targets or in the inputs."""
    setting = draw_setting(
        draw,
        names=("curved", "linear"),
        architectures=("perceptron", "linear", "residual"),
        kinds=("sgd", "momentum", "adam"),
        batches=(16,),
    )
    rows, targets = (x.clone() for x in setting.data.train)
    model = setting.build()
    setting = good_rate(setting, model, draw)
    count = draw.integer(1, 3)
    if draw.uniform(0, 1) < 0.6:
        targets[:count] += draw.uniform(30.0, 90.0) * draw.one_of(-1.0, 1.0)
    else:
        rows[:count] *= draw.uniform(6.0, 12.0)
    setting = replace(setting, data=setting.data._replace(train=(rows, targets)))
    sizes = torch.cat([rows, targets], 1).norm(dim=1)
    bound = float(sizes[count:].max()) * 1.01
    rate = setting.rate * draw.log_uniform(0.2, 1.0)
    return run(
        setting,
        draw,
        model=model,
        rate=rate,
        steps=draw.integer(300, 600),
        mend=drop_bad_rows(bound),
    )


def ravine(draw: Draw) -> Drawn:
    """Columns of unlike scale, or far from zero, or alike: steep walls and a floor that slopes."""
    setting = draw_setting(
        draw,
        names=("linear", "curved", "breast_cancer", "digits"),
        architectures=("linear", "linear", "perceptron"),
        kinds=("sgd",),
        batches=(None, None, 64),
    )
    (rows, targets), (held_out, others) = setting.data
    columns = rows.shape[1]
    how = draw.one_of("scaled", "shifted", "mixed")
    shift = torch.zeros(columns)
    matrix = torch.eye(columns)
    if how == "shifted":
        shift = draw.uniform(5.0, 20.0) * torch.randn(columns, generator=draw.generator)
    else:
        lengths = torch.logspace(0, -draw.uniform(1.2, 2.3), columns)
        order = torch.randperm(columns, generator=draw.generator)
        matrix = lengths[order].diag()
    if how == "mixed":
        matrix = (
            matrix @ torch.linalg.qr(torch.randn(columns, columns, generator=draw.generator))[0]
        )
    data = Split((rows @ matrix + shift, targets), (held_out @ matrix + shift, others))
    setting = replace(setting, data=data)
    model = setting.build()
    limit = 2 / max(sharpness(model, setting.loss, data.train), 1e-9)
    rate = limit * draw.uniform(0.4, 0.9)
    drawn = run(setting, draw, model=model, rate=rate, steps=draw.integer(100, 400))
    return replace(drawn, words={**drawn.words, "ravine": how})
