"""A cost with a local and a global minimum, and the paths into each."""

import math

import numpy as np
import plotly.graph_objects as go

from thalweg.measure.critical import Critical, critical_points
from thalweg.objective import landscapes
from thalweg.objective.landscape import Landscape
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, animated, curve, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.trajectory import Trajectory

__all__ = ["EXHIBIT"]

BALLS = 24
STEPS = 120
EVERY = 3
TRIALS = 2000

LOCAL, GLOBAL = PALETTE[1], PALETTE[2]


def build(seed: int) -> Drawn:
    """Balls released over the whole domain, and a crowd of them to count."""
    landscape = landscapes.local_and_global()
    found = critical_points(landscape, starts=200, seed=seed)
    low, high = landscape.domain[0]
    starts = np.linspace(low + 0.05, high - 0.05, BALLS)[:, None]
    plan = Plan(
        learning_rate=0.1,
        steps=STEPS,
        trials=BALLS,
        starts=starts,
        points_every=EVERY,
        seed=seed,
    )
    watched = descend(landscape, plan)
    crowd = descend(landscape, Plan(learning_rate=0.1, steps=1000, trials=TRIALS, seed=seed))
    best, other = sorted(found.of_kind("minimum"), key=lambda p: p.loss)
    (top,) = found.of_kind("maximum")
    return Drawn(
        (
            Panel(
                "two-minima-paths",
                "",
                f"{BALLS} starts and where gradient descent takes them; the dotted line is the "
                "watershed, the top of the wall.",
                _drawn(landscape, watched, best.point[0], other.point[0], top.point[0]),
            ),
        ),
        (
            Claim(
                f"Two minima: the one at {best.point[0]:.3f} has the loss {best.loss:.3f}, the one at "
                f"{other.point[0]:.3f} the loss {other.loss:.3f}, so it is local.",
                other.loss > best.loss + 1e-6 and len(found.points) == 3,
            ),
            _watershed(watched, crowd, found),
            _share(landscape, crowd, found),
        ),
    )


def _drawn(
    landscape: Landscape, watched: Trajectory, best: float, other: float, top: float
) -> go.Figure:
    x, f = curve(landscape, *landscape.domain[0])
    figure = go.Figure(line(x, f, "loss", INK, showlegend=False))
    paths = watched["points"].values[:, :, 0]
    colours = [GLOBAL if abs(end - best) < abs(end - other) else LOCAL for end in paths[-1]]

    def at(moment: int) -> go.Scatter:
        where = paths[moment]
        heights = np.interp(where, x, f)
        return dots(where, heights, "descent", colours, size=11, showlegend=False)

    for name, colour in (("ends in the global minimum", GLOBAL), ("in the local one", LOCAL)):
        figure.add_trace(dots([None], [None], name, colour, size=11))
    figure.add_trace(at(0).update(marker={"opacity": 0.35}, name="start"))
    figure.add_trace(at(-1))
    figure.add_vline(x=top, line={"width": 1, "dash": "dot", "color": INK})
    styled(figure, "x", "loss", height=380).update_yaxes(range=[f.min() - 0.1, f[[0, -1]].max()])
    frames = [
        (str(step), [at(k)]) for k, step in enumerate(watched["points"].steps.tolist()) if k < 25
    ]
    return animated(figure, frames, milliseconds=80)


def _ends(found: Critical, points: np.ndarray) -> np.ndarray:
    """The place of the nearest minimum, from the left."""
    minima = np.array(sorted(p.point[0] for p in found.of_kind("minimum")))
    return np.abs(points[:, None] - minima).argmin(1)


def _watershed(watched: Trajectory, crowd: Trajectory, found: Critical) -> Claim:
    (top,) = found.of_kind("maximum")
    paths = watched["points"].values[:, :, 0]
    crossed = int(((paths < top.point[0]) != (paths[0] < top.point[0])).any(0).sum())
    return Claim(
        f"Where descent ends is decided where it starts: of {BALLS} paths {crossed or 'none'} "
        f"crosses the watershed at {round(top.point[0], 6) + 0.0:g}.",
        crossed == 0,
    )


def _share(landscape: Landscape, crowd: Trajectory, found: Critical) -> Claim:
    (top,) = found.of_kind("maximum")
    low, high = landscape.domain[0]
    ends = _ends(found, crowd.end["points"][:, 0])
    share = float((ends == 1).mean())
    expected = (high - top.point[0]) / (high - low)
    error = math.sqrt(expected * (1 - expected) / TRIALS)
    return Claim(
        f"From starts spread evenly, {100 * share:.1f}% ± {100 * error:.1f}% of {TRIALS} descents end "
        f"in the local minimum: the share {100 * expected:.1f}% of the domain that drains into it.",
        abs(share - expected) < 5 * error and share > 0.3,
    )


EXHIBIT = Exhibit(
    "two-minima",
    "A local minimum is a place that one cannot leave downhill",
    "Gradient descent knows the slope where it stands and nothing else. It goes down, and stops where "
    "no way leads down. If the cost has two valleys it ends in the one that its start drains "
    "into, however much deeper the other is: it would have to climb to find out. The valleys meet at "
    "the watershed, the top of the wall between them.",
    "The global minimum is as easily reached from the far left as the local one from the far right. "
    "What would change if the step were made very large?",
    build,
)
