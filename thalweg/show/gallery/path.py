"""The path of a network, seen from its end: one-point convexity, three learning rates, smaller ones."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from thalweg.clinic.data import digits
from thalweg.measure.path import path
from thalweg.measure.waypoint import RunPath, least_convexity
from thalweg.objective.supervised import Supervised
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

EXAMPLES, BATCH = 400, 20
EPOCH = EXAMPLES // BATCH
PHASES = ((0.5, 12), (0.1, 6), (0.02, 6))
"""Learning rates, each for so many epochs."""

SEEDS = 3
SMALLER, BRANCHES, BRANCH_EPOCHS = 0.02, (1, 3, 6, 12), 8
TICKS = [0.0001, 0.001, 0.01, 0.03, 0.1, 0.3, 1]
COLOURS = (PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[3])


@dataclass(frozen=True)
class _Branch:
    """What a smaller rate does from an epoch on: loss, and distance from where it began."""

    epoch: int
    losses: np.ndarray
    distances: np.ndarray


def build(seed: int) -> Drawn:
    """Plain SGD on a network of one hidden layer."""
    objective = _objective(seed)
    runs = [_trained(objective, SEEDS * seed + number) for number in range(SEEDS)]
    paths = [_seen_from_end(objective, run, number) for number, run in enumerate(runs)]
    branches = [_branch(objective, runs[0], epoch, seed) for epoch in BRANCHES]
    return Drawn(
        (
            Panel(
                "path-inner",
                "Does the gradient point to where the run will end?",
                "Cosine of the angle between minus the gradient and the way to the end of the run, and the "
                f"constant c, by epoch, of {SEEDS} seeds. Dashed lines: the learning rate falls from "
                f"{PHASES[0][0]:g} to {PHASES[1][0]:g} to {PHASES[2][0]:g}.",
                _angles(paths),
            ),
            Panel(
                "path-around",
                "Around the path, and in the noise",
                "Of the first seed. Above: the inner product on the path, and its range over points of a "
                "ball of radius 0.5 around it. Below: norms of the full gradient and the range of those "
                "of mini-batches.",
                _around(paths[0]),
            ),
            Panel(
                "path-branches",
                "A smaller rate from the start on",
                f"From some epochs of the first seed the run goes on with a rate of {SMALLER:g}. Loss, and "
                "distance from where that began.",
                _branched(branches),
            ),
        ),
        (_points_there(paths), _around_too(paths[0]), _early(paths), _stays_near(branches)),
    )


def _objective(seed: int) -> Supervised:
    data = digits(torch.Generator().manual_seed(seed), EXAMPLES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    return Supervised(model, nn.functional.cross_entropy, data.train)


def _trained(objective: Supervised, seed: int) -> Mapping[int, Tensor]:
    """Points by epoch, of a run whose start is drawn from the seed."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [(64, 16 * 64 + 16), (16, 10 * 16 + 10)]
    parts = [
        (2 * torch.rand(count, generator=generator) - 1) / fan_in**0.5 for fan_in, count in sizes
    ]
    points = [torch.cat(parts)]
    for phase, (rate, epochs) in enumerate(PHASES):
        points += _epochs(objective, points[-1], rate, epochs, 10 * seed + phase)
    return dict(enumerate(points))


def _epochs(
    objective: Supervised, start: Tensor, rate: float, epochs: int, seed: int
) -> list[Tensor]:
    """The points after each epoch of plain SGD."""
    plan = Plan(
        learning_rate=rate,
        batch=BATCH,
        steps=epochs * EPOCH,
        starts=start.numpy(),
        points_every=EPOCH,
        seed=seed,
    )
    seen = descend(objective, plan)["points"]
    rows = torch.tensor(seen.values)[:, 0]
    return [row for step, row in zip(seen.steps, rows) if step]


