"""Whether a run's path is one-point convex: the gradient on the way, seen from where it ended."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.measure.waypoint import Ball, RunPath, Spread, Waypoint
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import value_and_gradient
from thalweg.objective.inner_product import inner_product, length
from thalweg.objective.supervised import Supervised
from thalweg.theory.bounds import OnePointBounds

__all__ = ["path"]


def path(
    objective: Objective,
    points: Mapping[int, Tensor],
    *,
    end: Tensor | None = None,
    end_name: str = "",
    batch_size: int | None = None,
    rates: Callable[[int], float] | float | None = None,
    batches: int = 16,
    smoothed: int = 8,
    neighbours: int = 0,
    radius: float = 0.5,
    curvature: bool = True,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> RunPath:
    """⟨−∇f(x_t), x_T − x_t⟩ along a run, the constants c_t, and what the noise makes of them.

    Source: Kleinberg, Li and Yuan, An Alternative View: When Does SGD Escape Local Minima?, ICML
    2018, section 5.

    Args:
        objective: what was descended.
        points: x_t by step, each of shape ``(dim,)``; asked for one after the other, so that a
            mapping that loads them holds one at a time.
        end: x_T in place of the last of the points, such as an average of weights.
        end_name: what it is, in words.
        batch_size: examples a step, for what the noise of mini-batches does; only of a network.
        rates: the learning rate of the step from x_t, or of all.
        batches: mini-batches drawn at each point, ``batch_size / n`` evaluations each.
        smoothed: how many of them are stepped with, for the smoothed gradient: 1 evaluation each.
        neighbours: points w drawn uniformly from a ball of ``radius`` around each x_t, 1 evaluation
            each; 100 in the source.
        curvature: whether to measure the largest eigenvalue of the Hessian at x_T, for L: some 20
            Hessian-vector products, once.
        seed: of every draw; that of a point depends on its step besides.
        progress: called with the points done and how many there are.

    Returns:
        The path. Numbers are exact for the examples of ``objective``; where these are a sample of
        more, errors say what the sample leaves open of ``inner``, ``cosine`` and ``convexity``
        (from the scatter of the mini-batches, so that without them they are unknown). The errors of
        ``smoothed`` and of means are those of the draws.

    Raises:
        UsageError: no point; a point, a batch or a number that cannot be.
    """
    steps = sorted(points)
    if not steps:
        raise UsageError("points must hold a point at least, but is empty")
    if batch_size is not None and not isinstance(objective, Supervised):
        raise UsageError("batch_size must be left out for an objective that is no Supervised")
    least = {"batches": batches, "smoothed": smoothed, "neighbours": neighbours}
    for name, value in least.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UsageError(f"{name} must be a whole number of 0 or more, not {value!r}")
    if not (radius > 0 and math.isfinite(radius)):
        raise UsageError(f"radius must be a number above 0, not {radius!r}")
    first = points[steps[0]]
    last = points[steps[-1]] if end is None else end
    for x in (first, last):
        objective.check_points(x)
    look = _Look(objective, first, last, batch_size, batches, smoothed, neighbours, radius, seed)
    rate = rates if callable(rates) else lambda step: math.nan if rates is None else rates
    waypoints: list[Waypoint] = []
    before: tuple[Tensor, Tensor] | None = None
    steepest = 0.0
    for done, step in enumerate(steps):
        if progress is not None:
            progress(done, len(steps))
        x = points[step]
        waypoint, slope = look.at(step, x, rate(step))
        waypoints.append(waypoint)
        if before is not None and (moved := length(x - before[0])) > 0:
            steepest = max(steepest, length(slope - before[1]) / moved)
        before = x, slope
    found = RunPath(
        tuple(waypoints),
        end_name or ("the last point" if end is None else "the end that was given"),
        waypoints[-1].gradient_norm if end is None else look.gradient_norm(last),
        cost=look.cost + float(end is not None),
    )
    if not curvature:
        return found
    top = extreme_eigenvalues(objective, last, top=1, bottom=1, rtol=0.01, budget=30)
    sharpest = max(top.top[0], top.bottom[0], key=lambda e: abs(e.value))
    known = Estimate(abs(sharpest.value), sharpest.error, sharpest.unit, sharpest.cost)
    smooth = known if known.value >= steepest else replace(known, value=steepest, error=0.0)
    cost = found.cost + sum(e.cost for e in (*top.top, *top.bottom))
    return replace(found, curvature=smooth, ball=_ball(found, smooth), cost=cost)


@dataclass
class _Look:
    """How each point is looked at; ``cost`` counts gradient evaluations."""

    objective: Objective
    start: Tensor
    end: Tensor
    batch_size: int | None
    batches: int
    smoothed: int
    neighbours: int
    radius: float
    seed: int
    cost: float = 0.0

    def at(self, step: int, x: Tensor, rate: float) -> tuple[Waypoint, Tensor]:
        """The waypoint and ∇f there."""
        generator = torch.Generator().manual_seed((1_000_003 * self.seed + step) % 2**63)
        loss, slope = self._gradient(x)
        onward = self.end - x
        noisy, apart = self._mini_batches(x, loss, slope, generator)
        along = [inner_product(noise, onward) for noise in noisy]
        inner, cosine, convexity = _seen_from_end(slope, onward, self._error(along))
        waypoint = Waypoint(
            step=step,
            epoch=self._epoch(step),
            learning_rate=rate,
            loss=Estimate(float(loss), self._error(apart), "loss"),
            gradient_norm=Estimate(length(slope), self._norm_error(slope, noisy), "loss per unit"),
            inner=inner,
            cosine=cosine,
            convexity=convexity,
            from_start=Estimate(length(x - self.start)),
            from_end=Estimate(length(onward)),
            neighbourhood=self._neighbourhood(x, onward, generator),
        )
        if noisy:
            squares = [length(noise) ** 2 for noise in noisy]
            waypoint = replace(
                waypoint,
                stochastic=Spread.of([length(slope + n) for n in noisy], "loss per unit"),
                noise=Spread.of([length(n) for n in noisy], "loss per unit"),
                noise_square=Spread.of(squares, "loss²").mean,
            )
        if noisy and self.smoothed and rate > 0 and onward.any():
            after, constant = self._smoothed(x, slope, noisy[: self.smoothed], rate)
            waypoint = replace(waypoint, smoothed=after, smoothed_convexity=constant)
        return waypoint, slope

    def gradient_norm(self, x: Tensor) -> Estimate:
        """‖∇f(x)‖."""
        generator = torch.Generator().manual_seed(self.seed)
        loss, slope = self._gradient(x)
        noisy, _ = self._mini_batches(x, loss, slope, generator)
        return Estimate(length(slope), self._norm_error(slope, noisy), "loss per unit", 1.0)

    def _gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.cost += 1
        return value_and_gradient(self.objective, x)

    def _epoch(self, step: int) -> float:
        if not isinstance(self.objective, Supervised) or self.batch_size is None:
            return math.nan
        return step * self.batch_size / self.objective.data.population

    def _mini_batches(
        self, x: Tensor, loss: Tensor, slope: Tensor, generator: torch.Generator
    ) -> tuple[list[Tensor], list[float]]:
        """Mini-batches drawn without replacement: ω, and how far the loss is from that of all."""
        objective, size = self.objective, self.batch_size
        if not isinstance(objective, Supervised) or size is None or size >= objective.data.length:
            return [], []
        noises, apart = [], []
        for _ in range(self.batches):
            rows = torch.randperm(objective.data.length, generator=generator)[:size].tolist()
            some = objective.on(objective.data.fetch(rows), chunk=size)
            value, gradient = some.value_and_gradient(x)
            noises.append(gradient - slope)
            apart.append(float(value - loss))
        self.cost += self.batches * size / objective.data.length
        return noises, apart

    def _norm_error(self, slope: Tensor, noisy: list[Tensor]) -> float:
        """Of ‖∇f‖: what the sample leaves open along the gradient, and adds across it."""
        norm = length(slope)
        if not norm or not noisy:
            return self._error([])
        across = self._error([length(noise) for noise in noisy]) ** 2 / (2 * norm)
        return math.hypot(
            self._error([inner_product(noise, slope) / norm for noise in noisy]), across
        )

    def _error(self, apart: list[float]) -> float:
        """Standard error where the examples are a sample of more, from what mini-batches differ by."""
        objective = self.objective
        if not isinstance(objective, Supervised):
            return 0.0
        n, population = objective.data.length, objective.data.population
        if n >= population:
            return 0.0
        if len(apart) < 2 or self.batch_size is None:
            return math.inf
        square = sum(value**2 for value in apart) / len(apart)
        return math.sqrt(square * (1 / n - 1 / population) / (1 / self.batch_size - 1 / n))

    def _neighbourhood(
        self, x: Tensor, onward: Tensor, generator: torch.Generator
    ) -> Spread | None:
        if not self.neighbours or not onward.any():
            return None
        values = []
        for _ in range(self.neighbours):
            way = torch.randn(len(x), generator=generator, dtype=x.dtype).to(x.device)
            far = float(torch.rand((), generator=generator, dtype=torch.float64)) ** (1 / len(x))
            slope = self._gradient(x + (self.radius * far / length(way)) * way)[1]
            values.append(-inner_product(slope, onward))
        return Spread.of(values, "loss")

    def _smoothed(
        self, x: Tensor, slope: Tensor, noisy: list[Tensor], rate: float
    ) -> tuple[Estimate, Estimate]:
        """At y = x − η∇f(x), after which a step's own noise leads to y − ηω."""
        y = x - rate * slope
        onward = self.end - y
        slopes = [self._gradient(y - rate * noise)[1] for noise in noisy]
        inner = Spread.of([-inner_product(each, onward) for each in slopes], "loss").mean
        square = inner_product(onward, onward) or math.nan
        return inner, Estimate(inner.value / square, inner.error / square, "loss per unit²")


