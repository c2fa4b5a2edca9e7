"""Staged shrinking learning rates on the spiky function."""

import itertools
import math

import numpy as np
import plotly.graph_objects as go

from thalweg.objective.landscape import Landscape
from thalweg.objective.landscapes import spiky
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, animated, curve, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.trajectory import Trajectory

__all__ = ["EXHIBIT"]

NOISE = 80.0
RATE, FACTOR = 0.002, 0.25
DROPS = (800, 1700, 2900)
STEPS, TRIALS = 4000, 2000
EVERY = 100

STAGED, LARGE, SMALL = PALETTE[2], PALETTE[1], PALETTE[0]


def build(seed: int) -> Drawn:
    """The same noise throughout: at a large rate, at a small one, and from the large to the small."""
    landscape = spiky()
    last = RATE * FACTOR ** len(DROPS)
    staged = _run(
        landscape,
        seed,
        learning_rate=RATE,
        schedule="multistep",
        schedule_options={"milestones": list(DROPS), "gamma": FACTOR},
    )
    large = _run(landscape, seed, learning_rate=RATE)
    small = _run(landscape, seed, learning_rate=last)
    runs = {"shrinking": staged, f"{RATE:g} throughout": large, f"{last:.2g} throughout": small}
    return Drawn(
        (
            Panel(
                "shrinking-rates-losses",
                "The mean loss above the lowest there is",
                f"Of {TRIALS} trials, with the same noise in every gradient; dotted: where the rate falls "
                "to a quarter.",
                _losses(landscape, runs),
            ),
            Panel(
                "shrinking-rates-crowd",
                "Where the trials are",
                "While the rate is large the crowd is free and wide; each fall of the rate draws it in.",
                _crowd(landscape, staged),
            ),
        ),
        (_stages(landscape, staged), _wins(landscape, runs), _share(landscape, runs)),
    )


def _run(landscape: Landscape, seed: int, **more: object) -> Trajectory:
    plan = Plan(
        noise=f"uniform:{NOISE:g}",
        trials=TRIALS,
        steps=STEPS,
        points_every=EVERY,
        seed=seed,
        **more,  # pyright: ignore[reportArgumentType]
    )
    return descend(landscape, plan)


def _lowest(landscape: Landscape) -> float:
    return float(curve(landscape, -0.5, 0.5, 20001)[1].min())


def _losses(landscape: Landscape, runs: dict[str, Trajectory]) -> go.Figure:
    figure = go.Figure()
    lowest = _lowest(landscape)
    for (name, run), colour in zip(runs.items(), (STAGED, LARGE, SMALL)):
        losses = run["loss"].values[: STEPS // 20 * 20].reshape(-1, 20).mean(1) - lowest
        figure.add_trace(line(np.arange(len(losses)) * 20 + 10, losses, name, colour))
    for drop in DROPS:
        figure.add_vline(x=drop, line={"width": 1, "dash": "dot", "color": INK})
    styled(figure, "step", "mean loss above the lowest", height=380)
    return figure.update_yaxes(type="log", tickvals=[0.2, 0.3, 0.5, 1, 2, 3])


def _crowd(landscape: Landscape, staged: Trajectory) -> go.Figure:
    x, f = curve(landscape, -4, 4)
    edges = np.linspace(-4, 4, 161)
    middles = (edges[1:] + edges[:-1]) / 2
    figure = go.Figure(line(x, f * 2.5, "loss, not to scale", INK, width=1))

    def at(moment: int) -> go.Scatter:
        points = staged["points"].values[moment, :, 0]
        share = np.histogram(points, edges)[0] / TRIALS * 100
        look = {"width": 1.4, "shape": "hvh", "fill": "tozeroy"}
        return line(middles, share, "% of trials", STAGED, **look)

    steps = staged["points"].steps.tolist()
    figure.add_trace(at(-1))
    styled(figure, "x", "% of trials", height=380).update_yaxes(range=[-1, 32])
    return animated(figure, [(str(s), [at(k)]) for k, s in enumerate(steps)], milliseconds=110)


def _stages(landscape: Landscape, staged: Trajectory) -> Claim:
    lowest, losses = _lowest(landscape), staged["loss"].values
    ends = [*DROPS, STEPS]
    plateaus = [float(losses[end - 300 : end].mean()) - lowest for end in ends]
    radii = [RATE * FACTOR**k * NOISE for k in range(len(ends))]
    return Claim(
        f"With the smoothing radius at {', '.join(f'{r:.2g}' for r in radii)} the crowd settles "
        f"{', '.join(f'{p:.2g}' for p in plateaus)} above the lowest loss: each smaller radius lets it "
        "settle lower.",
        all(b < 0.9 * a for a, b in itertools.pairwise(plateaus)),
    )


def _wins(landscape: Landscape, runs: dict[str, Trajectory]) -> Claim:
    lowest = _lowest(landscape)
    means, errors = [], []
    for run in runs.values():
        above = run.end["losses"] - lowest
        means.append(float(above.mean()))
        errors.append(float(above.std()) / math.sqrt(TRIALS))
    told = ", ".join(f"{m:.3f} ± {e:.3f} ({n})" for m, e, n in zip(means, errors, runs))
    return Claim(
        f"In the end the trials stand {told} above the lowest loss.",
        all(m - means[0] > 4 * math.hypot(e, errors[0]) for m, e in zip(means[1:], errors[1:])),
    )


def _share(landscape: Landscape, runs: dict[str, Trajectory]) -> Claim:
    best = min(abs(x) for (x,) in landscape.minima)
    shares = [
        float((np.abs(np.abs(run.end["points"][:, 0]) - best) < math.pi / 20).mean())
        for run in runs.values()
    ]
    errors = [math.sqrt(share * (1 - share) / TRIALS) for share in shares]
    told = ", ".join(
        f"{100 * s:.0f}% ± {100 * e:.0f}% ({n})" for s, e, n in zip(shares, errors, runs)
    )
    return Claim(
        f"In the two lowest of {len(landscape.minima)} basins are {told}.",
        all(shares[0] - s > 4 * math.hypot(e, errors[0]) for s, e in zip(shares[1:], errors[1:])),
    )


EXHIBIT = Exhibit(
    "shrinking-rates",
    "First free, then precise: shrinking the learning rate",
    "Strong noise frees the trials but keeps them scattered; weak noise leaves them where they are. "
    "The way out is to change over: begin with a learning rate so large that the walls do not "
    "count, wait until the crowd has gathered in the good region, then lower the rate, so that "
    "smaller features come into view within a region that has become smaller too. Starting with the "
    "small rate would be no use: it would see every spike at once, and stay in the first.",
    "Each stage here is long enough for the crowd to settle. What would you lose by lowering the rate "
    "too early, and what by lowering it too late?",
    build,
)
