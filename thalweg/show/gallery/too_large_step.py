"""A step too large, though every gradient points the right way."""

import numpy as np
import plotly.graph_objects as go
import torch

from thalweg.measure.critical import critical_points
from thalweg.objective.dense import gradients_and_hessians
from thalweg.objective.landscape import Landscape
from thalweg.objective.landscapes import from_formula
from thalweg.objective.noise import Uniform
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, animated, curve, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.theory.domain import read_domain
from thalweg.theory.guarantee import constants_of
from thalweg.trajectory import Trajectory

__all__ = ["EXHIBIT"]

SMALL, LARGE = 0.1, 0.4
STEPS = 24
TRIALS = 1000
REACH = 2.5

GOOD, BAD = PALETTE[2], PALETTE[4]


def build(seed: int) -> Drawn:
    """``x² + 0.1 sin² 5x``: not convex, and yet every slope leads towards 0."""
    landscape = from_formula("x**2 + 0.1*sin(5*x)**2", domain=((-REACH, REACH),))
    small, large = (
        descend(landscape, Plan(learning_rate=rate, starts=(2.1,), steps=STEPS, points_every=1))
        for rate in (SMALL, LARGE)
    )
    return Drawn(
        (
            Panel(
                "too-large-step-paths",
                "Two learning rates from one start",
                f"The rate {SMALL} walks down; the rate {LARGE} leaps across, and goes on leaping.",
                _paths(landscape, small, large),
            ),
            Panel(
                "too-large-step-limit",
                "How large a step may be",
                "The curve is the rate at which a step from x ends just as far from 0 as it began. "
                "Above it, a step leads away. The marks are single steps that were made.",
                _limit(landscape, seed),
            ),
        ),
        (
            _one_point_convex(landscape),
            _law(landscape, seed),
            _ends(landscape, SMALL, seed),
            _ends(landscape, LARGE, seed),
        ),
    )


def _paths(landscape: Landscape, small: Trajectory, large: Trajectory) -> go.Figure:
    x, f = curve(landscape, -REACH, REACH)
    figure = go.Figure(line(x, f, "loss", INK, showlegend=False))
    paths = [run["points"].values[:, 0, 0] for run in (small, large)]

    def at(moment: int) -> list[go.Scatter]:
        found = []
        for path, colour, rate in zip(paths, (GOOD, BAD), (SMALL, LARGE)):
            been = path[: moment + 1]
            heights = np.interp(been, x, f)
            trail = line(been, heights, f"rate {rate}", colour, width=1, dash="dot")
            found += [trail.update(showlegend=False), dots(been, heights, f"rate {rate}", colour)]
        return found

    figure.add_traces(at(STEPS))
    styled(figure, "x", "loss", height=400)
    return animated(figure, [(str(k), at(k)) for k in range(STEPS + 1)], milliseconds=220)


def _steps(
    landscape: Landscape, rate: float, seed: int, trials: int
) -> tuple[np.ndarray, np.ndarray]:
    """Points and where one step of that rate leads."""
    plan = Plan(learning_rate=rate, trials=trials, steps=1, points_every=1, seed=seed)
    before, after = descend(landscape, plan)["points"].values[:, :, 0]
    return before, after


def _limits(landscape: Landscape, x: np.ndarray) -> np.ndarray:
    """2⟨∇f(x), x − x*⟩/‖∇f(x)‖² with x* = 0, from which on a step brings x no closer."""
    slopes = gradients_and_hessians(landscape, torch.tensor(x[:, None]))[0].numpy()[:, 0]
    return 2 * slopes * x / slopes**2


def _limit(landscape: Landscape, seed: int) -> go.Figure:
    x = np.linspace(-REACH, REACH, 802)
    figure = go.Figure(line(x, _limits(landscape, x), "the largest useful rate", INK))
    for rate in (SMALL, LARGE):
        before, after = _steps(landscape, rate, seed, 60)
        closer = np.abs(after) < np.abs(before)
        for which, name, colour in ((closer, "ends closer", GOOD), (~closer, "ends farther", BAD)):
            if which.any():
                height = np.full(which.sum(), rate)
                marks = dots(before[which], height, name, colour, size=7, legendgroup=name)
                figure.add_trace(marks.update(showlegend=rate == LARGE))
    styled(figure, "x", "learning rate", height=360)
    return figure.update_yaxes(range=[0, 2])


def _one_point_convex(landscape: Landscape) -> Claim:
    """Without noise the smoothed loss is f itself, and so c is that of f."""
    domain = read_domain(landscape.domain, 1)
    c = constants_of(landscape, SMALL, Uniform(0.0), (0.0,), domain).convexity
    found = critical_points(landscape, starts=200)
    bend = gradients_and_hessians(landscape, torch.linspace(-REACH, REACH, 801)[:, None])[1].min()
    return Claim(
        f"f′(x)·x is at least {c.value:.2f}x² on all of ±{REACH:g} ({c.status}), so the slope always "
        f"points to 0, which is the only critical point; yet f is not convex: f″ goes down to "
        f"{float(bend):.1f}.",
        c.value > 0.1 and c.rigorous and len(found.points) == 1 and float(bend) < -1,
    )


def _law(landscape: Landscape, seed: int) -> Claim:
    wrong = farther = 0
    for rate in (SMALL, LARGE):
        before, after = _steps(landscape, rate, seed, TRIALS)
        gone = np.abs(after) >= np.abs(before)
        wrong += int((gone != (rate >= _limits(landscape, before))).sum())
        farther += int(gone.sum())
    return Claim(
        f"Of {2 * TRIALS} single steps {farther} end no closer to 0 than they began, and these are "
        f"the ones whose rate is 2x/f′(x) or more, with {wrong or 'no'} exception.",
        wrong == 0 and farther > TRIALS / 20,
    )


def _ends(landscape: Landscape, rate: float, seed: int) -> Claim:
    plan = Plan(learning_rate=rate, trials=TRIALS, steps=1000, seed=seed)
    arrived = int((np.abs(descend(landscape, plan).end["points"][:, 0]) < 1e-6).sum())
    return Claim(
        f"At the rate {rate} {arrived or 'none'} of {TRIALS} descents "
        f"{'come' if arrived != 1 else 'comes'} to rest in the minimum.",
        arrived == TRIALS if rate == SMALL else arrived == 0,
    )


EXHIBIT = Exhibit(
    "too-large-step",
    "A step can be too large though it points the right way",
    "This function has a single minimum, and the slope leads towards it from everywhere: it is "
    "one-point convex. One would think that nothing can go wrong. But a step does not follow the "
    "slope, it leaps along the line that touches the curve at x. If the leap is longer than twice the "
    "way it ends farther from the minimum than it began, and where the curve bends most, at the "
    "minimum itself, that happens first. So a large rate keeps descent out of the very place it "
    "points to, and the same effect keeps SGD out of sharp minima.",
    "Up to which rate does every step end closer to 0? Read it off the curve: how does it compare with "
    "2 divided by the largest curvature?",
    build,
)
