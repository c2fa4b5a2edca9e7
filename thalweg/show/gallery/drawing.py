"""How the exhibits draw: curves and heights of a landscape, scenes in 3-D, and motion."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray

from thalweg.objective.base import Objective
from thalweg.show.figure import styled

__all__ = [
    "CONTROLS",
    "DEPTH",
    "GROUND",
    "INK",
    "animated",
    "contours",
    "curve",
    "dots",
    "heights",
    "line",
    "plan_view",
    "scene",
    "surface",
]

INK = "#7c7f86"
"""Of what stands still: grey, seen on white and on near-black alike."""

DEPTH = [[0.0, "rgba(44,110,120,.62)"], [0.5, "rgba(63,127,181,.26)"], [1.0, "rgba(63,127,181,0)"]]
"""Heights on a map: low ground is deep in colour, high ground lets the page through."""

GROUND = [[0.0, "#1f5a66"], [0.35, "#4f94a0"], [0.7, "#a9c9b8"], [1.0, "#e8d9b0"]]
"""Heights of a surface."""

CONTROLS = 90
"""Pixels below a figure for the button that plays it and its slider."""

Array = NDArray[Any]


def curve(objective: Objective, low: float, high: float, count: int = 801) -> tuple[Array, Array]:
    """Points on an axis and the losses of a function of one variable there."""
    x = torch.linspace(low, high, count, dtype=torch.float64)
    return x.numpy(), _losses(objective, x[:, None])


def heights(
    objective: Objective, domain: Sequence[tuple[float, float]], count: int = 81
) -> tuple[Array, Array, Array]:
    """Two axes and the losses ``(len(y), len(x))`` of a function of two variables."""
    (left, right), (low, high) = domain
    x = torch.linspace(left, right, count, dtype=torch.float64)
    y = torch.linspace(low, high, count, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    return x.numpy(), y.numpy(), _losses(objective, points)


def _losses(objective: Objective, points: torch.Tensor) -> Array:
    with torch.no_grad():
        return objective.loss(points).double().numpy()


def line(x: Any, y: Any, name: str, colour: str, **more: Any) -> go.Scatter:
    """A line; ``width``, ``dash`` and ``shape`` are those of the line."""
    style = {"color": colour, "width": 2, "dash": "solid", "shape": "linear"}
    style = {key: more.pop(key, value) for key, value in style.items()}
    return go.Scatter(x=_short(x), y=_short(y), name=name, mode="lines", line=style, **more)


def dots(x: Any, y: Any, name: str, colour: Any, **more: Any) -> go.Scatter:
    """Marks; ``size`` and ``symbol`` are those of the mark."""
    mark = {"color": colour, "size": more.pop("size", 8), "symbol": more.pop("symbol", "circle")}
    mark["line"] = {"width": more.pop("rim", 1), "color": "rgba(255,255,255,.8)"}
    return go.Scatter(x=_short(x), y=_short(y), name=name, mode="markers", marker=mark, **more)


def contours(
    objective: Objective,
    domain: Sequence[tuple[float, float]],
    *,
    levels: int = 18,
    highest: float | None = None,
    count: int = 81,
) -> go.Contour:
    """The map of a function of two variables, without what lies above ``highest``."""
    x, y, z = heights(objective, domain, count)
    top = float(z.max() if highest is None else highest)
    return go.Contour(
        x=_short(x),
        y=_short(y),
        z=_short(np.minimum(z, top)),
        colorscale=DEPTH,
        showscale=False,
        autocontour=False,
        contours={
            "start": float(z.min()),
            "end": top,
            "size": (top - float(z.min())) / levels,
            "coloring": "heatmap",
        },
        line={"width": 0.6, "color": "rgba(128,132,140,.55)"},
        hovertemplate="x %{x:.3g}, y %{y:.3g}: loss %{z:.4g}<extra></extra>",
        name="loss",
        showlegend=False,
    )


def plan_view(figure: go.Figure, *, height: int = 460) -> go.Figure:
    """The house style of a map: both axes in the same scale."""
    styled(figure, "x", "y", height=height)
    figure.update_xaxes(constrain="domain", showgrid=False)
    return figure.update_yaxes(scaleanchor="x", constrain="domain", showgrid=False)


def surface(
    objective: Objective,
    domain: Sequence[tuple[float, float]],
    *,
    highest: float | None = None,
    count: int = 61,
    **more: Any,
) -> go.Surface:
    """The surface of a function of two variables; what lies above ``highest`` is a gap."""
    x, y, z = heights(objective, domain, count)
    if highest is not None:
        z = np.where(z <= highest, z, np.nan)
    return go.Surface(
        x=_short(x),
        y=_short(y),
        z=_short(z),
        colorscale=GROUND,
        showscale=False,
        hovertemplate="x %{x:.3g}, y %{y:.3g}: loss %{z:.4g}<extra></extra>",
        lighting={"ambient": 0.75, "diffuse": 0.5, "specular": 0.05},
        name="loss",
        **more,
    )


def scene(
    figure: go.Figure, *, height: int = 520, eye: tuple[float, float, float] = (1.4, -1.5, 1.0)
) -> go.Figure:
    """The house style in three dimensions, with the loss upward."""
    styled(figure, "", "", height=height)
    axis = {
        "showbackground": False,
        "gridcolor": "#9aa0a8",
        "gridwidth": 0.5,
        "zeroline": False,
        "showspikes": False,
        "nticks": 5,
    }
    return figure.update_layout(
        margin={"l": 0, "r": 0, "t": 10, "b": 10},
        legend={"itemsizing": "constant"},
        scene={
            "xaxis": {**axis, "title": {"text": "x"}},
            "yaxis": {**axis, "title": {"text": "y"}},
            "zaxis": {**axis, "title": {"text": "loss"}},
            "camera": {"eye": dict(zip("xyz", eye)), "center": {"x": 0, "y": 0, "z": -0.12}},
            "aspectratio": {"x": 1.15, "y": 1.15, "z": 0.75},
        },
    )


def animated(
    figure: go.Figure,
    frames: Sequence[tuple[str, Sequence[Any]]],
    *,
    counts: str = "step",
    milliseconds: int = 60,
    rest: int = -1,
) -> go.Figure:
    """The figure with a button that plays it and a slider that goes to any moment.

    The figure itself shows the last moment, or another, so that it says all without being played.

    Args:
        figure: with its style; its last traces are those that change.
        frames: of each moment its name, and these traces then.
        counts: what the names of the moments count.
        milliseconds: how long each stands.
        rest: place of the moment that the figure shows.
    """
    traces = tuple(figure.data)
    count = len(frames[0][1])
    moving = list(range(len(traces) - count, len(traces)))
    deep = any(isinstance(trace, go.Surface | go.Scatter3d) for trace in traces)
    how = {
        "frame": {"duration": milliseconds, "redraw": deep},
        "transition": {"duration": 0},
        "mode": "immediate",
    }
    figure.frames = [go.Frame(name=name, data=list(then), traces=moving) for name, then in frames]
    names = [name for name, _ in frames]
    bottom = (figure.layout.margin.b or 0) + CONTROLS
    quiet = "rgba(128,132,140,.16)"
    figure.update_layout(
        height=(figure.layout.height or 340) + CONTROLS,
        margin={"b": bottom},
        updatemenus=[
            {
                "type": "buttons",
                "direction": "right",
                "showactive": False,
                "x": 0,
                "xanchor": "left",
                "y": 0,
                "yanchor": "top",
                "pad": {"t": bottom - 70, "l": 0},
                "bgcolor": quiet,
                "bordercolor": "rgba(128,132,140,.4)",
                "buttons": [
                    {
                        "label": " ▶ ",
                        "method": "animate",
                        "args": [None, {**how, "fromcurrent": False}],
                    },
                    {
                        "label": " ❚❚ ",
                        "method": "animate",
                        "args": [[None], {**how, "frame": {"duration": 0, "redraw": False}}],
                    },
                ],
            }
        ],
        sliders=[
            {
                "active": rest % len(names),
                "x": 0,
                "len": 1,
                "xanchor": "left",
                "y": 0,
                "yanchor": "top",
                "pad": {"t": bottom - 78, "b": 0, "l": 112, "r": 8},
                "currentvalue": {"prefix": f"{counts} ", "xanchor": "right", "offset": 6},
                "bgcolor": quiet,
                "activebgcolor": "rgba(128,132,140,.5)",
                "bordercolor": "rgba(128,132,140,.3)",
                "ticklen": 0,
                "minorticklen": 0,
                "font": {"color": "#6b7078"},
                "steps": [
                    {"label": name, "method": "animate", "args": [[name], how]} for name in names
                ],
            }
        ],
    )
    return figure


def _short(values: Any) -> list[Any]:
    """To six digits, since a page is to be small; None, a gap, for what is not finite."""
    array = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(array)
    size = float(np.abs(array[finite]).max()) if finite.any() else 0.0
    digits = 6 - math.ceil(math.log10(size)) if size > 0 else 6
    rounded = np.round(array, digits) + 0.0
    if finite.all():
        return rounded.tolist()
    with_gaps = rounded.astype(object)
    with_gaps[~finite] = None
    return with_gaps.tolist()
