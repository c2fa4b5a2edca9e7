"""Cases decided by data and model: too much is learnt from the data, or too little is in it."""

from dataclasses import replace
from statistics import mean

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

from thalweg.clinic.data import Split, breast_cancer, digits, flip_classes, rings
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.interventions import adam, decay, larger_model, nudge, restarts
from thalweg.clinic.mends import informative_inputs
from thalweg.clinic.training import mlp, settle, train, trained
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["FITS"]


def _past_its_best(
    draw: Draw, model: nn.Module, data: Split, optimizer: torch.optim.Optimizer, batch_size: int
) -> Task:
    """The run at the point where the held-out loss has clearly risen above its lowest."""
    history: list[float] = []
    held_out: list[float] = []
    rise = draw.uniform(1.15, 1.3)
    while not held_out or held_out[-1] < max(rise * min(held_out), 2.5 * mean(history[-20:])):
        history += train(
            model,
            cross_entropy,
            data.train,
            optimizer,
            steps=20,
            batch_size=batch_size,
            generator=draw.generator,
        )
        with torch.no_grad():
            held_out.append(float(cross_entropy(model(data.test[0]), data.test[1])))
    return Task(
        model=model,
        loss=cross_entropy,
        train=data.train,
        test=data.test,
        optimizer=optimizer,
        batch_size=batch_size,
        history=history,
    )


def _memorising_network(draw: Draw) -> Task:
    data = digits(draw.generator, draw.integer(120, 250))
    targets = flip_classes(data.train[1], draw.uniform(0.4, 0.6), draw.generator)
    model = mlp((64, draw.integer(128, 256), 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=draw.log_uniform(1e-3, 2e-3))
    return _past_its_best(draw, model, data._replace(train=(data.train[0], targets)), optimizer, 32)


def _few_examples(draw: Draw) -> Task:
    (rows, targets), (held_out, others) = breast_cancer(draw.generator, draw.integer(60, 120))
    share = draw.uniform(0.3, 0.5)
    data = Split(
        (rows, flip_classes(targets, share, draw.generator)),
        (held_out, flip_classes(others, share, draw.generator)),
    )
    model = mlp((30, draw.integer(32, 64), 2), nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=draw.uniform(0.03, 0.06), momentum=0.9)
    return _past_its_best(draw, model, data, optimizer, draw.one_of(16, 32))


def _pooled(generator: torch.Generator, rows: int) -> Split:
    """Digits of 4 x 4 pixels."""
    (inputs, targets), (held_out, others) = digits(generator, rows)

    def small(images: Tensor) -> Tensor:
        return avg_pool2d(images.view(-1, 1, 8, 8), 2).flatten(1)

    return Split((small(inputs), targets), (small(held_out), others))


def _settled(draw: Draw, model: nn.Module, data: Split) -> Task:
    """A model of few parameters where descent has converged under a small weight decay."""
    weight_decay = draw.log_uniform(3e-4, 1e-3)
    task = trained(
        model,
        cross_entropy,
        data,
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.1, 0.3), weight_decay=weight_decay),
        steps=draw.integer(300, 500),
        generator=draw.generator,
    )
    settle(model, cross_entropy, data.train, decay=weight_decay)
    return task


def _shuffled_labels(draw: Draw) -> Task:
    data = _pooled(draw.generator, draw.integer(1000, 1400))
    order = torch.randperm(len(data.train[1]), generator=draw.generator)
    data = data._replace(train=(data.train[0], data.train[1][order]))
    return replace(_settled(draw, nn.Linear(16, 10), data), history=None)


def _noise_inputs(draw: Draw) -> Task:
    data = digits(draw.generator, draw.integer(1000, 1400))
    columns = draw.integer(12, 20)
    rows, held_out = (torch.randn(len(part[0]), columns, generator=draw.generator) for part in data)
    return _settled(
        draw, nn.Linear(columns, 10), Split((rows, data.train[1]), (held_out, data.test[1]))
    )


def _constant_inputs(draw: Draw) -> Task:
    """A loader that hands out the same image every time, with the right labels."""
    data = digits(draw.generator, draw.integer(800, 1400))
    rows = data.train[0][:1].expand_as(data.train[0]).clone()
    held_out = data.train[0][:1].expand_as(data.test[0]).clone()
    model = mlp((64, draw.integer(16, 48), 10), nn.Tanh)
    return trained(
        model,
        cross_entropy,
        Split((rows, data.train[1]), (held_out, data.test[1])),
        torch.optim.SGD(model.parameters(), lr=draw.uniform(0.1, 0.2)),
        steps=draw.integer(300, 500),
        generator=draw.generator,
    )


def _line_on_rings(draw: Draw) -> Task:
    return _settled(draw, nn.Linear(2, 2), rings(draw.generator, draw.integer(200, 500)))


FITS = (
    Case(
        name="memorising_network",
        cause=Cause.OVERFITTING,
        summary="A wide network learns a few digits and their wrong labels by heart: the training "
        "loss falls while the held-out loss rises; weight decay holds it.",
        build=_memorising_network,
        helps=decay(0.01),
        hurts_or_not=nudge(0.001),
        steps=300,
    ),
    Case(
        name="few_examples",
        cause=Cause.OVERFITTING,
        summary="A network fits some dozens of partly wrong labels: the training loss falls "
        "while the held-out loss rises; weight decay holds it.",
        build=_few_examples,
        helps=decay(0.03),
        hurts_or_not=nudge(0.001),
        steps=200,
    ),
    Case(
        name="shuffled_labels",
        cause=Cause.CANNOT_FIT,
        summary="The labels are shuffled, and a small model at its optimum is hardly better than "
        "the classes' frequencies; told the class, the same training learns it.",
        build=_shuffled_labels,
        helps=informative_inputs,
        hurts_or_not=restarts(3),
        mechanisms=("labels without signal",),
    ),
    Case(
        name="noise_inputs",
        cause=Cause.CANNOT_FIT,
        summary="The inputs are noise, and a linear model at its optimum is hardly better than the "
        "classes' frequencies; told the class, the same training learns it.",
        build=_noise_inputs,
        helps=informative_inputs,
        hurts_or_not=restarts(3),
        mechanisms=("labels without signal",),
    ),
    Case(
        name="constant_inputs",
        cause=Cause.CANNOT_FIT,
        summary="Every input is the same image, so that the classes' frequencies are the best "
        "there is; told the class, the same network learns it.",
        build=_constant_inputs,
        helps=informative_inputs,
        hurts_or_not=adam(0.003),
        mechanisms=("constant inputs", "constant output"),
    ),
    Case(
        name="line_on_rings",
        cause=Cause.CANNOT_FIT,
        summary="A line is asked to tell two rings apart, one inside the other, and has converged; "
        "a network with a hidden layer tells them.",
        build=_line_on_rings,
        helps=larger_model(lambda: mlp((2, 32, 2)), lr=0.02),
        hurts_or_not=restarts(3),
    ),
)
