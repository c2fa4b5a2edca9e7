"""Skip connections: a deep network without and with them, and the ground that each ends on."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.clinic.data import digits
from thalweg.measure.directions import random_directions
from thalweg.measure.surface import Surface, surface
from thalweg.objective.supervised import Supervised
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.show.surface_figure import surface_view

__all__ = ["EXHIBIT"]

LAYERS, WIDTH = 20, 8
EXAMPLES, BATCH, STEPS, RATE = 160, 64, 140, 0.05
SIZE = 31
NAMES = ("without", "with skip connections")


class _Deep(nn.Module):
    """As VGG: 3×3 convolutions one after another, each with BatchNorm; a skip over every two."""

    def __init__(self, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        self.first = nn.Conv2d(1, WIDTH, 3, padding=1, bias=False)
        layers = range(LAYERS)
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False) for _ in layers]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(WIDTH) for _ in range(LAYERS + 1)])
        self.last = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norms[-1](self.first(x.view(-1, 1, 8, 8))))
        for k in range(0, LAYERS, 2):
            y = torch.relu(self.norms[k](self.convolutions[k](x)))
            y = self.norms[k + 1](self.convolutions[k + 1](y))
            x = torch.relu(x + y if self.skips else y)
            if k == LAYERS // 3 // 2 * 2:
                x = nn.functional.max_pool2d(x, 2)
        return self.last(x.mean((2, 3)))


@dataclass(frozen=True)
class _Ground:
    """Where a network ended: the surface around, and how much of its curvature is negative."""

    surface: Surface
    right: float
    bent: float


def build(seed: int) -> Drawn:
    """Both networks on the same digits, by the same optimizer, seen in planes of one kind."""
    without, with_skips = (_ground(skips, seed) for skips in (False, True))
    grounds = [without.surface, with_skips.surface]
    return Drawn(
        (
            Panel(
                "skip-connections-ground",
                f"{LAYERS} layers, without and with skip connections",
                "The training loss around where each network ended, over two random directions in "
                "which every filter moves by at most its own length. Heights are logarithms; camera "
                "and scale are the same.",
                surface_view(grounds, names=NAMES),
            ),
        ),
        (_trains(without, with_skips), _bends(without, with_skips), _sampled(grounds)),
    )


def _ground(skips: bool, seed: int) -> _Ground:
    data = digits(torch.Generator().manual_seed(seed), EXAMPLES).train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _trained(_Deep(skips), data)
    objective = Supervised(model, nn.functional.cross_entropy, data)
    generator = torch.Generator().manual_seed(seed)
    flat = random_directions(objective, objective.point(), generator=generator)
    found = surface(objective, flat, size=SIZE, logarithm=True, tolerance=0.02)
    with torch.no_grad():
        right = float((model(data[0]).argmax(1) == data[1]).double().mean())
    return _Ground(found, right, _negative_share(found.values))


def _trained(model: _Deep, data: tuple[Tensor, Tensor]) -> _Deep:
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, STEPS)
    for _ in range(STEPS):
        rows = torch.randperm(EXAMPLES)[:BATCH]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data[0][rows]), data[1][rows]).backward()
        optimizer.step()
        schedule.step()
    model.zero_grad(set_to_none=True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean over what follows: all of the examples
    with torch.no_grad():
        model(data[0])
    return model.eval()


def _negative_share(loss: np.ndarray) -> float:
    """The mean over the plane of max(0, −λ_min) / max|λ|, λ of the 2×2 Hessian within it.

    Source: Li et al. 2018, section 6, which maps |λ_min/λ_max|.
    """
    middle = loss[1:-1, 1:-1]
    across = loss[1:-1, 2:] + loss[1:-1, :-2] - 2 * middle
    along = loss[2:, 1:-1] + loss[:-2, 1:-1] - 2 * middle
    mixed = (loss[2:, 2:] + loss[:-2, :-2] - loss[2:, :-2] - loss[:-2, 2:]) / 4
    half, apart = (across + along) / 2, np.hypot((across - along) / 2, mixed)
    low, high = half - apart, half + apart
    return float(np.mean(np.maximum(0, -low) / np.maximum(np.abs(low), np.abs(high))))


def _trains(without: _Ground, with_skips: _Ground) -> Claim:
    one, two = without.surface.centre, with_skips.surface.centre
    return Claim(
        f"After the same {STEPS} steps the network with skip connections is right on "
        f"{100 * with_skips.right:.0f}% of its examples at a loss of {two:.2g}; without them it is right "
        f"on {100 * without.right:.0f}% at {one:.2g}.",
        two < 0.1 * one and with_skips.right > without.right,
    )


def _bends(without: _Ground, with_skips: _Ground) -> Claim:
    return Claim(
        "Its ground is nearer to convex: on average over the plane negative curvature is "
        f"{100 * with_skips.bent:.0f}% of the largest curvature with skip connections and "
        f"{100 * without.bent:.0f}% without.",
        with_skips.bent < without.bent,
    )


def _sampled(grounds: list[Surface]) -> Claim:
    counts = " and ".join(str(g.loss.evaluations) for g in grounds)
    worst = max(g.loss.share for g in grounds)
    return Claim(
        f"{counts} of {SIZE**2} values were evaluated; the others are off by at most "
        f"{100 * worst:.1f}% of the range of the logarithm.",
        worst <= 0.02,
    )


EXHIBIT = Exhibit(
    "skip-connections",
    "Skip connections make the ground gentle",
    "A deep network is hard to train not because it could not fit the data but because of the ground "
    "it stands on. Convolutions in a row bend and fold the loss, and gradients lose their way in it. "
    "Letting every second layer add to what came before, rather than replace it, leaves the layers as "
    "they are and changes the ground. Every filter is moved in proportion to its own size, or the "
    "pictures of two networks could not be compared.",
    "With skip connections the surface is not lower everywhere. Where is it higher, and why does that "
    "not hold descent back?",
    build,
)
