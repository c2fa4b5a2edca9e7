"""Newton and saddle-free Newton at a saddle, with their cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from thalweg.objective.base import Objective
from thalweg.objective.landscapes import bounded_saddle, from_callable
from thalweg.run.descend import descend
from thalweg.run.newton import newton
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import contours, dots, line, plan_view
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

STARTS = 40
RATE = 0.1
BOTTOM = -0.5
DONE = 1e-6
"""So near to the lowest loss a run has arrived."""

DIMS = (2, 5, 10, 20, 40)
COLOURS = {"gradient descent": PALETTE[0], "Newton": PALETTE[1], "saddle-free Newton": PALETTE[2]}


@dataclass(frozen=True)
class _Run:
    """Points ``(steps + 1, trials, dim)``, losses ``(steps + 1, trials)``, evaluations so far."""

    points: np.ndarray
    losses: np.ndarray
    cost: np.ndarray

    @property
    def arrival(self) -> float:
        """What it costs until half of the trials have arrived; NaN where they do not."""
        there = (self.losses < BOTTOM + DONE).mean(1) >= 0.5
        return float(self.cost[there.argmax()]) if there.any() else float("nan")


def build(seed: int) -> Drawn:
    """From points about the saddle of ``x² − y² + y⁴/2``, and of the same with more bowls beside it."""
    generator = np.random.default_rng(seed)
    starts = generator.uniform((-0.8, -0.45), (0.8, 0.45), (STARTS, 2))
    runs = _runs(bounded_saddle(), starts)
    wide = {dim: _runs(_widened(dim), _starts(dim, generator)) for dim in DIMS}
    costs = {name: [wide[dim][name].arrival for dim in DIMS] for name in COLOURS}
    return Drawn(
        (
            Panel(
                "newton-paths",
                "Where the steps lead",
                "Eight of the starts: Newton's steps go to the saddle in the middle, the others away "
                "from it.",
                _paths(runs),
            ),
            Panel(
                "newton-cost",
                "What it costs to arrive",
                "Gradient evaluations until half of the trials are in a minimum, against the number "
                "of variables. Newton never arrives.",
                _costs(costs),
            ),
        ),
        (_drawn_in(runs), _gets_out(runs), _price(runs, costs)),
    )


def _runs(objective: Objective, starts: np.ndarray) -> Mapping[str, _Run]:
    plan = Plan(learning_rate=RATE, trials=len(starts), steps=120, starts=starts, points_every=1)
    slow = descend(objective, plan)["points"].values
    found = {"gradient descent": _Run(slow, _losses(objective, slow), np.arange(len(slow)) * 1.0)}
    for name, free in (("Newton", False), ("saddle-free Newton", True)):
        run = newton(objective, starts, steps=15, saddle_free=free, longest=0.5)
        found[name] = _Run(run["points"].values, run["losses"].values, run["cost"].values)
    return found


def _losses(objective: Objective, points: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return objective.loss(torch.tensor(points)).numpy()


def _widened(dim: int) -> Objective:
    """The bounded saddle in its first two variables, bowls of curvature 1 to 4 in the others."""
    saddle = bounded_saddle()

    def function(points: Tensor) -> Tensor:
        rest = points[..., 2:]
        weights = points.new_tensor(np.linspace(0.5, 2.0, dim - 2)) if dim > 2 else rest.sum(-1)
        return saddle.loss(points[..., :2]) + ((rest.square() * weights).sum(-1) if dim > 2 else 0)

    return from_callable(function, dim)


def _starts(dim: int, generator: np.random.Generator) -> np.ndarray:
    reach = np.array([0.8, 0.45] + [0.5] * (dim - 2))
    return generator.uniform(-reach, reach, (12, dim))


def _paths(runs: Mapping[str, _Run]) -> go.Figure:
    landscape = bounded_saddle()
    figure = go.Figure(contours(landscape, ((-1.0, 1.0), (-1.3, 1.3)), highest=0.8))
    for name, run in runs.items():
        for trial in range(8):
            x, y = run.points[:, trial].T
            path = line(x, y, name, COLOURS[name], legendgroup=name, showlegend=trial == 0)
            path.update(
                mode="lines+markers", marker={"size": 4 if name == "gradient descent" else 7}
            )
            figure.add_trace(path)
    starts = runs["Newton"].points[0, :8]
    figure.add_trace(dots(starts[:, 0], starts[:, 1], "start", PALETTE[6], size=10))
    return plan_view(figure, height=560)


def _costs(costs: Mapping[str, Sequence[float]]) -> go.Figure:
    figure = go.Figure()
    for name, values in costs.items():
        if np.isfinite(values).any():
            marks = line(DIMS, values, name, COLOURS[name])
            figure.add_trace(marks.update(mode="lines+markers", marker={"size": 8}))
    styled(figure, "number of variables", "gradient evaluations", height=360)
    ticks = {"tickvals": list(DIMS), "ticktext": [str(dim) for dim in DIMS]}
    figure.update_xaxes(type="log", tickformat="", **ticks)
    figure.update_yaxes(type="log", tickformat="", tickvals=[10, 20, 50, 100, 200, 500])
    return figure.update_layout(showlegend=True)


def _drawn_in(runs: Mapping[str, _Run]) -> Claim:
    ends = np.linalg.norm(runs["Newton"].points[-1], axis=-1)
    caught = int((ends < 1e-8).sum())
    return Claim(
        f"Newton's method ends at the saddle from {caught} of {STARTS} starts about it, with a gradient "
        "of 0: it solves for a critical point, of whatever kind.",
        caught == STARTS,
    )


def _gets_out(runs: Mapping[str, _Run]) -> Claim:
    free, slow = runs["saddle-free Newton"], runs["gradient descent"]
    out = int((free.losses[-1] < BOTTOM + DONE).sum())
    steps = [int(((run.losses < BOTTOM + DONE).mean(1) >= 0.5).argmax()) for run in (free, slow)]
    return Claim(
        f"With |H| in the place of H {out} of {STARTS} end in a minimum, half of them within "
        f"{steps[0]} steps, where gradient descent at the rate {RATE} takes {steps[1]}.",
        out == STARTS and 0 < steps[0] < steps[1],
    )


def _price(runs: Mapping[str, _Run], costs: Mapping[str, Sequence[float]]) -> Claim:
    free, slow = costs["saddle-free Newton"], costs["gradient descent"]
    return Claim(
        f"A step costs 1 + 2d gradient evaluations for d variables. With {DIMS[0]} variables it takes "
        f"{free[0]:.0f} to arrive, against {slow[0]:.0f} by gradient descent; with {DIMS[-1]} it takes "
        f"{free[-1]:.0f} against {slow[-1]:.0f}, and Newton's method never arrives.",
        bool(free[-1] > 3 * slow[-1] and not np.isfinite(costs["Newton"]).any()),
    )


EXHIBIT = Exhibit(
    "newton",
    "Newton's method goes to the saddle",
    "Newton's step leads to where the gradient of the quadratic model vanishes. Along a direction of "
    "negative curvature that is uphill: dividing by a negative number turns the slope around. So a "
    "saddle, which descent leaves, draws Newton's method in. Saddle-free Newton divides by the "
    "absolute value of the curvature: it still takes large steps where the ground is flat, but down "
    "in every direction. The price is the Hessian: with d variables it costs 2d gradients, which is "
    "why nobody does it to a network, and why the methods that are in use only look at a few of its "
    "eigenvectors.",
    "Where the curvature is exactly 0 both steps are infinitely long. What would you do there?",
    build,
)
