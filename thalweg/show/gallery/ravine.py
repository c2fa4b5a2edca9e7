"""A ravine, and what momentum does in it."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from thalweg.objective import landscapes
from thalweg.objective.landscape import Landscape
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.run.statistics import ExitTime
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import animated, contours, dots, line, plan_view
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

STEEP = 40.0
CONDITIONS = (10.0, 30.0, 100.0, 300.0)
STEPS = 60
CLOSER = 1e-3
TRIALS = 32

COLOURS = {"descent": PALETTE[1], "momentum": PALETTE[0], "Nesterov": PALETTE[2]}


def build(seed: int) -> Drawn:
    """The three methods, each at its best for the quadratic, in ravines ever narrower."""
    landscape = landscapes.quadratic((1.0, STEEP))
    start = (-8.0, 0.5)
    paths = {
        name: _path(landscape, Plan(**settings, starts=start, steps=STEPS, points_every=1))
        for name, settings in _settings(STEEP).items()
    }
    arrivals = {
        name: [_steps_to_arrive(condition, name, seed) for condition in CONDITIONS]
        for name in COLOURS
    }
    return Drawn(
        (
            Panel(
                "ravine-paths",
                "Three ways along a ravine",
                f"½x² + ½·{STEEP:g}y², drawn to scale: {STEEP:g} times steeper across than along.",
                _drawn(landscape, paths),
            ),
            Panel(
                "ravine-distance",
                "Distance that is left",
                "Of the same three. A straight line on this axis is a constant factor a step.",
                _distances(paths),
            ),
            Panel(
                "ravine-conditions",
                "The narrower, the slower",
                f"Steps until a start is {1 / CLOSER:.0f} times closer, the mean over {TRIALS} starts.",
                _growth(arrivals),
            ),
        ),
        (_zigzag(paths), _ahead(paths), *(_power(arrivals, name) for name in COLOURS)),
    )


def _path(landscape: Landscape, plan: Plan) -> np.ndarray:
    """Points ``(steps + 1, 2)``, to twelve digits: some coordinates become all but 0."""
    return np.round(descend(landscape, plan)["points"].values[:, 0], 12)


def _settings(condition: float) -> Mapping[str, dict[str, Any]]:
    """The rates and momenta that are best for curvatures from 1 to the condition number κ.

    Descent: η = 2/(κ + 1), a factor (κ − 1)/(κ + 1) a step. Momentum: η = 4/(√κ + 1)², β =
    ((√κ − 1)/(√κ + 1))², a factor √β. Nesterov: η = 1/κ, β = (√κ − 1)/(√κ + 1).
    """
    root = math.sqrt(condition)
    shrink = (root - 1) / (root + 1)
    nesterov = {"momentum": shrink, "nesterov": True}
    return {
        "descent": {"learning_rate": 2 / (condition + 1)},
        "momentum": {"learning_rate": 4 / (root + 1) ** 2, "options": {"momentum": shrink**2}},
        "Nesterov": {"learning_rate": 1 / condition, "options": nesterov},
    }


def _far(radius: float, points: Tensor) -> Tensor:
    return points.norm(dim=-1) > radius


def _steps_to_arrive(condition: float, name: str, seed: int) -> float:
    """The mean first step within a thousandth of the distance, from starts on a circle."""
    angles = np.random.default_rng(seed).uniform(0.1, math.pi / 2 - 0.1, TRIALS)
    plan = Plan(
        **_settings(condition)[name],
        starts=np.stack([np.cos(angles), np.sin(angles)], -1),
        trials=TRIALS,
        steps=int((5 if name == "descent" else 15 / math.sqrt(condition)) * condition) + 20,
    )
    arrived = ExitTime(partial(_far, CLOSER))
    run = descend(landscapes.quadratic((1.0, condition)), plan, statistics=(arrived,))
    times = run.end["exit_time"]
    return float(times.mean()) if (times >= 0).all() else math.inf


def _drawn(landscape: Landscape, paths: Mapping[str, np.ndarray]) -> go.Figure:
    figure = go.Figure(
        contours(landscape, ((-8.8, 2.8), (-1.6, 1.6)), levels=24, highest=48.0, count=101)
    )

    def at(moment: int) -> list[go.Scatter]:
        found = []
        for name, path in paths.items():
            been, here = path[: moment + 1], path[moment : moment + 1]
            trail = line(been[:, 0], been[:, 1], name, COLOURS[name], width=1.5)
            found.append(trail.update(showlegend=False))
            found.append(dots(here[:, 0], here[:, 1], name, COLOURS[name], size=11))
        return found

    figure.add_traces(at(STEPS))
    plan_view(figure, height=330).update_layout(showlegend=True)
    return animated(figure, [(str(k), at(k)) for k in range(STEPS + 1)], milliseconds=140)


def _distances(paths: Mapping[str, np.ndarray]) -> go.Figure:
    figure = go.Figure()
    for name, path in paths.items():
        left = [float(f"{distance:.4g}") for distance in np.linalg.norm(path, axis=1)]
        figure.add_trace(line(np.arange(STEPS + 1), left, name, COLOURS[name]).update(y=left))
    styled(figure, "step", "distance left", height=320)
    return figure.update_yaxes(type="log", tickformat="", exponentformat="power", dtick=1)


def _growth(arrivals: Mapping[str, list[float]]) -> go.Figure:
    figure = go.Figure()
    for name, steps in arrivals.items():
        marked = line(CONDITIONS, steps, name, COLOURS[name])
        figure.add_trace(marked.update(mode="lines+markers", marker={"size": 8}))
    styled(figure, "condition number κ", "steps", height=340)
    figure.update_xaxes(type="log", tickvals=CONDITIONS)
    return figure.update_yaxes(type="log", tickvals=[10, 30, 100, 300, 1000], tickformat="")


def _zigzag(paths: Mapping[str, np.ndarray]) -> Claim:
    across = paths["descent"][:, 1]
    turns = int((np.sign(across[1:]) != np.sign(across[:-1])).sum())
    return Claim(
        f"At its best rate descent crosses the floor of the ravine at {turns} of {STEPS} steps.",
        turns == STEPS,
    )


def _ahead(paths: Mapping[str, np.ndarray]) -> Claim:
    left = {name: float(np.linalg.norm(path[-1])) for name, path in paths.items()}
    return Claim(
        f"After {STEPS} steps descent is {left['descent']:.2g} from the minimum, with Nesterov's momentum "
        f"{left['Nesterov']:.0e}, with plain momentum {left['momentum']:.0e}.",
        max(left["momentum"], left["Nesterov"]) < left["descent"] / 50,
    )


def _power(arrivals: Mapping[str, list[float]], name: str) -> Claim:
    """The slope in logarithms, between the two largest condition numbers."""
    last, before = arrivals[name][-1], arrivals[name][-2]
    slope = math.log(last / before) / math.log(CONDITIONS[-1] / CONDITIONS[-2])
    expected = 1.0 if name == "descent" else 0.5
    title = "descent" if name == "descent" else f"{name}'s" if name == "Nesterov" else name
    return Claim(
        f"At κ = {CONDITIONS[-1]:g} {title}{' momentum' if name == 'Nesterov' else ''} takes "
        f"{last:.0f} steps, and they grow as κ to the power {slope:.2f} (theory: {expected:g}).",
        abs(slope - expected) < 0.12,
    )


EXHIBIT = Exhibit(
    "ravine",
    "A ravine, and what momentum does",
    "Not every slow descent is stuck. In a ravine, steep across and gentle along, the rate is "
    "bounded by the steep direction: any larger and descent climbs the walls. With that rate it "
    "bounces from wall to wall and crawls along the floor, so it looks stuck though the way is open. "
    "Momentum adds up what successive gradients agree on, the way along, and cancels what they "
    "disagree on, the way across. With the best settings the number of steps grows as the square "
    "root of the condition number, the ratio of the curvatures, where descent's grows as the number itself.",
    "With momentum the path overshoots the minimum and comes back. Would less momentum, which "
    "does not overshoot, be faster?",
    build,
)
