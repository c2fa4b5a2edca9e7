"""Descent at a saddle: on its ridge, nudged, with momentum, RMSprop and Adam."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from thalweg.objective.landscape import Landscape
from thalweg.objective.landscapes import bounded_saddle
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import animated, line, scene, surface
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.trajectory import Trajectory

__all__ = ["EXHIBIT"]

START, NUDGE = 0.9, 1e-4
RATE, STEPS = 0.05, 160
OUT = 0.3
"""So far along y a run has left the saddle."""

RIDGE = "gradient descent, on the ridge"
RUNS: Mapping[str, dict[str, Any]] = {
    RIDGE: {},
    "gradient descent, nudged": {},
    "momentum 0.9": {"options": {"momentum": 0.9}, "learning_rate": 0.02},
    "RMSprop": {"optimizer": "rmsprop", "learning_rate": 0.01},
    "Adam": {"optimizer": "adam"},
}
COLOURS = (PALETTE[6], PALETTE[0], PALETTE[1], PALETTE[3], PALETTE[2])


def build(seed: int) -> Drawn:
    """``x² − y² + y⁴/2``, from (0.9, 0), and from a hair's breadth beside it."""
    landscape = bounded_saddle()
    generator = np.random.default_rng(seed)
    nudge = NUDGE * (1 + generator.random()) * generator.choice([-1, 1])
    runs = {
        name: _run(landscape, 0.0 if name == RIDGE else nudge, more) for name, more in RUNS.items()
    }
    return Drawn(
        (
            Panel(
                "saddle-paths",
                "The saddle and its map",
                f"The surface, its level curves on the floor, and five descents: at the rate {RATE}, "
                "with momentum at 0.02, with RMSprop at 0.01.",
                _paths(landscape, runs),
            ),
            Panel(
                "saddle-losses",
                "The loss against the step",
                "The level stretch at 0 is the saddle: the gradient is all but nothing there.",
                _losses(runs),
            ),
        ),
        (_stuck(runs[RIDGE]), _symmetry(landscape), _growth(runs, nudge), _faster(runs)),
    )


def _run(landscape: Landscape, beside: float, more: dict[str, Any]) -> Trajectory:
    plan = Plan(
        **{"learning_rate": RATE, **more}, steps=STEPS, starts=(START, beside), points_every=1
    )
    return descend(landscape, plan)


def _left(run: Trajectory) -> int:
    """The first step at which the run is out; the number of steps where it never is."""
    out = np.abs(run["points"].values[:, 0, 1]) >= OUT
    return int(out.argmax()) if out.any() else STEPS


def _paths(landscape: Landscape, runs: Mapping[str, Trajectory]) -> go.Figure:
    figure = go.Figure(
        surface(
            landscape,
            ((-1.0, 1.0), (-1.4, 1.4)),
            opacity=0.8,
            contours={
                "z": {
                    "show": True,
                    "usecolormap": True,
                    "project": {"z": True},
                    "start": -0.5,
                    "end": 1.2,
                    "size": 0.1,
                    "width": 3,
                }
            },
        )
    )

    def at(moment: int) -> list[Any]:
        found = []
        for (name, run), colour in zip(runs.items(), COLOURS):
            points = np.round(run["points"].values[: moment + 1, 0], 4)
            heights = np.round(run["loss"].values[: moment + 1] + 0.05, 4)
            sizes = [0] * (len(points) - 1) + [7]
            found.append(
                go.Scatter3d(
                    x=points[:, 0].tolist(),
                    y=points[:, 1].tolist(),
                    z=heights.tolist(),
                    name=name,
                    mode="lines+markers",
                    line={"color": colour, "width": 6},
                    marker={"size": sizes, "color": colour, "line": {"width": 0}},
                )
            )
        return found

    figure.add_traces(at(STEPS))
    scene(figure, eye=(-1.2, -1.15, 1.25))
    figure.update_layout(
        scene={
            "zaxis": {"range": [-1.1, 1.5], "tickvals": [-0.5, 0, 0.5, 1]},
            "aspectratio": {"x": 1, "y": 1.25, "z": 0.9},
        }
    )
    moments = sorted({*range(0, 40, 2), *range(40, STEPS + 1, 5)})
    return animated(figure, [(str(k), at(k)) for k in moments], milliseconds=120)


def _losses(runs: Mapping[str, Trajectory]) -> go.Figure:
    figure = go.Figure()
    for (name, run), colour in zip(runs.items(), COLOURS):
        losses = run["loss"].values
        figure.add_trace(line(np.arange(len(losses)), losses, name, colour))
    return styled(figure, "step", "loss", height=380)


def _stuck(run: Trajectory) -> Claim:
    x, y = run.end["points"][0]
    return Claim(
        f"On the ridge, where y is 0, gradient descent ends {abs(x):.0e} from the saddle, its y "
        f"is {'still exactly 0' if y == 0 else f'{y:.0e}'}, and the loss {run.end['losses'][0]:.0e} is far "
        "above the minima's −0.5.",
        bool(y == 0 and abs(x) < 1e-5),
    )


def _symmetry(landscape: Landscape) -> Claim:
    ends = [_run(landscape, 0.0, more).end["points"][0] for more in RUNS.values()]
    return Claim(
        "No optimizer helps there: from y = 0 momentum, RMSprop and Adam keep y at 0 to the last digit, "
        "because the slope along y is 0 and they have nothing to multiply.",
        all(y == 0 for _, y in ends),
    )


def _growth(runs: Mapping[str, Trajectory], nudge: float) -> Claim:
    """y grows by 1 + 2η a step while it is small: the curvature along it is −2."""
    steps = _left(runs["gradient descent, nudged"])
    expected = math.log(OUT / abs(nudge)) / math.log(1 + 2 * RATE)
    return Claim(
        f"Nudged by {abs(nudge):.1e}, gradient descent leaves after {steps} steps: the nudge grows by the "
        f"factor 1 + ηγ = {1 + 2 * RATE:g} in each, which makes {expected:.0f}.",
        abs(steps - expected) < 3,
    )


def _faster(runs: Mapping[str, Trajectory]) -> Claim:
    steps = {name: _left(run) for name, run in runs.items() if name != RIDGE}
    plain, *others = steps.values()
    told = ", ".join(f"{count} ({name})" for name, count in steps.items())
    return Claim(
        f"With the same nudge the saddle is left after {told} steps: whoever remembers a direction or "
        "divides by the size of the slope leaves sooner.",
        all(count < plain for count in others),
    )


EXHIBIT = Exhibit(
    "saddle",
    "A saddle holds descent up without a wall",
    "At a saddle the gradient vanishes, though the loss falls away to two sides. Descent that comes "
    "in along the ridge meets no slope to either side and walks to the very saddle. In practice "
    "rounding or noise nudges it off, and the nudge grows by the same factor in every step: the "
    "smaller it was, the longer it stays, but only as the logarithm. That is the long level stretch in "
    "many a training curve. Momentum adds up the small steps in the same direction; RMSprop and Adam "
    "divide by the slope's size, so that a tiny slope makes a step as long as a large one.",
    "If the nudge were a million times smaller, how many more steps would gradient descent take? And Adam?",
    build,
)
