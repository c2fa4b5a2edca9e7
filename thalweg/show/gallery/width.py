"""Final losses of many restarts against the width of a small network."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from thalweg.objective.supervised import Supervised
from thalweg.run.descend import descend
from thalweg.run.ends import Proportion
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

WIDTHS = (3, 5, 10, 20)
RESTARTS = 100
STEPS = 400
MORE = 400
RATE = 0.05
POOR = 0.05
"""A loss above this share of the targets' variance is poor."""

LEAST = 1e-6
"""What is below is drawn here: a mark on a logarithmic axis must have a height."""

GOOD, BAD = PALETTE[2], PALETTE[1]


@dataclass(frozen=True)
class _Ends:
    """Of a width: where its restarts end, and their losses as shares of the variance of the targets."""

    width: int
    objective: Supervised
    points: np.ndarray
    losses: np.ndarray

    @property
    def poor(self) -> Proportion:
        """How many did not learn the data."""
        return Proportion(int((self.losses > POOR).sum()), len(self.losses))


def build(seed: int) -> Drawn:
    """A hundred networks of each width, trained at once as the rows of one tensor."""
    data = _data()
    ends = [_ends(width, data, seed) for width in WIDTHS]
    return Drawn(
        (
            Panel(
                "width-losses",
                f"{RESTARTS} restarts at each width",
                f"A mark is a restart. Above the dotted line, {POOR:.0%} of the targets' variance, it has "
                "not learnt the data. Losses below a millionth are drawn as that.",
                _losses(ends, seed),
            ),
            Panel(
                "width-shares",
                "The share that ends poorly",
                "With intervals of 95%.",
                _shares(ends),
            ),
            Panel(
                "width-fits",
                "What a poor minimum looks like",
                f"Restarts of width {WIDTHS[0]} that ended poorly, and the best one. A unit makes a kink; "
                "where the kink has left the data, or the unit is off on all of them, nothing calls it back.",
                _fits(ends[0], data),
            ),
        ),
        (_can(ends), _at_rest(ends[0], seed), _fades(ends)),
    )


def _data() -> tuple[Tensor, Tensor]:
    """A zigzag of three straight pieces: max(0, x + 1) − 2 max(0, x + ⅓) + 2 max(0, x − ⅓)."""
    inputs = torch.linspace(-1, 1, 33)[:, None]
    kinks, slopes = torch.tensor([-1.0, -1 / 3, 1 / 3]), torch.tensor([1.0, -2.0, 2.0])
    targets = (torch.relu(inputs - kinks) * slopes).sum(1, keepdim=True)
    return inputs, targets - targets.mean()


def _net(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 1))


