"""A flat minimum beside a sharp one, and how much noise it takes to end in the flat one."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch

from thalweg.objective import landscapes
from thalweg.objective.landscape import Landscape
from thalweg.objective.noise import Uniform
from thalweg.objective.smoothed import Smoothed
from thalweg.run.basins import Basins
from thalweg.run.descend import descend
from thalweg.run.ends import Proportion
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, animated, curve, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.theory import thermal_diffusion

__all__ = ["EXHIBIT"]

RATE = 0.01
NOISES = (0.0, 6.0, 10.0, 12.0, 14.0, 18.0, 24.0, 34.0, 50.0)
PLAYED = 18.0
STEPS = 1000
TRIALS = 400
"""From each of the two minima."""

BALLS = 40

FLAT, SHARP = PALETTE[2], PALETTE[1]


@dataclass(frozen=True)
class _Ends:
    """The share in the flat minimum of the trials that began in each, at one noise."""

    noise: float
    from_flat: Proportion
    from_sharp: Proportion
    paths: np.ndarray

    @property
    def both(self) -> Proportion:
        """Of all trials."""
        flat, sharp = self.from_flat, self.from_sharp
        return Proportion(flat.successes + sharp.successes, flat.trials + sharp.trials)


def build(seed: int) -> Drawn:
    """Trials from both minima under noise from none to far too much."""
    landscape = landscapes.flat_and_sharp()
    flat, sharp = (known for known in landscape.critical if known.kind == "minimum")
    ends = [_ends(landscape, flat.point, sharp.point, noise, seed) for noise in NOISES]
    return Drawn(
        (
            Panel(
                "flat-minimum-played",
                "Out of the sharp one",
                f"{BALLS} trials from the bottom of the sharp pit, with noise {PLAYED:g}. Dotted: the "
                "function smoothed by what the noise of a step reaches.",
                _played(landscape, ends[NOISES.index(PLAYED)]),
            ),
            Panel(
                "flat-minimum-shares",
                "Share of trials that end in the flat minimum",
                f"After {STEPS} steps, {TRIALS} trials from each pit, with intervals of 95%. The dotted "
                "line is the share of e to the minus f/D, where very many small steps would lead.",
                _shares(landscape, ends),
            ),
        ),
        (
            _two_minima(landscape),
            _too_little(ends),
            _enough(ends),
            _too_much(ends),
            _how(landscape, sharp.point[0], flat.point[0]),
        ),
    )


def _ends(
    landscape: Landscape,
    flat: tuple[float, ...],
    sharp: tuple[float, ...],
    noise: float,
    seed: int,
) -> _Ends:
    played = noise == PLAYED
    plan = Plan(
        learning_rate=RATE,
        noise=f"uniform:{noise}",
        starts=np.repeat([flat, sharp], TRIALS, axis=0),
        trials=2 * TRIALS,
        steps=STEPS,
        points_every=10 if played else None,
        points_of=tuple(range(TRIALS, TRIALS + BALLS)) if played else None,
        seed=seed,
    )
    run = descend(landscape, plan)
    basins = Basins.of(landscape)
    home = int(basins.labels(torch.tensor([flat]))[0])
    there = (basins.labels(torch.from_numpy(run.end["points"].copy())) == home).numpy()
    begun_flat, begun_sharp = (
        Proportion(int(part.sum()), TRIALS) for part in (there[:TRIALS], there[TRIALS:])
    )
    paths = run["points"].values[:, :, 0] if played else np.zeros((0, 0))
    return _Ends(noise, begun_flat, begun_sharp, paths)


def _wall(landscape: Landscape) -> float:
    return next(known.point[0] for known in landscape.critical if known.kind == "maximum")


def _played(landscape: Landscape, ends: _Ends) -> go.Figure:
    x, f = curve(landscape, -3.0, 3.0, 1201)
    smoothed = Smoothed(landscape, Uniform(ends.noise).scaled(RATE))
    figure = go.Figure(line(x, f, "loss", INK))
    figure.add_trace(line(x, curve(smoothed, -3.0, 3.0, 1201)[1], "smoothed", INK, dash="dot"))
    wall = _wall(landscape)

    def at(moment: int) -> list[go.Scatter]:
        here = ends.paths[moment]
        found = []
        parts = ((here > wall, "sharp side", SHARP), (here <= wall, "flat side", FLAT))
        for which, name, colour in parts:
            heights = np.interp(here[which], x, f)
            found.append(dots(here[which], heights, name, colour, size=9, opacity=0.8))
        return found

    figure.add_traces(at(-1))
    styled(figure, "x", "loss", height=360).update_xaxes(range=[-3, 3])
    figure.update_yaxes(range=[-1.1, 0.6])
    frames = [(str(10 * k), at(k)) for k in range(0, len(ends.paths), 2)]
    return animated(figure, frames, milliseconds=110)


def _shares(landscape: Landscape, ends: list[_Ends]) -> go.Figure:
    figure = go.Figure()
    noises = [e.noise for e in ends]
    parts = (
        ("began in the flat one", FLAT, [e.from_flat for e in ends]),
        ("began in the sharp one", SHARP, [e.from_sharp for e in ends]),
    )
    for name, colour, shares in parts:
        values = [share.value for share in shares]
        bars = {
            "type": "data",
            "symmetric": False,
            "array": [share.interval[1] - share.value for share in shares],
            "arrayminus": [share.value - share.interval[0] for share in shares],
            "color": colour,
            "width": 4,
        }
        marked = line(noises, values, name, colour, error_y=bars)
        figure.add_trace(marked.update(mode="lines+markers", marker={"size": 7}))
    many = np.linspace(4, NOISES[-1], 60)
    expected = [_at_rest(landscape, noise) for noise in many]
    figure.add_trace(line(many, expected, "in the long run", INK, dash="dot", width=1.5))
    styled(figure, "noise of the gradient, ±", "share in the flat one", height=380)
    return figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")


def _at_rest(landscape: Landscape, noise: float) -> float:
    """The share of the law e^{−f/D} on the flat one's side, as small steps have it."""
    x = torch.linspace(-9, 9, 18001, dtype=torch.float64)
    f = landscape.loss(x[:, None]).numpy()
    weights = np.exp(-(f - f.min()) / thermal_diffusion(RATE, Uniform(noise).variance(1)))
    return float(weights[x.numpy() < _wall(landscape)].sum() / weights.sum())


