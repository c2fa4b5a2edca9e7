"""A plotly figure of the loss along −g and along the most negative curvature."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from thalweg.diagnose.finding import Finding
from thalweg.errors import UsageError
from thalweg.estimate import Curve, Evidence, number
from thalweg.show.figure import PALETTE, finite, level_range, styled

__all__ = ["drops", "in_fresh_lengths", "ways"]

FAR = 30.0
"""Moves longer than so many fresh weight vectors say nothing about the ground here."""

SHORT = 0.01
"""Where all others are shorter than this, there is no slope to follow."""

_WAYS = (
    ("along_gradient", "along −g", PALETTE[0]),
    ("along_negative_curvature", "along negative<br>curvature", PALETTE[2]),
)


@dataclass(frozen=True)
class Way:
    """One line through the point: the loss over the move; no move where it would be senseless."""

    title: str
    colour: str
    moves: tuple[float, ...]
    losses: tuple[float, ...]
    remark: str = ""

    @property
    def lowest(self) -> float:
        """The least finite loss, NaN if there is none."""
        return min((v for v in self.losses if math.isfinite(v)), default=math.nan)


def ways(finding: Finding) -> list[Way]:
    """The lines that were searched, their moves in lengths of a fresh weight vector where that is
    known, without those that are senselessly long."""
    evidence = finding.evidence
    found = []
    for name, title, colour in _WAYS:
        if name in evidence.curves:
            curve = evidence.curves[name]
            norm = evidence.value("gradient_norm") if name == "along_gradient" else 1.0
            found.append(_way(curve, title, colour, norm, _fresh_length(evidence)))
    return found


def in_fresh_lengths(finding: Finding) -> bool:
    """Whether the moves are told in lengths of a fresh weight vector."""
    return math.isfinite(_fresh_length(finding.evidence))


def drops(finding: Finding) -> go.Figure:
    """The loss along −g and along ± the most negative curvature, on one scale of losses.

    A ring and a dotted line mark where the run stands. The picture shows the falls: where a curve
    climbs far above the start it leaves it.

    Raises:
        UsageError: the finding has neither curve.
    """
    found = ways(finding)
    if not found:
        raise UsageError("finding must have a curve along_gradient or along_negative_curvature")
    start = finding.evidence.value("loss")
    if not math.isfinite(start):
        start = next((v for v in found[0].losses if math.isfinite(v)), math.nan)
    figure = make_subplots(cols=len(found), shared_yaxes=True, horizontal_spacing=0.06)
    styled(figure, "", "loss")
    ceiling = _ceiling([v for way in found for v in way.losses], start)
    for place, way in enumerate(found, 1):
        figure.add_traces(_traces(way, start), rows=1, cols=place)
        figure.update_xaxes(title_text=way.title, nticks=5, tickangle=0, col=place)
        if way.remark:
            figure.update_xaxes(range=[-1, 1], showticklabels=False, col=place)
            figure.add_annotation(
                text=way.remark, x=0, y=start, yshift=-40, showarrow=False, row=1, col=place
            )
        elif shown := _reach(way, ceiling):
            figure.update_xaxes(range=shown, col=place)
        if place > 1:
            figure.update_yaxes(title_text="", col=place)
    if math.isfinite(start):
        figure.add_hline(y=start, line={"dash": "dot", "width": 1, "color": "#8a8f98"})
        lowest = min([start, *(way.lowest for way in found if math.isfinite(way.lowest))])
        inside = [v for way in found for v in way.losses if v <= ceiling]
        shown = level_range([lowest, start, *inside])
        if shown is not None or any(v > ceiling for way in found for v in way.losses):
            room = 0.1 * (ceiling - lowest)
            figure.update_yaxes(range=shown or [lowest - room, ceiling])
    return figure.update_layout(showlegend=False)


def _fresh_length(evidence: Evidence) -> float:
    """Length of a fresh weight vector: what the reach of the slope was made of."""
    norm = evidence.value("gradient_norm")
    reach = evidence.value("gradient_reach") * evidence.value("range")
    return reach / norm if norm > 0 and reach > 0 and math.isfinite(reach / norm) else math.nan


def _way(curve: Curve, title: str, colour: str, norm: float, fresh: float) -> Way:
    if not math.isfinite(fresh):
        return Way(title, colour, curve.x, curve.y)
    moves = [(x * norm / fresh, y) for x, y in zip(curve.x, curve.y, strict=True)]
    near = [(x, y) for x, y in moves if abs(x) <= FAR]
    longest = max((abs(x) for x, _ in near), default=0.0)
    if len(near) < len(moves) and longest < SHORT:
        remark = f"no slope to follow:<br>‖g‖ is {number(norm, 2)}"
        return Way(title, colour, (), (), remark)
    return Way(title, colour, tuple(x for x, _ in near), tuple(y for _, y in near))


def _traces(way: Way, start: float) -> list[go.Scatter]:
    line = go.Scatter(
        x=finite(way.moves),
        y=finite(way.losses),
        name=way.title.replace("<br>", " "),
        mode="lines+markers",
        line={"color": way.colour, "width": 2},
        marker={"size": 6},
        connectgaps=False,
    )
    if not math.isfinite(start):
        return [line]
    ring = go.Scatter(
        x=[0.0],
        y=[start],
        name="start",
        mode="markers",
        marker={"size": 13, "symbol": "circle-open", "color": "#8a8f98", "line": {"width": 2}},
        hovertemplate="start: %{y}<extra></extra>",
    )
    return [line, ring]


def _ceiling(losses: Sequence[float], start: float) -> float:
    """As far above the start as the lowest loss lies below it."""
    known = [v for v in losses if math.isfinite(v)]
    if not known or not math.isfinite(start):
        return math.inf
    return start + max(start - min(known), 1e-3 * abs(start), 1e-12)


def _reach(way: Way, ceiling: float) -> list[float] | None:
    """The moves up to the first on either side that climbs out of the picture."""
    sides = []
    for sign in (-1, 1):
        far = 0.0
        for move, loss in sorted(
            ((sign * x, y) for x, y in zip(way.moves, way.losses, strict=True) if sign * x > 0)
        ):
            far = move
            if not loss <= ceiling:
                break
        sides.append(sign * far)
    margin = 0.06 * (sides[1] - sides[0])
    return [sides[0] - margin, sides[1] + margin] if margin > 0 else None
