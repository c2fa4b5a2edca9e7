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

__all__ = [
    "HELD_OUT",
    "LOWER",
    "PALETTE",
    "RAISED",
    "UNCHANGED",
    "continuations",
    "finite",
    "label",
    "level_range",
    "loss_history",
    "styled",
]

PALETTE = ("#3f7fb5", "#c0733a", "#3f9b83", "#9a6bb0", "#b25a6b", "#87893b", "#7c7f86")
"""Colours that stand out on white and on near-black alike."""

UNCHANGED, LOWER, RAISED, HELD_OUT = PALETTE[6], PALETTE[1], PALETTE[2], PALETTE[3]
"""The same in every picture: the run as it is, at a lower rate, at a raised one; held-out loss."""

_AHEAD = (
    ("continuation_unchanged", "unchanged", UNCHANGED, "dot"),
    ("continuation_lower_rate", "lower rate", LOWER, "solid"),
    ("continuation_raised_rate", "raised rate", RAISED, "solid"),
    ("continuation_test", "held-out loss, unchanged", HELD_OUT, "dash"),
)
_HELD_OUT = "continuation_test"


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
            _line(test, "held-out loss", HELD_OUT, dash="dash" if len(test.x) < 100 else "solid")
        )
    styled(figure, training.x_name, training.y_name)
    curves = [training] if test is None else [training, test]
    _scaled(figure, [value for curve in curves for value in curve.y])
    return figure.update_layout(showlegend=test is not None)


def continuations(finding: Finding) -> go.Figure:
    """The user's run continued from here: unchanged, at a lower rate and at a raised one.

    With the held-out loss of the unchanged run below it, where there is one.

    Raises:
        UsageError: the finding has no curve ``continuation_...``.
    """
    curves = finding.evidence.curves
    found = [entry for entry in _AHEAD if entry[0] in curves]
    if not found:
        raise UsageError("finding must have a curve continuation_unchanged; it was not measured")
    parts = [[e for e in found if e[0] != _HELD_OUT], [e for e in found if e[0] == _HELD_OUT]]
    parts = [part for part in parts if part]
    heights = {1: [1.0], 2: [0.66, 0.34]}[len(parts)]
    figure = make_subplots(
        rows=len(parts), shared_xaxes=True, row_heights=heights, vertical_spacing=0.07
    )
    for row, part in enumerate(parts, 1):
        for name, title, colour, dash in part:
            line = _line(curves[name], title, colour, dash=dash, marks=True)
            figure.add_trace(line, row=row, col=1)
    styled(figure, "", "", height=340 if len(parts) == 1 else 460)
    for row, part in enumerate(parts, 1):
        figure.update_yaxes(title_text=label(curves[part[0][0]].y_name), row=row)
        _scaled(figure, [value for name, *_ in part for value in curves[name].y], row=row)
    return figure.update_xaxes(title_text=label(curves[found[0][0]].x_name), row=len(parts))


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


def _scaled(figure: go.Figure, values: Sequence[float], row: int | None = None) -> go.Figure:
    """A logarithmic axis for losses that span decades, a range of some width for level ones."""
    if _wants_log(values):
        known = [value for value in values if math.isfinite(value)]
        decades = math.ceil(math.log10(max(known) / min(known)) / 5)
        return figure.update_yaxes(
            type="log", tickformat="", exponentformat="power", dtick=decades, row=row
        )
    shown = level_range(values)
    return figure if shown is None else figure.update_yaxes(range=shown, row=row)


def _wants_log(values: Sequence[float]) -> bool:
    """Whether the finite values are all positive and span more than a factor of 30."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) > 30 * min(known)


def level_range(values: Sequence[float]) -> list[float] | None:
    """A range about values that are all but the same, whose own range would be empty; else None."""
    known = [value for value in values if math.isfinite(value)]
    if not known or max(known) - min(known) > 1e-4 * max(map(abs, known)):
        return None
    middle = (max(known) + min(known)) / 2
    room = 0.05 * abs(middle) or 1.0
    return [middle - room, middle + room]
