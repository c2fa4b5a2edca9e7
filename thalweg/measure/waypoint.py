"""What is known of a run at some of its points, and of the path that leads through them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.theory.bounds import OnePointBounds

__all__ = ["Ball", "RunPath", "Spread", "Waypoint", "least_convexity"]


@dataclass(frozen=True)
class Spread:
    """Mean and range of a number over draws."""

    mean: Estimate
    low: float
    high: float
    draws: int

    @classmethod
    def of(cls, values: Sequence[float], unit: str = "1") -> "Spread":
        """Of these draws; the error of the mean is its standard error."""
        array = np.asarray(values, dtype=np.float64)
        error = float(array.std(ddof=1)) / math.sqrt(len(array)) if len(array) > 1 else math.inf
        mean = Estimate(float(array.mean()), error, unit)
        return cls(mean, float(array.min()), float(array.max()), len(array))


@dataclass(frozen=True, kw_only=True)
class Waypoint:
    """One point x of a run, seen from its end x_T. What was not measured is ``None``.

    Attributes:
        step: number of the step after which the run stood here.
        epoch: passes through the data until then; NaN where the size of a batch is not known.
        learning_rate: of the next step; NaN where it is not known.
        loss: f(x).
        gradient_norm: ‖∇f(x)‖.
        inner: ⟨−∇f(x), x_T − x⟩; above 0 where the gradient points away from the end, so that
            descent leads towards it.
        cosine: of the angle between the two.
        convexity: c_t, ``inner`` over ‖x_T − x‖²; NaN at x_T itself.
        from_start: ‖x − x_0‖.
        from_end: ‖x_T − x‖.
        stochastic: ‖∇f_B(x)‖ of mini-batches.
        noise: ‖ω‖ of their deviations from the full gradient.
        noise_square: E‖ω‖².
        neighbourhood: ⟨−∇f(w), x_T − x⟩ over points w of a ball around x.
        smoothed: ⟨−∇g(y), x_T − y⟩ at y = x − η∇f(x), where ∇g(y) = E ∇f(y − ηω).
        smoothed_convexity: the same over ‖x_T − y‖².
    """

    step: int
    epoch: float
    learning_rate: float
    loss: Estimate
    gradient_norm: Estimate
    inner: Estimate
    cosine: Estimate
    convexity: Estimate
    from_start: Estimate
    from_end: Estimate
    stochastic: Spread | None = None
    noise: Spread | None = None
    noise_square: Estimate | None = None
    neighbourhood: Spread | None = None
    smoothed: Estimate | None = None
    smoothed_convexity: Estimate | None = None

    def values(self) -> Iterator[tuple[str, float]]:
        """Every number by name; of an Estimate its error too, of a Spread its range."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Estimate):
                yield each.name, value.value
                yield f"{each.name}_error", value.error
            elif isinstance(value, Spread):
                yield f"{each.name}_mean", value.mean.value
                yield f"{each.name}_error", value.mean.error
                yield f"{each.name}_low", value.low
                yield f"{each.name}_high", value.high
            elif value is not None:
                yield each.name, value


