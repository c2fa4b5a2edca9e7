"""What a run of many trials came to: where they ended, how near a target, how many diverged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from thalweg.errors import UsageError
from thalweg.objective.base import Objective
from thalweg.objective.noise import Noise
from thalweg.run.basins import Basins, shares
from thalweg.run.ends import Proportion, rms_distance, within
from thalweg.run.plan import Plan
from thalweg.trajectory import Trajectory

__all__ = ["Basin", "ExitTimes", "Outcome", "outcome"]


@dataclass(frozen=True)
class Basin:
    """A minimum, and the share of the trials whose end points lead to it."""

    minimum: tuple[float, ...]
    loss: float
    share: Proportion


@dataclass(frozen=True)
class ExitTimes:
    """First exit times of the trials that left: their mean and its standard error, in steps."""

    left: Proportion
    mean: float
    error: float
    median: float

    @classmethod
    def of(cls, times: np.ndarray[Any, Any]) -> "ExitTimes":
        """Of steps ``(trials,)``, negative for a trial that never left."""
        found = times[times >= 0]
        mean = float(found.mean()) if len(found) else math.nan
        error = float(found.std(ddof=1) / math.sqrt(len(found))) if len(found) > 1 else math.nan
        # Trials that have not left come later than all that have: the median knows them too.
        rest = np.where(times < 0, np.inf, times)
        return cls(Proportion(len(found), len(times)), mean, error, float(np.median(rest)))


@dataclass(frozen=True)
class Outcome:
    """Numbers about the end of a run; intervals are Wilson's, of 95%.

    Attributes:
        trials: how many there are.
        steps: updates made.
        diverged: trials whose loss was not finite.
        median_loss: of the trials that did not diverge.
        smoothing_radius: η·r with r the bound of the noise; infinite where there is none, 0 without.
        smoothing_deviation: η·s with s the standard deviation of a coordinate of the noise.
        basins: with the share of the trials that ended in each, largest first.
        basins_known: whether the minima are the landscape's own, not found by looking.
        elsewhere: trials that diverged, or whose flow leads to no minimum in the list.
        within: the share within each radius of the target.
        rms: root mean square distance to the target, and its standard error; of trials not diverged.
        exit_time: where it was asked for.
    """

    trials: int
    steps: int
    diverged: int
    median_loss: float
    smoothing_radius: float
    smoothing_deviation: float
    basins: tuple[Basin, ...]
    basins_known: bool
    elsewhere: int
    within: dict[float, Proportion]
    rms: tuple[float, float] | None
    exit_time: ExitTimes | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; ``None`` for what is not a finite number."""
        told = self.exit_time
        return {
            "trials": self.trials,
            "steps": self.steps,
            "diverged": self.diverged,
            "median_loss": _finite(self.median_loss),
            "smoothing_radius": _finite(self.smoothing_radius),
            "smoothing_deviation": _finite(self.smoothing_deviation),
            "basins": [
                {
                    "minimum": list(basin.minimum),
                    "loss": _finite(basin.loss),
                    "trials": basin.share.successes,
                    "share": basin.share.value,
                    "interval": list(basin.share.interval),
                }
                for basin in self.basins
            ],
            "basins_known": self.basins_known,
            "elsewhere": self.elsewhere,
            "within": {f"{radius:g}": share.value for radius, share in self.within.items()},
            "within_interval": {
                f"{radius:g}": list(share.interval) for radius, share in self.within.items()
            },
            "rms": None if self.rms is None else _finite(self.rms[0]),
            "rms_error": None if self.rms is None else _finite(self.rms[1]),
            "exit_time": None
            if told is None
            else {
                "mean": _finite(told.mean),
                "error": _finite(told.error),
                "median": _finite(told.median),
                "left": told.left.value,
                "left_interval": list(told.left.interval),
            },
        }


def outcome(
    objective: Objective,
    plan: Plan,
    trajectory: Trajectory,
    *,
    target: Sequence[float] | None = None,
    radii: Sequence[float] = (),
) -> Outcome:
    """The numbers of a run that :func:`thalweg.run.descend.descend` has made.

    Args:
        objective: what was descended; the basins are those of its noiseless gradient flow.
        plan: how.
        trajectory: the run.
        target: a point ``(dim,)`` whose distance is asked for.
        radii: around the target.

    Raises:
        UsageError: radii without a target; a target of another dimension.
    """
    if len(radii) and target is None:
        raise UsageError("radii need a target, but there is none")
    points = trajectory.end["points"]
    lost = trajectory.end["diverged_at"] >= 0
    losses = trajectory.end["losses"][~lost]
    noise = plan.noise if isinstance(plan.noise, Noise) else None
    step_noise = None if noise is None else noise.scaled(plan.learning_rate)
    basins = Basins.of(objective, torch.from_numpy(points[~lost]))
    counts = shares(basins.labels(torch.from_numpy(points[~lost])), len(basins.minima))
    with torch.no_grad():
        depths = objective.loss(basins.minima).tolist() if len(basins.minima) else []
    found = [
        Basin(tuple(minimum), depth, Proportion(count, len(points)))
        for minimum, depth, count in zip(basins.minima.tolist(), depths, counts)
        if count
    ]
    times = trajectory.end.get("exit_time")
    return Outcome(
        trials=len(points),
        steps=int(trajectory.end["steps"]),
        diverged=int(lost.sum()),
        median_loss=float(np.median(losses)) if len(losses) else math.nan,
        smoothing_radius=0.0 if step_noise is None else step_noise.bound(objective.dim),
        smoothing_deviation=0.0
        if step_noise is None
        else math.sqrt(step_noise.variance(objective.dim)),
        basins=tuple(sorted(found, key=lambda basin: -basin.share.successes)),
        basins_known=basins.known,
        elsewhere=counts[-1] + int(lost.sum()),
        within={} if target is None else within(points, target, radii, diverged=lost),
        rms=None if target is None else rms_distance(points[~lost], target),
        exit_time=None if times is None else ExitTimes.of(times),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
