"""A connection drawn: the loss on each way between two points."""

import math

import plotly.graph_objects as go

from thalweg.measure.connection import Connection
from thalweg.show.connectivity_text import LABELS
from thalweg.show.figure import PALETTE, finite, label, styled

__all__ = ["connection_ways"]

COLOURS = {"line": PALETTE[4], "aligned": PALETTE[1], "curve": PALETTE[2]}
"""The same in every picture."""

SPAN = 30
"""Times the lowest loss from which on the axis is logarithmic."""


def connection_ways(found: Connection) -> go.Figure:
    """Training loss on every way, and dotted held-out loss."""
    figure = go.Figure()
    shown: list[float] = []
    for key, title in LABELS.items():
        if key not in found.ways:
            continue
        way = found.ways[key]
        for losses, dash in ((way.losses, "solid"), (way.test_losses, "dot")):
            if not losses:
                continue
            held_out = dash == "dot"
            trace = go.Scatter(
                x=list(way.at),
                y=finite(losses),
                name=f"{title}, held-out" if held_out else title,
                legendgroup=key,
                showlegend=not held_out,
                mode="lines",
                line={"color": COLOURS[key], "width": 1.4 if held_out else 2.2, "dash": dash},
                connectgaps=False,
            )
            figure.add_trace(trace)
            shown += [loss for loss in losses if math.isfinite(loss)]
    styled(figure, "", "loss", height=400)
    one, other = found.ends
    ticks = [0, 0.25, 0.5, 0.75, 1]
    texts = [label(one), "¼", "½", "¾", label(other)]
    figure.update_xaxes(tickvals=ticks, ticktext=texts, title_text=label("along the way"))
    figure.update_xaxes(range=[-0.01, 1.01])  # so that the labels of both ends are drawn
    if shown and min(shown) > 0 and max(shown) > SPAN * min(shown):
        decades = math.ceil(math.log10(max(shown) / min(shown)) / 5)
        figure.update_yaxes(type="log", tickformat="", exponentformat="power", dtick=decades)
    return figure
