"""Evidence built by hand: for each cause what tells it, and its nearest neighbour that is none."""

from typing import NamedTuple

from thalweg.diagnose.cause import Cause
from thalweg.estimate import Estimate, Evidence

FALLING = {
    "loss": 1.0,
    "plain_loss": 1.0,
    "constant_loss": 2.3,
    "explained": 0.55,
    "gradient_norm": 0.5,
    "gradient_signal": 5.0,
    "noise_share": 0.1,
    "step": 0.5,
    "stability": 0.3,
    "top_eigenvalue": 3.0,
    "bottom_eigenvalue": -0.1,
    "negative_curvature": -0.03,
    "gradient_reach": 0.5,
    "gradient_drop": 0.1,
    "krylov_drop": 0.2,
    "curvature_drop": 0.01,
    "conditioning": 2.0,
    "unchanged_fall": 0.3,
    "unchanged_rise": 0.0,
    "late_fall": 0.05,
    "bounce": 0.0,
    "lower_rate_fall": 0.05,
    "descent_fall": 0.4,
    "jump": 4.0,
    "jump_height": 0.02,
    "jump_share": 0.0,
    "jumps": 0.0,
    "kick": 0.0,
    "dead_share": 0.1,
    "saturated_share": 0.0,
    "output_spread": 1.0,
    "label_signal": 0.9,
    "continuation_steps": 200.0,
    "wiring_faults": 0.0,
    "not_finite": 0.0,
    "data_faults": 0.0,
}
"""A classifier half-way down: the run goes on as fast as anything else tried."""

STILL = {
    "unchanged_fall": 0.0,
    "late_fall": 0.0,
    "lower_rate_fall": 0.0,
    "descent_fall": 0.0,
    "gradient_drop": 0.0,
    "krylov_drop": 0.0,
    "curvature_drop": 0.0,
    "nudge_fall": 0.0,
}
"""Neither the run, nor a tenth of its rate, nor descent, nor a nudge goes down."""

OVERSHOT = {
    "jump": 200.0,
    "jump_height": 3.0,
    "jump_share": 0.07,
    "jumps": 100.0,
    "kick": 15.0,
    "rare_share": 0.2,
    "overstep": 2.0,
    "overstep_share": 0.001,
}
"""A run that is thrown by one example, looked at while it was high up."""

BOWL = STILL | {"bottom_eigenvalue": 0.1, "negative_curvature": 0.03, "escape_fall": 0.0}


class Told(NamedTuple):
    """Changes to FALLING that name a cause, and further ones with which they no longer do."""

    cause: Cause
    signs: dict[str, float]
    neighbour: dict[str, float]
    boundary: str


