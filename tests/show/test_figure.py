"""Figures hold the data they were given, with gaps where it is not finite."""

import math
from dataclasses import replace

import pytest

from tests.show import samples
from thalweg import show
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.finding import Finding
from thalweg.errors import UsageError
from thalweg.estimate import Curve, Estimate, Evidence
from thalweg.show.drops_figure import drops
from thalweg.show.figure import LOWER, RAISED, UNCHANGED, continuations, loss_history
from thalweg.show.race_figure import gains, race_losses
from thalweg.show.spectrum import eigenvalues


def trace(figure, name):
    return next(t for t in figure.data if t.name == name)


def test_the_history_is_drawn_as_it_was() -> None:
    finding = samples.saddle()
    figure = loss_history(finding)
    curve = finding.evidence.curves["history"]
    assert trace(figure, "training loss").x == curve.x
    assert trace(figure, "training loss").y == curve.y
    assert trace(figure, "held-out loss").y == finding.evidence.curves["test_history"].y


def test_what_is_not_finite_is_a_gap() -> None:
    figure = loss_history(samples.not_finite())
    (line,) = figure.data
    assert line.y == (2.3, 2.1, 2.6, 9.0, 310.0, None, None, None)
    assert line.connectgaps is False


def test_drops_share_one_scale_of_losses_that_shows_the_fall() -> None:
    finding = samples.saddle()
    figure = drops(finding)
    curves = finding.evidence.curves
    assert trace(figure, "along −g").y == curves["along_gradient"].y
    down = trace(figure, "along negative curvature")
    assert (down.x, down.y) == (curves["along_negative_curvature"].x, down.y)
    low, high = figure.layout.yaxis.range
    assert low < min(curves["along_negative_curvature"].y)
    assert finding.evidence.value("loss") < high < 19
    assert figure.layout.yaxis2.matches == "y"


def test_points_of_a_drop_are_joined_and_the_start_is_marked() -> None:
    finding = samples.saddle()
    figure = drops(finding)
    assert trace(figure, "along −g").mode == "lines+markers"
    start = trace(figure, "start")
    assert (start.x, start.y) == ((0.0,), (finding.evidence.value("loss"),))


def stuck(steps: tuple[float, ...], norm: float) -> Finding:
    """A finding whose slope has that norm; fresh weight vectors are 4 long."""
    curve = Curve(steps, tuple(1.0 + 1e-9 * t for t in steps), "step", "loss")
    evidence = Evidence(
        {
            "loss": Estimate(1.0),
            "gradient_norm": Estimate(norm),
            "range": Estimate(2.0),
            "gradient_reach": Estimate(4.0 * norm / 2.0, 0.0, "of the range"),
        },
        {"along_gradient": curve},
    )
    return Finding(Cause.SADDLE, "x", 0.9, evidence=evidence)


def test_moves_are_told_in_lengths_of_a_fresh_weight_vector() -> None:
    line = trace(drops(stuck((0.0, 1.0, 8.0), 0.5)), "along −g")
    assert line.x == pytest.approx((0.0, 0.125, 1.0))


def test_a_slope_of_nothing_is_said_and_not_drawn_to_the_moon() -> None:
    figure = drops(stuck((0.0, 1e3, 1e14), 1e-8))
    assert trace(figure, "along −g").x == ()
    assert any("no slope to follow" in note.text for note in figure.layout.annotations)


def test_the_axis_of_level_losses_has_some_width() -> None:
    curve = Curve((0.0, 1.0, 2.0), (2.3, 2.3, 2.3), "step", "loss")
    figure = loss_history(
        Finding(Cause.PLATEAU, "x", 0.9, evidence=Evidence({}, {"history": curve}))
    )
    low, high = figure.layout.yaxis.range
    assert 2.0 < low < 2.3 < high < 2.6


def test_continuations_are_all_there() -> None:
    finding = samples.saddle()
    figure = continuations(finding)
    assert [t.name for t in figure.data] == ["unchanged", "lower rate", "raised rate"]
    assert figure.data[2].y == finding.evidence.curves["continuation_raised_rate"].y


def test_held_out_loss_of_the_continuation_has_its_label() -> None:
    curve = Curve((0.0, 1.0), (2.0, 2.5), "step", "held-out loss")
    finding = Finding(
        Cause.OVERFITTING, "x", 0.9, evidence=Evidence({}, {"continuation_test": curve})
    )
    assert trace(continuations(finding), "held-out loss, unchanged").y == curve.y


def test_an_arm_has_one_colour_in_every_picture() -> None:
    ahead = {t.name: t.line.color for t in continuations(samples.saddle()).data}
    raced = {t.name: t.line.color for t in race_losses(samples.race()).data}
    assert ahead["unchanged"] == raced["unchanged"] == UNCHANGED
    assert ahead["lower rate"] == raced["learning_rate x0.1"] == LOWER
    assert ahead["raised rate"] == raced["learning_rate x30"] == RAISED
    lines = [t.line.color for t in race_losses(samples.race()).data if t.mode == "lines"]
    assert len(set(lines)) == 5


