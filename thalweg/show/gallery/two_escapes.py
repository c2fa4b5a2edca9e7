"""Two ways in which noise gets descent out: smoothing and thermal activation, told apart."""

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from thalweg.objective import landscapes
from thalweg.objective.landscape import Landscape
from thalweg.objective.noise import Uniform
from thalweg.objective.smoothed import Smoothed
from thalweg.run.descend import descend
from thalweg.run.ends import Proportion
from thalweg.run.plan import Plan
from thalweg.run.statistics import ExitTime
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, animated, curve, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.theory import first_passage_time, thermal_diffusion
from thalweg.theory.domain import read_domain
from thalweg.theory.guarantee import constants_of

__all__ = ["EXHIBIT"]

DIFFUSION = 0.16
"""D = ηs²/2, the same at every rate, so that thermal activation takes the same time η·steps."""

RATES = (0.004, 0.006, 0.009, 0.012, 0.015, 0.02)
SMALL, LARGE = RATES[0], RATES[-1]
START, ARRIVED = 2.0, 0.5
TRIALS = 300
BALLS = 30
LONG = 4
"""Times the thermal time that a run lasts."""

THERMAL, SMOOTH = PALETTE[1], PALETTE[2]


@dataclass(frozen=True)
class _Arrival:
    """From the start to near the centre at a rate, in time η·steps."""

    rate: float
    time: float
    error: float
    paths: np.ndarray


def build(seed: int) -> Drawn:
    """The same diffusion by many small steps and by few large ones."""
    spiky = landscapes.spiky()
    arrivals = [_arrival(spiky, rate, seed) for rate in RATES]
    thermal = first_passage_time(_values, START, ARRIVED, DIFFUSION)
    smooth = {rate: _smoothed_time(spiky, rate) for rate in (SMALL, LARGE)}
    return Drawn(
        (
            Panel(
                "two-escapes-played",
                "The same time, the same diffusion",
                f"{BALLS} trials from x = {START:g}. Above, many small steps climb wall after wall of "
                "the function; the smoothed function, dotted, is as rough. Below, few large steps do "
                "not see the walls: the smoothed function is all but a bowl.",
                _played(spiky, arrivals[0], arrivals[-1]),
            ),
            Panel(
                "two-escapes-times",
                "Which of the two it is, the clock says",
                "Mean time, learning rate times steps, until a trial is within 0.5 of the centre, with one "
                "standard error.",
                _times(arrivals, thermal, smooth[LARGE]),
            ),
        ),
        (
            _without_noise(spiky),
            _thermal(arrivals[0], thermal, smooth[SMALL]),
            _smoothing(arrivals[-1], thermal, smooth[LARGE]),
            _stationary(spiky, seed),
        ),
    )


def _values(x: np.ndarray) -> np.ndarray:
    expression = landscapes.spiky().expression
    assert expression is not None
    return np.asarray(expression.evaluate([x], {"cos": np.cos}))


def _noise(rate: float) -> Uniform:
    """Of the gradient: D = ηa²/6."""
    return Uniform(math.sqrt(6 * DIFFUSION / rate))


def _arrival(spiky: Landscape, rate: float, seed: int) -> _Arrival:
    noise = _noise(rate)
    assert math.isclose(thermal_diffusion(rate, noise.variance(1)), DIFFUSION)
    expected = first_passage_time(_values, START, ARRIVED, DIFFUSION) / rate
    plan = Plan(
        learning_rate=rate,
        noise=noise,
        starts=(START,),
        steps=int(LONG * expected),
        trials=TRIALS,
        points_every=max(1, round(0.05 / rate)),
        points_of=tuple(range(BALLS)),
        seed=seed,
    )
    run = descend(spiky, plan, statistics=(ExitTime.of_interval(ARRIVED, math.inf),))
    times = run.end["exit_time"]
    times = rate * np.where(times < 0, plan.steps, times)
    error = float(times.std(ddof=1)) / math.sqrt(TRIALS)
    return _Arrival(rate, float(times.mean()), error, run["points"].values[:, :, 0])


def _smoothed_time(spiky: Landscape, rate: float) -> float:
    """Of descent without noise on the loss smoothed by the step's noise; infinite if it gets stuck."""
    smoothed = Smoothed(spiky, _noise(rate).scaled(rate))
    plan = Plan(learning_rate=rate, starts=(START,), steps=int(5 / rate))
    arrived = ExitTime.of_interval(ARRIVED, math.inf)
    (step,) = descend(smoothed, plan, statistics=(arrived,)).end["exit_time"]
    return rate * float(step) if step >= 0 else math.inf


def _played(spiky: Landscape, small: _Arrival, large: _Arrival) -> go.Figure:
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.06)
    x, f = curve(spiky, -1.6, 2.4)
    rows = ((1, small, THERMAL, "small steps"), (2, large, SMOOTH, "large steps"))
    for row, arrival, colour, _ in rows:
        smoothed = Smoothed(spiky, _noise(arrival.rate).scaled(arrival.rate))
        _, g = curve(smoothed, -1.6, 2.4)
        figure.add_trace(line(x, f, "loss", INK, width=1, showlegend=row == 1), row=row, col=1)
        told = line(x, g, "smoothed", colour, dash="dot", showlegend=False)
        figure.add_trace(told, row=row, col=1)

    def at(moment: int) -> list[go.Scatter]:
        return [
            dots(
                arrival.paths[moment],
                np.interp(arrival.paths[moment], x, f),
                f"{name}, η = {arrival.rate:g}",
                colour,
                size=9,
                opacity=0.75,
                xaxis="x" if row == 1 else "x2",
                yaxis="y" if row == 1 else "y2",
            )
            for row, arrival, colour, name in rows
        ]

    moments = range(min(61, len(small.paths), len(large.paths)))
    for (row, *_), marks in zip(rows, at(20)):
        figure.add_trace(marks, row=row, col=1)
    styled(figure, "", "loss", height=480)
    figure.update_xaxes(range=[-1.6, 2.4]).update_yaxes(range=[-0.5, 5.5])
    figure.update_xaxes(title_text="x", row=2)
    frames = [(f"{0.05 * k:.2f}", at(k)) for k in moments]
    animated(figure, frames, counts="time", milliseconds=110)
    figure.update_layout(sliders=[{"active": 20}])
    return figure


