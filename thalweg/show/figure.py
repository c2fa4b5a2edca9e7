"""Plotly figures of a Finding and of a Race: returned, never shown, with gaps where nothing is finite."""

import math
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from thalweg.diagnose.finding import Finding
from thalweg.errors import UsageError
from thalweg.estimate import Curve
from thalweg.show.wording import clean

__all__ = ["PALETTE", "continuations", "drops", "finite", "label", "loss_history", "styled"]

PALETTE = ("#3f7fb5", "#c0733a", "#3f9b83", "#9a6bb0", "#b25a6b", "#87893b", "#7c7f86")
"""Colours that stand out on white and on near-black alike."""

_AHEAD = (
    ("continuation_unchanged", "unchanged", "solid"),
    ("continuation_lower_rate", "lower rate", "dash"),
    ("continuation_raised_rate", "raised rate", "dot"),
)
_DOWN = (
    ("along_gradient", "along −g"),
    ("along_negative_curvature", "along negative<br>curvature"),
)


def finite(values: Sequence[float]) -> list[float | None]:
    """``values`` with None, which is drawn as a gap, for whatever is not finite."""
    return [value if math.isfinite(value) else None for value in values]


def label(text: str) -> str:
    """``text`` as plotly shows it unchanged: plotly reads tags and entities in every label."""
    return escape(clean(text), quote=False)


def styled(figure: go.Figure, x: str, y: str, *, height: int = 340) -> go.Figure:
    """The house style: no ground of its own, so that it sits on a light or on a dark page."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 64, "r": 14, "t": 18, "b": 46},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        colorway=PALETTE,
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#6b7078"},
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    axis = {"gridcolor": "rgba(128,132,140,.22)", "zeroline": False, "automargin": True}
    figure.update_xaxes(title={"text": label(x), "standoff": 8}, nticks=7, tickformat="~g", **axis)
    figure.update_yaxes(title_text=label(y), nticks=7, tickformat="~g", **axis)
    return figure


def loss_history(finding: Finding) -> go.Figure:
    """The losses of the run so far: curves ``history`` and, where there is one, ``test_history``.

    Raises:
        UsageError: the finding has no curve ``history``.
    """
    training = _curve(finding, "history")
    figure = go.Figure(_line(training, "training loss", PALETTE[0]))
    test = finding.evidence.curves.get("test_history")
    if test is not None:
        figure.add_trace(
            _line(test, "held-out loss", PALETTE[1], dash="dash" if len(test.x) < 100 else "solid")
        )
    styled(figure, training.x_name, training.y_name)
    curves = [training] if test is None else [training, test]
    if _wants_log([value for curve in curves for value in curve.y]):
        figure.update_yaxes(type="log")
    return figure.update_layout(showlegend=test is not None)


def continuations(finding: Finding) -> go.Figure:
    """The user's run continued from here: unchanged, at a lower rate and at a raised one.

    Raises:
        UsageError: the finding has no curve ``continuation_...``.
    """
    curves = finding.evidence.curves
    found = [entry for entry in _AHEAD if entry[0] in curves]
    if not found:
        raise UsageError("finding must have a curve continuation_unchanged; it was not measured")
    figure = go.Figure(
        [
            _line(curves[name], title, PALETTE[place], dash=dash)
            for place, (name, title, dash) in enumerate(found)
        ]
    )
    first = curves[found[0][0]]
    return styled(figure, first.x_name, first.y_name)


def drops(finding: Finding) -> go.Figure:
    """The loss along −g and along ± the most negative curvature, on one scale of losses.

    A dotted line marks where the run stands. The scale shows the falls: where a curve climbs far
    above the start it leaves the picture.

    Raises:
        UsageError: the finding has neither curve.
    """
    curves = finding.evidence.curves
    found = [(curves[name], title) for name, title in _DOWN if name in curves]
    if not found:
        raise UsageError("finding must have a curve along_gradient or along_negative_curvature")
    figure = make_subplots(cols=len(found), shared_yaxes=True, horizontal_spacing=0.06)
    for place, (curve, title) in enumerate(found):
        trace = _line(curve, title, PALETTE[2 * place], marks=True)
        figure.add_trace(trace, row=1, col=place + 1)
    start = finding.evidence.value("loss")
    if not math.isfinite(start):
        start = _first_finite(found[0][0].y)
    styled(figure, "", found[0][0].y_name)
    for place, (curve, title) in enumerate(found, 1):
        figure.update_xaxes(title_text=title, nticks=5, tickangle=0, col=place)
        if _wants_log(curve.x) and len(curve.x) > 3:
            known = [value for value in curve.x if math.isfinite(value)]
            decades = math.ceil(math.log10(max(known) / min(known)) / 3)
            figure.update_xaxes(
                type="log", dtick=decades, tickformat="", exponentformat="power", col=place
            )
        if place > 1:
            figure.update_yaxes(title_text="", col=place)
    if math.isfinite(start):
        figure.add_hline(y=start, line={"dash": "dot", "width": 1, "color": "#8a8f98"})
    shown = _focus([value for curve, _ in found for value in curve.y], start)
    if shown is not None:
        figure.update_yaxes(range=shown)
    return figure.update_layout(showlegend=False)


def _curve(finding: Finding, name: str) -> Curve:
    try:
        return finding.evidence.curves[name]
    except KeyError:
        known = ", ".join(sorted(finding.evidence.curves)) or "no curves"
        raise UsageError(f"finding must have a curve {name!r}; it has {known}") from None


def _line(
    curve: Curve, name: str, colour: str, *, dash: str = "solid", marks: bool = False
) -> go.Scatter:
    return go.Scatter(
        x=finite(curve.x),
        y=finite(curve.y),
        name=name,
        mode="lines+markers" if marks or len(curve.x) < 3 else "lines",
        line={"color": colour, "width": 2 if len(curve.x) < 200 else 1.3, "dash": dash},
        marker={"size": 5},
        connectgaps=False,
    )


def _wants_log(values: Sequence[float]) -> bool:
    """Whether the finite values are all positive and span more than a factor of 30."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) > 30 * min(known)


def _first_finite(values: Sequence[float]) -> float:
    return next((value for value in values if math.isfinite(value)), math.nan)


def _focus(values: Sequence[float], start: float) -> list[float] | None:
    """A range that shows the fall below ``start``; None where the natural one does."""
    known = [value for value in values if math.isfinite(value)]
    if not known or not math.isfinite(start):
        return None
    depth = max(start - min(known), 1e-3 * abs(start))
    if max(known) < start + 2 * depth:
        return None
    return [min(start, *known) - 0.1 * depth, start + depth]
