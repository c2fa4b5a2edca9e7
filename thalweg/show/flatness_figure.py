"""Flatness drawn: rises against distance, and training beside held-out loss along lines."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from thalweg.measure.flatness import Flatness
from thalweg.measure.profile import Profile
from thalweg.measure.shift import ShiftLine
from thalweg.show.figure import HELD_OUT, PALETTE, finite, label, styled

__all__ = ["flatness_profile", "shift_lines"]

WAYS = {
    "worst": ("worst direction found", PALETTE[4]),
    "random": ("random directions", PALETTE[0]),
    "smoothed": ("averaged over noise", PALETTE[2]),
    "filter": ("filter-normalised", PALETTE[1]),
}
"""Names and colours, the same in every picture."""

BAND = 0.16
"""Opacity of the band of single directions."""

COLUMNS = 2
"""Of lines side by side."""


def flatness_profile(found: Flatness) -> go.Figure:
    """Rises against distance, with error bars and the band of single directions."""
    scaled = "filter" in found.profiles
    figure = make_subplots(
        cols=1 + scaled, column_widths=[0.58, 0.42][: 1 + scaled], horizontal_spacing=0.13
    )
    for name in ("random", "smoothed", "worst"):
        if name in found.profiles:
            _add(figure, found.profiles[name], name, 1, logarithmic=True)
    styled(figure, "distance", "rise of the loss", height=400)
    drawn = [
        found.profiles[name] for name in ("random", "smoothed", "worst") if name in found.profiles
    ]
    radii = [radius for profile in drawn for radius in profile.radii]
    rises = [rise.value for profile in drawn for rise in profile.rises]
    figure.update_xaxes(**_decades(radii, 4), row=1, col=1)
    figure.update_yaxes(**_decades(rises, 6), row=1, col=1)
    if scaled:
        _add(figure, found.profiles["filter"], "filter", 2, logarithmic=False)
        figure.update_xaxes(title_text=label("share of each filter's length"), row=1, col=2)
        figure.update_yaxes(title_text="", rangemode="tozero", row=1, col=2)
    return figure


def _add(figure: go.Figure, profile: Profile, name: str, column: int, *, logarithmic: bool) -> None:
    title, colour = WAYS[name]
    radii = list(profile.radii)
    values = _shown([rise.value for rise in profile.rises], logarithmic)
    if profile.low:
        lowest = [
            0.1 * rise.value if logarithmic and rise.value > 0 >= edge else edge
            for edge, rise in zip(profile.low, profile.rises, strict=True)
        ]
        edges = [_shown(edge, logarithmic) for edge in (lowest, profile.high)]
        known = [
            i for i in range(len(radii)) if edges[0][i] is not None and edges[1][i] is not None
        ]
        xs = [radii[i] for i in known]
        ys = [edges[1][i] for i in known] + [edges[0][i] for i in reversed(known)]
        band = go.Scatter(
            x=[*xs, *reversed(xs)],
            y=ys,
            mode="lines",
            fill="toself",
            line={"width": 0},
            fillcolor=_faded(colour),
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_trace(band, row=1, col=column)
    line = go.Scatter(
        x=radii,
        y=values,
        name=title,
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": "dash" if name == "smoothed" else "solid"},
        marker={"size": 6},
        error_y={
            "type": "data",
            "array": [
                e if math.isfinite(e) else 0.0 for e in (1.96 * r.error for r in profile.rises)
            ],
            "color": colour,
            "thickness": 1,
            "width": 3,
        },
        connectgaps=False,
    )
    figure.add_trace(line, row=1, col=column)


def shift_lines(found: Flatness) -> go.Figure:
    """Training and held-out loss along each line, above the lowest of each."""
    lines = list(found.lines)
    rows = -(-len(lines) // COLUMNS)
    figure = make_subplots(
        rows=rows,
        cols=COLUMNS,
        subplot_titles=[label(line.name) for line in lines],
        horizontal_spacing=0.12,
        vertical_spacing=0.24 / max(1, rows),
    )
    for place, line in enumerate(lines):
        row, column = place // COLUMNS + 1, place % COLUMNS + 1
        both = (
            ("training loss", line.train, line.train_minimum.value, PALETTE[0]),
            ("held-out loss", line.held_out, line.held_out_minimum.value, HELD_OUT),
        )
        for name, losses, minimum, colour in both:
            _add_line(figure, line, name, losses, minimum, colour, (row, column), place == 0)
    styled(figure, "", "", height=90 + 250 * rows)
    figure.update_layout(margin={"t": 70}, legend={"y": 1 + 0.16 / max(1, rows)})
    figure.update_xaxes(title_text=label("distance"), row=rows)
    figure.update_yaxes(title_text=label("above its minimum"), col=1)
    return figure.update_annotations(font={"size": 13})


def _add_line(
    figure: go.Figure,
    line: ShiftLine,
    name: str,
    losses: np.ndarray,
    minimum: float,
    colour: str,
    at: tuple[int, int],
    first: bool,
) -> None:
    lowest = float(np.nanmin(losses)) if bool(np.isfinite(losses).any()) else math.nan
    trace = go.Scatter(
        x=line.steps.tolist(),
        y=finite((losses - lowest).tolist()),
        name=name,
        legendgroup=name,
        showlegend=first,
        mode="lines",
        line={"color": colour, "width": 2, "shape": "spline"},
    )
    figure.add_trace(trace, row=at[0], col=at[1])
    mark = go.Scatter(
        x=finite([minimum]),
        y=[0.0],
        mode="markers",
        marker={"color": colour, "size": 9, "line": {"width": 1, "color": "rgba(255,255,255,.8)"}},
        legendgroup=name,
        showlegend=False,
        hovertemplate="lowest at %{x:.3g}<extra></extra>",
    )
    figure.add_trace(mark, row=at[0], col=at[1])


def _decades(values: Sequence[float], most: int) -> dict[str, Any]:
    """A logarithmic axis with at most so many powers of ten, or the usual ticks over one decade."""
    known = [value for value in values if 0 < value < math.inf]
    span = math.log10(max(known) / min(known)) if known else 0.0
    ticks = {"dtick": math.ceil(span / most)} if span > 1.5 else {"nticks": 4}
    return {"type": "log", "tickformat": "", "exponentformat": "power", **ticks}


def _shown(values: Sequence[float], logarithmic: bool) -> list[float | None]:
    """None, a gap, for what is not finite or has no place on the axis."""
    return [v if math.isfinite(v) and (v > 0 or not logarithmic) else None for v in values]


def _faded(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{BAND})"
