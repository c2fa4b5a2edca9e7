"""Plotly figures of a race: loss against gradient evaluations, and what each arm gained."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from thalweg.diagnose.race_result import UNCHANGED as UNCHANGED_ARM
from thalweg.diagnose.race_result import Arm, Race, last_looks
from thalweg.show.figure import LOWER, PALETTE, RAISED, UNCHANGED, finite, label, styled
from thalweg.show.wording import estimate_text

__all__ = ["gains", "judged", "race_losses"]

INTERVAL = "#6b7078"
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def race_losses(race: Race, of: str | None = None) -> go.Figure:
    """Loss against gradient evaluations: the mean over the seeds in a band from lowest to highest.

    Where the loss of one seed is not finite, its arm has a gap; a cross ends an arm that was dropped.

    Args:
        of: ``train`` or ``test``; the loss that is judged unless given.
    """
    figure = go.Figure()
    everything: list[float] = []
    colours = _colours(race)
    held_out = (race.judged_by if of is None else of) == "test"
    for place, arm in enumerate(race.arms):
        rows = arm.test_losses if held_out else arm.losses
        columns = list(zip(*rows, strict=True))
        means = [sum(column) / len(column) for column in columns]
        everything += means
        colour = colours[arm.name]
        at = arm.evaluations[: len(columns)]
        dropped = arm.outcome.startswith("dropped")
        if len(rows) > 1 and not dropped:
            figure.add_traces(_bands(at, columns, colour, arm.name))
        width = 3.2 if arm.name == race.winner else 2
        dash = "dot" if arm.name == UNCHANGED_ARM else _DASHES[place % len(_DASHES)]
        sizes = [0] * (len(at) - 1) + [9]
        figure.add_trace(
            go.Scatter(
                x=finite(at),
                y=finite(means),
                name=label(arm.name),
                legendgroup=arm.name,
                mode="lines+markers" if dropped else "lines",
                marker={"symbol": "x", "size": sizes, "opacity": 1, "line": {"width": 0}},
                line={"color": colour, "width": width, "dash": dash},
                connectgaps=False,
            )
        )
    title = "held-out loss" if held_out else "training loss"
    styled(figure, "gradient evaluations", title, height=400)
    known = [value for value in everything if math.isfinite(value)]
    if known and min(known) > 0 and max(known) > 20 * min(known):
        decades = math.ceil(math.log10(max(known) / min(known)) / 5)
        figure.update_yaxes(type="log", tickformat="", exponentformat="power", dtick=decades)
    return figure


def judged(race: Race) -> list[Arm]:
    """The arms that came as far as the unchanged run, which is not among them."""
    return [
        arm
        for arm in race.arms
        if arm.name != UNCHANGED_ARM and not arm.outcome.startswith("dropped")
    ]


def gains(race: Race) -> go.Figure:
    """How much lower than the unchanged run each arm ended that came as far: a bar, its 95% interval
    as a line, and a point for each seed. An arm without a finite gain has no bar, but its outcome."""
    arms = judged(race)[::-1]
    names = [label(arm.name) for arm in arms]
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            x=finite([arm.gain.value for arm in arms]),
            y=names,
            orientation="h",
            name="gain",
            marker={"color": [_colours(race)[arm.name] for arm in arms], "opacity": 0.4},
            error_x={
                "type": "data",
                "array": finite([arm.interval[1] - arm.gain.value for arm in arms]),
                "thickness": 2,
                "width": 8,
                "color": INTERVAL,
            },
            text=[estimate_text(arm.gain) for arm in arms],
            textposition="none",
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )
    for arm, name in zip(arms, names, strict=True):
        value = estimate_text(arm.gain) if math.isfinite(arm.gain.value) else ""
        ended = f"{value}, {label(arm.outcome)}" if value else label(arm.outcome)
        figure.add_annotation(
            text=f"{name}: {ended}",
            x=0,
            xref="paper",
            xanchor="left",
            y=name,
            yshift=24,
            showarrow=False,
        )
        each = finite(_each_gain(race, arm))
        if len(each) > 1:
            figure.add_trace(
                go.Scatter(
                    x=each,
                    y=[name] * len(each),
                    mode="markers",
                    marker={"symbol": "circle-open", "size": 8, "color": INTERVAL},
                    hoverinfo="skip",
                )
            )
    styled(figure, "lower by", "", height=70 + 64 * max(1, len(arms)))
    figure.add_vline(x=0, line={"width": 1, "color": "#8a8f98"})
    figure.update_yaxes(type="category", tickformat="", showgrid=False, showticklabels=False)
    figure.update_layout(bargap=0.66, margin={"l": 14, "t": 34})
    return figure.update_layout(showlegend=False)


def _each_gain(race: Race, arm: Arm) -> list[float]:
    """Of every seed."""
    unchanged = race.arm(UNCHANGED_ARM)
    rows = [a.test_losses if race.judged_by == "test" else a.losses for a in (unchanged, arm)]
    return [last_looks(start) - last_looks(end) for start, end in zip(*rows, strict=False)]


def _colours(race: Race) -> dict[str, str]:
    """Of every arm; those that a diagnosis continues too have the colours they have there."""
    found: dict[str, str] = {}
    for arm in race.arms:
        factor = arm.name.removeprefix("learning_rate x")
        if arm.name == UNCHANGED_ARM:
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
