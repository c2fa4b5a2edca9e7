"""Families of runs held by the ground itself, or by what model and data can give."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.data import flip_classes, one_column
from thalweg.clinic.entry import Draw
from thalweg.clinic.generator.drawn import Drawn, run
from thalweg.clinic.generator.setting import (
    Setting,
    best_constant,
    draw_setting,
    good_rate,
)
from thalweg.clinic.local_minima import Wave
from thalweg.clinic.training import linear_layers, mlp, settle, sharpness

__all__ = [
    "converged",
    "memorising",
    "no_relation",
    "poor_minimum",
    "saturated",
    "tiny_start",
    "twins",
]


def tiny_start(draw: Draw) -> Drawn:
    """Weights next to zero, where the gradient vanishes though the ground bends down."""
    setting = draw_setting(
        draw,
        architectures=("perceptron", "factorised", "convolutional"),
        kinds=("sgd", "sgd", "momentum"),
        names=("digits", "breast_cancer", "curved", "linear"),
    )
    rate = good_rate(setting, setting.build(), draw).rate
    model = setting.build()
    factor = draw.log_uniform(1e-9, 1e-4)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= factor
        last = linear_layers(model)[-1]
        if last.bias is not None:
            last.bias.copy_(best_constant(setting)[0])
    rate *= draw.log_uniform(0.2, 1.0)
    return run(setting, draw, model=model, rate=rate, steps=draw.integer(5, 40))


def twins(draw: Draw) -> Drawn:
    """Hidden units that started equal, where such a network has settled."""
    setting = draw_setting(
        draw,
        names=("digits", "breast_cancer", "curved"),
        architectures=("perceptron",),
        kinds=("sgd",),
        batches=(None,),
    )
    inputs, targets = setting.data.train
    width = draw.one_of(6, 8, 12)
    outputs = linear_layers(setting.build())[-1].out_features

    def build() -> nn.Module:
        return mlp((inputs.shape[1], width, outputs), nn.Tanh)

    setting = replace(setting, build=build)
    model = build()
    first, last = linear_layers(model)
    decay = draw.log_uniform(5e-4, 2e-3)
    for _ in range(20):  # rounding would tell the units apart in the end
        _make_equal(first, last)
        settle(model, setting.loss, (inputs, targets), decay=decay, steps=15)
    _make_equal(first, last)
    rate = draw.uniform(0.2, 0.5) * 2 / sharpness(model, setting.loss, (inputs, targets))
    return run(
        setting, draw, model=model, rate=rate, steps=draw.integer(10, 50), weight_decay=decay
    )


def _make_equal(first: nn.Linear, last: nn.Linear) -> None:
    with torch.no_grad():
        first.weight.copy_(first.weight.mean(0, keepdim=True).expand_as(first.weight))
        first.bias.fill_(float(first.bias.mean()))
        last.weight.copy_(last.weight.mean(1, keepdim=True).expand_as(last.weight))


def saturated(draw: Draw) -> Drawn:
    """Biases that keep a layer's units dead or saturated for every example, and time to settle."""
    setting = draw_setting(
        draw,
        names=("digits", "breast_cancer", "curved"),
        architectures=("perceptron",),
        kinds=("sgd", "momentum", "adam"),
        batches=(32, 64, None),
    )
    inputs, targets = setting.data.train[0].shape[1], setting.data.train[1]
    outputs = linear_layers(setting.build())[-1].out_features
    activation = draw.one_of(nn.ReLU, nn.Sigmoid, nn.Tanh)
    width, depth = draw.integer(8, 16), draw.integer(1, 2)

    def build() -> nn.Module:
        return mlp((inputs, *[width] * depth, outputs), activation)

    setting = replace(setting, build=build)
    rate = good_rate(setting, build(), draw).rate
    model = build()
    first = linear_layers(model)[draw.integer(0, depth - 1)]
    size = draw.uniform(15.0, 40.0)
    with torch.no_grad():
        if activation is nn.ReLU:
            first.bias.sub_(size)
        else:
            first.bias.copy_(size * torch.randn(width).sign())
        linear_layers(model)[-1].bias.copy_(best_constant(setting)[0])
    rate *= draw.log_uniform(0.3, 1.0)
    assert targets is not None
    return run(setting, draw, model=model, rate=rate, steps=draw.integer(150, 400))


def poor_minimum(draw: Draw) -> Drawn:
    """A small network settled at the worse of several minima that restarts find."""
    setting, decay = _small(draw)
    data = _wide(setting.data.train)
    found: list[tuple[float, nn.Module]] = []
    for tries in range(8):
        model = settle(setting.build().double(), setting.loss, data, decay=decay, steps=150)
        value = _objective(model, setting, decay, data)
        found.append((value, model))
        found.sort(key=lambda pair: pair[0])
        if tries > 3 and found[-1][0] > 1.6 * found[0][0] and draw.uniform(0, 1) < 0.5:
            break
    return _at_rest(found[draw.one_of(-1, -1, -2)][1].float(), setting, decay, draw)


