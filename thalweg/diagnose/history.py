"""What the losses so far tell: where they began, how low they were, how they jump."""

import math
from collections.abc import Sequence

import numpy as np

from thalweg.diagnose.examination import Examination
from thalweg.diagnose.thresholds import SPIKE
from thalweg.estimate import Curve, Estimate
from thalweg.trajectory import Trajectory

__all__ = ["history_estimates", "history_evidence", "jumps"]

SIDE = 15
"""Steps on each side that a jump is compared with."""

SHOWN = 2000
"""Points of the history that a report draws."""


def history_evidence(e: Examination, losses: Sequence[float]) -> None:
    """Add what the history of mini-batch losses says; nothing where there are fewer than 10."""
    seen = _levels(losses)
    if seen is None:
        return
    e.curves["history"] = _curve(losses)
    plain = e.estimates["plain_loss"]
    # The sampling error of the loss counts where the history saw other examples than we do.
    sampling = plain.error if e.batch_size < e.population else 0.0
    for name in ("history_start", "history_best", "history_end"):
        e.add(name, seen[name])
    best = seen["history_best"]
    # A history holds the loss without weight decay, which may rise while the sum of both falls.
    paid = max(0.0, e.estimates["loss"].value - plain.value)
    fall = plain.value - best.value - paid
    e.add_fall("earlier_fall", fall, math.hypot(best.error, sampling), 0.0)


def history_estimates(metrics: Trajectory) -> tuple[dict[str, Estimate], dict[str, Curve]]:
    """Evidence from a recorded run alone: its last quarter stands for the continuation."""
    losses = tuple(map(float, metrics["loss"].values))
    estimates = {"not_finite": Estimate(float(any(not math.isfinite(v) for v in losses[-10:])))}
    piled = metrics["gradients_accumulate"].values
    estimates["wiring_faults"] = Estimate(float(len(piled) > 0 and bool(np.nanmax(piled) > 0)))
    seen = _levels(losses)
    if seen is None:
        return estimates, {}
    estimates |= seen
    finite = np.asarray([v for v in losses if math.isfinite(v)])
    quarter = max(2, len(finite) // 4)
    before, after = finite[-2 * quarter : -quarter], finite[-quarter:]
    scale = float(max(seen["history_start"].value, finite[-1]) - seen["history_best"].value)
    fall = float(before.mean() - after.mean())
    error = math.hypot(before.std(), after.std()) / math.sqrt(quarter)
    size, height, share, count, kick = jumps(losses)
    if scale > 0:
        estimates["range"] = Estimate(scale, 0.0, "loss")
        estimates["unchanged_fall"] = Estimate(fall / scale, error / scale, "of the range")
        estimates["continuation_steps"] = Estimate(float(quarter), unit="steps")
        estimates["jump"] = Estimate(size, 0.0, "spreads")
        estimates["jump_height"] = Estimate(height / scale, 0.0, "of the range")
        estimates["jump_share"] = Estimate(share)
        estimates["jumps"] = Estimate(float(count))
        estimates["kick"] = Estimate(kick, 0.0, "spreads")
    return estimates, {"history": _curve(losses)}


def _levels(losses: Sequence[float]) -> dict[str, Estimate] | None:
    """Start, lowest and last level of the losses, each a mean over a twentieth of them."""
    values = np.asarray(losses, dtype=float)
    finite = values[np.isfinite(values)]
    if len(finite) < 10:
        return None
    width = max(5, len(finite) // 20)
    level = np.convolve(finite, np.ones(width) / width, mode="valid")
    spread = float(np.std(finite[-width:]) / math.sqrt(width))
    return {
        "history_start": Estimate(float(np.median(finite[: max(3, width // 4)])), 0.0, "loss"),
        "history_best": Estimate(float(level.min()), spread, "loss"),
        "history_end": Estimate(float(level[-1]), spread, "loss"),
    }


def _curve(losses: Sequence[float]) -> Curve:
    every = max(1, len(losses) // SHOWN)
    steps = range(0, len(losses), every)
    return Curve(tuple(map(float, steps)), tuple(losses[::every]), "step", "mini-batch loss")


def jumps(losses: Sequence[float]) -> tuple[float, float, float, int, float]:
    """How losses jump: how far in spreads and in their unit, in what share of steps, how often, and
    by how many spreads the three losses after a jump stand above those before it (the kick).

    A jump is a loss above both the median of the 15 before it and that of the 15 after it, so that
    it came back: a fall or a rise that stays is none. The spread is 1.4826 times the median
    absolute deviation from the nearer of the two, which rare jumps do not move; the share counts
    the steps above SPIKE spreads.
    """
    values = np.asarray(losses, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < 3 * SIDE:
        return math.nan, math.nan, math.nan, 0, math.nan
    medians = np.median(np.lib.stride_tricks.sliding_window_view(values, SIDE), axis=1)
    inner = values[SIDE:-SIDE]
    above = inner - np.maximum(medians[: len(inner)], medians[-len(inner) :])
    highest = float(above.max())
    spread = 1.4826 * float(np.median(np.abs(above)))
    if highest <= 0:
        return 0.0, 0.0, 0.0, 0, 0.0
    spread = max(spread, 1e-12)
    far = above > SPIKE * spread
    places = np.flatnonzero(far[:-4])
    after = np.array([inner[i + 1 : i + 4].mean() - medians[i] for i in places])
    kick = float(np.median(after) / spread) if len(after) else 0.0
    return highest / spread, highest, float(far.mean()), int(far.sum()), kick
