"""SGD against full-batch descent on one network from ten starts: loss, flatness, held-out loss."""

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import nn

from thalweg.clinic.data import digits
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.objective.supervised import Supervised
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

EXAMPLES, BATCH = 200, 10
RATE = 0.3
PASSES = 20
STARTS = 10

STEPS = PASSES * EXAMPLES // BATCH

TICKS = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]

SGD, SHORT, LONG = "SGD", "descent, as many passes", "descent, as many steps"
COLOURS = {SGD: PALETTE[1], SHORT: PALETTE[0], LONG: PALETTE[2]}


@dataclass(frozen=True)
class _Ends:
    """Of one way down: losses on the way ``(n, starts)`` at passes ``(n,)``, and its ends."""

    name: str
    passes: np.ndarray
    losses: np.ndarray
    held_out: np.ndarray
    sharpness: np.ndarray

    @property
    def loss(self) -> np.ndarray:
        return self.losses[-1]


def build(seed: int) -> Drawn:
    """Each start is descended from in three ways."""
    data = digits(torch.Generator().manual_seed(seed), EXAMPLES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        models = [_network() for _ in range(STARTS)]
    starts = torch.stack([nn.utils.parameters_to_vector(m.parameters()) for m in models]).detach()
    objective = Supervised(models[0], nn.functional.cross_entropy, data.train)
    held_out = objective.on(data.test)
    ways = {SGD: (BATCH, STEPS), SHORT: (None, PASSES), LONG: (None, STEPS)}
    ends = [
        _descended(objective, held_out, starts.numpy(), name, batch, steps, seed)
        for name, (batch, steps) in ways.items()
    ]
    return Drawn(
        (
            Panel(
                "sgd-and-descent-losses",
                "Loss against passes through the data",
                f"From {STARTS} starts, the same for each way, at a rate of {RATE:g}: the line is the mean. "
                f"A step of SGD sees {BATCH} of {EXAMPLES} examples, one of descent all of them.",
                _curves(ends),
            ),
            Panel(
                "sgd-and-descent-ends",
                "Where they ended",
                "Each mark is a start. Across: loss. Up: the largest eigenvalue of the Hessian, and the "
                "loss on digits that were held out.",
                _marks(ends),
            ),
        ),
        (_per_pass(ends), _per_step(ends), _flatness(ends), _held_out(ends)),
    )


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10))


def _descended(
    objective: Supervised,
    held_out: Supervised,
    starts: np.ndarray,
    name: str,
    batch: int | None,
    steps: int,
    seed: int,
) -> _Ends:
    plan = Plan(
        learning_rate=RATE,
        batch=batch,
        steps=steps,
        trials=STARTS,
        starts=starts,
        points_every=max(1, steps // 20),
        seed=seed,
    )
    points = descend(objective, plan)["points"]
    ends = torch.tensor(points.values[-1])
    with torch.no_grad():
        losses = objective.loss(torch.tensor(points.values)).double().numpy()
        outside = held_out.loss(ends).double().numpy()
    tops = [
        extreme_eigenvalues(objective, end, bottom=0, rtol=0.02, budget=25).top[0].value
        for end in ends
    ]
    share = (batch or EXAMPLES) / EXAMPLES
    return _Ends(name, points.steps * share, losses, outside, np.array(tops))


def _curves(ends: list[_Ends]) -> go.Figure:
    figure = go.Figure()
    for end in ends:
        later = end.passes > 0
        mean = end.losses[later].mean(1)
        figure.add_trace(line(end.passes[later], mean, end.name, COLOURS[end.name]))
    styled(figure, "passes through the data", "loss", height=400)
    figure.update_xaxes(type="log", tickvals=[1, 3, 10, 30, 100, 300])
    return figure.update_yaxes(type="log", tickvals=TICKS, tickformat="")


def _marks(ends: list[_Ends]) -> go.Figure:
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.09)
    for end in ends:
        for row, heights in ((1, end.sharpness), (2, end.held_out)):
            marks = dots(end.loss, heights, end.name, COLOURS[end.name], showlegend=row == 1)
            figure.add_trace(marks, row=row, col=1)
    styled(figure, "", "", height=560)
    figure.update_xaxes(type="log", tickvals=TICKS, tickformat="")
    figure.update_xaxes(title_text="loss", row=2)
    figure.update_yaxes(title_text="top eigenvalue", row=1)
    return figure.update_yaxes(title_text="held-out loss", row=2)


def _per_pass(ends: list[_Ends]) -> Claim:
    sgd, short, _ = ends
    wins = int((sgd.loss < short.loss).sum())
    return Claim(
        f"After {PASSES} passes through the data SGD has brought the loss to {sgd.loss.mean():.3f}, "
        f"descent to {short.loss.mean():.3f}; SGD is lower from {wins} of {STARTS} starts.",
        wins == STARTS and sgd.loss.mean() < 0.2 * short.loss.mean(),
    )


def _per_step(ends: list[_Ends]) -> Claim:
    sgd, _, long = ends
    ratio = float(sgd.loss.mean() / long.loss.mean())
    return Claim(
        f"After as many steps, {STEPS}, and {EXAMPLES // BATCH} times the work, descent is at "
        f"{long.loss.mean():.4f} and SGD at {sgd.loss.mean():.4f}: step for step the noise costs next to "
        "nothing here.",
        0.8 < ratio < 1.25,
    )


def _flatness(ends: list[_Ends]) -> Claim:
    sgd, _, long = ends
    ratios = np.log(sgd.sharpness / long.sharpness)
    flatter, error = int((ratios < 0).sum()), float(ratios.std(ddof=1)) / math.sqrt(STARTS)
    mean = float(ratios.mean())
    return Claim(
        f"At that nearly equal loss SGD stands on flatter ground: its largest eigenvalue is "
        f"{math.exp(mean):.2f} (± {math.exp(mean) * error:.2f}) times that of descent from the same start, "
        f"and lower from {flatter} of {STARTS}.",
        mean + 2 * error < 0,
    )


def _held_out(ends: list[_Ends]) -> Claim:
    sgd, _, long = ends
    gaps = sgd.held_out - long.held_out
    mean, error = float(gaps.mean()), float(gaps.std(ddof=1)) / math.sqrt(STARTS)
    return Claim(
        f"On held-out digits that makes no difference: SGD's loss is {sgd.held_out.mean():.3f}, "
        f"descent's {long.held_out.mean():.3f}, apart by {abs(mean):.3f} ± {error:.3f}.",
        abs(mean) < 0.02 + 2 * error,
    )


EXHIBIT = Exhibit(
    "sgd-and-descent",
    "SGD against full-batch descent",
    "It is said that SGD finds better minima than descent on all examples: flatter ones, that generalise "
    "better. Here both begin from the same ten random networks. For the work of one full step SGD "
    "takes twenty, and that is where its advantage lies: after the same number of passes through "
    "the data it is far ahead. Given twenty times the work, descent takes as many steps and comes to "
    "the same loss. Then SGD stands on somewhat flatter ground, as its noise cannot stay where the "
    "walls are steep; what that is worth on digits it has not seen is next to nothing. How flat and "
    "how good go together is a matter of the network and the data, not a law.",
    "The loss of the noisy run and that of the quiet one agree after the same number of steps. Up to "
    "which learning rate should they?",
    build,
)
