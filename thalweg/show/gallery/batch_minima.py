"""A flat and a sharp minimum of one network, found by small and by large batches."""

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from thalweg.clinic.data import digits
from thalweg.measure.comparison import compare
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.measure.directions import random_directions
from thalweg.measure.relative import filter_curvature, relative_flatness
from thalweg.measure.rises import mean_and_error
from thalweg.measure.shift import ShiftLine, shift_test
from thalweg.objective.derivatives import gradient
from thalweg.objective.supervised import Supervised
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

EXAMPLES, SMALL = 200, 4
RATE = 0.3
STARTS = 6
LEVEL = 0.02
"""Training loss at which the two are compared: else the flatter one might only have come further."""

STEPS = {SMALL: 1600, EXAMPLES: 700}
NAMES = {SMALL: f"batches of {SMALL}", EXAMPLES: f"all {EXAMPLES} examples"}
COLOURS = {SMALL: PALETTE[2], EXAMPLES: PALETTE[4]}
PUSH, NEAR = 0.5, 1.25
"""A network is pushed out of its minimum by such a share of every filter's length, and counts as back at
so many times the loss."""

STEEP, DOWN = "along the sharpest direction", "where the held-out loss falls"


@dataclass(frozen=True)
class _Ends:
    """Where a size of a batch led, a number for each start."""

    batch: int
    losses: np.ndarray
    steps: np.ndarray
    sharpness: np.ndarray
    relative: np.ndarray
    filters: np.ndarray
    held_out: np.ndarray
    right: np.ndarray
    back: np.ndarray
    steep: list[ShiftLine]
    lines: list[ShiftLine]

    @property
    def passes(self) -> np.ndarray:
        return self.steps * self.batch / EXAMPLES


def build(seed: int) -> Drawn:
    """Both sizes from the same starts, to the same training loss."""
    objective, test, starts = _problem(seed)
    ends = [_found(objective, test, starts, batch, seed) for batch in STEPS]
    small, large = ends
    return Drawn(
        (
            Panel(
                "batch-minima-lines",
                "Both surfaces through a minimum of each kind",
                "Training loss, and dashed held-out loss, along the sharpest direction and along that in "
                "which the held-out loss falls, for the first start. Dots mark the minima on the line.",
                _lines(ends),
            ),
            Panel(
                "batch-minima-measures",
                "Flatness and held-out loss",
                f"Each mark is one of {STARTS} starts, stopped at a training loss of {LEVEL:g}. Across: the "
                "largest eigenvalue, and the relative flatness, which no rescaling of layers changes. Up: "
                "the loss on digits that were held out.",
                _measures(ends),
            ),
        ),
        (
            _same_loss(ends),
            _flatter(small, large),
            _generalises(small, large),
            _shifted(small, large),
            _speed(small, large),
        ),
    )


def _problem(seed: int) -> tuple[Supervised, tuple[Tensor, Tensor], Tensor]:
    data = digits(torch.Generator().manual_seed(seed), EXAMPLES).one_hot()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        models = [
            nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10)) for _ in range(STARTS)
        ]
    starts = torch.stack([nn.utils.parameters_to_vector(m.parameters()) for m in models]).detach()
    return Supervised(models[0], _half_square, data.train), data.test, starts


def _half_square(output: Tensor, target: Tensor) -> Tensor:
    """½ Σ over the ten outputs, the mean over the examples."""
    return 5 * nn.functional.mse_loss(output, target)


def _found(
    objective: Supervised, test: tuple[Tensor, Tensor], starts: Tensor, batch: int, seed: int
) -> _Ends:
    plan = Plan(
        learning_rate=RATE,
        batch=None if batch == EXAMPLES else batch,
        steps=STEPS[batch],
        trials=STARTS,
        starts=starts.numpy(),
        points_every=STEPS[batch] // 35,
        seed=seed,
    )
    path = descend(objective, plan)["points"]
    losses = objective.loss(torch.tensor(path.values)).numpy()
    places = [_first(losses[:, k] < LEVEL) for k in range(STARTS)]
    points = torch.tensor(np.stack([path.values[i, k] for k, i in enumerate(places)]))
    tops, relative, filters, held_out, right, steep, lines = ([] for _ in range(7))
    for x in points:
        top = extreme_eigenvalues(objective, x, bottom=0, rtol=0.02, budget=25)
        tops.append(top.top[0].value)
        relative.append(relative_flatness(objective, x, probes=8).total.value)
        filters.append(filter_curvature(objective, x, probes=8).value)
        minimum = compare(objective, x, x, test=test).first
        held_out.append(minimum.test_loss.value)
        right.append(minimum.test_accuracy.value)
        ways = {STEEP: top.top_vector, DOWN: -gradient(objective.on(test), x)}
        found = shift_test(objective, test, x, ways, reach=1.0, nodes=15)
        steep.append(found[0])
        lines.append(found[1])
    return _Ends(
        batch,
        np.array([losses[i, k] for k, i in enumerate(places)]),
        np.array([path.steps[i] for i in places]),
        np.array(tops),
        np.array(relative),
        np.array(filters),
        np.array(held_out),
        np.array(right),
        _steps_back(objective, points, seed),
        steep,
        lines,
    )


