"""How long an escape takes: off a saddle and out of a well, simulated and computed."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from thalweg.objective import landscapes
from thalweg.objective.landscape import Landscape
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.run.statistics import ExitTime
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, animated, curve, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.theory import (
    eyring_kramers,
    first_passage_time,
    saddle_exit_time,
    thermal_diffusion,
)
from thalweg.trajectory import Trajectory

__all__ = ["EXHIBIT"]

SADDLE_RATE, WELL_RATE = 0.02, 0.05
NOISES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
BARRIERS = (0.5, 1.0, 1.5, 2.0, 2.5)
"""ΔF/D, by way of the noise."""

PLAYED = 2.0
TRIALS = 400
BALLS = 40
LONG = 4
"""Times the expected time that a run out of the well lasts."""

SEEN, THEORY, LIMIT = PALETTE[0], PALETTE[2], PALETTE[1]


@dataclass(frozen=True)
class _Time:
    """Steps to leave: seen with a standard error, and computed."""

    seen: float
    error: float
    expected: float
    limit: float = math.nan

    @property
    def agrees(self) -> bool:
        """Within four standard errors, or 2% where these are smaller: a step is not infinitesimal."""
        return abs(self.seen - self.expected) < max(4 * self.error, 0.02 * self.expected)


def build(seed: int) -> Drawn:
    """The saddle under noise of many sizes, and the double well with barriers of several heights."""
    saddle = [_off_the_saddle(noise, seed) for noise in NOISES]
    well = landscapes.double_well(tilt=0.0)
    runs = {barrier: _out_of_the_well(well, barrier, seed) for barrier in BARRIERS}
    times = [time for time, _ in runs.values()]
    return Drawn(
        (
            Panel(
                "escape-times-saddle",
                "Off a saddle",
                "From the very saddle of x² − y² until |y| is 1. Error bars of one standard error are "
                "smaller than the marks.",
                _saddle_figure(saddle),
            ),
            Panel(
                "escape-times-well",
                "Out of a well",
                "From the bottom of one well of (x² − 1)²/4 to the bottom of the other. Bars are one "
                "standard error.",
                _well_figure(times),
            ),
            Panel(
                "escape-times-played",
                "The same in motion",
                f"{BALLS} trials with a barrier of {PLAYED:g} D. Each waits, then is suddenly across.",
                _played(well, runs[PLAYED][1]),
            ),
        ),
        (
            _saddle_agrees(saddle),
            _logarithmic(saddle),
            _well_agrees(times),
            _exponential(times),
            _kramers_is_off(times),
        ),
    )


def _inside(points: Tensor) -> Tensor:
    return points[:, 1].abs() < 1.0


def _off_the_saddle(noise: float, seed: int) -> _Time:
    landscape = landscapes.saddle()
    curvature = -min(landscape.critical[0].curvatures)
    expected = saddle_exit_time(curvature, SADDLE_RATE, noise, 1.0)
    plan = Plan(
        learning_rate=SADDLE_RATE,
        noise=f"gaussian:{noise}",
        starts=(0.0, 0.0),
        steps=int(expected) + 150,
        trials=TRIALS,
        seed=seed,
    )
    times = descend(landscape, plan, statistics=(ExitTime(_inside),)).end["exit_time"]
    return _Time(*_mean(times, plan.steps), expected)


def _out_of_the_well(well: Landscape, barrier: float, seed: int) -> tuple[_Time, Trajectory]:
    low, top, high = sorted(well.critical, key=lambda known: known.point)
    start, end = low.point[0], high.point[0]
    height = float(_values(well, np.array(top.point))[0] - _values(well, np.array(low.point))[0])
    deviation = math.sqrt(2 * height / barrier / WELL_RATE)
    diffusion = thermal_diffusion(WELL_RATE, deviation**2)
    expected = first_passage_time(partial(_values, well), start, end, diffusion) / WELL_RATE
    limit = eyring_kramers(low.curvatures[0], top.curvatures[0], height, diffusion) / WELL_RATE
    plan = Plan(
        learning_rate=WELL_RATE,
        noise=f"gaussian:{deviation}",
        starts=(start,),
        steps=int(LONG * expected),
        trials=TRIALS,
        points_every=max(1, int(LONG * expected) // 160),
        points_of=tuple(range(BALLS)),
        seed=seed,
    )
    run = descend(well, plan, statistics=(ExitTime.of_interval(-math.inf, end),))
    return _Time(*_mean(run.end["exit_time"], plan.steps), expected, limit), run


def _values(landscape: Landscape, x: np.ndarray) -> np.ndarray:
    assert landscape.expression is not None
    return np.asarray(landscape.expression.evaluate([x], {}))


def _mean(times: np.ndarray, steps: int) -> tuple[float, float]:
    """Mean exit time and its error; who has not left yet counts with the whole run.

    Total time over the number that left, which is right where escapes forget how long they waited.
    """
    left = int((times >= 0).sum())
    lasted = np.where(times < 0, steps, times)
    return float(lasted.sum() / left), float(lasted.std(ddof=1) / math.sqrt(left))


def _bars(errors: list[float], colour: str) -> dict[str, object]:
    return {"type": "data", "array": errors, "color": colour, "thickness": 1.5, "width": 4}


def _saddle_figure(times: list[_Time]) -> go.Figure:
    figure = go.Figure(line(NOISES, [t.expected for t in times], "the formula", THEORY))
    bars = _bars([t.error for t in times], SEEN)
    figure.add_trace(dots(NOISES, [t.seen for t in times], "simulated", SEEN, error_y=bars))
    styled(figure, "noise of the gradient, s", "steps to leave", height=340)
    figure.update_xaxes(type="log", tickformat="", exponentformat="power", dtick=1)
    return figure.update_yaxes(range=[0, 1.1 * times[0].expected])


def _well_figure(times: list[_Time]) -> go.Figure:
    figure = go.Figure(line(BARRIERS, [t.expected for t in times], "the exact integral", THEORY))
    limits = [t.limit for t in times]
    figure.add_trace(line(BARRIERS, limits, "Eyring and Kramers", LIMIT, dash="dash"))
    bars = _bars([t.error for t in times], SEEN)
    figure.add_trace(dots(BARRIERS, [t.seen for t in times], "simulated", SEEN, error_y=bars))
    styled(figure, "height of the barrier, ΔF/D", "steps to cross", height=360)
    ticks = [50, 100, 200, 500, 1000]
    return figure.update_yaxes(type="log", tickvals=ticks, tickformat="")


def _played(well: Landscape, run: Trajectory) -> go.Figure:
    x, f = curve(well, -1.9, 1.9)
    paths = run["points"].values[:80, :, 0]
    figure = go.Figure(line(x, f, "loss", INK, showlegend=False))

    def at(moment: int) -> list[go.Scatter]:
        here = paths[moment]
        crossed = (paths[: moment + 1] > 1).any(0)
        found = []
        for which, name, colour in ((~crossed, "waiting", LIMIT), (crossed, "has crossed", SEEN)):
            heights = _values(well, here[which])
            found.append(dots(here[which], heights, name, colour, size=10, opacity=0.8))
        return found

    steps = run["points"].steps[:80]
    figure.add_traces(at(len(paths) - 1))
    styled(figure, "x", "loss", height=340).update_xaxes(range=[-1.9, 1.9])
    figure.update_yaxes(range=[-0.05, 1.0])
    return animated(figure, [(str(step), at(k)) for k, step in enumerate(steps)], milliseconds=90)


def _saddle_agrees(times: list[_Time]) -> Claim:
    worst = max(abs(t.seen / t.expected - 1) for t in times)
    return Claim(
        f"Off the saddle the formula and {TRIALS} trials at each of {len(times)} sizes of noise agree: "
        f"at noise {NOISES[2]:g} it says {times[2].expected:.1f} steps, seen are {times[2].seen:.1f} ± "
        f"{times[2].error:.1f}; they differ by {100 * worst:.1f}% at most.",
        all(t.agrees for t in times),
    )


def _logarithmic(times: list[_Time]) -> Claim:
    gaps = -np.diff([t.seen for t in times])
    room = 4 * math.hypot(times[0].error, times[1].error)
    return Claim(
        f"Off the saddle noise ten times weaker costs {gaps.mean():.0f} steps more, whatever it was "
        "before: the time grows as the logarithm, and a very weak nudge will do.",
        bool(np.ptp(gaps) < 2 * room),
    )


def _well_agrees(times: list[_Time]) -> Claim:
    last = times[-1]
    return Claim(
        f"Out of the well the exact integral agrees: at a barrier of {BARRIERS[-1]:g} D it says "
        f"{last.expected:.0f} steps, seen are {last.seen:.0f} ± {last.error:.0f}.",
        all(abs(t.seen - t.expected) < 4 * t.error + 0.05 * t.expected for t in times),
    )


def _exponential(times: list[_Time]) -> Claim:
    ratio = times[-1].seen / times[1].seen
    error = ratio * math.hypot(times[-1].error / times[-1].seen, times[1].error / times[1].seen)
    return Claim(
        f"From a barrier of {BARRIERS[1]:g} D to one of {BARRIERS[-1]:g} D the time grows "
        f"{ratio:.1f} ± {error:.1f}-fold, near e to the difference, "
        f"{math.exp(BARRIERS[-1] - BARRIERS[1]):.1f}: a wall is paid for exponentially.",
        abs(math.log(ratio) - (BARRIERS[-1] - BARRIERS[1])) < 0.15 + 4 * error / ratio,
    )


def _kramers_is_off(times: list[_Time]) -> Claim:
    high = times[1:]
    seen = np.array([t.seen / t.limit - 1 for t in high])
    error = math.sqrt(sum((t.error / t.limit) ** 2 for t in high)) / len(high)
    least = min(t.expected / t.limit - 1 for t in high)
    return Claim(
        "The formula of Eyring and Kramers, made for high walls, does not hold at these: on average "
        f"over barriers of {BARRIERS[1]:g} D to {BARRIERS[-1]:g} D crossing takes {100 * seen.mean():.0f}% ± "
        f"{100 * error:.0f}% longer than it says.",
        float(seen.mean()) > 4 * error and least > 0.1,
    )


EXHIBIT = Exhibit(
    "escape-times",
    "How long an escape takes",
    "A saddle and a well both hold descent, but not alike. At a saddle the way down is open: a step "
    "off the ridge grows by the same factor at every step, so the time to leave depends on the "
    "noise through its logarithm only. Out of a well there is no way down. Noise has to climb "
    "the wall against the slope, and the chance to do so falls as e to the minus ΔF/D, with ΔF "
    "the height of the wall and D = ηs²/2 the strength of the noise. Both times can be computed: "
    "the first by a formula, the second by an integral over the well, of which the well-known formula "
    "of Eyring and Kramers is the limit of high walls.",
    "You halve the learning rate and leave the noise of the gradient as it is. What does that do to the "
    "time, in steps, to leave the saddle, and what to the time to leave a well five D deep?",
    build,
)
