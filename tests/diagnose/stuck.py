"""Small trainings in states of many kinds, made the same wherever and whenever they are made."""

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from thalweg.task import Task

Pair = tuple[Tensor, Tensor]


def data(rows: int = 96, *, dtype: torch.dtype = torch.float32) -> Pair:
    """Three classes in six columns, a tenth of them drawn anew at random."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 6, generator=generator, dtype=dtype)
    y = (x[:, :3] + 0.3 * x[:, 3:]).argmax(1)
    wrong = torch.rand(rows, generator=generator) < 0.1
    return x, torch.where(wrong, torch.randint(3, (rows,), generator=generator), y)


def numbers(rows: int = 96, *, dtype: torch.dtype = torch.float32) -> Pair:
    """One number, linear in four columns with a little noise."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(rows, 4, generator=generator, dtype=dtype)
    weights = torch.tensor([[1.0], [-2.0], [0.5], [0.0]], dtype=dtype)
    return x, x @ weights + 0.1 * torch.randn(rows, 1, generator=generator, dtype=dtype)


def fresh(make: Callable[[], nn.Module]) -> nn.Module:
    """A model whose weights do not depend on the caller's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def mlp(*middle: nn.Module, width: int = 12) -> nn.Module:
    return fresh(
        lambda: nn.Sequential(nn.Linear(6, width), *middle, nn.Tanh(), nn.Linear(width, 3))
    )


def trained(task: Task, steps: int = 12) -> Task:
    """The task after some steps of its user's own loop, gradients of the last one left behind."""
    examples = task.train if isinstance(task.train, tuple) else data()
    history = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for step in range(steps):
            rows = torch.arange(16 * step, 16 * step + 16) % len(examples[0])
            batch = (examples[0][rows], examples[1][rows])
            task.optimizer.zero_grad()
            if task.batch_loss is None:
                assert task.loss is not None
                loss = task.loss(task.model(batch[0]), batch[1])
            else:
                loss = task.batch_loss(task.model, {"x": batch[0], "y": batch[1]})
            loss.backward()
            task.optimizer.step()
            if task.schedule is not None:
                task.schedule.step()
            history.append(float(loss.detach()))
    object.__setattr__(task, "history", history)
    return task


def momentum() -> Task:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
    return trained(
        Task(model=model, loss=F.cross_entropy, train=data(), optimizer=optimizer, batch_size=16)
    )


def normalised() -> Task:
    """BatchNorm and dropout, Adam with its state, a schedule, held-out data."""
    model = mlp(nn.BatchNorm1d(12), nn.Dropout(0.2))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    return trained(
        Task(
            model=model,
            loss=F.cross_entropy,
            train=data(),
            test=tuple(part[:40] for part in data(140)),
            optimizer=optimizer,
            batch_size=16,
            schedule=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99),
        )
    )


def dictionaries() -> Task:
    model = mlp()
    x, y = data()

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch["x"]), batch["y"])

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return trained(
        Task(
            model=model, batch_loss=loss, train={"x": x, "y": y}, optimizer=optimizer, batch_size=8
        )
    )


def own_penalty() -> Task:
    """The loss reads the parameters of the user's own model."""
    model = mlp()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        squares = torch.stack([p.square().sum() for p in model.parameters()]).sum()
        return F.cross_entropy(output, target) + 0.01 * squares

    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    return trained(Task(model=model, loss=loss, train=data(), optimizer=optimizer, batch_size=16))


def frozen() -> Task:
    """The first layer does not learn, and one bias has no gradient yet."""
    model = mlp()
    model.get_submodule("0").requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    task = trained(
        Task(model=model, loss=F.cross_entropy, train=data(), optimizer=optimizer, batch_size=16)
    )
    model.get_parameter("2.bias").grad = None
    return task


def loader() -> Task:
    """A DataLoader with a generator of its own, part of whose numbers are drawn already."""
    model = mlp()
    generator = torch.Generator().manual_seed(5)
    torch.rand(7, generator=generator)
    batches = DataLoader(TensorDataset(*data()), 16, shuffle=True, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return trained(Task(model=model, loss=F.cross_entropy, train=batches, optimizer=optimizer))


def small_start(*, dtype: torch.dtype = torch.float32) -> Task:
    """Weights so small that their products, and so the gradients, are all but nought: a saddle."""
    model = fresh(
        lambda: nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 1, bias=False))
    ).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p *= 1e-4
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    return Task(model=model, loss=F.mse_loss, train=numbers(dtype=dtype), optimizer=optimizer)


def solved(*, dtype: torch.dtype = torch.float32) -> Task:
    """Ridge regression at its optimum, which is one of loss and weight decay together."""
    x, y = numbers(dtype=torch.float64)
    decay = 0.1
    weights = torch.linalg.solve(
        2 / len(x) * x.T @ x + decay * torch.eye(4, dtype=x.dtype), 2 / len(x) * x.T @ y
    )
    model = nn.Linear(4, 1, bias=False).to(dtype)
    with torch.no_grad():
        model.weight.copy_(weights.T)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, weight_decay=decay)
    return Task(model=model, loss=F.mse_loss, train=numbers(dtype=dtype), optimizer=optimizer)


STUCK: dict[str, Callable[[], Task]] = {
    make.__name__: make
    for make in (
        momentum,
        normalised,
        dictionaries,
        own_penalty,
        frozen,
        loader,
        small_start,
        solved,
    )
}


def everything(task: Task) -> list[Any]:
    """All of the user's that a diagnosis or a race could change, copied."""
    model, train = task.model, task.train
    tensors = list(train.values()) if isinstance(train, dict) else train
    if isinstance(train, DataLoader):
        tensors = train.dataset.tensors  # type: ignore[attr-defined]
    return copy.deepcopy(
        [
            dict(model.state_dict()),
            [(p.data_ptr(), p.requires_grad, p.grad) for p in model.parameters()],
            [p.grad is not None and p.grad.data_ptr() for p in model.parameters()],
            [(b.data_ptr(), b) for b in model.buffers()],
            [(m.training, len(m._forward_hooks), len(m._backward_hooks)) for m in model.modules()],
            task.optimizer.state_dict(),
            [id(p) for group in task.optimizer.param_groups for p in group["params"]],
            None if task.schedule is None else task.schedule.state_dict(),
            list(tensors),
            list(task.test or ()),
            train.generator.get_state() if isinstance(train, DataLoader) else None,
            list(task.history or ()),
            torch.random.get_rng_state(),
            np.random.get_state(),  # noqa: NPY002
            random.getstate(),
            (torch.is_grad_enabled(), torch.get_default_dtype()),
        ]
    )


def same(one: Any, other: Any) -> bool:
    """Whether two such lists agree to the bit."""
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