def _two_minima(landscape: Landscape) -> Claim:
    flat, sharp = (known for known in landscape.critical if known.kind == "minimum")
    heights = landscape.loss(torch.tensor([flat.point, sharp.point], dtype=torch.float64))
    low, high = float(heights[1]), float(heights[0])
    ratio = sharp.curvatures[0] / flat.curvatures[0]
    return Claim(
        f"The sharp minimum is {ratio:.0f} times as curved as the flat one, and deeper: its loss is "
        f"−{-low:.2f} against −{-high:.2f}.",
        ratio > 10 and low < high - 0.05,
    )


def _said(share: Proportion) -> str:
    low, high = share.interval
    return f"{100 * share.value:.1f}% ({100 * low:.1f}% to {100 * high:.1f}%)"


def _too_little(ends: list[_Ends]) -> Claim:
    none, little = ends[0], ends[1]
    return Claim(
        f"Without noise every trial ends where it began, and at ±{little.noise:g} "
        f"only {_said(little.from_sharp)} of those from the sharp minimum end in the flat one.",
        none.from_sharp.value == 0
        and none.from_flat.value == 1
        and little.from_sharp.interval[1] < 0.05,
    )


def _enough(ends: list[_Ends]) -> Claim:
    best = max(ends, key=lambda e: e.from_sharp.value)
    stays = max(ends[:3], key=lambda e: e.noise)
    return Claim(
        f"With ±{best.noise:g} {_said(best.from_sharp)} do; while from the flat one at ±{stays.noise:g} "
        f"{_said(stays.from_flat)} are still there.",
        best.from_sharp.interval[0] > 0.5 and stays.from_flat.interval[0] > 0.9,
    )


def _too_much(ends: list[_Ends]) -> Claim:
    best, last = max(ends[3:], key=lambda e: e.both.value), ends[-1]
    return Claim(
        f"More is not better: of all trials {_said(best.both)} end in the flat one at ±{best.noise:g}, but "
        f"{_said(last.both)} at ±{last.noise:g}, which throws them over both.",
        last.both.interval[1] < best.both.interval[0],
    )


def _how(landscape: Landscape, sharp: float, flat: float) -> Claim:
    """How much of each pit's wall, from its bottom to the top between the two, the smoothing leaves."""
    smoothed = Smoothed(landscape, Uniform(PLAYED).scaled(RATE))
    x, g = curve(smoothed, -3.0, 3.0, 2401)
    _, f = curve(landscape, -3.0, 3.0, 2401)
    left = []
    for pit in (sharp, flat):
        near, between = np.abs(x - pit) < 0.5, (x > flat) & (x < sharp)
        walls = [float(values[between].max() - values[near].min()) for values in (f, g)]
        left.append(walls[1] / walls[0])
    return Claim(
        f"Smoothing by ±{PLAYED:g}·η leaves {100 * left[0]:.0f}% of the sharp pit's wall and "
        f"{100 * left[1]:.0f}% of the flat one's. Neither is gone: what is left has to be climbed.",
        left[0] < 0.8 < 0.9 < left[1] and left[0] > 0.1,
    )


EXHIBIT = Exhibit(
    "flat-minimum",
    "Noise prefers the flat minimum",
    "Two minima side by side, a flat one and a sharp one, which is a little deeper. Gradient "
    "descent stays in whichever it starts in. With noise it depends on the strength. A step "
    "that is small in the flat pit is large in the sharp one: its walls are a step or two "
    "apart, the slope throws the trial from one to the other, and soon over the top. So there "
    "is a range of noise that drives most trials out of the sharp pit while most of those in "
    "the flat one stay. Below it nothing moves; far above it trials are thrown about over both "
    "pits. Whether flat minima also generalise better is another question, which this figure "
    "does not answer.",
    "Which end of the range would you move by making the flat pit twice as deep, and which by making the "
    "sharp one half as wide?",
    build,
)
