"""Cases at a minimum that is not the best one known: nothing near leads down, a restart does."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from thalweg.clinic.data import Split, one_column, split
from thalweg.clinic.entry import Case, Draw
from thalweg.clinic.hessian import dense_hessian
from thalweg.clinic.interventions import nudge, restarts
from thalweg.clinic.training import mlp, settle, sharpness, train
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["LOCAL_MINIMA"]

Loss = Callable[[Tensor, Tensor], Tensor]


def _minimum(
    model: nn.Module, loss: Loss, data: tuple[Tensor, Tensor], decay: float
) -> float | None:
    """Settle the model; its objective where that is a strict minimum, else None."""
    settle(model, loss, data, decay=decay, steps=200)
    slope, hessian = dense_hessian(model, loss, data, decay=decay)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    if slope.norm() > 1e-6 or eigenvalues[0] < 1e-6 * eigenvalues[-1]:
        return None
    with torch.no_grad():
        squares = torch.stack([p.square().sum() for p in model.parameters()]).sum()
        return float(loss(model(data[0]), data[1]) + decay / 2 * squares)


def _extremes(
    build: Callable[[], nn.Module],
    loss: Loss,
    data: tuple[Tensor, Tensor],
    decay: float,
    *,
    ratio: float,
) -> tuple[nn.Module, nn.Module]:
    """The best and the worst strict minimum of restarts, as many as make them differ by ``ratio``."""
    found: list[tuple[float, nn.Module]] = []
    for tries in range(60):
        if tries > 3 and found[-1][0] > ratio * found[0][0]:
            break
        value = _minimum(model := build(), loss, data, decay)
        if value is not None:
            found.append((value, model))
            found.sort(key=lambda pair: pair[0])
    return found[0][1], found[-1][1]


def _poor(
    draw: Draw,
    build: Callable[[], nn.Module],
    loss: Loss,
    data: Split,
    decay: float,
    *,
    better_first: bool = False,
) -> Task:
    """The worst minimum of several, with the history of a run that came from nearby.

    With ``better_first`` that run had settled in the best of them before it was thrown out.
    """
    rows = (data.train[0].double(), data.train[1])
    if rows[1].is_floating_point():
        rows = (rows[0], rows[1].double())
    best, worst = _extremes(lambda: build().double(), loss, rows, decay, ratio=2.5)
    share, lr, history = draw.uniform(0.2, 0.5), 0.0, list[float]()
    for end in ([best] if better_first else []) + [worst]:
        walker = copy.deepcopy(end)
        with torch.no_grad():
            for weight in walker.parameters():
                weight += 0.1 * torch.randn_like(weight)
        lr = share * 2 / sharpness(end, loss, rows)
        optimizer = torch.optim.SGD(walker.parameters(), lr=lr, weight_decay=decay)
        history += train(
            walker, loss, rows, optimizer, steps=draw.integer(300, 500), generator=draw.generator
        )
    model = worst.to(data.train[0].dtype)
    return Task(
        model=model,
        loss=loss,
        train=data.train,
        test=data.test,
        optimizer=torch.optim.SGD(model.parameters(), lr=lr, weight_decay=decay),
        history=history,
    )


def _xor(draw: Draw) -> Task:
    rows = draw.integer(100, 200)
    signs = torch.randint(2, (rows + 100, 2), generator=draw.generator)
    inputs = 2.0 * signs - 1 + 0.1 * torch.randn(signs.shape, generator=draw.generator)
    data = split(inputs, signs[:, 0] ^ signs[:, 1], rows, draw.generator)
    decay = draw.log_uniform(3e-4, 1e-3)
    return _poor(draw, lambda: mlp((2, 2, 2), nn.Tanh), cross_entropy, data, decay)


def _small_network(draw: Draw) -> Task:
    data = one_column(draw.generator, draw.integer(60, 120), noise=0.05)
    decay = draw.log_uniform(1e-4, 2e-4)
    return _poor(draw, lambda: mlp((1, 3, 1), nn.Tanh), mse_loss, data, decay)


def _thrown_out(draw: Draw) -> Task:
    data = one_column(draw.generator, draw.integer(60, 120), noise=0.05)
    decay = draw.log_uniform(1e-4, 2e-4)
    return _poor(draw, lambda: mlp((1, 3, 1), nn.Tanh), mse_loss, data, decay, better_first=True)


class Wave(nn.Module):
    """amplitude * sin(frequency * x + phase): three parameters, many minima in the frequency."""

    def __init__(self) -> None:
        super().__init__()
        self.amplitude = nn.Parameter(torch.ones(()))
        self.frequency = nn.Parameter(torch.ones(()))
        self.phase = nn.Parameter(torch.zeros(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """A frequency up to 8, any phase, amplitude 1."""
        with torch.no_grad():
            self.amplitude.fill_(1.0)
            self.frequency.uniform_(0.5, 8.0)
            self.phase.uniform_(-3.14, 3.14)

    def forward(self, inputs: Tensor) -> Tensor:
        """The wave at these inputs."""
        return self.amplitude * torch.sin(self.frequency * inputs + self.phase)


def _wrong_frequency(draw: Draw) -> Task:
    rows = draw.integer(80, 200)
    inputs = 1.5 * (2 * torch.rand(rows + 100, 1, generator=draw.generator) - 1)
    targets = torch.sin(draw.uniform(3.0, 5.0) * inputs + draw.uniform(-1.0, 1.0))
    targets = targets + 0.1 * torch.randn(targets.shape, generator=draw.generator)
    data = split(inputs, targets, rows, draw.generator)
    return _poor(draw, Wave, mse_loss, data, 0.0)


LOCAL_MINIMA = (
    Case(
        name="xor_poor_minimum",
        cause=Cause.LOCAL_MINIMUM,
        summary="Two hidden units have settled where XOR's corners are not all told apart: zero "
        "gradient, positive Hessian, and a restart ends far lower.",
        build=_xor,
        helps=restarts(20),
        hurts_or_not=nudge(0.03),
    ),
    Case(
        name="small_network_minimum",
        cause=Cause.LOCAL_MINIMUM,
        summary="A few hidden units fit a part of the curve and leave the rest: zero gradient, "
        "positive Hessian, and a restart ends far lower.",
        build=_small_network,
        helps=restarts(20),
        hurts_or_not=nudge(0.03),
    ),
    Case(
        name="thrown_out",
        cause=Cause.LOCAL_MINIMUM,
        summary="The run had settled in a better minimum before it was thrown into this one, as "
        "its history tells; zero gradient, positive Hessian.",
        build=_thrown_out,
        helps=restarts(20),
        hurts_or_not=nudge(0.03),
    ),
    Case(
        name="wrong_frequency",
        cause=Cause.LOCAL_MINIMUM,
        summary="A wave fitted at a wrong frequency, between it and the right one every fit is "
        "worse: zero gradient, positive Hessian, and a restart ends far lower.",
        build=_wrong_frequency,
        helps=restarts(20),
        hurts_or_not=nudge(0.03),
    ),
)