@dataclass(frozen=True)
class Ball:
    """The noise ball that measured constants predict around x_T, beside what the run kept.

    Attributes:
        bounds: with c the least c_t, r the largest ‖ω‖ and E‖ω‖² the largest mean that were seen in
            the second half of the run, L the largest curvature seen, and the last learning rate:
            estimates all.
        kept: root mean square of ‖x_t − x_T‖ over the points of that half but x_T itself.
        points: how many these are.
    """

    bounds: OnePointBounds
    kept: float
    points: int

    @property
    def radius(self) -> float:
        """√(b/λ), the scale of the ball; infinite where λ = 2ηc − η²L² ≤ 0, so that none is told."""
        bounds = self.bounds
        return math.sqrt(bounds.noise / bounds.rate) if bounds.rate > 0 else math.inf

    @property
    def mean_radius(self) -> float:
        """√(B/λ): in the long run E‖y_t − x_T‖² is at most its square."""
        bounds = self.bounds
        return math.sqrt(bounds.mean_noise / bounds.rate) if bounds.rate > 0 else math.inf

    @property
    def rate_limit(self) -> float:
        """2c/L², the learning rate below which there is a ball; 0 where c ≤ 0."""
        c, smooth = self.bounds.convexity, self.bounds.smoothness
        if c <= 0:
            return 0.0
        return 2 * c / smooth**2 if smooth else math.inf

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain data; a number that is not finite is ``None``."""
        told = {
            "convexity": self.bounds.convexity,
            "smoothness": self.bounds.smoothness,
            "noise_radius": self.bounds.radius,
            "noise_square": self.bounds.second_moment,
            "learning_rate": self.bounds.learning_rate,
            "rate": self.bounds.rate,
            "radius": self.radius,
            "mean_radius": self.mean_radius,
            "rate_limit": self.rate_limit,
            "kept": self.kept,
        }
        return {**{name: _plain(value) for name, value in told.items()}, "points": self.points}


@dataclass(frozen=True)
class RunPath:
    """A run seen from its end.

    Attributes:
        waypoints: in the order of time.
        end: what x_T is, in words.
        end_gradient: ‖∇f(x_T)‖; unless it is 0, c_t says little at points as close as ‖∇f(x_T)‖/c.
        ball: the noise ball, where c, L, r and η could be measured.
        curvature: the largest curvature that was seen, for L.
        cost: gradient evaluations over the data it was measured on.
        notes: what a reader must know.
        name: of the run.
    """

    waypoints: tuple[Waypoint, ...]
    end: str
    end_gradient: Estimate
    ball: Ball | None = None
    curvature: Estimate | None = None
    cost: float = 0.0
    notes: tuple[str, ...] = ()
    name: str = "run"

    @property
    def before_the_end(self) -> tuple[Waypoint, ...]:
        """The waypoints that are not x_T itself."""
        return tuple(w for w in self.waypoints if w.from_end.value > 0)

    def positive_from(self) -> int | None:
        """The step from which ``inner`` stays above 0; ``None`` where its last value is not."""
        first = None
        for waypoint in reversed(self.before_the_end):
            if not waypoint.inner.value > 0:
                break
            first = waypoint.step
        return first

    def least(self, *, from_epoch: float = 0.0) -> Waypoint:
        """The waypoint of the least c_t among those from that epoch on.

        Raises:
            UsageError: there is none but x_T.
        """
        later = [w for w in self.before_the_end if not w.epoch < from_epoch]
        if not later:
            raise UsageError(
                f"from_epoch must leave a point of the run before its end, but {from_epoch:g} does not"
            )
        return min(later, key=lambda w: w.convexity.value)

    def table(self) -> dict[str, NDArray[Any]]:
        """Arrays of one length for ``pandas.DataFrame``, NaN where a number was not measured."""
        rows = [dict(waypoint.values()) for waypoint in self.waypoints]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a number that is not finite is ``None``."""
        return {
            "name": self.name,
            "end": self.end,
            "end_gradient": _plain(self.end_gradient.value),
            "positive_from": self.positive_from(),
            "waypoints": [
                {name: _plain(value) for name, value in waypoint.values()}
                for waypoint in self.waypoints
            ],
            "ball": None if self.ball is None else self.ball.to_dict(),
            "curvature": None if self.curvature is None else _plain(self.curvature.value),
            "cost": self.cost,
            "notes": list(self.notes),
        }


def least_convexity(paths: Sequence[RunPath]) -> dict[int, tuple[Estimate, Estimate]]:
    """Over several runs, such as seeds: the least ``inner`` and the least c_t, by epoch.

    Of the epochs, rounded to whole ones, in which all of them have a waypoint, x_T left out; by step
    where epochs are not known. Each with the error of the run that attains it.

    Raises:
        UsageError: no run.
    """
    if not paths:
        raise UsageError("paths must hold a run at least, but is empty")
    by_step = any(math.isnan(w.epoch) for path in paths for w in path.waypoints)
    seen: list[dict[int, list[Waypoint]]] = []
    for path in paths:
        seen.append({})
        for w in path.before_the_end:
            if not math.isnan(w.inner.value):
                seen[-1].setdefault(w.step if by_step else round(w.epoch), []).append(w)
    shared = sorted(set(seen[0]).intersection(*seen[1:]))
    return {
        time: (
            min((w.inner for each in seen for w in each[time]), key=float),
            min((w.convexity for each in seen for w in each[time]), key=float),
        )
        for time in shared
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
