"""Rules for a run that goes on: pure functions of its history so far, cheap enough to ask often."""

import math

import numpy as np
from numpy.typing import NDArray

from thalweg.diagnose import thresholds as t
from thalweg.diagnose.history import history_estimates, jumps
from thalweg.estimate import Estimate, number
from thalweg.record.events import Event, Rule
from thalweg.record.signal import gradient_signal
from thalweg.trajectory import Trajectory

__all__ = ["latest_signal", "live_rules", "what_is_seen"]

RECENT = 200
"""Steps whose mean loss is held against that of as many before."""

FEWEST = 60
"""Steps before anything is said about where the loss goes."""

LEVEL = 1000
"""Steps before a level loss is worth a word."""

JUMPED = 2000
"""Latest steps that are searched for jumps."""

CLEAR = 4.0
"""Standard errors, as a rule is asked again and again."""

LOOKS = 10
"""Pairs of gradients before anything is said about them."""

LATEST = 50
"""Of them, those that are averaged."""

STRAIGHT = 0.99
"""⟨g_t, g_t+1⟩ over ‖g‖² above this at every look: a step that bends the gradient by less than
1% could be a hundred times as long before its curvature holds it. Every look, since the end of a ravine
has no other gradients."""


def live_rules() -> tuple[Rule, ...]:
    """The rules, for ``thalweg.watch(..., rules=thalweg.live_rules())``.

    They see a loss that is not finite, rises, stands still or has spikes, mini-batch gradients that
    are mostly noise, and a learning rate far from what the curvature allows.
    """
    return not_finite, rising, flat, spiking, signal_below_one, rate_too_large, rate_too_small


def what_is_seen(history: Trajectory) -> list[Event]:
    """What the rules see in a history as it stands."""
    found = (rule(history) for rule in live_rules())
    return [event for event in found if event is not None]


def not_finite(history: Trajectory) -> Event | None:
    """One of the last losses is NaN or infinite."""
    losses = history["loss"]
    bad = np.flatnonzero(~np.isfinite(losses.values[-RECENT:]))
    if not len(bad):
        return None
    step = int(losses.steps[-RECENT:][bad[0]])
    sentence = f"the loss is not finite since step {step}"
    if len(bad) < len(losses.values[-RECENT:][bad[0] :]):
        sentence = f"{len(bad)} of the last losses are not finite, the first at step {step}"
    return Event(history.steps, "not_finite", sentence, {"first": float(step)})