def test_a_race_judged_by_held_out_loss_draws_it() -> None:
    arms = tuple(
        replace(arm, test_losses=tuple(tuple(v + 1 for v in row) for row in arm.losses))
        for arm in samples.race().arms
    )
    race = replace(samples.race(), arms=arms, judged_by="test")
    figure = race_losses(race)
    arm = race.arms[0]
    assert trace(figure, arm.name).y[0] == pytest.approx(sum(row[0] for row in arm.test_losses) / 3)
    assert figure.layout.yaxis.title.text == "held-out loss"


def test_eigenvalues_keep_value_sign_and_error() -> None:
    finding = samples.saddle()
    figure = eigenvalues(finding)
    up, down = trace(figure, "curves up"), trace(figure, "curves down")
    evidence = finding.evidence
    assert up.customdata == tuple(evidence.value(f"eigenvalue_{k}") for k in range(1, 11))
    assert down.customdata == (evidence.value("bottom_eigenvalue"),)
    assert up.y[0] > 0 > down.y[0]
    assert all(length > 0 for length in (*up.error_y.array, *down.error_y.arrayminus))


def test_eigenvalues_of_a_narrow_spectrum_are_on_a_plain_scale() -> None:
    evidence = Evidence({"eigenvalue_1": Estimate(4.0, 0.5), "eigenvalue_2": Estimate(2.0, 0.25)})
    figure = eigenvalues(Finding(Cause.MINIMUM, "x", 0.9, evidence=evidence))
    heads = trace(figure, "curves up")
    assert heads.y == (4.0, 2.0)
    assert heads.error_y.array == (0.5, 0.25)


def test_eigenvalues_of_a_curve_have_no_known_error() -> None:
    evidence = Evidence({}, {"eigenvalues": Curve((1.0, 2.0), (4.0, math.nan), "rank", "λ")})
    figure = eigenvalues(Finding(Cause.MINIMUM, "x", 0.9, evidence=evidence))
    assert trace(figure, "curves up").y == (4.0,)


@pytest.mark.parametrize("draw", [loss_history, drops, continuations, eigenvalues])
def test_without_data_there_is_a_clear_error(draw) -> None:
    with pytest.raises(UsageError, match="finding must have"):
        draw(samples.bare())


def test_a_race_draws_means_with_gaps_where_a_seed_is_lost() -> None:
    race = samples.race()
    figure = race_losses(race)
    for arm in race.arms:
        line = trace(figure, arm.name)
        means = [sum(column) / len(column) for column in zip(*arm.losses)]
        assert line.y == tuple(m if math.isfinite(m) else None for m in means)
    assert trace(figure, "learning_rate x30").y[9:] == (None,) * 32


def test_a_band_spans_the_seeds() -> None:
    race = samples.race()
    arm = race.arms[0]
    band = trace(race_losses(race), f"{arm.name}: range over the seeds")
    highest = tuple(max(column) for column in zip(*arm.losses))
    lowest = tuple(min(column) for column in zip(*arm.losses))
    assert band.y == (*highest, *lowest[::-1])


def test_gains_have_their_intervals_and_no_bar_for_what_diverged() -> None:
    race = samples.race()
    bars = trace(gains(race), "gain")
    assert "unchanged" not in bars.y
    found = dict(zip(bars.y, zip(bars.x, bars.error_x.array)))
    assert found["Adam"] == pytest.approx((1.21, 0.22))
    assert found["learning_rate x30"] == (None, None)
    assert any("diverged" in note.text for note in gains(race).layout.annotations)


def test_an_arm_that_was_dropped_ends_with_a_cross_and_has_no_gain() -> None:
    race = samples.race()
    cut = replace(
        race.arms[1],
        evaluations=race.arms[1].evaluations[:7],
        losses=tuple(row[:7] for row in race.arms[1].losses),
        gain=Estimate(math.nan, math.nan, "loss", 1.0),
        outcome="dropped at 30",
    )
    race = replace(race, arms=(race.arms[0], cut, *race.arms[2:]))
    line = trace(race_losses(race), cut.name)
    assert line.mode == "lines+markers" and len(line.x) == 7
    assert [size > 0 for size in line.marker.size] == [False] * 6 + [True]
    assert cut.name not in trace(gains(race), "gain").y
    assert not [t for t in race_losses(race).data if t.name == f"{cut.name}: range over the seeds"]


def test_the_points_of_a_gain_are_those_of_single_seeds() -> None:
    race = samples.race()
    arm, unchanged = race.arm("Adam"), race.arm("unchanged")
    points = next(t for t in gains(race).data if t.type == "scatter" and t.y[0] == "Adam")
    expected = [
        sum(one[-4:]) / 4 - sum(two[-4:]) / 4
        for one, two in zip(unchanged.losses, arm.losses, strict=True)
    ]
    assert points.x == pytest.approx(expected)


def test_a_race_without_arms_is_an_empty_picture() -> None:
    nobody = replace(samples.race(), arms=(), winner=None)
    assert len(race_losses(nobody).data) == 0


def test_labels_are_no_markup() -> None:
    figure = loss_history(samples.hostile())
    assert "<" not in figure.layout.xaxis.title.text.replace("&lt;", "")


@pytest.mark.parametrize("name", show.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert callable(getattr(show, name))


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = show.nonsense
