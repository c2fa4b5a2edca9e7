"""Trainings broken in one known way each."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.diagnose.wired import classifier, group, mlp, regression, vectors
from thalweg.diagnose.cause import Cause
from thalweg.task import Task
from thalweg.trajectory import Column, Trajectory


def other_model() -> Task:
    task = classifier()
    return replace(task, model=copy.deepcopy(task.model))


def replaced_head() -> Task:
    task = classifier()
    model = task.model
    assert isinstance(model, nn.Sequential)
    model[2] = nn.Linear(16, 5)
    return task


def holding(*names: str, **options: Any) -> Task:
    model = mlp()
    return classifier(
        model, optimizer=torch.optim.SGD([model.get_parameter(n) for n in names], 0.1), **options
    )


def settled_head() -> Task:
    """Only the head is held, and it has nothing left to gain: the rest has all the gradient."""
    task = holding("2.weight", "2.bias")
    x, y = vectors()
    optimizer = torch.optim.LBFGS(
        list(task.optimizer.param_groups[0]["params"]), max_iter=500, tolerance_change=0
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(task.model(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return task


def all_frozen() -> Task:
    task = classifier()
    task.model.requires_grad_(False)
    return task


def twice(*, whole: bool = False) -> Task:
    model = mlp()
    again = model if whole else model[2]
    with pytest.warns(UserWarning, match="duplicate parameters"):
        return classifier(
            model, optimizer=torch.optim.SGD([*model.parameters(), *again.parameters()], 0.1)
        )


def fresh_frozen() -> Task:
    task = group()
    task.model.get_submodule("0").requires_grad_(False)
    return task


def settled_frozen() -> Task:
    """The first layer is frozen by mistake, and the last has nothing left to gain."""
    task = settled_head()
    task.model.get_submodule("0").requires_grad_(False)
    return replace(task, optimizer=torch.optim.SGD(task.model.parameters(), lr=0.1))


class Cut(nn.Module):
    """A network whose first layer is cut off, or hidden in a list."""

    def __init__(self, *, listed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first: Any = [nn.Linear(6, 16)] if listed else nn.Linear(6, 16)
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.first, list):
            return self.last(self.first[0](x).relu())
        return self.last(self.first(x).detach().relu())


def ended_schedule(steps: int = 20, end: float = 0.0) -> Task:
    task = group()
    schedule = torch.optim.lr_scheduler.LambdaLR(task.optimizer, lambda t: 1.0 if t < 3 else end)
    for _ in range(steps):
        task.optimizer.step()
        schedule.step()
    return replace(task, schedule=schedule)


def never_zeroed() -> Task:
    column = Column(np.array([1, 2]), np.array([0.0, 1.0]))
    return classifier(history=Trajectory({"gradients_accumulate": column}))


def targets(change: Callable[[Tensor], Tensor]) -> Task:
    x, y = vectors()
    return classifier(train=(x, change(y)))


def inputs(change: Callable[[Tensor], Tensor], make: Callable[..., Task] = classifier) -> Task:
    x, y = make().train
    return make(train=(change(x.clone()), y))


def spoilt(x: Tensor) -> Tensor:
    x[40:42, 1] = math.nan
    return x


def weights(value: float) -> Task:
    task = classifier()
    with torch.no_grad():
        task.model.get_parameter("0.weight")[0, 0] = value
    return task


def spoilt_moments() -> Task:
    task = classifier()
    F.cross_entropy(task.model(vectors()[0]), vectors()[1]).backward()
    task.optimizer.step()
    task.optimizer.zero_grad()
    task.optimizer.state[task.model.get_parameter("0.bias")]["exp_avg"][0] = math.inf
    return task


def with_norm(*, evaluating: bool, statistics: float | None = None) -> Task:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(16)
    model = nn.Sequential(nn.Linear(6, 16), norm, nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    if statistics is not None:
        norm.running_mean = torch.full((16,), statistics)
        norm.num_batches_tracked = torch.tensor(100)
    return classifier(model.train(not evaluating))


def dead() -> Task:
    task = classifier()
    with torch.no_grad():
        task.model.get_parameter("0.bias").fill_(-100.0)
    return task


def binary(end: nn.Module) -> Task:
    model = mlp(outputs=1, end=end)
    x, y = vectors()
    answers = (y == 0).float()[:, None]
    return classifier(model, loss=nn.BCEWithLogitsLoss(), train=(x, answers))


class Deaf(nn.Module):
    """A head whose features are made anew, whatever comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.ones(len(x), 8))


def infinite_slope() -> Task:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + (0.0 * output[0, 0]).sqrt()

    return classifier(loss=loss)


