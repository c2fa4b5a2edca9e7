"""Every learning-rate schedule, and where it leaves a noisy descent."""

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from thalweg.objective import landscapes
from thalweg.run.descend import descend
from thalweg.run.ends import rms_distance
from thalweg.run.plan import Plan
from thalweg.run.schedule import CYCLES_MOMENTUM, SCHEDULES
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

NAMES = ("constant", *SCHEDULES)
STEPS = 400
RATE = 0.1
NOISE = 1.0
START = 10.0
DIM = 1000
"""Coordinates of the quadratic ½‖x‖²: each is a trial of its own, and one loss can steer ``plateau``."""

SHOWN = {
    "constant": INK,
    "step": PALETTE[1],
    "cosine": PALETTE[2],
    "warm-restarts": PALETTE[3],
    "plateau": PALETTE[0],
}


@dataclass(frozen=True)
class _Run:
    """Rates ``(steps,)``, root mean square distances ``(steps + 1,)``, and the last with its error."""

    rates: np.ndarray
    distances: np.ndarray
    end: float
    error: float

    @property
    def expected(self) -> float:
        """``m ← (1 − η)² m + η² s²`` over the rates that were used, m the mean square distance."""
        square = START**2
        for rate in self.rates:
            square = (1 - rate) ** 2 * square + (rate * NOISE) ** 2
        return math.sqrt(square)


def build(seed: int) -> Drawn:
    """Each schedule of the library with what it is given by default, over the same run."""
    runs = {name: _run(name, seed) for name in NAMES}
    return Drawn(
        (
            Panel(
                "schedules-rates",
                "The rate over a run",
                f"Each over {STEPS} steps; the grid line at the top of each is a rate of {RATE:g}. "
                "What torch calls linear warms up unless told otherwise.",
                _rates(runs),
            ),
            Panel(
                "schedules-distances",
                "The distance over the run",
                "On a bowl with a noisy gradient. A constant rate falls to its noise floor and stays.",
                _distances(runs),
            ),
            Panel(
                "schedules-ends",
                "Where each ends",
                f"Root mean square distance from the minimum over {DIM} coordinates, with one standard "
                "error, and what follows from the rates.",
                _ends(runs),
            ),
        ),
        (_theory(runs), _floor(runs), _vanishing(runs), _restarts(runs), _plateau(runs)),
    )


def _run(name: str, seed: int) -> _Run:
    plan = Plan(
        learning_rate=RATE,
        schedule=name,
        schedule_options={"cycle_momentum": False} if name in CYCLES_MOMENTUM else {},
        noise=f"gaussian:{NOISE}",
        steps=STEPS,
        starts=(START,) * DIM,
        seed=seed,
    )
    run = descend(landscapes.quadratic((1.0,) * DIM), plan)
    squares = 2 * run["loss"].values / DIM
    end, error = rms_distance(run.end["points"].reshape(-1, 1), (0.0,))
    return _Run(run["learning_rate"].values, np.sqrt(squares), end, error)


