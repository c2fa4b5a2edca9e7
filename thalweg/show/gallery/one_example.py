"""One-example losses and their mean: a minimum of the one is none of the other."""

import math

import numpy as np
import plotly.graph_objects as go
import torch

from thalweg.objective import landscapes
from thalweg.objective.dense import gradients_and_hessians
from thalweg.objective.landscapes import FiniteSum
from thalweg.run.descend import descend
from thalweg.run.ends import Proportion
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, curve, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

RATE = 0.01
STEPS = 1500
TRIALS = 500
NEAR = 0.01
"""So close to a minimum of its own an example counts as being there."""

MEAN, FULL, SGD = PALETTE[0], PALETTE[1], PALETTE[2]


def build(seed: int) -> Drawn:
    """The finite sum of the catalogue, by one example a step and by all of them."""
    total = landscapes.finite_sum()
    plan = {"learning_rate": RATE, "steps": STEPS, "trials": TRIALS, "seed": seed}
    single = descend(total, Plan(**plan, batch=1)).end["points"][:, 0]
    full = descend(total, Plan(**plan)).end["points"][:, 0]
    shares = {"single": _at_their_own(total, single), "full": _at_their_own(total, full)}
    return Drawn(
        (
            Panel(
                "one-example-losses",
                "Each example's loss, and their mean",
                f"{total.examples} examples in grey, the mean in colour; marks are minima. Where the "
                "walls of one example stand, others slope down.",
                _losses(total),
            ),
            Panel(
                "one-example-ends",
                "Where descent on the mean and SGD end",
                f"{TRIALS} trials each, started anywhere between −3 and 3. SGD takes one example a step.",
                _ends(single, full),
            ),
            Panel(
                "one-example-shares",
                "How many examples are at a minimum of their own",
                f"Of the {total.examples} examples, at the places where trials ended: within {NEAR:g} of one "
                "of their own minima.",
                _shares(shares, total),
            ),
        ),
        (
            _none_in_common(total),
            _slopes(total),
            _better(single, full),
            _own(total, shares["single"], single),
        ),
    )


def _own_minima(total: FiniteSum) -> list[np.ndarray]:
    return [np.array(total.example(i).minima)[:, 0] for i in range(total.examples)]


def _at_their_own(total: FiniteSum, points: np.ndarray) -> np.ndarray:
    """How many examples ``(points,)`` are within NEAR of a minimum of their own."""
    minima = _own_minima(total)
    return sum((np.abs(points[:, None] - own).min(1) < NEAR).astype(int) for own in minima)  # pyright: ignore[reportReturnType]


def _losses(total: FiniteSum) -> go.Figure:
    low, high = -1.35, 1.35
    figure = go.Figure()
    for i in range(total.examples):
        example = total.example(i)
        x, f = curve(example, low, high, 401)
        thin = line(x, f, "one example", INK, width=1, opacity=0.45, legendgroup="one")
        figure.add_trace(thin.update(showlegend=i == 0))
        places = [p for (p,) in example.minima if low < p < high]
        heights = example.loss(torch.tensor(places, dtype=torch.float64)[:, None]).numpy()
        marks = dots(places, heights, "its minima", INK, size=4, rim=0, legendgroup="one")
        figure.add_trace(marks.update(showlegend=False, opacity=0.7))
    x, f = curve(total, low, high, 801)
    figure.add_trace(line(x, f, "mean", MEAN, width=3))
    places = [p for (p,) in total.minima if low < p < high]
    heights = total.loss(torch.tensor(places, dtype=torch.float64)[:, None]).numpy()
    figure.add_trace(dots(places, heights, "minima of the mean", MEAN, size=9))
    return styled(figure, "x", "loss", height=420)


def _ends(single: np.ndarray, full: np.ndarray) -> go.Figure:
    figure = go.Figure()
    for points, name, colour in ((full, "all examples a step", FULL), (single, "one", SGD)):
        counts, edges = np.histogram(points, bins=np.linspace(-2.0, 2.0, 81))
        figure.add_trace(
            go.Bar(
                x=np.round((edges[1:] + edges[:-1]) / 2, 3).tolist(),
                y=(counts / len(points)).tolist(),
                name=name,
                marker={"color": colour, "line": {"width": 0}},
                opacity=0.75,
                width=0.05,
            )
        )
    styled(figure, "where trials end", "share of trials", height=340)
    return figure.update_layout(barmode="overlay").update_yaxes(tickformat=".0%")