def _first(which: np.ndarray) -> int:
    return int(np.argmax(which)) if which.any() else len(which) - 1


def _steps_back(objective: Supervised, points: Tensor, seed: int) -> np.ndarray:
    """Full steps after which a network pushed out of its minimum is back near its loss."""
    generator = torch.Generator().manual_seed(seed)
    pushed, most = [], 150
    for x in points:
        way = random_directions(objective, x, generator=generator, count=1).axes[0].to(x)
        pushed.append(x + PUSH * way)
    plan = Plan(
        learning_rate=RATE,
        steps=most,
        trials=len(points),
        starts=torch.stack(pushed).numpy(),
        points_every=1,
    )
    path = descend(objective, plan)["points"]
    losses = objective.loss(torch.tensor(path.values)).numpy()
    return np.array([path.steps[_first(losses[:, k] < NEAR * LEVEL)] for k in range(len(points))])


def _lines(ends: list[_Ends]) -> go.Figure:
    figure = make_subplots(cols=2, shared_yaxes=True, subplot_titles=[STEEP, DOWN])
    for e in ends:
        colour, name = COLOURS[e.batch], NAMES[e.batch]
        for column, both in enumerate((e.steep[0], e.lines[0]), 1):
            for losses, minimum, dash in (
                (both.train, both.train_minimum.value, "solid"),
                (both.held_out, both.held_out_minimum.value, "dash"),
            ):
                shown = column == 1 and dash == "solid"
                style = {"dash": dash, "legendgroup": name, "showlegend": shown}
                trace = line(both.steps, losses, name, colour, shape="spline", **style)
                figure.add_trace(trace, row=1, col=column)
                mark = dots([minimum], [np.interp(minimum, both.steps, losses)], name, colour)
                mark.update(showlegend=False, legendgroup=name)
                figure.add_trace(mark, row=1, col=column)
    styled(figure, "distance", "loss", height=380)
    figure.update_layout(margin={"t": 64}, legend={"y": 1.11})
    figure.update_yaxes(title_text="", row=1, col=2)
    return figure.update_yaxes(rangemode="tozero").update_annotations(font={"size": 13})


def _measures(ends: list[_Ends]) -> go.Figure:
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.06)
    for e in ends:
        for column, across in ((1, e.sharpness), (2, e.relative)):
            marks = dots(across, e.held_out, NAMES[e.batch], COLOURS[e.batch], size=10)
            marks.update(showlegend=column == 1, legendgroup=NAMES[e.batch])
            figure.add_trace(marks, row=1, col=column)
    styled(figure, "", "held-out loss", height=360)
    figure.update_yaxes(title_text="", row=1, col=2)
    figure.update_xaxes(title_text="largest eigenvalue", rangemode="tozero", row=1, col=1)
    return figure.update_xaxes(title_text="relative flatness", rangemode="tozero", row=1, col=2)


def _same_loss(ends: list[_Ends]) -> Claim:
    every = np.concatenate([e.losses for e in ends])
    return Claim(
        f"All {len(every)} runs are compared at the same training loss, from {every.min():.4f} to "
        f"{every.max():.4f}.",
        bool((every < LEVEL).all() and (every > 0.7 * LEVEL).all()),
    )


