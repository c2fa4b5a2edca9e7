"""A surface drawn: a line, a map with its contours, a ground in three dimensions, with a run's path."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy.interpolate import RegularGridInterpolator

from thalweg.errors import UsageError
from thalweg.measure.surface import Surface
from thalweg.show.figure import HELD_OUT, PALETTE, label, styled
from thalweg.show.wording import number

__all__ = ["CAMERA", "surface_line", "surface_map", "surface_view"]

CAMERA = (1.35, -1.55, 1.05)
"""From where every surface is looked at, so that two can be compared."""

FARTHER = 1.25
"""Times as far where several stand side by side."""

GROUND = [
    [0.0, "#123f4d"],
    [0.18, "#1f6673"],
    [0.4, "#4f94a0"],
    [0.65, "#9cc3b4"],
    [0.85, "#d9cf9f"],
    [1.0, "#c98f5a"],
]
"""Low ground is deep, high ground sandy."""

TRACK = "#a8324a"
SYMBOLS = {"minimum": "triangle-down", "saddle": "x", "maximum": "triangle-up"}
BETWEEN = 8
"""Places on each leg of a path, so that it follows the ground."""
LEVELS = 16


def surface_line(found: Surface) -> go.Figure:
    """The loss along a line, with the values that were evaluated and held-out loss beside it."""
    if found.y is not None:
        raise UsageError("found must be along a line, but is over a plane: see surface_map")
    figure = go.Figure()
    curves = [("training loss", found.loss, PALETTE[0])]
    if "held-out loss" in found.beside:
        curves.append(("held-out loss", found.beside["held-out loss"], HELD_OUT))
    for name, filled, colour in curves:
        y = _gaps(filled.values)
        line = {"color": colour, "width": 2}
        figure.add_trace(go.Scatter(x=found.x, y=y, name=name, mode="lines", line=line))
    seen = found.loss.seen
    mark = {"color": PALETTE[0], "size": 6, "line": {"width": 1, "color": "rgba(255,255,255,.8)"}}
    dots = go.Scatter(
        x=found.x[seen], y=_gaps(found.values[seen]), name="evaluated", mode="markers", marker=mark
    )
    figure.add_trace(dots)
    styled(figure, found.flat.names[0], "loss", height=380)
    if found.logarithm:
        figure.update_yaxes(type="log", tickformat="", exponentformat="power", nticks=6)
    return figure


def surface_map(found: Surface, *, quantity: str = "loss") -> go.Figure:
    """Contours over the plane, the centre, the lowest value, and the path of a run."""
    x, y = _axes(found)
    heights, ticks = _heights(found, quantity)
    figure = go.Figure(
        go.Contour(
            x=x,
            y=y,
            z=_gaps(heights),
            customdata=_gaps(_values(found, quantity)),
            colorscale=GROUND,
            autocontour=False,
            line={"width": 0.7, "color": "rgba(20,40,48,.5)"},
            contours={"coloring": "heatmap", **_levels(heights)},
            colorbar={"title": {"text": quantity}, "thickness": 12, "outlinewidth": 0, **ticks},
            hovertemplate="%{x:.3g}, %{y:.3g}: %{customdata:.4g}<extra></extra>",
            name=quantity,
            connectgaps=False,
        )
    )
    rim = {"width": 1.5, "color": "white"}
    if found.walk is not None:
        at = found.walk.coordinates
        figure.add_trace(
            go.Scatter(
                x=at[:, 0],
                y=at[:, 1],
                name="the run, projected",
                mode="lines+markers",
                line={"color": TRACK, "width": 2},
                marker={"size": 5, "color": TRACK, "line": {"width": 0.5, "color": "white"}},
                customdata=found.walk.steps,
                hovertemplate="step %{customdata}<extra></extra>",
            )
        )
    told: set[str] = set()
    for name, symbol, place in _marks(found, quantity):
        mark = {"symbol": symbol, "size": 11, "color": TRACK, "line": rim}
        dot = go.Scatter(x=[place[0]], y=[place[1]], name=name, mode="markers", marker=mark)
        figure.add_trace(dot.update(legendgroup=name, showlegend=name not in told))
        told.add(name)
    styled(figure, found.flat.names[0], found.flat.names[1], height=520)
    same = math.isclose(*found.flat.lengths, rel_tol=0.5) and math.isclose(np.ptp(x), np.ptp(y))
    figure.update_xaxes(showgrid=False, constrain="domain", range=[x[0], x[-1]], zeroline=False)
    figure.update_yaxes(showgrid=False, constrain="domain", range=[y[0], y[-1]], zeroline=False)
    return figure.update_yaxes(scaleanchor="x") if same else figure


def surface_view(
    found: Surface | Sequence[Surface],
    *,
    names: Sequence[str] = (),
    camera: tuple[float, float, float] = CAMERA,
) -> go.Figure:
    """The ground in three dimensions; several side by side, from one camera and in one scale."""
    several = [found] if isinstance(found, Surface) else list(found)
    count = len(several)
    figure = make_subplots(
        cols=count,
        specs=[[{"type": "scene"}] * count],
        horizontal_spacing=0.02,
        subplot_titles=[label(name) for name in names] or None,
    )
    drawn = [_heights(each, "loss") for each in several]
    finite = np.concatenate([h[np.isfinite(h)].ravel() for h, _ in drawn])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if all(each.loss.level for each in several) and high - low < 0.01:  # room about level ground
        low, high = low - 0.5, high + 0.5
    ticks = _ticks(low, high) if several[0].logarithm else {}
    for place, (each, (heights, _)) in enumerate(zip(several, drawn), 1):
        x, y = _axes(each)
        ground = go.Surface(
            x=x,
            y=y,
            z=_gaps(heights),
            customdata=_gaps(each.values),
            colorscale=GROUND,
            cmin=low,
            cmax=high,
            showscale=place == count,
            colorbar={"title": {"text": "loss"}, "thickness": 12, "len": 0.7, **ticks},
            contours={"z": {"show": True, "color": "#16343d", "width": 1, **_levels(heights)}},
            hovertemplate="%{x:.3g}, %{y:.3g}: loss %{customdata:.4g}<extra></extra>",
            lighting={"ambient": 0.7, "diffuse": 0.6, "specular": 0.05, "roughness": 0.9},
            name="loss",
        )
        figure.add_trace(ground, row=1, col=place)
        if each.walk is not None:
            figure.add_trace(_track(each), row=1, col=place)
    styled(figure, "", "", height=560)
    axis = {
        "showbackground": False,
        "gridcolor": "#9aa0a8",
        "zeroline": False,
        "showspikes": False,
        "nticks": 5,
    }
    first = several[0].flat.names
    scene = {
        "xaxis": {**axis, "title": {"text": label(first[0])}},
        "yaxis": {**axis, "title": {"text": label(first[1])}},
        "zaxis": {
            **axis,
            "title": {"text": "loss" if count == 1 else ""},
            "range": [low, high],
            **ticks,
        },
        "camera": {
            "eye": {k: v * (1 if count == 1 else FARTHER) for k, v in zip("xyz", camera)},
            "center": {"x": 0, "y": 0, "z": -0.15},
        },
        "aspectratio": {"x": 1.1, "y": 1.1, "z": 0.75},
    }
    figure.update_scenes(scene)
    return figure.update_layout(margin={"l": 0, "r": 0, "t": 30, "b": 10}, showlegend=False)


def _levels(heights: np.ndarray) -> dict[str, float]:
    """Where contours lie: evenly between the lowest and the highest."""
    finite = heights[np.isfinite(heights)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    step = (high - low or 1.0) / LEVELS
    return {"start": low + step / 2, "end": high, "size": step}


def _track(found: Surface) -> go.Scatter3d:
    """The path, laid on the ground below it, with marks at its points."""
    assert found.walk is not None
    x, y = _axes(found)
    at = found.walk.coordinates
    share = np.linspace(0, 1, BETWEEN, endpoint=False)[:, None]
    legs = [start + share * (end - start) for start, end in pairwise(at)]
    dense = np.concatenate([*legs, at[-1:]])
    heights = _heights(found, "loss")[0]
    finite = heights[np.isfinite(heights)]
    above = 0.012 * float(np.ptp(finite)) if len(finite) else 0.0
    ground = RegularGridInterpolator((y, x), heights, bounds_error=False)  # NaN outside: a gap
    steps = np.repeat(found.walk.steps, BETWEEN)[: len(dense)]
    sizes = np.where(np.arange(len(dense)) % BETWEEN == 0, 4.0, 0.0)
    return go.Scatter3d(
        x=dense[:, 0],
        y=dense[:, 1],
        z=_gaps(ground(dense[:, ::-1]) + above),
        mode="lines+markers",
        line={"color": TRACK, "width": 6},
        marker={"size": sizes, "color": TRACK, "line": {"width": 0}},
        customdata=steps,
        hovertemplate="step %{customdata}<extra></extra>",
        name="the run, projected",
    )


def _marks(found: Surface, quantity: str) -> list[tuple[str, str, tuple[float, ...]]]:
    marks: list[tuple[str, str, tuple[float, ...]]] = []
    x, y = _axes(found)
    if x[0] <= 0 <= x[-1] and y[0] <= 0 <= y[-1]:
        marks.append(("centre", "circle-open", (0.0, 0.0)))
    if quantity == "loss" and math.isfinite(found.lowest[0]):
        marks.append(("lowest", "cross", found.lowest))
    if quantity == "loss":
        marks += [
            (spot.kind, SYMBOLS[spot.kind], found.at(spot.index))
            for spot in found.critical
            if found.at(spot.index) != found.lowest
        ]
    return marks


def _axes(found: Surface) -> tuple[np.ndarray, np.ndarray]:
    if found.y is None:
        raise UsageError("found must be over a plane, but is along a line: see surface_line")
    return found.x, found.y


def _values(found: Surface, quantity: str) -> np.ndarray:
    if quantity == "loss":
        return found.values
    if quantity not in found.beside:
        known = ", ".join(["loss", *found.beside])
        raise UsageError(f"quantity must be one of {known}, not {quantity!r}")
    return found.beside[quantity].values


def _heights(found: Surface, quantity: str) -> tuple[np.ndarray, dict[str, object]]:
    """What is drawn upward, logarithms to base ten in a logarithmic view, and the ticks for it."""
    values = _values(found, quantity)
    if not found.logarithm or "loss" not in quantity:
        return values, {}
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = np.log10(values)
    finite = heights[np.isfinite(heights)]
    return heights, _ticks(float(finite.min()), float(finite.max())) if len(finite) else {}


def _ticks(low: float, high: float) -> dict[str, object]:
    """Losses written at places of a logarithmic axis."""
    room = high - low
    factors = (1.0,) if room > 2.5 else (1.0, 3.0) if room > 1 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    every = max(1, round(room / 6)) if room > 2.5 else 1
    decades = range(math.floor(low), math.ceil(high) + 1)
    places = [math.log10(f) + d for d in decades if d % every == 0 for f in factors]
    places = [place for place in places if low <= place <= high]
    return {"tickvals": places, "ticktext": [number(10**place, 2) for place in places]}


def _gaps(values: np.ndarray) -> np.ndarray:
    """None, which is drawn as a gap, for what is not finite."""
    found = np.asarray(values, dtype=float).astype(object)
    found[~np.isfinite(np.asarray(values, dtype=float))] = None
    return found