def converged(draw: Draw) -> Drawn:
    """A convex problem at its optimum, or a small network at the best minimum that was found."""
    if draw.uniform(0, 1) < 0.5:
        setting = draw_setting(
            draw, architectures=("linear",), names=("digits", "breast_cancer", "linear")
        )
        if setting.loss is mse_loss:
            width = (setting.data.train[0].shape[1], setting.data.train[1].shape[1])
            setting = replace(setting, build=lambda: nn.Linear(*width), architecture="linear")
        decay = draw.log_uniform(3e-3, 3e-2) if setting.loss is cross_entropy else 0.0
        model = settle(setting.build(), setting.loss, setting.data.train, decay=decay, steps=400)
        return _at_rest(model, replace(setting, kind="sgd", batch_size=None), decay, draw)
    setting, decay = _small(draw)
    data = _wide(setting.data.train)
    models = [
        settle(setting.build().double(), setting.loss, data, decay=decay, steps=300)
        for _ in range(8)
    ]
    best = min(models, key=lambda model: _objective(model, setting, decay, data))
    return _at_rest(best.float(), setting, decay, draw)


def _wide(data: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    inputs, targets = data
    return inputs.double(), targets.double() if targets.is_floating_point() else targets


def _objective(
    model: nn.Module, setting: Setting, decay: float, data: tuple[Tensor, Tensor]
) -> float:
    with torch.no_grad():
        squares = torch.stack([p.square().sum() for p in model.parameters()]).sum()
        return float(setting.loss(model(data[0]), data[1]) + decay / 2 * squares)


def _small(draw: Draw) -> tuple[Setting, float]:
    """A network of a few units, on data that it fits well or badly as it happens to start."""
    base = draw_setting(
        draw,
        names=("rings", "curved", "breast_cancer"),
        architectures=("perceptron",),
        kinds=("sgd", "momentum"),
        batches=(None,),
    )
    width = draw.integer(2, 4)
    if draw.uniform(0, 1) < 0.5:
        data = one_column(draw.generator, draw.integer(60, 200), noise=draw.uniform(0.03, 0.1))
        build = (lambda: mlp((1, width, 1), nn.Tanh)) if draw.uniform(0, 1) < 0.7 else Wave
        base = replace(base, data=data, data_name="one_column", loss=mse_loss, build=build)
    else:
        inputs = base.data.train[0].shape[1]
        outputs = linear_layers(base.build())[-1].out_features
        base = replace(base, build=lambda: mlp((inputs, width, outputs), nn.Tanh))
    return base, draw.log_uniform(1e-4, 2e-3)


def _at_rest(model: nn.Module, setting: Setting, decay: float, draw: Draw) -> Drawn:
    """The last stretch of a run that ends at this model: from nearby back to it."""
    rate = draw.uniform(0.2, 0.6) * 2 / sharpness(model, setting.loss, setting.data.train)
    if setting.kind == "momentum":
        rate *= 0.5
    drawn = run(
        setting,
        draw,
        model=model,
        rate=rate,
        steps=draw.integer(20, 60),
        weight_decay=decay,
    )
    return replace(drawn, words={**drawn.words, "decay": decay})


def no_relation(draw: Draw) -> Drawn:
    """Targets that have nothing to do with the inputs, or a model that cannot say how they do."""
    how = draw.one_of("shuffled", "noise", "linear")
    setting = draw_setting(
        draw,
        names=("rings",) if how == "linear" else ("breast_cancer", "curved", "linear", "digits"),
        architectures=("linear", "perceptron"),
        kinds=("sgd", "momentum", "adam"),
        batches=(None,),
    )
    (rows, targets), test = setting.data
    if how == "shuffled":
        targets = targets[torch.randperm(len(targets), generator=draw.generator)]
    if how == "noise":
        rows = torch.randn(rows.shape, generator=draw.generator)
        test = (torch.randn(test[0].shape, generator=draw.generator), test[1])
    few = rows[:, : draw.integer(2, 6)]
    columns = few.shape[1]
    data = setting.data._replace(train=(few, targets), test=(test[0][:, :columns], test[1]))
    outputs = best_constant(setting)[0].numel()

    def build() -> nn.Module:
        return nn.Linear(columns, outputs)

    setting = replace(setting, data=data, architecture="linear", build=build)
    decay = draw.log_uniform(1e-3, 1e-2)
    model = settle(build(), setting.loss, data.train, decay=decay, steps=300)
    setting = replace(setting, kind="sgd" if setting.kind == "adam" else setting.kind)
    drawn = _at_rest(model, setting, decay, draw)
    return replace(drawn, words={**drawn.words, "why": how})


def memorising(draw: Draw) -> Drawn:
    """Few examples, a wide network, and many steps past the lowest held-out loss."""
    setting = draw_setting(
        draw,
        names=("digits", "breast_cancer", "curved"),
        architectures=("perceptron", "residual", "convolutional", "recurrent", "transformer"),
        batches=(16, 32),
    )
    rows, targets = setting.data.train
    count = draw.integer(40, 120)
    targets = targets[:count]
    if setting.loss is cross_entropy:
        targets = flip_classes(targets, draw.uniform(0.1, 0.3), draw.generator)
    else:
        targets = targets + 0.3 * torch.randn(targets.shape, generator=draw.generator)
    setting = replace(setting, data=setting.data._replace(train=(rows[:count], targets)))
    if setting.architecture == "perceptron":
        inputs, outputs = rows.shape[1], best_constant(setting)[0].numel()
        width = draw.integer(32, 64)
        setting = replace(setting, build=lambda: mlp((inputs, width, outputs)))
    model = setting.build()
    setting = good_rate(setting, model, draw)
    rate = setting.rate * draw.log_uniform(0.2, 0.7)
    drawn = run(setting, draw, model=model, rate=rate, steps=draw.integer(60, 300))
    return replace(drawn, task=replace(drawn.task, test=setting.data.test))