TOLD = (
    Told(Cause.HEALTHY, {}, {"unchanged_fall": 0.0}, "a run that falls, and one that does not"),
    Told(
        Cause.HEALTHY,
        {},
        {"unchanged_fall": 0.01, "descent_fall": 0.8},
        "falling is not enough where descent falls eighty times further",
    ),
    Told(Cause.MISWIRED, {"wiring_faults": 2.0}, {"wiring_faults": 0.0}, "a check that failed"),
    Told(Cause.NOT_FINITE, {"not_finite": 1.0}, {"not_finite": 0.0}, "a loss that is NaN"),
    Told(
        Cause.DIVERGING,
        {
            "explained": -15.0,
            "plain_loss": 40.0,
            "loss": 40.0,
            "stability": 30.0,
            "unchanged_fall": 0.1,
            "late_fall": 0.0,
            "lower_rate_fall": 1.0,
            "above_constant": 0.9,
            "unchanged_above": 0.85,
            "lower_rate_above": -0.1,
        },
        {"unchanged_fall": 1.0, "unchanged_above": -0.1},
        "thrown above a constant predictor's loss and kept there, or coming down from it",
    ),
    Told(
        Cause.DIVERGING,
        {"stability": 1.5, "unchanged_fall": -20.0, "unchanged_rise": 30.0},
        {"unchanged_fall": -0.1, "unchanged_rise": 0.2},
        "ending higher by many times the range, or by a tenth of it",
    ),
    Told(
        Cause.EDGE_OF_STABILITY,
        {
            "stability": 1.1,
            "noise_share": 0.0,
            "unchanged_fall": 0.0,
            "late_fall": 0.0,
            "bounce": 0.2,
            "lower_rate_fall": 0.2,
        },
        {"noise_share": 0.95, "bounce": 0.0},
        "the same overshoot is the noise's where noise makes the second-order term",
    ),
    Told(
        Cause.STEP_TOO_SMALL,
        {
            "stability": 1e-5,
            "unchanged_fall": 1e-4,
            "lower_rate_fall": 1e-5,
            "raised_rate_fall": 0.6,
            "raised_by": 3e4,
        },
        {"stability": 0.5},
        "a slow run at half its limit is not slow by its rate",
    ),
    Told(
        Cause.NOISE_FLOOR,
        {
            "noise_share": 0.9,
            "step": 2.0,
            "gradient_signal": 0.01,
            "unchanged_fall": 0.0,
            "late_fall": 0.0,
            "lower_rate_fall": 0.2,
        },
        {"lower_rate_fall": -0.05},
        "noise alone is no floor: a lower rate must end lower",
    ),
    Told(
        Cause.SPIKES,
        {"jump": 200.0, "jump_height": 2.0, "jump_share": 0.02, "jumps": 40.0, "kick": 20.0},
        {"jumps": 1.0},
        "one jump is an accident",
    ),
    Told(
        Cause.SPIKES,
        {"jump": 200.0, "jump_height": 2.0, "jump_share": 0.02, "jumps": 40.0, "kick": 20.0},
        {"jump_share": 0.6},
        "jumps in most steps are the noise itself",
    ),
    Told(
        Cause.SPIKES,
        {"jump": 200.0, "jump_height": 2.0, "jump_share": 0.02, "jumps": 40.0, "kick": 20.0},
        {"noise_share": 0.0},
        "steps of all the examples hold no rare one",
    ),
    Told(
        Cause.SPIKES,
        OVERSHOT,
        {"overstep": 0.3},
        "all gradients are large, and no step overshoots any example",
    ),
    Told(
        Cause.SPIKES,
        OVERSHOT,
        {"overstep_share": 0.1},
        "steps that overshoot many examples are too long, and no example is wild",
    ),
    Told(
        Cause.SPIKES,
        OVERSHOT,
        {"kick": -1.0},
        "what leaves the run where it was has not thrown it",
    ),
    Told(
        Cause.SADDLE,
        STILL
        | {
            "bottom_eigenvalue": -1.0,
            "negative_curvature": -0.3,
            "curvature_drop": 0.3,
            "nudge_fall": 0.9,
        },
        BOWL,
        "curvature that leads down, or none",
    ),
    Told(
        Cause.SADDLE,
        STILL | {"negative_curvature": -1e-4, "nudge_fall": 0.9},
        {"nudge_fall": 0.0},
        "curvature too weak to be seen, but a nudge of finite size leaves",
    ),
    Told(
        Cause.SADDLE,
        STILL | {"negative_curvature": -0.5, "nudge_fall": 0.05, "descent_fall": 0.06},
        {"negative_curvature": -0.005},
        "a nudge that gains no more than descent says nothing where curvature rises all round",
    ),
    Told(
        Cause.PLATEAU,
        STILL
        | {"saturated_share": 1.0, "gradient_reach": 1e-8, "explained": 0.0}
        # What escapes lies far off: curvature is nought, not positive.
        | {"bottom_eigenvalue": 0.0, "negative_curvature": 0.0, "escape_fall": 0.8},
        {"saturated_share": 0.1},
        "flat because the units are stuck, or a minimum like any other",
    ),
    Told(
        Cause.PLATEAU,
        STILL
        | {"bottom_eigenvalue": -1e-3, "negative_curvature": -1e-3, "escape_fall": 0.0}
        | {"output_spread": 1e-7, "explained": 0.0},
        {"output_spread": 0.3},
        "inputs that tell the targets do not arrive at the output, or they do and say nothing",
    ),
    Told(
        Cause.PLATEAU,
        {"dead_share": 1.0, "one_batch_fall": 0.05, "one_batch_fresh_fall": 1.0, "explained": -2.0},
        {"one_batch_fall": 0.95},
        "a loss that falls by its offset alone, or a network that learns in spite of its dead units",
    ),
    Told(
        Cause.RAVINE,
        {
            "stability": 0.7,
            "noise_share": 0.0,
            "unchanged_fall": 0.005,
            "late_fall": 0.001,
            "lower_rate_fall": 0.0005,
            "descent_fall": 0.8,
            "krylov_drop": 0.5,
            "curvature_drop": 0.0,
            "conditioning": 300.0,
        },
        {"stability": 0.01},
        "far inside the limit the rate may rise, and no walls hold it",
    ),
    Told(
        Cause.LOCAL_MINIMUM,
        BOWL | {"escape_fall": 0.4},
        {"escape_fall": 0.0},
        "better was reached from elsewhere, or it was not",
    ),
    Told(
        Cause.LOCAL_MINIMUM,
        BOWL | {"earlier_fall": 0.3},
        {"earlier_fall": -0.1},
        "the run itself was lower before, or it was not",
    ),
    Told(
        Cause.MINIMUM,
        BOWL | {"escape_return": 1.0},
        {"descent_fall": 0.2},
        "descent goes on from here",
    ),
    Told(
        Cause.MINIMUM,
        BOWL | {"escape_return": 1.0},
        {"explained": 0.0, "label_signal": 0.0},
        "a minimum that is no better than a constant is no fit",
    ),
    Told(
        Cause.OVERFITTING,
        {"plain_loss": 0.1, "test_loss": 0.9, "test_gap": 0.5, "test_rise": 0.1},
        {"test_rise": -0.05},
        "a gap is no overfitting while held-out loss falls",
    ),
    Told(
        Cause.OVERFITTING,
        {"explained": -99.0, "test_gap": 0.2, "test_rise": 0.8, "unchanged_fall": 1.0},
        {"test_rise": -0.8},
        "however bad the fit is as yet, held-out loss rises while training loss falls",
    ),
    Told(
        Cause.CANNOT_FIT,
        BOWL | {"explained": 0.001, "label_signal": 0.0, "one_batch_fall": 0.9},
        {"explained": 0.6},
        "the fit explains nothing, or most",
    ),
    Told(
        Cause.CANNOT_FIT,
        BOWL | {"explained": 0.001, "label_signal": 0.0, "one_batch_fall": 0.9},
        {"escape_fall": 0.5},
        "this very model fits better from elsewhere",
    ),
)


def of(*changes: dict[str, float]) -> Evidence:
    """FALLING with changes; errors are a hundredth of the values."""
    values = dict(FALLING)
    for change in changes:
        values |= change
    return Evidence({name: Estimate(v, 0.01 * abs(v)) for name, v in values.items()})


NAMES = tuple(sorted(set(FALLING).union(*(told.signs | told.neighbour for told in TOLD))))
"""Every name that is used in building evidence here."""
