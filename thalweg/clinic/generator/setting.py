"""Setting: what a run is made of before anything is wrong with it: data, network, rate, batch."""

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.architectures import (
    Build,
    convolutional,
    factorised,
    perceptron,
    recurrent,
    residual,
    tokens,
)
from thalweg.clinic.data import Split, breast_cancer, curved, digits, linear_made, rings
from thalweg.clinic.entry import Draw
from thalweg.clinic.training import Loss, train

__all__ = [
    "KINDS",
    "Setting",
    "best_constant",
    "draw_data",
    "draw_setting",
    "good_rate",
    "optimizer_of",
]

KINDS = ("sgd", "momentum", "adam")
"""The optimizers that are drawn."""

IMAGES = ("convolutional", "recurrent", "transformer")
"""Networks that read the digits as images."""

TRIAL = 40
"""Steps of each rate that the range test tries."""


@dataclass(frozen=True)
class Setting:
    """Data, the loss that fits them, a network, an optimizer by name, and a batch size.

    ``rate`` is the best of a range test, once :func:`good_rate` has set it.
    """

    data: Split
    data_name: str
    loss: Loss
    architecture: str
    build: Build
    kind: str
    batch_size: int | None
    rate: float = math.nan


def optimizer_of(kind: str, model: nn.Module, rate: float, **others: Any) -> torch.optim.Optimizer:
    """The optimizer of that name over the model's parameters."""
    if kind == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate, **others)
    beta = 0.9 if kind == "momentum" else 0.0
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=beta, **others)


def draw_data(draw: Draw, *names: str) -> tuple[str, Split, Loss]:
    """One of the data sets of these names, some hundreds of examples of it, and its loss."""
    name = draw.one_of(*names)
    rows, noise = draw.integer(120, 260), draw.uniform(0.02, 0.15)
    if name == "digits":
        return name, digits(draw.generator, rows), cross_entropy
    if name == "breast_cancer":
        return name, breast_cancer(draw.generator, rows), cross_entropy
    if name == "rings":
        return name, rings(draw.generator, rows), cross_entropy
    columns = draw.integer(4, 10)
    if name == "curved":
        return name, curved(draw.generator, rows, columns, noise=noise), mse_loss
    outputs = draw.one_of(1, 1, 4)
    return (
        name,
        linear_made(draw.generator, rows, columns, noise=noise, outputs=outputs),
        mse_loss,
    )


def draw_setting(
    draw: Draw,
    *,
    names: tuple[str, ...] = ("digits", "digits", "breast_cancer", "rings", "curved", "linear"),
    architectures: tuple[str, ...] = (),
    kinds: tuple[str, ...] = KINDS,
    batches: tuple[int | None, ...] = (16, 32, 64, None),
) -> Setting:
    """A setting of these parts, its rate still open."""
    name, data, loss = draw_data(draw, *names)
    inputs = data.train[0].shape[1]
    outputs = int(data.train[1].max()) + 1 if loss is cross_entropy else data.train[1].shape[1]
    fitting = ("perceptron", "perceptron", "residual", "linear")
    if name == "digits":
        fitting = ("perceptron", "residual", "linear", *IMAGES)
    if name == "linear":
        fitting = ("perceptron", "linear", "factorised")
    if name in ("curved", "rings"):
        fitting = ("perceptron", "perceptron", "residual")
    possible = [a for a in fitting if not architectures or a in architectures]
    architecture = draw.one_of(*(possible or ["perceptron"]))
    build = _network(draw, architecture, inputs, outputs)
    size = draw.one_of(*batches)
    if architecture in IMAGES and size is not None:
        size = max(size, 32)  # their steps are slow
    return Setting(data, name, loss, architecture, build, draw.one_of(*kinds), size)


def _network(draw: Draw, architecture: str, inputs: int, outputs: int) -> Build:
    width, depth = draw.integer(8, 20), draw.integer(1, 2)
    activation = draw.one_of(nn.ReLU, nn.Tanh, nn.GELU)
    kind = draw.one_of(nn.RNN, nn.GRU, nn.LSTM)
    small = draw.integer(4, 6)
    builds: dict[str, Build] = {
        "perceptron": lambda: perceptron(inputs, outputs, width, depth, activation),
        "residual": lambda: residual(inputs, outputs, width, depth),
        "linear": lambda: nn.Linear(inputs, outputs),
        "factorised": lambda: factorised(inputs, outputs, small),
        "convolutional": lambda: convolutional(outputs, small),
        "recurrent": lambda: recurrent(outputs, width, kind),
        "transformer": lambda: tokens(outputs, 4 * (2 + depth)),
    }
    return builds[architecture]


def good_rate(setting: Setting, model: nn.Module, draw: Draw) -> Setting:
    """The setting with the rate, of a grid by √10, that leads lowest in a few steps from here."""
    inputs, targets = setting.data.train
    number = draw.integer(0, 2**31 - 1)
    ends: list[tuple[float, float]] = []
    for power in range(-8, 3):
        rate = 10 ** (power / 2) / (10 if setting.kind == "adam" else 1)
        walker = copy.deepcopy(model)
        losses = train(
            walker,
            setting.loss,
            (inputs, targets),
            optimizer_of(setting.kind, walker, rate),
            steps=TRIAL,
            batch_size=setting.batch_size,
            generator=torch.Generator().manual_seed(number),
            stop=_gone,
        )
        with torch.no_grad():
            end = float(setting.loss(walker(inputs), targets))
        if _gone(losses) or not math.isfinite(end):
            break
        ends.append((end, rate))
    return replace(setting, rate=min(ends)[1])


def _gone(losses: list[float]) -> bool:
    return not math.isfinite(losses[-1]) or losses[-1] > 1e3 * (1 + losses[0])


def best_constant(setting: Setting) -> tuple[Tensor, float]:
    """The output that fits best without looking at the inputs, and its loss."""
    targets = setting.data.train[1]
    if setting.loss is cross_entropy:
        shares = torch.bincount(targets).double() / len(targets)
        logits = shares.clamp_min(1e-12).log()
        return logits.float(), float(-(shares * logits).sum())
    mean = targets.mean(0)
    return mean, float((targets - mean).square().mean())