def _seen_from_end(objective: Supervised, run: Mapping[int, Tensor], number: int) -> RunPath:
    rates = [rate for rate, epochs in PHASES for _ in range(epochs)]
    found = path(
        objective,
        {epoch * EPOCH: point for epoch, point in run.items()},
        batch_size=BATCH,
        rates=lambda step: rates[min(step // EPOCH, len(rates) - 1)],
        batches=8,
        smoothed=0,
        neighbours=0 if number else 20,
        curvature=False,
    )
    return found


def _branch(objective: Supervised, run: Mapping[int, Tensor], epoch: int, seed: int) -> _Branch:
    begin = run[epoch]
    points = torch.stack([begin, *_epochs(objective, begin, SMALLER, BRANCH_EPOCHS, seed)])
    with torch.no_grad():
        losses = objective.loss(points).numpy()
    return _Branch(epoch, losses, (points - begin).norm(dim=1).numpy())


def _column(found: RunPath, name: str) -> np.ndarray:
    """By epoch, without the end."""
    return found.table()[name][:-1]


def _angles(paths: list[RunPath]) -> go.Figure:
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.07)
    for number, found in enumerate(paths):
        epochs = _column(found, "epoch")
        name = f"seed {number}"
        for row, column in ((1, "cosine"), (2, "convexity")):
            trace = line(epochs, _column(found, column), name, COLOURS[number], legendgroup=name)
            figure.add_trace(trace.update(showlegend=row == 1), row=row, col=1)
    styled(figure, "", "", height=540)
    _rates(figure)
    figure.update_xaxes(title_text="epoch", row=2)
    figure.update_yaxes(title_text="cosine", row=1, rangemode="tozero")
    return figure.update_yaxes(title_text="c", row=2, type="log")


def _around(found: RunPath) -> go.Figure:
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.07)
    epochs = _column(found, "epoch")
    pairs = (
        (1, "inner", "neighbourhood", "on the path", "around it", PALETTE[0]),
        (2, "gradient_norm", "stochastic", "full gradient", "mini-batches", PALETTE[1]),
    )
    for row, exact, spread, name, band, colour in pairs:
        low, high = (_column(found, f"{spread}_{end}") for end in ("low", "high"))
        edge = {"width": 0, "showlegend": False, "hoverinfo": "skip"}
        figure.add_trace(line(epochs, low, band, colour, **edge), row=row, col=1)
        filled = line(epochs, high, band, colour, width=0, fill="tonexty").update(opacity=0.4)
        figure.add_trace(filled, row=row, col=1)
        figure.add_trace(line(epochs, _column(found, exact), name, colour), row=row, col=1)
    styled(figure, "", "", height=540)
    _rates(figure)
    figure.update_xaxes(title_text="epoch", row=2)
    figure.update_yaxes(type="log", tickvals=TICKS, tickformat="")
    figure.update_yaxes(title_text="inner product", row=1)
    return figure.update_yaxes(title_text="norm", row=2)


def _rates(figure: go.Figure) -> None:
    epoch = 0
    for _, epochs in PHASES[:-1]:
        epoch += epochs
        figure.add_vline(epoch, line={"color": INK, "dash": "dash", "width": 1})


def _branched(branches: list[_Branch]) -> go.Figure:
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.07)
    for each, colour in zip(branches, COLOURS):
        epochs = np.arange(len(each.losses))
        name = f"from epoch {each.epoch}"
        for row, values in ((1, each.losses), (2, each.distances)):
            trace = line(epochs, values, name, colour, legendgroup=name, showlegend=row == 1)
            figure.add_trace(trace, row=row, col=1)
    styled(figure, "", "", height=540)
    figure.update_xaxes(title_text="epochs with the smaller rate", row=2)
    figure.update_yaxes(title_text="loss", row=1, type="log", tickvals=TICKS, tickformat="")
    return figure.update_yaxes(title_text="distance", row=2)


def _points_there(paths: list[RunPath]) -> Claim:
    least = {epoch: inner.value for epoch, (inner, _) in least_convexity(paths).items()}
    cosines = np.array([_column(found, "cosine") for found in paths])
    below = [epoch for epoch, value in least.items() if not value > 0]
    total = len(least)
    return Claim(
        f"The inner product of minus the gradient with the way to the end is above 0 at "
        f"{total - len(below)} of {total} epochs in all {SEEDS} seeds; cosines lie between "
        f"{cosines.min():.2f} and {cosines.max():.2f}.",
        not [epoch for epoch in below if epoch >= 5],
    )


def _around_too(found: RunPath) -> Claim:
    low = _column(found, "neighbourhood_low")
    below = int((low <= 0).sum())
    return Claim(
        f"Around the path it is the same: at {len(low) - below} of {len(low)} epochs all 20 points of a "
        "ball of radius 0.5 agree on the sign.",
        below <= 2,
    )


def _early(paths: list[RunPath]) -> Claim:
    constants = np.array([_column(found, "convexity") for found in paths]).mean(0)
    first, last = PHASES[0][1] - 1, len(constants) - 1
    return Claim(
        f"The constant is small where the run still has far to go: c is {constants[0]:.3f} at the "
        f"start, {constants[first]:.3f} as the first rate ends and {constants[last]:.2f} an epoch before "
        "the end, which no theorem with one c for the whole path makes use of.",
        bool(constants[last] > 2 * constants[0] > 0),
    )


def _stays_near(branches: list[_Branch]) -> Claim:
    first, last = branches[0], branches[-1]
    return Claim(
        f"The small rate from epoch {first.epoch} on is still at a loss of {first.losses[-1]:.3f} after "
        f"{BRANCH_EPOCHS} epochs, {first.distances[-1]:.2f} from where it began; from epoch {last.epoch} on "
        f"it moves {last.distances[-1]:.2f} and is at {last.losses[-1]:.4f}.",
        bool(first.losses[-1] > 3 * last.losses[-1] and first.distances[-1] > last.distances[-1]),
    )


EXHIBIT = Exhibit(
    "path",
    "A network's path, seen from its end",
    "A function is one-point convex around a target if minus its gradient makes less than a right angle with "
    "the way there, wherever one stands. No network's loss is that everywhere. But along the path of "
    "a run, with its own end for the target, it can be measured, and here the angle is acute at "
    "nearly every epoch, on the path and in a ball around it. That is less than it seems: the run "
    "was made of steps along these gradients, and ends where they led. It does say that the path has "
    "no detours. A smaller rate taken early stays near where it was taken, at a loss that the larger "
    "rate leaves behind within a few epochs.",
    "A run that walks straight away from a maximum ends somewhere. Are the inner products with that end "
    "above 0 on the way?",
    build,
)
