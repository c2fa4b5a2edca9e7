"""A spiky function, smoothed at three noise levels, and where descent ends on it."""

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch

from thalweg.measure.critical import critical_points
from thalweg.objective.landscape import Landscape
from thalweg.objective.landscapes import spiky
from thalweg.objective.noise import Noise, Uniform
from thalweg.objective.smoothed import Smoothed
from thalweg.run.basins import Basins
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, curve, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.theory.escape import thermal_diffusion

__all__ = ["EXHIBIT"]

RATE = 0.002
LEVELS = (10.0, 40.0, 80.0)
"""Of the uniform noise in the gradient: smoothing radii 0.02, 0.08 and 0.16."""

TRIALS, STEPS = 2000, 1600
NEAR = 0.5
COLOURS = (PALETTE[1], PALETTE[2], PALETTE[3])


@dataclass(frozen=True)
class _Run:
    """Where trials began and ended under one level of noise."""

    level: float
    starts: np.ndarray
    ends: np.ndarray

    @property
    def share(self) -> float:
        """That ended near 0."""
        return float((np.abs(self.ends) < NEAR).mean())

    @property
    def error(self) -> float:
        return math.sqrt(self.share * (1 - self.share) / TRIALS)

    @property
    def told(self) -> str:
        return f"{100 * self.share:.1f}% ± {100 * self.error:.1f}%"


def build(seed: int) -> Drawn:
    """``x² + 0.3 cos 20x`` under no noise and under three levels of it."""
    landscape = spiky()
    runs = [_run(landscape, level, seed) for level in (0.0, *LEVELS)]
    return Drawn(
        (
            Panel(
                "smoothing-losses",
                "The loss, and the mean of it over the noise of a step",
                "Gradient descent descends the grey curve; on average, SGD descends a smoothed one. The "
                "whole reaches to ±3: zoom out.",
                _losses(landscape),
            ),
            Panel(
                "smoothing-ends",
                f"Where {TRIALS} trials end",
                f"From starts spread evenly over ±3, after {STEPS} steps with η = {RATE}.",
                _histogram(runs),
            ),
        ),
        (_spikes(landscape), _stuck(landscape, runs[0]), _best(runs), *_thermal(landscape, runs)),
    )


def _run(landscape: Landscape, level: float, seed: int) -> _Run:
    plan = Plan(
        learning_rate=RATE,
        noise=Uniform(level) if level else None,
        trials=TRIALS,
        steps=STEPS,
        points_every=STEPS,
        seed=seed,
    )
    starts, ends = descend(landscape, plan)["points"].values[:, :, 0]
    return _Run(level, starts, ends)


def _smoothed(landscape: Landscape, level: float) -> Smoothed:
    return Smoothed(landscape, Uniform(level).scaled(RATE))


def _losses(landscape: Landscape) -> go.Figure:
    low, high = landscape.domain[0]
    figure = go.Figure(line(*curve(landscape, low, high), "no noise", INK, width=1.2))
    for level, colour in zip(LEVELS, COLOURS):
        smooth = curve(_smoothed(landscape, level), low, high)
        figure.add_trace(line(*smooth, f"radius {RATE * level:g}", colour, width=2.2))
    styled(figure, "x", "loss", height=400)
    return figure.update_xaxes(range=[-1.7, 1.7]).update_yaxes(range=[-0.4, 2.9])


def _histogram(runs: list[_Run]) -> go.Figure:
    figure = go.Figure()
    edges = np.linspace(-3.4, 3.4, 137)
    middles = (edges[1:] + edges[:-1]) / 2
    for run, colour in zip(runs, (INK, *COLOURS)):
        share = np.histogram(run.ends, edges)[0] / TRIALS * 100
        name = f"radius {RATE * run.level:g}" if run.level else "no noise"
        look = {"width": 1.4, "shape": "hvh", "fill": "tozeroy"}
        figure.add_trace(line(middles, share, name, colour, **look))
    return styled(figure, "x where a trial ended", "% of trials", height=380)