MISWIRED, NOT_FINITE = Cause.MISWIRED, Cause.NOT_FINITE
NOT_HELD = "parameters the optimizer does not hold"
BROKEN: list[tuple[str, Cause | None, Callable[[], Task]]] = [
    ("optimizer of another model", MISWIRED, other_model),
    ("optimizer of another model", MISWIRED, replaced_head),
    (NOT_HELD, MISWIRED, lambda: holding("0.weight", "0.bias")),
    (NOT_HELD, None, lambda: holding("2.weight", "2.bias")),
    (NOT_HELD, MISWIRED, settled_head),
    (NOT_HELD, MISWIRED, lambda: holding("2.bias")),
    (NOT_HELD, None, lambda: holding("2.weight")),
    ("parameters held twice", None, twice),
    ("parameters held twice", MISWIRED, lambda: twice(whole=True)),
    ("frozen parameters", MISWIRED, settled_frozen),
    ("frozen parameters", None, fresh_frozen),
    ("frozen parameters", MISWIRED, all_frozen),
    ("layers the model does not register", MISWIRED, lambda: classifier(Cut(listed=True))),
    ("gradient cut off", MISWIRED, lambda: classifier(Cut())),
    ("loss without gradient", MISWIRED, lambda: classifier(
        loss=lambda o, t: F.cross_entropy(o.detach(), t))),
    ("loss without gradient", MISWIRED, lambda: classifier(
        loss=lambda o, t: F.cross_entropy(o, t).item())),
    ("output without the input", MISWIRED, lambda: classifier(Deaf())),
    ("zero gradient", None, dead),
    ("gradients never zeroed", MISWIRED, never_zeroed),
    ("learning rate is zero", MISWIRED, lambda: group(lr=0.0)),
    ("learning rate is zero", MISWIRED, ended_schedule),
    ("learning rate decayed away", None, lambda: ended_schedule(end=1e-5)),
    ("negative learning rate", MISWIRED, lambda: group(lr=-0.1)),
    ("optimizer that ascends", MISWIRED, lambda: group(maximize=True)),
    ("learning rate not finite", NOT_FINITE, lambda: group(lr=math.nan)),
    ("momentum out of range", MISWIRED, lambda: group(momentum=1.0)),
    ("dampening leaves no gradient", MISWIRED, lambda: group(momentum=0.9, dampening=1.0)),
    ("weight decay out of range", MISWIRED, lambda: group(weight_decay=20.0)),
    ("weight decay out of range", NOT_FINITE, lambda: group(weight_decay=math.nan)),
    ("momentum out of range", MISWIRED, lambda: group(momentum=math.nan)),
    ("schedule of another optimizer", None, lambda: replace(
        classifier(), schedule=torch.optim.lr_scheduler.StepLR(group().optimizer, 5))),
    ("softmax before cross-entropy", MISWIRED, lambda: classifier(mlp(end=nn.Softmax(1)))),
    ("softmax before cross-entropy", MISWIRED, lambda: classifier(
        mlp(end=nn.Softmax(1)), loss=nn.CrossEntropyLoss(label_smoothing=0.1))),
    ("sigmoid before binary cross-entropy with logits", MISWIRED, lambda: binary(nn.Sigmoid())),
    ("negative log-likelihood of no log-probabilities", MISWIRED,
        lambda: classifier(loss=nn.NLLLoss())),
    ("cross-entropy over one output", MISWIRED,
        lambda: classifier(mlp(outputs=1), train=(vectors()[0], torch.zeros(96).long()))),
    ("targets outside the classes", MISWIRED, lambda: targets(lambda y: y + 1)),
    ("targets outside the classes", MISWIRED, lambda: targets(lambda y: y - 1)),
    ("shapes that broadcast", MISWIRED, lambda: regression(
        train=(vectors()[0], vectors()[0][:, 0]))),
    ("shapes that broadcast", MISWIRED, lambda: regression(
        loss=lambda o, t: (o - t).square().sum(), train=(vectors()[0], vectors()[0][:, 0]))),
    ("evaluation mode", MISWIRED, lambda: with_norm(evaluating=True)),
    ("evaluation mode", None, lambda: with_norm(evaluating=True, statistics=0.1)),
    ("batch statistics that disagree", None, lambda: with_norm(evaluating=False, statistics=-30.0)),
    ("inputs not finite", NOT_FINITE, lambda: inputs(spoilt)),
    ("targets not finite", NOT_FINITE, lambda: regression(
        train=(vectors()[0], spoilt(vectors()[0])[:, 1:2]))),
    ("weights not finite", NOT_FINITE, lambda: weights(math.nan)),
    ("loss not finite", NOT_FINITE, lambda: weights(math.inf)),
    ("gradient not finite", NOT_FINITE, infinite_slope),
    ("optimizer state not finite", NOT_FINITE, spoilt_moments),
    ("constant inputs", Cause.CANNOT_FIT, lambda: inputs(lambda x: 0 * x)),
    ("constant targets", None, lambda: targets(lambda y: 0 * y)),
    ("inputs of unequal scale", None,
        lambda: inputs(lambda x: x * torch.tensor([1e4, 1.0, 1.0, 1.0, 1.0, 1.0]))),
    ("inputs far from zero", None, lambda: inputs(lambda x: x + 1e3)),
    ("inputs of wild scale", None, lambda: inputs(lambda x: x * 100)),
    ("targets of wild scale", None, lambda: regression(
        train=(vectors()[0], 1e4 * vectors()[0][:, :1]))),
]  # fmt: skip