def _rates(runs: dict[str, _Run]) -> go.Figure:
    columns = 3
    rows = -(-len(runs) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_xaxes=True,
        shared_yaxes=True,
        subplot_titles=list(runs),
        vertical_spacing=0.09,
        horizontal_spacing=0.05,
    )
    for place, (name, run) in enumerate(runs.items()):
        row, column = place // columns + 1, place % columns + 1
        filled = line(np.arange(STEPS), run.rates, name, SHOWN.get(name, PALETTE[5]))
        figure.add_trace(filled.update(fill="tozeroy", showlegend=False), row=row, col=column)
    styled(figure, "", "", height=460)
    figure.update_annotations(font={"size": 12, "color": "#6b7078"})
    figure.update_xaxes(tickvals=[0, STEPS // 2], range=[0, STEPS])
    figure.update_yaxes(tickvals=[0, RATE], range=[0, 1.12 * RATE])
    return figure.update_layout(margin={"t": 34, "l": 44})


def _distances(runs: dict[str, _Run]) -> go.Figure:
    figure = go.Figure()
    for name, colour in SHOWN.items():
        figure.add_trace(line(np.arange(STEPS + 1), runs[name].distances, name, colour, width=1.7))
    styled(figure, "step", "distance", height=360)
    return figure.update_yaxes(type="log", tickvals=[0.01, 0.03, 0.1, 0.3, 1, 3, 10])


def _ends(runs: dict[str, _Run]) -> go.Figure:
    order = sorted(runs, key=lambda name: -runs[name].end)
    expected = [runs[name].expected for name in order]
    seen = [runs[name].end for name in order]
    bars = {
        "type": "data",
        "array": [runs[name].error for name in order],
        "color": PALETTE[0],
        "width": 4,
    }
    figure = go.Figure(
        go.Scatter(
            x=expected,
            y=order,
            name="from the rates",
            mode="markers",
            marker={"symbol": "line-ns", "size": 15, "line": {"width": 2, "color": PALETTE[2]}},
        )
    )
    figure.add_trace(
        go.Scatter(
            x=seen,
            y=order,
            name="seen",
            mode="markers",
            marker={"size": 8, "color": PALETTE[0]},
            error_x=bars,
        )
    )
    styled(figure, "distance at the end", "", height=420)
    figure.update_yaxes(nticks=len(order), tickmode="linear")
    return figure.update_xaxes(type="log", tickvals=[0.05, 0.07, 0.1, 0.15, 0.2, 0.3])


def _theory(runs: dict[str, _Run]) -> Claim:
    off = {name: (run.end - run.expected) / run.error for name, run in runs.items()}
    worst = max(off, key=lambda name: abs(off[name]))
    return Claim(
        f"All {len(runs)} end where the rates say, by m ← (1 − η)²m + η²s² for the mean square distance: "
        f"the farthest off is {worst}, by {abs(off[worst]):.1f} standard errors.",
        all(abs(z) < 4.5 for z in off.values()),
    )


def _floor(runs: dict[str, _Run]) -> Claim:
    run = runs["constant"]
    floor = math.sqrt(RATE * NOISE**2 / (2 - RATE))
    return Claim(
        f"A constant rate ends {run.end:.3f} ± {run.error:.3f} away: its noise floor √(ηs²/(2 − η)) is "
        f"{floor:.3f}, and more steps would not help.",
        abs(run.end - floor) < 4.5 * run.error,
    )


def _vanishing(runs: dict[str, _Run]) -> Claim:
    names = ("polynomial", "cosine", "one-cycle")
    farthest = max(runs[name].end for name in names)
    ratio = runs["constant"].end / farthest
    return Claim(
        f"Those whose rate goes to nothing ({', '.join(names)}) end at least {ratio:.1f} times nearer to "
        "the minimum than the constant rate.",
        ratio > 2,
    )


def _restarts(runs: dict[str, _Run]) -> Claim:
    run = runs["warm-restarts"]
    quarter = STEPS // 4
    before = float(run.distances[2 * quarter])
    after = float(run.distances[2 * quarter : 3 * quarter].max())
    return Claim(
        f"A warm restart throws away what was gained: from {before:.3f} before it the distance goes up to as"
        f" much as {after:.3f}, on the way to the next low.",
        after > 1.4 * before and run.distances[-1] < 1.5 * before,
    )


def _plateau(runs: dict[str, _Run]) -> Claim:
    rates = runs["plateau"].rates
    drops = np.flatnonzero(np.diff(rates) < 0) + 1
    first = int(drops[0]) if drops.size else STEPS
    floor = math.sqrt(RATE * NOISE**2 / (2 - RATE))
    there = float(runs["plateau"].distances[first])
    return Claim(
        f"Plateau lowers the rate when the loss has stopped falling, first at step {first}, at {there:.3f}, "
        f"{there / floor:.2f} times the floor; then again and again.",
        drops.size >= 2 and abs(there / floor - 1) < 0.15,
    )


EXHIBIT = Exhibit(
    "schedules",
    "Every learning-rate schedule",
    "A large rate travels fast and ends far out, for the noise of its last steps is never undone. A small "
    "rate ends close by and takes long to get there. A schedule wants both: large steps first, small "
    "ones last. On a bowl with noise of constant size one can compute where each ends, for a step "
    "of rate η shrinks the mean square distance by (1 − η)² and adds η²s². So what counts at the "
    "end are the rates of the last few steps, as many as 1/η. Cyclic rates and restarts rise again: on a "
    "bowl that is a waste, but in a country with many pits the rise is what gets descent out of one.",
    "The step schedule drops the rate to a tenth after each third of the run. If you may make one of "
    "the three parts longer, which one would you choose on this bowl?",
    build,
)