def _starts(width: int, seed: int) -> Tensor:
    """Points ``(restarts, dim)`` as torch initialises such a network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.stack(
            [
                nn.utils.parameters_to_vector(_net(width).parameters()).detach()
                for _ in range(RESTARTS)
            ]
        )


def _ends(width: int, data: tuple[Tensor, Tensor], seed: int) -> _Ends:
    with torch.random.fork_rng(devices=[]):
        objective = Supervised(_net(width), nn.functional.mse_loss, data)
    starts = _starts(width, seed)
    plan = Plan(
        optimizer="adam",
        learning_rate=RATE,
        schedule="cosine",
        steps=STEPS,
        trials=RESTARTS,
        starts=starts,
        dtype="float32",
        seed=seed,
    )
    return _trained(width, objective, plan)


def _trained(width: int, objective: Supervised, plan: Plan) -> _Ends:
    end = descend(objective, plan).end
    _, targets = objective.data.fetch(slice(0, objective.examples))
    return _Ends(width, objective, end["points"], end["losses"] / float(targets.var(correction=0)))


def _outputs(ends: _Ends, number: int) -> np.ndarray:
    point = torch.tensor(ends.points[number])
    return torch.cat([output for output, _ in ends.objective.outputs(point)])[:, 0].numpy()


def _losses(ends: list[_Ends], seed: int) -> go.Figure:
    """Each width a column, its restarts spread over it so that none hides another."""
    spread = np.random.default_rng(seed)
    figure = go.Figure()
    for place, each in enumerate(ends):
        x = place + spread.uniform(-0.3, 0.3, RESTARTS)
        for which, name, colour in (
            (each.losses <= POOR, "good", GOOD),
            (each.losses > POOR, "poor", BAD),
        ):
            marks = dots(
                x[which],
                np.maximum(each.losses[which], LEAST),
                name,
                colour,
                size=6,
                rim=0.5,
                opacity=0.8,
            )
            figure.add_trace(marks.update(showlegend=place == 0, legendgroup=name))
    figure.add_hline(y=POOR, line={"dash": "dot", "width": 1.2, "color": INK})
    styled(figure, "width of the hidden layer", "loss / variance", height=400)
    figure.update_xaxes(tickvals=list(range(len(ends))), ticktext=[str(e.width) for e in ends])
    return figure.update_yaxes(type="log", tickformat="", exponentformat="power", dtick=1)


def _shares(ends: list[_Ends]) -> go.Figure:
    values = [each.poor.value for each in ends]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [each.poor.interval[1] - each.poor.value for each in ends],
        "arrayminus": [each.poor.value - each.poor.interval[0] for each in ends],
        "color": BAD,
        "width": 4,
    }
    figure = go.Figure(line(WIDTHS, values, "poor", BAD, error_y=bars))
    figure.update_traces(mode="lines+markers", marker={"size": 8})
    styled(figure, "width of the hidden layer", "restarts that end poorly", height=320)
    figure.update_xaxes(type="log", tickvals=WIDTHS)
    return figure.update_yaxes(range=[0, 1.05], tickformat=".0%")


def _fits(ends: _Ends, data: tuple[Tensor, Tensor]) -> go.Figure:
    x, y = (column[:, 0].numpy() for column in data)
    figure = go.Figure(dots(x, y, "data", INK, size=7))
    order = np.argsort(ends.losses)
    looks = (
        ("the best", order[0], GOOD, "solid"),
        ("poor", order[RESTARTS // 2], BAD, "solid"),
        ("poor too", order[3 * RESTARTS // 4], PALETTE[3], "dash"),
    )
    for name, number, colour, dash in looks:
        figure.add_trace(line(x, _outputs(ends, int(number)), name, colour, dash=dash))
    return styled(figure, "input", "output", height=340)


def _can(ends: list[_Ends]) -> Claim:
    best = float(ends[0].losses.min())
    return Claim(
        f"Width {WIDTHS[0]} is enough: the data come from such a network, and the best restart leaves "
        f"{'less than 0.01%' if best < 1e-4 else f'{100 * best:.2g}%'} of the variance.",
        best < POOR / 5,
    )


def _at_rest(ends: _Ends, seed: int) -> Claim:
    """The poor ones go on from where they are, at the full rate."""
    poor = ends.points[ends.losses > POOR]
    plan = Plan(
        optimizer="adam",
        learning_rate=RATE,
        steps=MORE,
        trials=len(poor),
        starts=poor,
        dtype="float32",
        seed=seed,
    )
    still = _trained(ends.width, ends.objective, plan).poor
    low, high = still.interval
    return Claim(
        f"The poor ones are not just slow: of the {len(poor)} of width {ends.width}, "
        f"{100 * still.value:.0f}% ({100 * low:.0f}% to {100 * high:.0f}%) are still poor after {MORE} "
        "steps more at the full rate.",
        low > 0.8,
    )


def _fades(ends: list[_Ends]) -> Claim:
    first, last = ends[0].poor, ends[-1].poor
    (low, high), (other_low, other_high) = first.interval, last.interval
    return Claim(
        f"{100 * first.value:.0f}% of the restarts of width {WIDTHS[0]} end poorly "
        f"({100 * low:.0f}% to {100 * high:.0f}%), {100 * last.value:.0f}% of those of width "
        f"{WIDTHS[-1]} ({100 * other_low:.0f}% to {100 * other_high:.0f}%).",
        low > other_high + 0.2,
    )


EXHIBIT = Exhibit(
    "width",
    "Why poor minima fade as networks widen",
    "The data come from a network of three hidden units, so a network of three can fit them "
    "without error. Most of a hundred that are trained from different starts do not: they come "
    "to rest with a piece of the curve missing. Each unit bends the line once. If its kink has "
    "wandered off the data, or it is off on all of them, no small change of its weights helps, "
    "and there is no unit to take its place: a poor minimum. A wider network has units to "
    "spare. For it to be stuck none of them may offer a way down, and the more there are the "
    "less likely that is. Good minima are no easier to see from afar in a wide network; it is "
    "the poor ones that become rare.",
    "The widest network has more than six times the units that it needs. What could it fit, besides "
    "the curve, if the targets were noisy?",
    build,
)
