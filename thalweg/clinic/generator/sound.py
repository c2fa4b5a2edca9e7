"""Families of runs in which nothing is wrong, though some of them look it, and of plain chance."""

from dataclasses import replace

import torch
from torch import nn

from thalweg.clinic.entry import Draw
from thalweg.clinic.generator.drawn import Drawn, run
from thalweg.clinic.generator.setting import KINDS, draw_setting, good_rate

__all__ = ["any_run", "good_run", "low_phase", "noisy_run", "slow_start", "warmup"]


def good_run(draw: Draw) -> Drawn:
    """A good rate, some way down."""
    model = (setting := draw_setting(draw)).build()
    setting = good_rate(setting, model, draw)
    rate = setting.rate * draw.log_uniform(0.4, 1.0)
    return run(setting, draw, model=model, rate=rate, steps=draw.integer(4, 50))


def warmup(draw: Draw) -> Drawn:
    """Still in the warmup of its schedule, so that hardly anything has happened yet."""
    setting = draw_setting(draw, kinds=("sgd", "momentum", "adam"), batches=(16, 32, 64))
    model = setting.build()
    setting = good_rate(setting, model, draw)
    length = draw.integer(40, 100)
    first = draw.log_uniform(0.003, 0.03)

    def rising(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LinearLR(optimizer, first, 1.0, total_iters=length)

    steps = int(length * draw.uniform(0.05, 0.3))
    return run(setting, draw, model=model, rate=0.7 * setting.rate, steps=steps, schedule=rising)


def low_phase(draw: Draw) -> Drawn:
    """A cyclic schedule near the end of a cycle: the rate is all but zero, and will rise again."""
    setting = draw_setting(draw, batches=(16, 32, 64))
    model = setting.build()
    setting = good_rate(setting, model, draw)
    period = draw.integer(15, 30)

    def cyclic(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, period)

    steps = int(period * draw.uniform(0.85, 0.95))
    rate = setting.rate * draw.log_uniform(0.3, 0.7)
    return run(setting, draw, model=model, rate=rate, steps=steps, schedule=cyclic)


def slow_start(draw: Draw) -> Drawn:
    """Small weights: a while in which little happens, before the fall."""
    setting = draw_setting(
        draw, architectures=("perceptron", "factorised", "convolutional", "residual")
    )
    rate = good_rate(setting, setting.build(), draw).rate
    model = setting.build()
    factor = draw.log_uniform(0.1, 0.5)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= factor
    return run(setting, draw, model=model, rate=0.7 * rate, steps=draw.integer(2, 15))


def noisy_run(draw: Draw) -> Drawn:
    """Small batches: the loss jumps about from step to step, and yet it falls."""
    setting = draw_setting(draw, batches=(4, 8))
    model = setting.build()
    setting = good_rate(setting, model, draw)
    rate = setting.rate * draw.log_uniform(0.15, 0.5)
    return run(setting, draw, model=model, rate=rate, steps=draw.integer(15, 80))


def any_run(draw: Draw) -> Drawn:
    """Whatever comes: rate, start, batch and length all by chance."""
    setting = draw_setting(draw, kinds=KINDS, batches=(16, 16, 32, 64, None))
    model = setting.build()
    setting = good_rate(setting, model, draw)
    rate = setting.rate * draw.log_uniform(1e-3, 8.0)
    factor = draw.log_uniform(0.3, 3.0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight *= factor
    decay = draw.one_of(0.0, 0.0, draw.log_uniform(1e-4, 1e-2))
    steps = int(draw.log_uniform(5, 400))
    drawn = run(setting, draw, model=model, rate=rate, steps=steps, weight_decay=decay)
    return replace(drawn, words={**drawn.words, "scale": factor, "decay": decay})
