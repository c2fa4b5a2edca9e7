"""Critical points, found from many starts and classified by the eigenvalues of the Hessian."""

import math

import plotly.graph_objects as go

from thalweg.measure.critical import Critical, critical_points
from thalweg.objective import landscapes
from thalweg.objective.landscape import Landscape
from thalweg.show.figure import PALETTE
from thalweg.show.gallery.drawing import contours, dots, plan_view
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

STARTS = 400

LOOKS = {
    "minimum": (PALETTE[2], "circle"),
    "saddle": (PALETTE[1], "x"),
    "maximum": (PALETTE[4], "triangle-up"),
    "degenerate": (PALETTE[3], "diamond"),
}


def build(seed: int) -> Drawn:
    """Himmelblau's function, which has points of every kind but degenerate ones, and the monkey saddle."""
    himmelblau, monkey = landscapes.himmelblau(), landscapes.monkey_saddle()
    found = critical_points(himmelblau, starts=STARTS, seed=seed)
    other = critical_points(monkey, starts=STARTS, seed=seed)
    return Drawn(
        (
            Panel(
                "critical-points-himmelblau",
                "Himmelblau's function",
                f"{STARTS} starts, each drawn to where the gradient vanishes. The level curves stop "
                "at a loss of 250.",
                _drawn(himmelblau, found, highest=250.0),
            ),
            Panel(
                "critical-points-monkey",
                "The monkey saddle",
                "Three ways down, three ways up, and a Hessian that is zero in the middle.",
                _drawn(monkey, other),
            ),
        ),
        (_kinds(found), _topology(found), _known(himmelblau, found), _degenerate(other)),
    )


def _drawn(landscape: Landscape, found: Critical, highest: float | None = None) -> go.Figure:
    figure = go.Figure(contours(landscape, landscape.domain, highest=highest))
    for kind, (colour, symbol) in LOOKS.items():
        points = found.of_kind(kind)
        if points:
            mark = dots(
                [p.point[0] for p in points],
                [p.point[1] for p in points],
                kind,
                colour,
                symbol=symbol,
                size=12,
                customdata=[[p.loss, ", ".join(f"{e:.3g}" for e in p.eigenvalues)] for p in points],
                hovertemplate="%{x:.5g}, %{y:.5g}<br>loss %{customdata[0]:.5g}<br>"
                "eigenvalues %{customdata[1]}<extra></extra>",
            )
            figure.add_trace(mark)
    return plan_view(figure).update_layout(showlegend=True)


def _kinds(found: Critical) -> Claim:
    counts = [len(found.of_kind(kind)) for kind in LOOKS]
    words = f"{counts[0]} minima, {counts[1]} saddles, {counts[2]} maximum, {counts[3]} degenerate"
    decided = all(min(map(abs, p.eigenvalues)) > 1e6 * p.error for p in found.points)
    return Claim(
        f"{STARTS} starts find {words}; no eigenvalue lies near 0.",
        counts == [4, 4, 1, 0] and decided,
    )


def _topology(found: Critical) -> Claim:
    """Poincaré and Hopf: where the loss grows on all sides the indices add up to 1."""
    minima, saddles, maxima = (len(found.of_kind(k)) for k in ("minimum", "saddle", "maximum"))
    return Claim(
        "None is missing, as far as topology can tell: where a loss of two variables grows on all "
        f"sides, minima − saddles + maxima is 1, and {minima} − {saddles} + {maxima} is "
        f"{minima - saddles + maxima}.",
        minima - saddles + maxima == 1,
    )


def _known(landscape: Landscape, found: Critical) -> Claim:
    farthest = max(
        min(math.dist(known.point, p.point) for p in found.points if p.kind == known.kind)
        for known in landscape.critical
    )
    return Claim(
        f"The {len(landscape.critical)} points that are known are among them, the farthest "
        f"{farthest:.1g} away.",
        farthest < 1e-6,
    )


def _degenerate(found: Critical) -> Claim:
    (point,) = found.points
    size = max(map(abs, point.eigenvalues))
    return Claim(
        f"The monkey saddle's one critical point is degenerate: its eigenvalues are 0 to {size:.0e}, "
        f"so the Hessian cannot tell what it is, and only higher orders do ({point.decided}).",
        point.kind == "degenerate" and size < 1e-6 and "rises and falls" in point.decided,
    )


EXHIBIT = Exhibit(
    "critical-points",
    "Where the gradient vanishes",
    "Gradient descent can come to rest only where the gradient vanishes: at a critical point. What "
    "kind of point it is, the Hessian's eigenvalues say. All above 0: a minimum, and the loss rises "
    "whichever way you go. All below 0: a maximum. Both signs: a saddle, with ways up and ways "
    "down. If one of them is 0 the point is degenerate, and the second order does not decide. Each "
    "start here follows the gradient's length, not the loss, down to 0, so it is drawn to "
    "minima, saddles and maxima alike; ends that agree are merged.",
    "Two of Himmelblau's minima have a saddle between them. Must there always be one between two "
    "minima? And between two minima of a function of one variable?",
    build,
)
