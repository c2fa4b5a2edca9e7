"""Every check is silent on healthy trainings and speaks on the one that it is for."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks import check_wiring
from thalweg.diagnose.finding import Mechanism
from thalweg.task import Task
from thalweg.trajectory import Column, Trajectory


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)


def vectors(n: int = 96, columns: int = 6, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, columns, generator=generator)
    return x, x[:, :classes].argmax(1)


def mlp(*, end: nn.Module | None = None, outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs)]
    return nn.Sequential(*layers, *([end] if end is not None else []))


def classifier(model: nn.Module | None = None, **changed: Any) -> Task:
    model = mlp() if model is None else model
    given: dict[str, Any] = {"loss": F.cross_entropy, "train": vectors(), "optimizer": adam(model)}
    return Task(model=model, **(given | changed))


def regression(model: nn.Module | None = None, **changed: Any) -> Task:
    model = mlp(outputs=1) if model is None else model
    x, _ = vectors()
    given: dict[str, Any] = {"loss": F.mse_loss, "train": (x, x[:, :1].sin())}
    return Task(model=model, **(given | {"optimizer": adam(model)} | changed))


class Words(nn.Module):
    """An LSTM classifier over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 12, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0][:, -1])


class Tied(nn.Module):
    """A small causal transformer whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.1)
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.full((7, 7), -math.inf).triu(1))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.block(self.embedding(tokens), src_mask=self.mask))


def tokens() -> Tensor:
    return torch.randint(0, 20, (64, 8), generator=torch.Generator().manual_seed(2))


def words(**changed: Any) -> Task:
    torch.manual_seed(0)
    x = tokens()
    return classifier(Words(), train=(x, x.sum(1) % 3), **changed)


def language_model() -> Task:
    torch.manual_seed(0)
    x = tokens()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), target.flatten())

    return classifier(Tied(), train=(x[:, :-1], x[:, 1:]), loss=loss)


def images() -> Task:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    )
    generator = torch.Generator().manual_seed(3)
    x, y = torch.rand(64, 1, 8, 8, generator=generator), torch.arange(64) % 10
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    return classifier(model, train=loader)


def dictionaries() -> Task:
    x, y = vectors()
    model = mlp()

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch["x"]), batch["y"])

    return classifier(model, loss=None, batch_loss=loss, train={"x": x, "y": y})


def frozen_embedding() -> Task:
    task = words()
    task.model.get_submodule("embedding").requires_grad_(False)
    return replace(task, optimizer=adam(task.model))


def weight_norm() -> Task:
    torch.manual_seed(0)
    first = nn.utils.parametrizations.weight_norm(nn.Linear(6, 16))
    return classifier(nn.Sequential(first, nn.Tanh(), nn.Linear(16, 3)))


def second_head() -> Task:
    class Main(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.unused = mlp(), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.main(x)

    return classifier(Main())


def warmup() -> Task:
    task = classifier()
    schedule = torch.optim.lr_scheduler.LambdaLR(task.optimizer, lambda step: min(1.0, step / 10))
    return replace(task, schedule=schedule)


def l2_of_the_users_model() -> Task:
    model = mlp()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + 1e-3 * sum(
            (p.square().sum() for p in model.parameters()), torch.zeros(())
        )

    return classifier(model, loss=loss)


HEALTHY: dict[str, tuple[Callable[[], Task], set[str]]] = {
    "classifier": (classifier, set()),
    "batches": (lambda: classifier(batch_size=8), set()),
    "label smoothing": (lambda: classifier(loss=nn.CrossEntropyLoss(label_smoothing=0.1)), set()),
    "log-softmax twice": (lambda: classifier(mlp(end=nn.LogSoftmax(1))), set()),
    "nll": (lambda: classifier(mlp(end=nn.LogSoftmax(1)), loss=F.nll_loss), set()),
    "regression": (regression, set()),
    "momentum": (lambda: group(momentum=0.9), set()),
    "bounded regression": (lambda: regression(mlp(outputs=1, end=nn.Sigmoid())), set()),
    "images": (images, set()),
    "words": (words, set()),
    "language model": (language_model, set()),
    "dictionaries": (dictionaries, set()),
    "frozen embedding": (frozen_embedding, {"frozen parameters"}),
    "weight norm": (weight_norm, set()),
    "second head": (second_head, {"parameters outside the loss"}),
    "warmup": (warmup, set()),
    "explicit L2": (l2_of_the_users_model, set()),
    "ignored labels": (
        lambda: classifier(train=(vectors()[0], vectors()[1].index_fill(0, torch.arange(5), -100))),
        set(),
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_trainings_give_no_alarm(name: str) -> None:
    make, expected = HEALTHY[name]
    found = check_wiring(make())
    assert [m for m in found if m.explains is not None] == []
    assert {m.name for m in found} == expected


# Broken trainings -----------------------------------------------------------------------------


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


def group(**changed: Any) -> Task:
    model = mlp()
    task = classifier(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    task.optimizer.param_groups[0].update(changed)
    return task


def ended_schedule(steps: int = 20, end: float = 0.0) -> Task:
    task = group()
    schedule = torch.optim.lr_scheduler.LambdaLR(task.optimizer, lambda t: 1.0 if t < 3 else end)
    for _ in range(steps):
        task.optimizer.step()
        schedule.step()
    return replace(task, schedule=schedule)


def never_zeroed() -> Task:
    import numpy as np

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


@pytest.mark.parametrize(
    ("name", "cause", "make"), BROKEN, ids=[f"{i}-{b[0]}" for i, b in enumerate(BROKEN)]
)
def test_each_fault_is_named_with_the_line_that_mends_it(
    name: str, cause: Cause | None, make: Callable[[], Task]
) -> None:
    found = {m.name: m for m in check_wiring(make())}
    assert name in found, found.keys()
    assert found[name].explains == cause
    assert found[name].line and found[name].sentence.endswith((".", ".)"))
    if cause is None:
        assert all(m.explains is None for m in found.values()), found


def test_the_names_said_are_the_right_ones() -> None:
    (mechanism,) = check_wiring(holding("2.weight", "2.bias"))
    assert "2 of 4" in mechanism.sentence
    assert "`0.weight`, `0.bias`" in mechanism.sentence
    (mechanism,) = check_wiring(targets(lambda y: y + 1))
    assert "are 3." in mechanism.sentence and mechanism.line.startswith("y = y - 1")
    assert "1.0" not in check_wiring(classifier(mlp(end=nn.Softmax(1))))[0].sentence
    floor = math.log(math.e + 2) - 1
    assert f"{floor:.3f}" in check_wiring(classifier(mlp(end=nn.Softmax(1))))[0].sentence


def broken_model() -> Task:
    return classifier(nn.Sequential(nn.Linear(7, 3)))


def broken_data() -> Task:
    class Raising(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> Any:
            raise OSError("no such file")

    return classifier(train=Raising())


@pytest.mark.parametrize(
    "make",
    [
        broken_model,
        broken_data,
        lambda: classifier(train=(torch.zeros(0, 6), torch.zeros(0).long())),
        lambda: classifier(train=(torch.zeros(4, 6), torch.zeros(5).long())),
        lambda: classifier(train=(vectors()[0].long(), vectors()[1])),
        lambda: classifier(loss=lambda o, t: F.cross_entropy(o, t, reduction="none")),
        lambda: classifier(train=[vectors()] * 3, loss=lambda o, t: None),
        lambda: classifier(train=(vectors()[0],)),
    ],
)
def test_what_cannot_be_evaluated_is_left_to_others(make: Callable[[], Task]) -> None:
    assert all(isinstance(m, Mechanism) for m in check_wiring(make()))


def bits(task: Task) -> list[Any]:
    state = task.model.state_dict()
    return [
        {name: value.clone() for name, value in state.items()},
        [None if p.grad is None else p.grad.clone() for p in task.model.parameters()],
        [m.training for m in task.model.modules()],
        [p.data_ptr() for p in task.model.parameters()],
        copy.deepcopy(task.optimizer.state_dict()),
        None if task.schedule is None else copy.deepcopy(task.schedule.state_dict()),
        torch.random.get_rng_state(),
    ]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)) and a.dtype == b.dtype
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b) or callable(a)


EVERY = [make for make, _ in HEALTHY.values()] + [make for *_, make in BROKEN]


@pytest.mark.parametrize("make", EVERY)
def test_nothing_of_the_users_is_changed(make: Callable[[], Task]) -> None:
    task = make()
    before = bits(task)
    first = check_wiring(task)
    assert same(before, bits(task))
    assert check_wiring(task) == first
