"""ResNet-20 for images of 32×32, as He et al. (2016) give it: 269 722 parameters."""

import torch
from torch import Tensor, nn

__all__ = ["images", "resnet20", "trained_resnet20"]


class Block(nn.Module):
    """Two convolutions with BatchNorm; a shortcut that strides and pads with zeros (option A)."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.extra = stride, channels - before
        self.first = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, before, h, w)`` to ``(n, channels, h/stride, w/stride)``."""
        y = self.norms[1](self.second(torch.relu(self.norms[0](self.first(x)))))
        short = x[:, :, :: self.stride, :: self.stride]
        return torch.relu(nn.functional.pad(short, (0, 0, 0, 0, 0, self.extra)) + y)


def resnet20(seed: int = 0) -> nn.Sequential:
    """At its start, in training mode."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for channels in (16, 32, 64):
        for place in range(3):
            layers.append(Block(before, channels, 2 if channels > 16 and place == 0 else 1))
            before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def images(seed: int = 0, examples: int = 128) -> tuple[Tensor, Tensor]:
    """Noise around one pattern for each of ten classes, and the classes."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(10, 3, 32, 32, generator=generator)
    classes = torch.randint(10, (examples,), generator=generator)
    noise = torch.randn(examples, 3, 32, 32, generator=generator)
    return 0.5 * patterns[classes] + noise, classes


def trained_resnet20(seed: int, data: tuple[Tensor, Tensor], steps: int) -> nn.Sequential:
    """After so many steps of SGD with momentum on all of the data; without steps only BatchNorm's
    statistics are those of the data."""
    model = resnet20(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data[0]), data[1]).backward()
        optimizer.step()
    model.zero_grad(set_to_none=True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        model(data[0])
    return model.eval()