def _seen_from_end(
    slope: Tensor, onward: Tensor, error: float
) -> tuple[Estimate, Estimate, Estimate]:
    inner, square, steep = (
        -inner_product(slope, onward),
        inner_product(onward, onward),
        length(slope),
    )
    unknown = math.nan
    product = steep * math.sqrt(square)
    return (
        Estimate(inner, error if square else 0.0, "loss", 1.0),
        Estimate(inner / product, error / product) if product else Estimate(unknown, unknown),
        Estimate(inner / square, error / square, "loss per unit²")
        if square
        else Estimate(unknown, unknown, "loss per unit²"),
    )


def _ball(found: RunPath, smooth: Estimate) -> Ball | None:
    """Of the second half of the run; ``None`` where the noise or the rate was not measured."""
    half = found.waypoints[-1].step / 2
    late = [w for w in found.before_the_end if w.step >= half]
    noisy = [w for w in late if w.noise is not None and w.noise_square is not None]
    rate = found.waypoints[-1].learning_rate
    if not noisy or not rate > 0:
        return None
    bounds = OnePointBounds(
        convexity=min(w.convexity.value for w in late),
        smoothness=smooth.value,
        radius=max(w.noise.high for w in noisy if w.noise is not None),
        second_moment=max(w.noise_square.value for w in noisy if w.noise_square is not None),
        learning_rate=rate,
    )
    kept = math.sqrt(sum(w.from_end.value**2 for w in late) / len(late))
    return Ball(bounds, kept, len(late))
