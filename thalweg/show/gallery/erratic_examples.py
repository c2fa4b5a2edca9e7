"""A poor minimum that a few erratic examples make, and how they are found."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.measure.examples import PerExample, per_example
from thalweg.objective.derivatives import gradient
from thalweg.objective.supervised import Supervised
from thalweg.run.descend import descend
from thalweg.run.ends import Proportion
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

ORDINARY, ERRATIC = 57, 3
FAR = 20.0
"""How far off the erratic inputs lie; their labels are wrong."""

RATE = 0.5
STEPS = 600
TRIALS = 30
BATCH = 4
CUT = (-0.6, 2.2)
CLOSE = (-0.1, 0.2)
"""First weights that are drawn, and those drawn once more from nearby."""

GOOD, POOR = PALETTE[2], PALETTE[4]


@dataclass(frozen=True)
class _Ways:
    """Ends ``(trials, 2)`` of descent on all examples, without the erratic, and by small batches."""

    full: np.ndarray
    without: np.ndarray
    small: np.ndarray


def build(seed: int) -> Drawn:
    """One neuron of two weights under a squared error, with and without three of its examples."""
    inputs, targets = _examples(seed)
    everything = _loss(inputs, targets)
    ordinary = everything.on((inputs[:ORDINARY], targets[:ORDINARY]))
    ways = _descents(everything, ordinary, seed)
    poor = _lowest(everything, ways.full[ways.full[:, 0] < 0.5])
    good = _lowest(everything, ways.full[ways.full[:, 0] >= 0.5], ways.small)
    told = per_example(everything, poor)
    return Drawn(
        (
            Panel(
                "erratic-examples-cut",
                "The loss of one neuron, with three erratic examples and without",
                "Against its first weight, the second as at the poor minimum. The slope of the three is "
                "steep in the middle and nothing elsewhere: just there it outweighs that "
                "of all the others. On the right the same from nearby.",
                _cut(everything, inputs, targets, poor),
            ),
            Panel(
                "erratic-examples-pulls",
                "Every example at the poor minimum",
                "Across: the length of its gradient. Up: how a step that serves it changes the loss of "
                "the others, to first order: below 0 it works against them.",
                _pulls(told),
            ),
        ),
        (
            _is_minimum(everything, poor, good),
            _vanishes(ordinary, poor, ways),
            _found(told),
            _small_batches(ways),
        ),
    )


def _examples(seed: int) -> tuple[Tensor, Tensor]:
    """Two classes that a line tells apart, and a few inputs far off on the wrong side."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(ORDINARY, 2, generator=generator, dtype=torch.float64)
    classes = (inputs[:, 0] > 0).double()
    inputs[:, 0] += 0.3 * (2 * classes - 1)
    far = 0.5 * torch.randn(ERRATIC, 2, generator=generator, dtype=torch.float64)
    sides = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    far[:, 0] += FAR * sides
    targets = torch.cat([classes, (sides < 0).double()])
    return torch.cat([inputs, far]), targets[:, None]


def _loss(inputs: Tensor, targets: Tensor) -> Supervised:
    with torch.random.fork_rng(devices=[]):
        model = nn.Linear(2, 1, bias=False).double()
    return Supervised(model, _squared, (inputs, targets))


