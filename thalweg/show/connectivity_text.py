"""A connection in words: rows of tables and the sentences at the end."""

import math

from thalweg.estimate import Estimate, number, rounded
from thalweg.measure.comparison import Minimum
from thalweg.measure.connection import Connection

__all__ = ["LABELS", "end_rows", "sentences", "way_rows"]

LABELS = {
    "line": "straight line",
    "aligned": "straight line, units aligned",
    "curve": "Bézier curve of low loss",
}
"""Of the ways, in the order in which they are told."""

_NUMBERS = {
    "loss": "training loss",
    "test_loss": "held-out loss",
    "accuracy": "right on training data",
    "test_accuracy": "right on held-out data",
    "margin": "median margin",
}


def end_rows(found: Connection) -> list[tuple[str, str, str]]:
    """What each of the two points is like; then what they share, in the first column."""
    one, other = found.comparison.first, found.comparison.second
    rows = [
        (label, _number(one, name), _number(other, name))
        for name, label in _NUMBERS.items()
        if not math.isnan(getattr(one, name).value)
    ]
    shared = {
        "same class, training data": found.comparison.agreement,
        "same class, held-out data": found.comparison.test_agreement,
        "distance": found.comparison.distance,
        "cosine": found.comparison.cosine,
    }
    told = {label: e for label, e in shared.items() if not math.isnan(e.value)}
    return rows + [(label, text(e), "") for label, e in told.items()]


def way_rows(found: Connection) -> list[tuple[str, str, str, str, str]]:
    """Way, barrier, where it is, the highest loss, length."""
    rows = []
    for key, label in LABELS.items():
        if key in found.ways:
            way = found.ways[key]
            known = [loss for loss in way.losses if not math.isnan(loss)]
            highest = number(max(known), 3) if len(known) == len(way.losses) else "not a number"
            place = number(way.barrier_at, 2) if way.barrier.value > 0 else ""
            rows.append((label, text(way.barrier), place, highest, number(way.length, 3)))
    return rows


def sentences(found: Connection) -> list[str]:
    """What to take away."""
    one, other = found.ends
    line = found.ways["line"].barrier
    said = []
    if _level(line):
        said.append(f"On the straight line from {one} to {other} there is no barrier.")
    else:
        said.append(f"On the straight line from {one} to {other} the barrier is {text(line)}.")
    if "aligned" in found.ways:
        left = found.ways["aligned"].barrier
        share = f"{100 * found.moved:.0f}% of the hidden units moved"
        word = "none is left" if _level(left) else f"it is {text(left)}"
        said.append(f"With the units in the same order ({share}) {word}.")
    if "curve" in found.ways:
        curve = found.ways["curve"]
        line = found.ways["line"].length
        times = f"{number(curve.length / line, 3)} times as long" if line else "away and back"
        if _level(curve.barrier):
            said.append(f"A curve {times} joins them without a barrier.")
        else:
            said.append(f"On a curve {times} the barrier is {text(curve.barrier)}.")
    same, where = found.comparison.test_agreement, "held-out"
    if math.isnan(same.value):
        same, where = found.comparison.agreement, "training"
    if not math.isnan(same.value):
        chance = found.comparison.chance.value
        alone = ""
        if math.isfinite(chance):
            alone = f"; independent errors would leave {100 * chance:.3g}%"
        said.append(f"They predict the same class for {text(same)} of the {where} examples{alone}.")
    return said


def text(estimate: Estimate) -> str:
    """Value and error; shares in per cent."""
    if estimate.unit == "of the examples":
        value, error, _ = estimate.shown(share=True)
        return f"{value} ± {error}" if error else value
    value, error = rounded(estimate.value, estimate.error, 3)
    return f"{value} ± {error}" if error else value


def _level(barrier: Estimate) -> bool:
    return barrier.value <= 2 * barrier.error or barrier.value == 0


def _number(minimum: Minimum, name: str) -> str:
    return text(getattr(minimum, name))
