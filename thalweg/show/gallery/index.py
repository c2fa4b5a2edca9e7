"""The index of critical points against dimension and loss: why saddles dominate."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from thalweg.measure.critical import critical_points
from thalweg.objective.landscapes import from_callable
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

SIZES = {2: (8, 80, 4.0), 4: (3, 80, 4.0), 8: (1, 140, 6.0), 16: (1, 120, 8.0)}
"""Of each dimension: how many random landscapes, starts on each, and half the width of the domain."""

WAVES = 40
"""For each dimension of a landscape; enough for its values to be all but Gaussian."""

COLOURS = (PALETTE[1], PALETTE[3], PALETTE[0], PALETTE[2])


@dataclass(frozen=True)
class _Found:
    """Of critical points in ``dim`` dimensions: loss over √dim, and the share of ways down."""

    dim: int
    losses: np.ndarray
    index: np.ndarray

    @property
    def minima(self) -> float:
        return float((self.index == 0).mean())

    @property
    def correlation(self) -> float:
        return float(np.corrcoef(self.losses, self.index)[0, 1])


def build(seed: int) -> Drawn:
    """Random Gaussian landscapes: sums of many waves in all directions."""
    found = [_critical(dim, *size, seed) for dim, size in SIZES.items()]
    return Drawn(
        (
            Panel(
                "index-loss",
                "The share of ways down against the loss",
                "Each mark is a critical point. The line is the semicircle law of random matrices, for "
                "many dimensions.",
                _against_loss(found),
            ),
            Panel(
                "index-dimension",
                "How many critical points are minima",
                "In percent, against the number of dimensions; bars are one standard error.",
                _against_dimension(found),
            ),
        ),
        (_fewer(found), _lower(found), _semicircle(found[-1])),
    )


def _critical(dim: int, landscapes: int, starts: int, reach: float, seed: int) -> _Found:
    losses, index = [], []
    for number in range(landscapes):
        generator = torch.Generator().manual_seed(1_000_003 * seed + 1009 * dim + number)
        landscape = from_callable(
            _random(dim, generator), dim, name="random", domain=((-reach, reach),) * dim
        )
        for point in critical_points(landscape, starts=starts, seed=seed).points:
            if point.kind != "degenerate":
                losses.append(point.loss / math.sqrt(dim))
                index.append(point.index / dim)
    return _Found(dim, np.array(losses), np.array(index))


def _random(dim: int, generator: torch.Generator) -> "_Waves":
    count = WAVES * dim
    ways = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    phases = 2 * math.pi * torch.rand(count, generator=generator, dtype=torch.float64)
    return _Waves(ways, phases)


@dataclass(frozen=True, eq=False)
class _Waves:
    """``√(2/n) Σ cos(w·x + φ)`` with w standard normal: nearly Gaussian, E f(x)f(y) = e^{−|x−y|²/2}."""

    ways: Tensor
    phases: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        waves = torch.cos(points @ self.ways.T + self.phases)
        return waves.sum(-1) * math.sqrt(2 / len(self.ways))


def _law(loss: np.ndarray) -> np.ndarray:
    """The share of eigenvalues below 0 where the loss is √d·u, for d → ∞.

    Given the loss, the Hessian is −loss times the identity plus a symmetric Gaussian matrix, whose
    eigenvalues fill a semicircle of radius 2√d (Bray and Dean, 2007).
    """
    u = np.clip(loss / 2, -1, 1)
    return 0.5 + (u * np.sqrt(1 - u**2) + np.arcsin(u)) / math.pi


def _against_loss(found: list[_Found]) -> go.Figure:
    figure = go.Figure()
    generator = np.random.default_rng(0)
    for each, colour in zip(found, COLOURS):
        some = generator.permutation(len(each.losses))[:400]
        jitter = generator.uniform(-0.4, 0.4, len(some)) / each.dim * 0.5
        name = f"{each.dim} dimensions"
        marks = dots(
            each.losses[some], 100 * (each.index[some] + jitter), name, colour, size=5, rim=0
        )
        figure.add_trace(marks.update(opacity=0.55))
    u = np.linspace(-2, 2, 201)
    figure.add_trace(line(u, 100 * _law(u), "semicircle law", INK, width=2.5))
    return styled(figure, "loss / √dimensions", "ways down, %", height=440)


def _error(share: float, count: int) -> float:
    return math.sqrt(max(share * (1 - share), 1 / count) / count)


def _against_dimension(found: list[_Found]) -> go.Figure:
    shares = [each.minima for each in found]
    errors = [_error(each.minima, len(each.index)) for each in found]
    bars = go.Bar(
        x=[str(each.dim) for each in found],
        y=[100 * share for share in shares],
        error_y={
            "type": "data",
            "array": [100 * error for error in errors],
            "arrayminus": [100 * min(error, share) for error, share in zip(errors, shares)],
            "color": INK,
        },
        marker={"color": list(COLOURS), "opacity": 0.75},
        showlegend=False,
    )
    figure = styled(go.Figure(bars), "dimensions", "minima, % of critical points", height=320)
    return figure.update_xaxes(type="category").update_layout(bargap=0.5)


def _fewer(found: list[_Found]) -> Claim:
    told = ", ".join(
        f"{100 * each.minima:.1f}% ± {100 * _error(each.minima, len(each.index)):.1f}% of "
        f"{len(each.index)} in {each.dim} dimensions"
        for each in found
    )
    first, *_, last = found
    return Claim(
        f"Minima are {told}: with many dimensions all but every critical point is a saddle.",
        all(b.minima <= a.minima for a, b in itertools.pairwise(found))
        and first.minima > 0.15
        and last.minima < 0.02,
    )


def _lower(found: list[_Found]) -> Claim:
    told = ", ".join(f"{each.correlation:.2f}" for each in found)
    least = min(math.atanh(e.correlation) * math.sqrt(len(e.losses) - 3) for e in found)
    return Claim(
        f"The higher the loss, the more ways lead down: the two correlate by {told} in "
        f"{', '.join(str(each.dim) for each in found)} dimensions.",
        least > 5,
    )


def _semicircle(each: _Found) -> Claim:
    off = each.index - _law(each.losses)
    error = float(off.std()) / math.sqrt(len(off))
    return Claim(
        f"In {each.dim} dimensions the share of ways down is the semicircle law's but for "
        f"{100 * abs(float(off.mean())):.1f}% ± {100 * error:.1f}% on average, and "
        f"{100 * float(off.std()):.1f}% of scatter.",
        abs(float(off.mean())) < 0.03 + 4 * error and float(off.std()) < 0.12,
    )


EXHIBIT = Exhibit(
    "index",
    "Why saddles dominate in many dimensions",
    "For a critical point to be a minimum the loss must rise in every direction. Were each direction a "
    "coin that falls up or down, all d of them would fall up with probability 2^−d. The coins are "
    "not quite independent, and they are loaded: low down most directions lead up, high up most "
    "lead down. So in many dimensions high critical points are saddles with many ways down, and "
    "the minima, rare as they are, crowd together near the lowest loss. What looks like a bad "
    "minimum in a large network is a saddle, most often.",
    "In sixteen dimensions nearly all critical points found here are saddles. Does that say that "
    "descent will meet one?",
    build,
)
