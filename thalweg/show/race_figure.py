"""Plotly figures of a race: loss against gradient evaluations, and what each arm gained."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from thalweg.diagnose.race import Race
from thalweg.show.figure import LOWER, PALETTE, RAISED, UNCHANGED, finite, label, styled
from thalweg.show.wording import estimate_text

__all__ = ["gains", "race_losses"]

INTERVAL = "#6b7078"
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def race_losses(race: Race) -> go.Figure:
    """Loss against gradient evaluations: the mean over the seeds in a band from lowest to highest.

    Where the loss of one seed is not finite, its arm has a gap.
    """
    figure = go.Figure()
    everything: list[float] = []
    colours = _colours(race)
    judged_by_test = race.judged_by == "test"
    for place, arm in enumerate(race.arms):
        rows = arm.test_losses if judged_by_test else arm.losses
        columns = list(zip(*rows, strict=True))
        means = [sum(column) / len(column) for column in columns]
        everything += means
        colour = colours[arm.name]
        at = arm.evaluations[: len(columns)]
        if len(rows) > 1:
            figure.add_traces(_bands(at, columns, colour, arm.name))
        width = 3.2 if arm.name == race.winner else 2
        dash = "dot" if arm.name == "unchanged" else _DASHES[place % len(_DASHES)]
        figure.add_trace(
            go.Scatter(
                x=finite(at),
                y=finite(means),
                name=label(arm.name),
                legendgroup=arm.name,
                mode="lines",
                line={"color": colour, "width": width, "dash": dash},
                connectgaps=False,
            )
        )
    styled(
        figure,
        "gradient evaluations",
        "held-out loss" if judged_by_test else "training loss",
        height=400,
    )
    known = [value for value in everything if math.isfinite(value)]
    if known and min(known) > 0 and max(known) > 20 * min(known):
        decades = math.ceil(math.log10(max(known) / min(known)) / 5)
        figure.update_yaxes(type="log", tickformat="", exponentformat="power", dtick=decades)
    return figure


def gains(race: Race) -> go.Figure:
    """How much lower than the unchanged run each arm ended: a bar, its standard error in bold and
    the range over the seeds as a thin line. An arm without a finite gain has no bar, but its outcome."""
    arms = [arm for arm in race.arms if arm.name != "unchanged"][::-1]
    names = [label(arm.name) for arm in arms]
    values = [arm.gain.value for arm in arms]
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            x=finite(values),
            y=names,
            orientation="h",
            name="gain",
            marker={"color": [_colours(race)[arm.name] for arm in arms], "opacity": 0.4},
            error_x={
                "type": "data",
                "array": finite([arm.gain.error for arm in arms]),
                "thickness": 4,
                "width": 0,
                "color": INTERVAL,
            },
            text=[estimate_text(arm.gain) for arm in arms],
            textposition="none",
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )
    for arm, name in zip(arms, names, strict=True):
        ended = estimate_text(arm.gain) if math.isfinite(arm.gain.value) else label(arm.outcome)
        figure.add_annotation(
            text=f"{name}: {ended}",
            x=0,
            xref="paper",
            xanchor="left",
            y=name,
            yshift=24,
            showarrow=False,
        )
        if all(map(math.isfinite, arm.spread)):
            figure.add_trace(
                go.Scatter(
                    x=list(arm.spread),
                    y=[name, name],
                    mode="lines+markers",
                    line={"color": INTERVAL, "width": 1},
                    marker={"symbol": "line-ns-open", "size": 9, "color": INTERVAL},
                    hoverinfo="skip",
                )
            )
    styled(figure, "lower by", "", height=70 + 64 * max(1, len(arms)))
    figure.add_vline(x=0, line={"width": 1, "color": "#8a8f98"})
    figure.update_yaxes(type="category", tickformat="", showgrid=False, showticklabels=False)
    figure.update_layout(bargap=0.66, margin={"l": 14, "t": 34})
    return figure.update_layout(showlegend=False)


def _colours(race: Race) -> dict[str, str]:
    """Of every arm; those that a diagnosis continues too have the colours they have there."""
    found: dict[str, str] = {}
    for arm in race.arms:
        factor = arm.name.removeprefix("learning_rate x")
        if arm.name == "unchanged":
            found[arm.name] = UNCHANGED
        elif factor == "0.1":
            found[arm.name] = LOWER
        elif factor != arm.name and not factor.startswith("0") and RAISED not in found.values():
            found[arm.name] = RAISED
    others = [colour for colour in PALETTE if colour not in (UNCHANGED, LOWER, RAISED)]
    rest = [arm.name for arm in race.arms if arm.name not in found]
    return found | {name: others[place % len(others)] for place, name in enumerate(rest)}


def _bands(
    at: Sequence[float], columns: Sequence[Sequence[float]], colour: str, group: str
) -> list[go.Scatter]:
    """Closed bands, one for each stretch in which every seed is finite: a filled gap would lie."""
    bands = []
    stretch: list[int] = []
    for place in range(len(columns) + 1):
        if place < len(columns) and all(map(math.isfinite, columns[place])):
            stretch.append(place)
            continue
        if len(stretch) > 1:
            there = [at[k] for k in stretch]
            high = [max(columns[k]) for k in stretch]
            low = [min(columns[k]) for k in stretch]
            bands.append(
                go.Scatter(
                    x=[*there, *there[::-1]],
                    y=[*high, *low[::-1]],
                    fill="toself",
                    fillcolor=_translucent(colour),
                    mode="none",
                    name=f"{label(group)}: range over the seeds",
                    hoverinfo="skip",
                    showlegend=False,
                    legendgroup=group,
                )
            )
        stretch = []
    return bands


def _translucent(colour: str) -> str:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},.16)"
