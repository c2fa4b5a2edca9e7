"""How a case gets to the state where it is stuck: a plain loop, L-BFGS, a few networks."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from thalweg.clinic.data import Split
from thalweg.task import Task

__all__ = ["Loss", "batches", "linear_layers", "mlp", "settle", "sharpness", "train", "trained"]

Loss = Callable[[Tensor, Tensor], Tensor]


def mlp(widths: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """A multilayer perceptron of these widths, with torch's own initialisation."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """The model's linear layers, in the order in which they stand."""
    return [m for m in model.modules() if isinstance(m, nn.Linear)]


def batches(rows: int, size: int | None, generator: torch.Generator) -> Iterator[Tensor | slice]:
    """Indices of mini-batches without end, each epoch shuffled anew; ``None`` is the full batch."""
    while True:
        if size is None or size >= rows:
            yield slice(None)
        else:
            yield from torch.randperm(rows, generator=generator)[: rows - rows % size].split(size)


def train(
    model: nn.Module,
    loss: Loss,
    data: tuple[Tensor, Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    generator: torch.Generator,
    batch_size: int | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    stop: Callable[[list[float]], bool] | None = None,
) -> list[float]:
    """Train as a user would and return the loss of every step; ends early where ``stop`` says so."""
    inputs, targets = data
    history: list[float] = []
    source = batches(len(inputs), batch_size, generator)
    for _, chosen in zip(range(steps), source, strict=False):
        value = loss(model(inputs[chosen]), targets[chosen])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        history.append(value.item())
        if stop is not None and stop(history):
            break
    optimizer.zero_grad()
    model.zero_grad()  # the optimizer may hold others
    return history


def trained(
    model: nn.Module,
    loss: Loss,
    data: Split,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    generator: torch.Generator,
    batch_size: int | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    stop: Callable[[list[float]], bool] | None = None,
) -> Task:
    """The Task of a user who has trained like this so far."""
    history = train(
        model,
        loss,
        data.train,
        optimizer,
        steps=steps,
        generator=generator,
        batch_size=batch_size,
        schedule=schedule,
        stop=stop,
    )
    return Task(
        model=model,
        loss=loss,
        train=data.train,
        test=data.test,
        optimizer=optimizer,
        batch_size=batch_size,
        schedule=schedule,
        history=history,
    )


def settle(
    model: nn.Module,
    loss: Loss,
    data: tuple[Tensor, Tensor],
    *,
    decay: float = 0.0,
    steps: int = 2000,
    tolerance: float = 1e-9,
) -> nn.Module:
    """Take the model to a stationary point of loss + decay/2 |weights|^2 by L-BFGS, in float64.

    The model keeps its own type: the last step is one rounding.
    """
    kept = next(model.parameters()).dtype
    inputs, targets = (t.double() if t.is_floating_point() else t for t in data)
    model.double()
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=steps,
        max_eval=2 * steps,
        history_size=50,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(model(inputs), targets)
        squares = torch.stack([p.square().sum() for p in model.parameters()]).sum()
        value = value + decay / 2 * squares
        value.backward()
        return value

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]  # torch wants float, takes Tensor
    model.to(kept)
    model.zero_grad()
    return model


def sharpness(
    model: nn.Module, loss: Loss, data: tuple[Tensor, Tensor], *, products: int = 30
) -> float:
    """The Hessian's eigenvalue of largest magnitude at the model's weights, by power iteration."""
    weights = [p for p in model.parameters() if p.requires_grad]
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention has no second derivative
        value = loss(model(data[0]), data[1])
    slopes = torch.autograd.grad(value, weights, create_graph=True)
    vector = [torch.randn_like(p) for p in weights]
    size = 0.0
    for _ in range(products):
        norm = sum(float(v.square().sum()) for v in vector) ** 0.5
        vector = [v / norm for v in vector]
        product = torch.autograd.grad(slopes, weights, vector, retain_graph=True)
        size = sum(float((v * w).sum()) for v, w in zip(vector, product, strict=True))
        vector = list(product)
    return size