def _shares(counts: dict[str, np.ndarray], total: FiniteSum) -> go.Figure:
    figure = go.Figure()
    several = np.arange(total.examples + 1)
    for key, name, colour in (("full", "all examples a step", FULL), ("single", "one", SGD)):
        shares = np.bincount(counts[key], minlength=len(several)) / len(counts[key])
        figure.add_trace(
            go.Bar(x=several.tolist(), y=shares.tolist(), name=name, marker={"color": colour})
        )
    styled(figure, "number of examples", "share of trials", height=320)
    figure.update_xaxes(tickvals=several.tolist())
    return figure.update_yaxes(tickformat=".0%")


def _none_in_common(total: FiniteSum) -> Claim:
    mean = np.array(total.minima)[:, 0]
    own = _own_minima(total)
    apart = min(float(np.abs(mean[:, None] - o).min()) for o in own)
    count = sum(len(o) for o in own)
    return Claim(
        f"The mean has {len(mean)} minima and the {total.examples} examples have {count}, and no "
        f"minimum of an example is one of the mean: the nearest two are {apart:.4f} apart.",
        apart > 1e-6 and len(mean) > 1,
    )


def _slopes(total: FiniteSum) -> Claim:
    """At the lowest minimum of the mean the examples' slopes cancel; none of them vanishes."""
    places = torch.tensor(total.minima, dtype=torch.float64)
    lowest = places[total.loss(places).argmin()][None]
    slopes = [
        abs(float(gradients_and_hessians(total.example(i), lowest)[0]))
        for i in range(total.examples)
    ]
    mean = abs(float(gradients_and_hessians(total, lowest)[0]))
    return Claim(
        f"At the lowest minimum of the mean the mean is level, while the slopes of the "
        f"examples are from {min(slopes):.2f} to {max(slopes):.2f} in size: they cancel.",
        mean < 1e-9 and min(slopes) > 1e-3,
    )


def _better(single: np.ndarray, full: np.ndarray) -> Claim:
    near = [Proportion(int((np.abs(ends) < 0.75).sum()), len(ends)) for ends in (single, full)]
    (low, high), (_, other) = near[0].interval, near[1].interval
    return Claim(
        f"SGD ends within 0.75 of the centre in {100 * near[0].value:.1f}% of the trials "
        f"({100 * low:.1f}% to {100 * high:.1f}%), descent on the mean, at the same rate, in "
        f"{100 * near[1].value:.1f}%.",
        low > other + 0.3,
    )


def _own(total: FiniteSum, counts: np.ndarray, ends: np.ndarray) -> Claim:
    """Against points thrown at random over the range where SGD ends."""
    share = float(counts.mean()) / total.examples
    error = float(counts.std(ddof=1)) / total.examples / math.sqrt(len(counts))
    low, high = np.quantile(ends, (0.01, 0.99))
    chance = float(_at_their_own(total, np.linspace(low, high, 20_001)).mean()) / total.examples
    return Claim(
        f"Where SGD ends {100 * share:.1f}% ± {100 * error:.1f}% of the examples are at a minimum of "
        f"their own; at a place thrown at random there it would be {100 * chance:.1f}%. It has solved the "
        "mean, not the examples.",
        share - 4 * error < 0.2 and share < 3 * chance and bool((counts < total.examples).all()),
    )


EXHIBIT = Exhibit(
    "one-example",
    "What is a minimum for one example is none for the mean",
    "SGD never sees the loss that it descends. Each step follows the slope of a few examples, here of one. "
    "The losses of single examples have pits too, and deeper ones than their mean, but in different "
    "places: where one example is at rest, the others push on. So SGD does not settle into the pits of any "
    "example, nor into the shallow pits that are left in the mean, for there the examples' "
    "slopes cancel without vanishing, and what does not vanish is noise. It is at rest nowhere, and "
    "stays longest where the mean is low over a whole neighbourhood.",
    "Suppose that all examples had a minimum at the same place, as when a network fits all its data. How "
    "much noise would SGD feel there?",
    build,
)