def rising(history: Trajectory) -> Event | None:
    """The mean loss of the latest steps stands above that of as many before."""
    losses = _finite(history)
    width = min(RECENT, len(losses) // 4)
    if width < FEWEST // 4:
        return None
    before, after = losses[-2 * width : -width], losses[-width:]
    rise = float(after.mean() - before.mean())
    error = math.hypot(_error(before), _error(after))
    scale = _range(losses)
    clear = rise > CLEAR * error or _blocks(after).min() > _blocks(before).max()
    if not (clear and rise > 0.1 * scale > 0):
        return None
    sentence = (
        f"the loss rises: {number(float(after.mean()), 3)} over the last {width} steps, "
        f"{number(float(before.mean()), 3)} over the {width} before"
    )
    return Event(history.steps, "rising", sentence, {"rise": rise, "error": error})


def flat(history: Trajectory) -> Event | None:
    """The last quarter of the run lies as high as the one before, within half a per cent."""
    if len(_finite(history)) < LEVEL:
        return None
    estimates, _ = history_estimates(history)
    fall = estimates.get("unchanged_fall", Estimate(math.nan))
    if not (abs(fall.value) < t.STILL and fall.error < t.STILL):
        return None
    count = int(estimates["continuation_steps"].value)
    level = estimates["history_end"].value
    sentence = (
        f"the loss stands still at {number(level, 3)}: over the last {count} steps it moved by "
        f"{number(100 * abs(fall.value), 2)}% of its range"
    )
    return Event(history.steps, "flat", sentence, {"fall": fall.value, "level": level})


def spiking(history: Trajectory) -> Event | None:
    """Jumps of the loss that are high, rare, repeated, and throw the run out."""
    losses = _finite(history)[-JUMPED:]
    if len(losses) < FEWEST:
        return None
    size, height, share, count, kick = jumps(losses.tolist())
    scale = _range(_finite(history))
    high = size > t.SPIKE and height > t.SPIKE_HEIGHT * scale > 0 and kick > t.KICK
    if not (high and share < t.RARE and count >= t.REPEATED):
        return None
    sentence = (
        f"the loss has spikes: {count} in the last {len(losses)} steps, the highest by "
        f"{number(height, 3)}"
    )
    return Event(history.steps, "spiking", sentence, {"spikes": float(count), "height": height})


def signal_below_one(history: Trajectory) -> Event | None:
    """A mini-batch gradient is mostly noise; not where steps overshoot, which looks the same."""
    signal = latest_signal(history)
    if not signal.value + 2 * signal.error < 1 or rate_too_large(history) is not None:
        return None
    seen = Estimate(max(0.0, signal.value), signal.error)
    sentence = (
        f"a mini-batch gradient is mostly noise: its signal is {seen}. Near the end of a run that "
        "is usual; before it a larger batch or a lower rate makes more of a step"
    )
    numbers = {"signal": signal.value, "error": signal.error}
    return Event(history.steps, "signal_below_one", sentence, numbers)


def rate_too_large(history: Trajectory) -> Event | None:
    """Consecutive gradients oppose each other: steps go beyond the valley's floor.

    So does the noise of m batches that share out an epoch's examples, by 1/(m − 1), whatever the rate.
    """
    products, squares = _pairs(history)
    if len(products) < LOOKS or len(history["micro_batches"]):
        return None
    latest = products[-LATEST:] / squares[-LATEST:].mean()
    mean, error = float(latest.mean()), _error(latest)
    if not mean + max(CLEAR * error, 0.1) < 0:
        return None
    few = int(1 + 1 / max(-mean - 2 * error, 0.1))
    sentence = (
        f"the learning rate is at what the curvature allows, or above: consecutive gradients point "
        f"against each other (product over square {number(mean, 2)} ± {number(error, 1)}); unless an "
        f"epoch has {few} batches or fewer, whose noise does so at any rate"
    )
    return Event(history.steps, "rate_too_large", sentence, {"product": mean, "error": error})


def rate_too_small(history: Trajectory) -> Event | None:
    """No step of the whole run has bent the gradient."""
    products, squares = _pairs(history)
    if len(products) < LOOKS or len(history["micro_batches"]):
        return None
    share = float((products / squares).min())
    if not share > STRAIGHT:
        return None
    sentence = (
        "the learning rate is far below what the curvature allows: at no look has a step changed the "
        f"gradient by more than {number(100 * (1 - share), 1)}%"
    )
    return Event(history.steps, "rate_too_small", sentence, {"product": share})


def latest_signal(history: Trajectory) -> Estimate:
    """The gradient's signal over the latest pairs of gradients; NaN where there are few."""
    steps = history["gradient_product"].steps
    since = int(steps[-LATEST]) if len(steps) > LATEST else 0
    return gradient_signal(history, since)


def _pairs(history: Trajectory) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Products of gradients, and the squared norm of the first of the two, where they are finite.

    That of the second where the first was not noted.
    """
    product, norm = history["gradient_product"], history["gradient_norm"]
    if not len(product) or not len(norm):
        return np.zeros(0), np.zeros(0)
    here = np.searchsorted(norm.steps, product.steps).clip(max=len(norm) - 1)
    first = (here - 1).clip(min=0)
    known = norm.steps[first] == product.steps - 1
    squares = norm.values[np.where(known, first, here)] ** 2
    seen = known | (norm.steps[here] == product.steps)
    sound = seen & np.isfinite(product.values) & np.isfinite(squares) & (squares > 0)
    return product.values[sound], squares[sound]


def _finite(history: Trajectory) -> NDArray[np.float64]:
    losses = history["loss"].values
    return losses[np.isfinite(losses)]


def _range(losses: NDArray[np.float64]) -> float:
    """From where the losses began, or the highest since, to the lowest; both as means over a few."""
    width = max(5, min(RECENT, len(losses) // 20))
    level = np.convolve(losses, np.ones(width) / width, mode="valid")
    return float(max(np.median(losses[:5]), level[-1]) - level.min())


def _error(values: NDArray[np.float64]) -> float:
    """Standard error of a mean of values that follow each other: by the means of ten blocks."""
    blocks = _blocks(values)
    return float(blocks.std(ddof=1) / math.sqrt(len(blocks))) if len(blocks) > 1 else math.inf


def _blocks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of ten parts."""
    return np.array([block.mean() for block in np.array_split(values, min(10, len(values)))])
