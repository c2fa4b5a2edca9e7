"""How one vital sign is shown: its words, its unit, its zones and the scale of its gauge."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from thalweg.estimate import Estimate

__all__ = ["GROUPS", "Scale", "Tone", "Vital"]

Tone = Literal["good", "watch", "bad", "calm"]

GROUPS = (
    "The loss",
    "Step size and noise",
    "Ways down from here",
    "Continued from here",
    "Curvature",
    "Layers, data and wiring",
    "Also measured",
)
LOSS, STEP, DOWN, AHEAD, CURVATURE, LAYERS, OTHER = GROUPS


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
        cuts: rising; names of thresholds, with a minus before those meant so, or plain numbers.
        words: what each zone reads, one more than there are cuts.
        tones: of each zone.
        scale: of the gauge; None for a number that only has a row.
        undefined: what to say where the value is not a number.
        within: what to say where the value is no larger than its error.
        main: a vital sign of every report; the others are there for who looks for them.
        share: a number between 0 and 1 that is told in per cent.
        count: of things found; nothing is said where there are none.
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
    within: str = ""
    main: bool = False
    share: bool = False
    count: bool = False

    def judges(self, estimate: Estimate) -> bool:
        """Whether the zones apply: they are stated in one unit."""
        return not self.unit or estimate.unit == self.unit

    def cuts_at(self, thresholds: Mapping[str, float]) -> tuple[float, ...]:
        """The thresholds as numbers."""
        return tuple(_cut(cut, thresholds) for cut in self.cuts)

    def cut_text(self, cut: float) -> str:
        """A place on the scale as it is written there: ``0.5%``, ``10×`` for ten times the range."""
        value, _, unit = Estimate(cut, unit=self.unit).shown(share=self.share)
        return f"{value}×" if unit.startswith("times") else value


def _cut(cut: str, thresholds: Mapping[str, float]) -> float:
    try:
        return float(cut)
    except ValueError:
        sign = -1 if cut.startswith("-") else 1
        return sign * thresholds[cut.removeprefix("-")]
