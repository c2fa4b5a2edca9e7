"""Networks of every kind that the clinic trains: each maker takes a width, and torch starts it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from thalweg.clinic.training import mlp

__all__ = ["Build", "convolutional", "factorised", "perceptron", "recurrent", "residual", "tokens"]

Build = Callable[[], nn.Module]

SIDE = 8
"""The digits' images are 8 by 8: rows of pixels serve as time steps and as tokens."""


def perceptron(
    inputs: int, outputs: int, width: int, depth: int, activation: Callable[[], nn.Module]
) -> nn.Module:
    """Fully connected, with ``depth`` hidden layers."""
    return mlp((inputs, *[width] * depth, outputs), activation)


def factorised(inputs: int, outputs: int, width: int) -> nn.Module:
    """A product of two matrices and nothing else."""
    return nn.Sequential(
        nn.Linear(inputs, width, bias=False), nn.Linear(width, outputs, bias=False)
    )


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(mlp((width, width, width)) for _ in range(blocks))
        self.last = nn.Linear(width, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        values = self.first(rows)
        for block in self.blocks:
            values = values + block(values)
        return self.last(values)


def residual(inputs: int, outputs: int, width: int, blocks: int) -> nn.Module:
    """Blocks of two layers whose output is added to their input."""
    return _Residual(inputs, outputs, width, blocks)


def convolutional(outputs: int, width: int) -> nn.Module:
    """Two convolutions over the image, the second at every other pixel, and a linear layer."""
    return nn.Sequential(
        nn.Unflatten(1, (1, SIDE, SIDE)),
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width * (SIDE // 2) ** 2, outputs),
    )


class _Recurrent(nn.Module):
    def __init__(self, outputs: int, width: int, kind: type[nn.RNN | nn.GRU | nn.LSTM]) -> None:
        super().__init__()
        self.cells = kind(SIDE, width, batch_first=True)
        self.last = nn.Linear(width, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        return self.last(self.cells(rows.unflatten(1, (SIDE, SIDE)))[0][:, -1])


def recurrent(outputs: int, width: int, kind: type[nn.RNN | nn.GRU | nn.LSTM]) -> nn.Module:
    """Reads the image row by row; the last state tells the class."""
    return _Recurrent(outputs, width, kind)


class _Tokens(nn.Module):
    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(SIDE, width)
        self.places = nn.Parameter(0.1 * torch.randn(SIDE, width))
        self.layer = nn.TransformerEncoderLayer(
            width, 2, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.last = nn.Linear(width, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        values = self.first(rows.unflatten(1, (SIDE, SIDE))) + self.places
        return self.last(self.layer(values).mean(1))


def tokens(outputs: int, width: int) -> nn.Module:
    """A transformer of one layer over the image's rows, their mean read by a linear layer."""
    return _Tokens(outputs, width)