def _flatter(small: _Ends, large: _Ends) -> Claim:
    middle = math.sqrt(small.sharpness.mean() * large.sharpness.mean())
    found = [int((e.sharpness < middle).sum()) for e in (small, large)]
    ratios = [
        float(getattr(large, name).mean() / getattr(small, name).mean())
        for name in ("sharpness", "relative", "filters")
    ]
    gain = np.log(large.sharpness / small.sharpness)
    mean, error = mean_and_error(torch.tensor(gain))
    return Claim(
        f"Batches of {SMALL} find flatter ground: the largest eigenvalue is {small.sharpness.mean():.2f} "
        f"against {large.sharpness.mean():.2f}, lower by a factor of {ratios[0]:.2f}; the two measures that "
        f"no rescaling of layers changes say {ratios[1]:.2f} and {ratios[2]:.2f}. A minimum flatter than "
        f"{middle:.2f} is found from {found[0]} of {STARTS} starts by small batches, from {found[1]} by "
        "large ones.",
        mean > 2 * error and min(ratios) > 1 and found[0] > found[1],
    )


def _generalises(small: _Ends, large: _Ends) -> Claim:
    mean, error = mean_and_error(torch.tensor(large.held_out - small.held_out))
    more, apart = mean_and_error(torch.tensor(small.right - large.right))
    if abs(more) <= 2 * apart:
        counted = "no more of them are right"
    else:
        counted = f"yet {'more' if more > 0 else 'fewer'} of them are right"
    return Claim(
        f"On held-out digits its loss is lower by {mean:.4f} ± {error:.4f} ({small.held_out.mean():.4f} "
        f"against {large.held_out.mean():.4f}); {counted}: {100 * small.right.mean():.1f}% against "
        f"{100 * large.right.mean():.1f}%. Flatness shows in the loss here, not in that count.",
        mean > 2 * error,
    )


def _shifted(small: _Ends, large: _Ends) -> Claim:
    costs, gaps, bends = (
        [np.array([getattr(each, name).value for each in e.lines]) for e in (small, large)]
        for name in ("cost", "gap", "curvature")
    )
    mean, error = mean_and_error(torch.tensor(costs[1] - costs[0]))
    sharper, wider = bends[1].mean() / bends[0].mean(), (gaps[1].mean() / gaps[0].mean()) ** 2
    most = "the gap that is wider" if wider > sharper else "the ground that is steeper"
    return Claim(
        f"Along the line on which the held-out loss falls, its minimum lies {gaps[0].mean():.2f} from that "
        f"of the training loss at the flat minimum and {gaps[1].mean():.2f} at the sharp one, where the "
        f"curvature is {bends[0].mean():.2f} and {bends[1].mean():.2f}. That costs {costs[0].mean():.4f} and "
        f"{costs[1].mean():.4f}: the sharp one pays {mean:.4f} ± {error:.4f} more, and "
        f"it is mostly {most}.",
        mean > 2 * error,
    )


def _speed(small: _Ends, large: _Ends) -> Claim:
    mean, error = mean_and_error(torch.tensor(large.back - small.back).double())
    word = "later" if mean < 0 else "sooner"
    apart = f"{abs(mean):.0f} ± {error:.0f} steps {word}" if abs(mean) > 2 * error else "no sooner"
    return Claim(
        f"Small batches come to that loss after {small.passes.mean():.0f} passes through the data, large "
        f"ones after {large.passes.mean():.0f}, though they need {large.steps.mean():.0f} steps in place of "
        f"{small.steps.mean():.0f}. Pushed out by {PUSH:g} of each filter's length, full descent is back at "
        f"{NEAR * LEVEL:g} in {small.back.mean():.0f} steps at the flat minimum, in "
        f"{large.back.mean():.0f} at the sharp one: the flat one takes it in {apart}.",
        bool(small.passes.mean() < 0.2 * large.passes.mean()),
    )


EXHIBIT = Exhibit(
    "batch-minima",
    "Small batches find flat minima, large ones sharp ones",
    "The same network, the same starts, the same learning rate, stopped at the same training loss: only "
    "the number of examples in a step differs. The noise of small batches throws a run out of any "
    "hollow that is narrower than its steps, so that it comes to rest where the ground is wide. The "
    "held-out loss is a surface much like that of the training loss, but moved a little. In a wide valley "
    "a move costs little; between steep walls it costs much. How wide a valley is must be asked in a measure "
    "that cannot be cheated: scaling one layer up and the next one down leaves a ReLU network what it "
    "is and changes the largest eigenvalue at will.",
    "The share of digits that are right differs less than the loss does. What does a squared error count "
    "that a share of right answers does not?",
    build,
)