def _spikes(landscape: Landscape) -> Claim:
    """E cos(k(y − ω)) = sin(kρ)/(kρ) cos ky for uniform noise, and E(y − ω)² = y² + ρ²/3."""
    y = torch.linspace(-3, 3, 301, dtype=torch.float64)
    off, left, minima = 0.0, [], []
    for level in LEVELS:
        radius = RATE * level
        factor = math.sin(20 * radius) / (20 * radius)
        known = y**2 + radius**2 / 3 + 0.3 * factor * torch.cos(20 * y)
        smooth = _smoothed(landscape, level)
        off = max(off, float((smooth.loss(y[:, None]) - known).abs().max()))
        left.append(f"{100 * abs(factor):.0f}%")
        found = critical_points(smooth, domain=landscape.domain, starts=150)
        minima.append(len(found.of_kind("minimum")))
    before = len(landscape.minima)
    return Claim(
        f"Noise of radius {', '.join(f'{RATE * level:g}' for level in LEVELS)} leaves {', '.join(left)} "
        f"of the spikes' height, as sin(kρ)/(kρ) says to {max(off, 1e-16):.0e}; of {before} minima it "
        f"leaves {', '.join(map(str, minima))}.",
        off < 1e-9 and before >= minima[0] >= minima[1] > minima[2] == 1,
    )


def _stuck(landscape: Landscape, run: _Run) -> Claim:
    basins = Basins.of(landscape)
    first, last = (basins.labels(torch.tensor(x[:, None])) for x in (run.starts, run.ends))
    moved = int((first != last).sum())
    return Claim(
        f"Without noise {moved or 'none'} of {TRIALS} descents leaves the basin it starts in, so only "
        f"{run.told} end within {NEAR} of the middle.",
        moved == 0,
    )


def _best(runs: list[_Run]) -> Claim:
    told = ", ".join(f"{run.told} at radius {RATE * run.level:g}" for run in runs[1:])
    low, best, high = runs[1:]
    return Claim(
        f"With noise the share within {NEAR} is {told}: too little noise does not set the trials "
        "free, too much scatters them.",
        all(best.share - other.share > 5 * (best.error + other.error) for other in (low, high)),
    )


def _thermal(landscape: Landscape, runs: list[_Run]) -> list[Claim]:
    """The share that the law e^{−f/D} would have: what is left once the walls are no obstacle."""
    expected = [_law(landscape, Uniform(run.level)) for run in runs[1:]]
    gap = [abs(run.share - law) for run, law in zip(runs[1:], expected)]
    walls = f"{0.6 / _heat(LEVELS[0]):.0f}"
    _, middle, high = runs[1:]
    return [
        Claim(
            f"Two things set trials free. At radius {RATE * LEVELS[1]:g} the smoothed loss still has "
            "most of its minima, and yet the trials climb out in many small steps, like heat: the share "
            f"is {middle.told}, where the law e^(−f/D) has {100 * expected[1]:.1f}%.",
            gap[1] < 5 * middle.error + 0.03,
        ),
        Claim(
            f"At radius {RATE * LEVELS[2]:g} one step spans a basin and the walls are gone from the "
            f"mean; what is left is the scatter, {high.told} where the law has "
            f"{100 * expected[2]:.1f}%. At radius {RATE * LEVELS[0]:g} the law would have "
            f"{100 * expected[0]:.1f}%, but no trial lives to see it: the walls are {walls} times D "
            "high.",
            gap[2] < 5 * high.error + 0.03 and gap[0] > 0.3,
        ),
    ]


def _heat(level: float) -> float:
    return thermal_diffusion(RATE, Uniform(level).variance(1))


def _law(landscape: Landscape, noise: Noise) -> float:
    x, f = curve(landscape, -8, 8, 32001)
    weight = np.exp(-(f - f.min()) / thermal_diffusion(RATE, noise.variance(1)))
    return float(weight[np.abs(x) < NEAR].sum() / weight.sum())


EXHIBIT = Exhibit(
    "smoothing",
    "Noise smooths the loss",
    "Look at y, the point between the two halves of a step. On average it moves against the slope of "
    "a smoothed loss: the loss averaged over where the noise may have carried it. Spikes narrower "
    "than the noise average out. What is left of a wave cos(kx) under uniform noise of radius "
    "ρ = ηr is the share sin(kρ)/(kρ). Shrinking the learning rate shrinks ρ. But noise does "
    "something else too: it heats. Even where the walls are still there, many small steps climb "
    "them in time, and the trials spread like e^(−f/D), with D = ηs²/2 and s² the variance of the noise.",
    "If you halve the learning rate and double the noise, the smoothing radius stays the same. What "
    "happens to D, and to the scatter in the end?",
    build,
)