def _times(arrivals: list[_Arrival], thermal: float, smooth: float) -> go.Figure:
    rates = [a.rate for a in arrivals]
    ends = [0.8 * rates[0], 1.2 * rates[-1]]
    figure = go.Figure(line(ends, [thermal] * 2, "climbing, the integral", THERMAL, dash="dash"))
    figure.add_trace(line(ends, [smooth] * 2, "descent, smoothed", SMOOTH, dash="dot"))
    bars = {"type": "data", "array": [a.error for a in arrivals], "color": PALETTE[0], "width": 4}
    times = [a.time for a in arrivals]
    figure.add_trace(dots(rates, times, "seen", PALETTE[0], size=9, error_y=bars))
    styled(figure, "learning rate", "time to arrive", height=360)
    ticks = [0.004, 0.006, 0.01, 0.015, 0.02]
    figure.update_xaxes(type="log", tickvals=ticks, tickformat="")
    return figure.update_yaxes(range=[0, 1.15 * max([thermal, *times])])


def _without_noise(spiky: Landscape) -> Claim:
    moved = []
    for rate in (SMALL, LARGE):
        plan = Plan(learning_rate=rate, starts=(START,), steps=500, points_every=1)
        path = descend(spiky, plan)["points"].values[:, 0, 0]
        moved.append(float(abs(path - START).max()))
    return Claim(
        f"Without noise neither rate gets anywhere: the paths from {START:g} never go farther from there "
        f"than {max(moved):.2f}.",
        max(moved) < 0.5,
    )


def _thermal(arrival: _Arrival, thermal: float, smooth: float) -> Claim:
    reach = arrival.rate * _noise(arrival.rate).bound(1)
    return Claim(
        f"At the rate {arrival.rate:g} a step's noise reaches {reach:.3f}, the spikes are 0.314 wide, and "
        f"descent on the smoothed function {'gets stuck' if math.isinf(smooth) else 'arrives'}; yet "
        f"trials arrive, after {arrival.time:.2f} ± {arrival.error:.2f} where climbing should take "
        f"{thermal:.2f}. So they climb.",
        math.isinf(smooth) and abs(arrival.time - thermal) < 4 * arrival.error + 0.05 * thermal,
    )


def _smoothing(arrival: _Arrival, thermal: float, smooth: float) -> Claim:
    reach = arrival.rate * _noise(arrival.rate).bound(1)
    return Claim(
        f"At the rate {arrival.rate:g}, with the same diffusion, the noise reaches {reach:.3f}, and trials "
        f"arrive after {arrival.time:.2f} ± {arrival.error:.2f}: descent on the smoothed function takes "
        f"{smooth:.2f}, climbing would take {thermal:.2f}. So they see no walls.",
        arrival.time + 5 * arrival.error < 0.6 * thermal and abs(arrival.time / smooth - 1) < 0.3,
    )


def _stationary(spiky: Landscape, seed: int) -> Claim:
    """The example of noise so small that smoothing explains nothing."""
    rate, noise, trials = 0.002, Uniform(25.0), 1000
    plan = Plan(
        learning_rate=rate, noise=noise, starts="uniform:-3:3", steps=3000, trials=trials, seed=seed
    )
    ends = descend(spiky, plan).end["points"][:, 0]
    near = Proportion(int((np.abs(ends) < 1).sum()), trials)
    x = np.linspace(-4, 4, 16001)
    weights = np.exp(-_values(x) / thermal_diffusion(rate, noise.variance(1)))
    expected = float(weights[np.abs(x) < 1].sum() / weights.sum())
    c = constants_of(spiky, rate, noise, (0.0,), read_domain(spiky.domain, 1)).convexity
    low, high = near.interval
    return Claim(
        f"At η = {rate:g} and noise up to {noise.a:g} the smoothed function is not one-point convex "
        f"(c = −{-c.value:.0f}), and no theorem of smoothing speaks; {100 * near.value:.1f}% "
        f"of the trials end within 1 of the centre all the same ({100 * low:.1f}% to {100 * high:.1f}%), "
        f"as e to the minus f/D foretells: {100 * expected:.1f}%.",
        c.value < 0 and abs(near.value - expected) < 0.006,
    )


EXHIBIT = Exhibit(
    "two-escapes",
    "Two escapes that look alike",
    "Noise gets descent out of a pit in two ways. If a single step's noise is as wide as the "
    "pit, the steps average the slope over it, and the average does not know the pit: SGD descends "
    "the smoothed function. If the noise is small, step after step may still happen to lead uphill "
    "until the wall is climbed, as heat lets a molecule cross a barrier: thermal activation. Where "
    "trials end does not tell the two apart. How long they take does. The strength of thermal noise is D "
    "= ηs²/2, so a smaller rate with a larger s keeps D, and the thermal time η·steps with "
    "it, while the reach ηr of a step shrinks. Here D is the same at every rate.",
    "A colleague shows that SGD left a bad minimum and credits the smoothing by its noise. Which one "
    "run would you ask for to find out whether that is so?",
    build,
)
