"""Figures of flatness and of a connection: what is drawn is what was measured, gaps included."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from thalweg.estimate import Estimate
from thalweg.measure.comparison import Comparison, Minimum
from thalweg.measure.connection import Connection
from thalweg.measure.connectivity import Between
from thalweg.measure.flatness import Flatness
from thalweg.measure.profile import Profile
from thalweg.measure.shift import ShiftLine
from thalweg.show import connectivity_text, flatness_text
from thalweg.show.connectivity_figure import connection_ways
from thalweg.show.flatness_figure import flatness_profile, shift_lines


def sample() -> Flatness:
    radii = (0.1, 1.0)
    rises = (Estimate(0.01, 0.001, "loss"), Estimate(1.0, 0.1, "loss"))
    walls = (Estimate(0.5, 0.0, "loss"), Estimate(math.inf, math.nan, "loss"))
    steps = np.linspace(-1, 1, 5)
    exact = Estimate(0.25, 0.05, "unit")
    line = ShiftLine(
        "<b>a line</b>",
        steps,
        steps**2,
        np.where(steps < -0.9, math.nan, 2 + (steps - 0.25) ** 2),
        Estimate(0.0, 0.05, "unit"),
        exact,
        exact,
        Estimate(0.06, 0.01, "loss"),
        Estimate(2.0, 0.1),
        False,
    )
    return Flatness(
        {"loss": Estimate(0.3, 0.0, "loss"), "relative_flatness": Estimate(12.0, 1.0, "loss")},
        {
            "random": Profile("random directions", radii, rises, (-0.01, 0.8), (0.03, 1.2)),
            "worst": Profile("the worst direction", radii, walls),
            "filter": Profile("filters", radii, rises, (0.0, 0.8), (0.03, 1.2), "of each filter"),
        },
        lines=[line],
        name="sample",
    )


def way(name: str, middle: float) -> Between:
    losses = (0.1, middle, 0.2)
    barrier = Estimate(max(0.0, middle - 0.15), 0.0, "loss", 1.0)
    return Between(name, (0.0, 0.5, 1.0), losses, (0.4, middle + 0.3, 0.5), barrier, 0.5, 3.0)


def connection(middle: float = 1.15) -> Connection:
    share = Estimate(0.9, 0.01, "of the examples")
    end = Minimum(Estimate(0.1, 0.0, "loss"), Estimate(0.4, 0.1), share, share, Estimate(1.0))
    comparison = Comparison(end, end, share, share, Estimate(3.0), Estimate(0.1), Estimate(0.81))
    ways = {"line": way("straight line", middle), "curve": way("curve", 0.1)}
    return Connection(("<A>", "B"), comparison, ways, math.nan, 10.0, "sample")


def test_the_profile_draws_what_was_measured() -> None:
    figure = flatness_profile(sample())
    named = {trace.name: trace for trace in figure.data if trace.name}
    assert list(named["random directions"].y) == [0.01, 1.0]
    assert list(named["worst direction found"].y) == [0.5, None]
    assert named["random directions"].error_y.array[1] == pytest.approx(0.196)
    assert named["filter-normalised"].xaxis == "x2" and figure.layout.xaxis.type == "log"
    json.dumps(figure.to_plotly_json(), allow_nan=False, default=list)


def test_lines_stand_above_their_minima_with_gaps() -> None:
    figure = shift_lines(sample())
    train, _, held_out, mark = figure.data
    assert min(train.y) == 0 and held_out.y[0] is None and mark.x[0] == 0.25
    assert figure.layout.annotations[0].text == "&lt;b&gt;a line&lt;/b&gt;"


def test_flatness_in_words() -> None:
    found = sample()
    rows = flatness_text.measure_rows(found)
    assert rows == [("training loss", "0.3", "loss"), ("relative flatness", "12 ± 1", "loss")]
    assert flatness_text.profile_rows(found)[3] == ("", "1", "infinite")
    said = flatness_text.sentences(found)
    assert said[-1].startswith(
        "Along the <b>a line</b> the held-out loss has its minimum 0.25 ± 0.05"
    )


def test_ways_are_drawn_with_their_held_out_losses() -> None:
    figure = connection_ways(connection())
    line, dotted, curve, _ = figure.data
    assert list(line.y) == [0.1, 1.15, 0.2] and dotted.line.dash == "dot"
    assert curve.name == "Bézier curve of low loss" and not dotted.showlegend
    assert figure.layout.xaxis.ticktext[0] == "&lt;A&gt;"
    assert figure.layout.xaxis.range[0] < 0 and figure.layout.xaxis.range[1] > 1
    assert connection_ways(connection(100.0)).layout.yaxis.type == "log"
    assert list(connection_ways(connection(math.nan)).data[0].y) == [0.1, None, 0.2]


def test_a_connection_in_words() -> None:
    said = connectivity_text.sentences(connection())
    assert said[0] == "On the straight line from <A> to B the barrier is 1."
    assert said[1] == "A curve 1 times as long joins them without a barrier."
    assert said[2].startswith("They predict the same class for 90% ± 1% of the held-out examples")
    assert connectivity_text.way_rows(connection())[0][1:4] == ("1", "0.5", "1.15")
    whole = connection()
    line = replace(whole.ways["line"], length=0.0)
    same = connectivity_text.sentences(replace(whole, ways={**whole.ways, "line": line}))
    assert same[1] == "A curve away and back joins them without a barrier."
    level = connectivity_text.sentences(connection(0.12))
    assert level[0] == "On the straight line from <A> to B there is no barrier."