def _squared(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.mse_loss(torch.sigmoid(output), target)


def _descents(everything: Supervised, ordinary: Supervised, seed: int) -> _Ways:
    generator = torch.Generator().manual_seed(seed)
    starts = 0.3 * torch.randn(TRIALS, 2, generator=generator, dtype=torch.float64)
    starts[:, 0] -= 0.2

    def ends(objective: Supervised, batch: int | None) -> np.ndarray:
        plan = Plan(
            learning_rate=RATE,
            steps=STEPS,
            batch=batch,
            trials=TRIALS,
            starts=starts.numpy(),
            seed=seed,
        )
        return descend(objective, plan).end["points"]

    return _Ways(ends(everything, None), ends(ordinary, None), ends(everything, BATCH))


def _lowest(objective: Supervised, *ends: np.ndarray) -> Tensor:
    """The lowest of the first ends that there are."""
    points = torch.tensor(next(each for each in ends if len(each)))
    return points[int(objective.loss(points).argmin())]


def _cut(everything: Supervised, inputs: Tensor, targets: Tensor, poor: Tensor) -> go.Figure:
    figure = make_subplots(cols=2, column_widths=[0.62, 0.38], horizontal_spacing=0.1)

    def drawn(objective: Supervised, span: tuple[float, float], **style: str) -> go.Scatter:
        across = torch.linspace(*span, 401, dtype=torch.float64)
        points = torch.stack([across, poor[1].expand_as(across)], 1)
        return line(across, objective.loss(points).numpy(), **style)

    few = slice(ORDINARY, None)
    for objective, name, colour, dash in (
        (everything.on((inputs[few], targets[few])), f"the {ERRATIC} alone", INK, "dot"),
        (everything.on((inputs[:ORDINARY], targets[:ORDINARY])), "all the others", GOOD, "dash"),
        (everything, "all examples", POOR, "solid"),
    ):
        figure.add_trace(drawn(objective, CUT, name=name, colour=colour, dash=dash), row=1, col=1)
    close = drawn(everything, CLOSE, name="all examples", colour=POOR)
    figure.add_trace(close.update(showlegend=False), row=1, col=2)
    for column in (1, 2):
        name = "the poor minimum"
        mark = dots([float(poor[0])], [everything.value(poor)], name, POOR, size=10)
        figure.add_trace(mark.update(showlegend=column == 1), row=1, col=column)
    styled(figure, "first weight", "", height=400)
    return figure.update_yaxes(rangemode="tozero", title_text="loss", row=1, col=1)


def _pulls(told: PerExample) -> go.Figure:
    figure = go.Figure()
    wild = np.isin(told.rows, np.arange(ORDINARY, ORDINARY + ERRATIC))
    for which, name, colour in ((~wild, "ordinary", INK), (wild, "erratic", POOR)):
        norms, pulls = told.gradient_norms[which], told.pull[which]
        figure.add_trace(dots(norms, pulls, name, colour, size=9))
    return styled(figure, "‖∇f‖ of the example", "pull", height=340)


def _is_minimum(everything: Supervised, poor: Tensor, good: Tensor) -> Claim:
    slope = float(gradient(everything, poor).norm())
    ends = extreme_eigenvalues(everything, poor)
    bend = ends.bottom[0].value
    high, low = everything.value(poor), everything.value(good)
    return Claim(
        f"There is a poor minimum: at ({poor[0]:.2f}, {poor[1]:.2f}) the gradient is {slope:.1e} long and "
        f"the smallest curvature {bend:.3f}, and the loss of {high:.3f} is {high / low:.1f} times the "
        f"{low:.3f} of the good one.",
        slope < 1e-3 * bend and bend > 0 and high > 2 * low,
    )


def _vanishes(ordinary: Supervised, poor: Tensor, ways: _Ways) -> Claim:
    slope = float(gradient(ordinary, poor).norm())
    caught = int((ways.full[:, 0] < 0.5).sum())
    left = int((ways.without[:, 0] < 0.5).sum())
    return Claim(
        f"Descent on all {ORDINARY + ERRATIC} examples is caught there in {caught} of {TRIALS} trials. "
        f"Without {ERRATIC} of the examples the gradient at that place is {slope:.2f} long, and from the "
        f"same starts {left or 'none'} of {TRIALS} descents ends there.",
        Proportion(caught, TRIALS).interval[0] > 0.5 and left == 0 and slope > 0.05,
    )


def _found(told: PerExample) -> Claim:
    named = set(told.erratic_rows().tolist())
    wild = set(range(ORDINARY, ORDINARY + ERRATIC))
    others = np.delete(told.gradient_norms, sorted(wild))
    longest = float(np.sort(told.gradient_norms)[::-1][:ERRATIC].min() / np.median(others))
    return Claim(
        f"At the poor minimum {len(named & wild)} of the {ERRATIC} are told by their gradients, which are "
        f"{longest:.0f} times as long as the median of the others and point against them; of the "
        f"{ORDINARY} ordinary ones {len(named - wild) or 'none'} is named with them.",
        named == wild,
    )


def _small_batches(ways: _Ways) -> Claim:
    free = Proportion(int((ways.small[:, 0] >= 0.5).sum()), TRIALS)
    low, _ = free.interval
    _, other = Proportion(int((ways.full[:, 0] >= 0.5).sum()), TRIALS).interval
    return Claim(
        f"With {BATCH} examples a step, at the same rate, {free.successes} of {TRIALS} trials end in the "
        "good minimum: most steps do not see an erratic example, and follow the others out.",
        low > other,
    )


EXHIBIT = Exhibit(
    "erratic-examples",
    "A few erratic examples make a poor minimum",
    "One neuron learns two classes that a line tells apart. Three inputs lie far off and have the wrong "
    "label. Such an example has a long gradient, as its input multiplies it, but only while the neuron is "
    "undecided about it: three of them hold the weights in a hollow where they themselves are half "
    "content, against all the others together. Their sum is level there, so that descent on the mean sees "
    "nothing to do. The examples one by one tell the story: a few long gradients against many "
    "short ones. A small batch mostly draws none of the few.",
    "The erratic examples are fitted no better in the good minimum than in the poor one. Why does their "
    "pull not hold the weights there?",
    build,
)
