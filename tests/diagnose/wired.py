"""Healthy trainings of many kinds, and what the checks may say of them without alarm."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from thalweg.task import Task


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


def group(**changed: Any) -> Task:
    model = mlp()
    task = classifier(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    task.optimizer.param_groups[0].update(changed)
    return task


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


def contrastive() -> Task:
    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        one, other = (F.normalize(model(batch[0] + shift)) for shift in (0.0, 0.1))
        return F.cross_entropy(10 * one @ other.T, torch.arange(len(one)))

    return classifier(loss=None, batch_loss=loss)


def sparse() -> Task:
    torch.manual_seed(0)
    x = tokens()
    model = nn.Sequential(nn.Embedding(20, 8, sparse=True), nn.Flatten(), nn.Linear(64, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return classifier(model, train=(x, x[:, 0] % 3), optimizer=optimizer)


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
    "squeezed by the loss": (
        lambda: regression(
            loss=lambda o, t: F.mse_loss(o.squeeze(-1), t), train=(vectors()[0], vectors()[0][:, 0])
        ),
        set(),
    ),
    "sparse": (sparse, set()),
    "compiled": (lambda: classifier(torch.compile(mlp(), backend="eager")), set()),
    "soft targets": (
        lambda: classifier(train=(vectors()[0], vectors()[0][:, :3].softmax(1))),
        set(),
    ),
    "softmax for a squared error": (
        lambda: classifier(
            mlp(end=nn.Softmax(1)),
            loss=F.mse_loss,
            train=(vectors()[0], F.one_hot(vectors()[1], 3).float()),
        ),
        set(),
    ),
    "contrastive": (contrastive, set()),
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
