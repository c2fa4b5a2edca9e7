"""A small ResNet and a small DenseNet in plain torch, for images of 8×8 pixels and more.

They are as in the papers (He et al. 2016; Huang et al. 2017), with fewer and narrower layers.
"""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """x + f(x), with two convolutions in f; a 1×1 convolution on x where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        alike = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if alike else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.skip(x) + self.second_norm(self.second(y)))


class ResNet(nn.Sequential):
    """Three stages of residual blocks, each half as fine and twice as wide as the one before."""

    def __init__(
        self, channels: int = 1, classes: int = 10, width: int = 8, blocks: int = 1
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        now = width
        for stage in range(3):
            for block in range(blocks):
                wide = width * 2**stage
                layers.append(Residual(now, wide, 2 if stage and not block else 1))
                now = wide
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(now, classes))


class Dense(nn.Module):
    """A layer whose output stands beside its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.layer = nn.Conv2d(inputs, growth, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layer(torch.relu(self.norm(x)))], 1)


class DenseNet(nn.Sequential):
    """Three blocks of dense layers, with pooling and half the channels between them."""

    def __init__(
        self, channels: int = 1, classes: int = 10, growth: int = 6, depth: int = 3
    ) -> None:
        now = 2 * growth
        layers: list[nn.Module] = [nn.Conv2d(channels, now, 3, 1, 1, bias=False)]
        for block in range(3):
            if block:
                half = now // 2
                layers += [nn.BatchNorm2d(now), nn.ReLU(), nn.Conv2d(now, half, 1, bias=False)]
                layers.append(nn.AvgPool2d(2))
                now = half
            for _ in range(depth):
                layers.append(Dense(now, growth))
                now += growth
        layers += [nn.BatchNorm2d(now), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers, nn.Linear(now, classes))
