"""The catalogue of vital signs: label, formula, meaning, zones and scale of each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from thalweg.estimate import Estimate

__all__ = ["DEFAULT_THRESHOLDS", "GROUPS", "VITALS", "Scale", "Vital"]

Tone = Literal["good", "watch", "bad", "calm"]

LOSS, STEP, DOWN, AHEAD, CURVATURE, LAYERS, OTHER = GROUPS = (
    "The loss",
    "Step size and noise",
    "Ways down from here",
    "Continued from here",
    "Curvature",
    "Layers",
    "Also measured",
)

DEFAULT_THRESHOLDS: Mapping[str, float] = {
    "stability_low": 0.05,
    "stability_edge": 1.0,
    "step_low": 0.1,
    "step_high": 2.0,
    "noise_share_low": 0.2,
    "noise_share_high": 0.8,
    "gradient_signal": 1.0,
    "drop": 0.01,
    "negative_curvature": -1e-4,
    "conditioning": 10.0,
    "rise": -0.01,
    "fall": 0.01,
    "one_batch": 0.5,
    "layer_share": 0.5,
}


@dataclass(frozen=True)
class Scale:
    """The axis of a gauge: ``linear``, ``log``, or ``signed``, which is linear within ``width`` of
    0 and logarithmic beyond it on both sides."""

    kind: Literal["linear", "log", "signed"]
    low: float
    high: float
    width: float = 1e-3

    def position(self, value: float) -> float:
        """Where ``value`` lies between the ends, from 0 to 1, clamped; NaN stays NaN."""
        if math.isnan(value):
            return math.nan
        if value <= self.low or value >= self.high:
            return 0.0 if value <= self.low else 1.0
        low, high, here = (self._warp(v) for v in (self.low, self.high, value))
        return (here - low) / (high - low)

    def _warp(self, value: float) -> float:
        if self.kind == "log":
            return math.log10(value)
        return math.asinh(value / self.width) if self.kind == "signed" else value


@dataclass(frozen=True)
class Vital:
    """How one named Estimate is shown.

    Attributes:
        name: in the Evidence.
        label: for a reader.
        symbol: the formula.
        meaning: one line.
        group: the heading it stands under.
        unit: that the zones are stated in; an Estimate in another unit gets a plain row.
        cuts: names of the thresholds, rising.
        words: what each zone reads, one more than there are cuts.
        tones: of each zone.
        scale: of the gauge; None for a number that only has a row.
        undefined: what to say where the value is not a number.
    """

    name: str
    label: str
    symbol: str = ""
    meaning: str = ""
    group: str = OTHER
    unit: str = "1"
    cuts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    tones: tuple[Tone, ...] = ()
    scale: Scale | None = None
    undefined: str = ""

    def judges(self, estimate: Estimate) -> bool:
        """Whether the zones apply: they are stated in one unit."""
        return not self.unit or estimate.unit == self.unit

    def cuts_at(self, thresholds: Mapping[str, float]) -> tuple[float, ...]:
        """The thresholds as numbers."""
        return tuple(float(cut) if _is_number(cut) else thresholds[cut] for cut in self.cuts)


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


_FALL: Mapping[str, object] = {
    "group": AHEAD,
    "cuts": ("rise", "fall"),
    "words": ("rises", "stands still", "falls"),
    "tones": ("watch", "calm", "good"),
    "scale": Scale("signed", -1.0, 1.0, width=0.01),
}
_DROP: Mapping[str, object] = {
    "group": DOWN,
    "cuts": ("drop",),
    "words": ("no fall worth having", "a way down"),
    "tones": ("calm", "good"),
    "scale": Scale("log", 1e-5, 1.0),
}
_SHARE: Mapping[str, object] = {
    "group": LAYERS,
    "cuts": ("layer_share",),
    "tones": ("good", "bad"),
    "scale": Scale("linear", 0.0, 1.0),
}


def _sign(name: str, label: str, symbol: str, meaning: str, **rest: object) -> Vital:
    return Vital(name, label, symbol, meaning, **rest)  # type: ignore[arg-type]


_ALL = (
    _sign("loss", "training loss", "f(θ)", "With the optimizer's weight decay.", group=LOSS),
    _sign("test_loss", "held-out loss", "", "On data the run does not train on.", group=LOSS),
    _sign(
        "constant_loss",
        "loss of a constant",
        "",
        "The best loss without looking at the inputs.",
        group=LOSS,
    ),
    _sign("accuracy", "training accuracy", "", "Share of examples it gets right.", group=LOSS),
    _sign("test_accuracy", "held-out accuracy", "", "Share of unseen examples.", group=LOSS),
    _sign(
        "stability",
        "stability",
        "η λ_max / limit",
        "The rate times the sharpest curvature, as a share of what the optimizer can bear.",
        group=STEP,
        cuts=("stability_low", "stability_edge"),
        words=("far below the limit", "within the limit", "at the limit or past it"),
        tones=("watch", "good", "bad"),
        scale=Scale("log", 1e-4, 10.0),
    ),
    _sign(
        "step",
        "step",
        "η (gᵀHg + tr HΣ_B) / ‖g‖²",
        "How the rate compares with the best one for a single step, which reads 1.",
        group=STEP,
        cuts=("step_low", "step_high"),
        words=("room for a larger rate", "about right", "too large: the loss no longer falls"),
        tones=("watch", "good", "bad"),
        scale=Scale("log", 1e-4, 100.0),
        undefined="undefined here",
    ),
    _sign(
        "noise_share",
        "noise share",
        "tr HΣ_B / (gᵀHg + tr HΣ_B)",
        "How much of what a step loses to curvature is lost to mini-batch noise.",
        group=STEP,
        cuts=("noise_share_low", "noise_share_high"),
        words=("mostly the gradient itself", "gradient and noise", "mostly noise"),
        tones=("calm", "calm", "watch"),
        scale=Scale("linear", 0.0, 1.0),
        undefined="undefined here",
    ),
    _sign(
        "gradient_signal",
        "gradient signal",
        "‖g‖² / tr Σ_B",
        "How far the gradient stands out of the noise of one mini-batch.",
        group=STEP,
        cuts=("gradient_signal",),
        words=("batches are mostly noise", "batches are mostly signal"),
        tones=("watch", "good"),
        scale=Scale("log", 1e-4, 1e4),
    ),
    _sign("noise_trace", "gradient noise", "tr Σ_B", "Variance of a batch gradient.", group=STEP),
    _sign(
        "curvature_noise",
        "noise through curvature",
        "tr HΣ_B",
        "What the noise of a batch costs through the curvature.",
        group=STEP,
    ),
    _sign(
        "predicted_change",
        "predicted change",
        "E Δf",
        "What second order expects of the next step.",
        group=STEP,
        unit="",
        cuts=("0",),
        words=("the next step lowers the loss", "the next step raises the loss"),
        tones=("good", "watch"),
    ),
    _sign("gradient_norm", "gradient norm", "‖∇f‖", "Steepness of the ground.", group=DOWN),
    _sign(
        "gradient_drop", "drop along −g", "", "Largest fall found against the gradient.", **_DROP
    ),
    _sign(
        "curvature_drop",
        "drop along curvature",
        "",
        "Largest fall found along ± the most negative curvature.",
        **_DROP,
    ),
    _sign(
        "negative_curvature",
        "negative curvature",
        "λ_min / λ_max",
        "How strongly the ground curves down, against how strongly it curves up.",
        group=DOWN,
        cuts=("negative_curvature",),
        words=("curves down: not a minimum", "no curve down beyond the error"),
        tones=("watch", "good"),
        scale=Scale("signed", -1.0, 1.0, width=1e-4),
    ),
    _sign(
        "conditioning",
        "conditioning",
        "Krylov fall / gradient fall",
        "What a few Krylov steps promise against the best gradient step.",
        group=DOWN,
        cuts=("conditioning",),
        words=("the gradient does nearly as well", "a ravine: the gradient misleads"),
        tones=("good", "watch"),
        scale=Scale("log", 1.0, 1e5),
    ),
    _sign("nudge_fall", "after a nudge", "", "Fall when nudged, then descended.", **_FALL),
    _sign("escape_fall", "after an escape", "", "Fall when shaken hard, then descended.", **_FALL),
    _sign("unchanged_fall", "unchanged", "", "Fall of the run as it stands.", **_FALL),
    _sign("lower_rate_fall", "at a lower rate", "", "Fall with the rate cut down.", **_FALL),
    _sign("raised_rate_fall", "at a raised rate", "", "Fall with the rate raised.", **_FALL),
    _sign(
        "one_batch_fall",
        "one batch alone",
        "",
        "Share of the loss of one batch that training on it alone removes.",
        group=AHEAD,
        cuts=("one_batch",),
        words=("even one batch is not learnt", "one batch can be learnt"),
        tones=("bad", "good"),
        scale=Scale("linear", 0.0, 1.0),
    ),
    _sign("top_eigenvalue", "top eigenvalue", "λ_max", "Sharpest curvature.", group=CURVATURE),
    _sign("bottom_eigenvalue", "bottom eigenvalue", "λ_min", "Lowest curvature.", group=CURVATURE),
    _sign(
        "dead_share",
        "dead units",
        "",
        "Share of units that never fire.",
        words=("most units fire", "most units never fire"),
        **_SHARE,
    ),
    _sign(
        "saturated_share",
        "saturated units",
        "",
        "Share of units stuck at an end of their range.",
        words=("most units respond", "most units are stuck at an end"),
        **_SHARE,
    ),
)

VITALS: Mapping[str, Vital] = {sign.name: sign for sign in _ALL}
"""Every sign that a diagnosis may produce, in the order a reader meets them."""
