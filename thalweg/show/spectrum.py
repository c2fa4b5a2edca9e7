"""A plotly figure of the measured eigenvalues: stems with error bars, both signs visible."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from thalweg.diagnose.finding import Finding
from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.show.figure import PALETTE, finite, styled
from thalweg.show.wording import estimate_text, number

__all__ = ["eigenvalues", "measured_eigenvalues"]


def measured_eigenvalues(finding: Finding) -> list[tuple[str, Estimate]]:
    """The eigenvalues of the finding from the top down, each with its label.

    Those named ``eigenvalue_k``; else the values of the curve ``eigenvalues``, whose errors are not
    known; else ``top_eigenvalue``. ``bottom_eigenvalue`` comes last.
    """
    evidence = finding.evidence
    ranks = sorted(
        int(name.rpartition("_")[2])
        for name in evidence
        if name.startswith("eigenvalue_") and name.rpartition("_")[2].isdigit()
    )
    found = [(f"λ{rank}", evidence[f"eigenvalue_{rank}"]) for rank in ranks]
    curve = evidence.curves.get("eigenvalues")
    if not found and curve is not None:
        found = [(f"λ{k}", Estimate(value, math.nan)) for k, value in enumerate(curve.y, 1)]
    if not found and "top_eigenvalue" in evidence:
        found = [("λ max", evidence["top_eigenvalue"])]
    if "bottom_eigenvalue" in evidence:
        found.append(("λ min", evidence["bottom_eigenvalue"]))
    return found


def eigenvalues(finding: Finding) -> go.Figure:
    """The measured eigenvalues as stems, with their error bounds.

    Where they span more than a factor of 50 the scale is logarithmic on both sides of 0, so that a
    small negative one is still seen; the hover text has the numbers.

    Raises:
        UsageError: the finding has no eigenvalue.
    """
    measured = measured_eigenvalues(finding)
    if not measured:
        raise UsageError("finding must have an eigenvalue; none was measured")
    known = [abs(e.value) for _, e in measured if math.isfinite(e.value) and e.value != 0]
    largest, smallest = (max(known), min(known)) if known else (1.0, 1.0)
    width = smallest / 2 if largest > 50 * smallest else math.inf
    figure = go.Figure()
    for upwards, label, colour, symbol in (
        (True, "curves up", PALETTE[0], "circle"),
        (False, "curves down", PALETTE[1], "diamond"),
    ):
        side = [(n, e) for n, e in measured if (e.value >= 0) is upwards]
        if side:
            figure.add_traces(_stems(side, label, colour, symbol, width))
    styled(figure, "", "eigenvalue of the Hessian")
    margin = max(0.5, 2.0 - 0.3 * len(measured))
    figure.update_xaxes(
        nticks=0,
        tickformat="",
        type="category",
        categoryarray=[name for name, _ in measured],
        categoryorder="array",
        range=[-margin, len(measured) - 1 + margin],
    )
    figure.add_hline(y=0, line={"width": 1, "color": "#8a8f98"})
    if math.isfinite(width):
        lowest = min(e.value for _, e in measured if math.isfinite(e.value))
        ticks = _ticks(largest if lowest > -largest else -lowest, width, lowest < 0)
        warped = [_warp(tick, width) for tick in ticks]
        figure.update_yaxes(tickvals=warped, ticktext=[number(t) for t in ticks])
    return figure


def _warp(value: float, width: float) -> float:
    return math.asinh(value / width) if math.isfinite(width) else value


def _stems(
    side: Sequence[tuple[str, Estimate]], label: str, colour: str, symbol: str, width: float
) -> list[go.Scatter]:
    stems_x: list[str | None] = []
    stems_y: list[float | None] = []
    for name, estimate in side:
        if math.isfinite(estimate.value):
            stems_x += [name, name, None]
            stems_y += [0.0, _warp(estimate.value, width), None]
    heights = [_warp(e.value, width) for _, e in side]
    above = [_warp(e.value + e.error, width) - h for (_, e), h in zip(side, heights, strict=True)]
    below = [h - _warp(e.value - e.error, width) for (_, e), h in zip(side, heights, strict=True)]
    stems = go.Scatter(
        x=stems_x,
        y=stems_y,
        mode="lines",
        line={"color": colour, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    heads = go.Scatter(
        x=[name for name, _ in side],
        y=finite(heights),
        name=label,
        mode="markers",
        marker={"color": colour, "size": 9, "symbol": symbol},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": finite(above),
            "arrayminus": finite(below),
            "thickness": 1.5,
            "width": 5,
        },
        text=[estimate_text(e) for _, e in side],
        customdata=finite([e.value for _, e in side]),
        hovertemplate="%{x}: %{text}<extra></extra>",
    )
    return [stems, heads]


def _ticks(largest: float, width: float, both: bool) -> list[float]:
    top, bottom = math.floor(math.log10(largest)), math.ceil(math.log10(3 * width))
    stride = max(1, math.ceil((top - bottom + 1) / 5))
    powers = [10.0**power for power in range(top, bottom - 1, -stride)]
    return [*([-power for power in powers] if both else []), 0.0, *reversed(powers)]
