"""Whether two minima are one valley: the loss on the line between them and on a curve of low loss."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.measure.asked import check_counts, check_tolerance
from thalweg.measure.plain import plain
from thalweg.measure.rises import Rises
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import value_and_gradient
from thalweg.objective.supervised import Supervised

__all__ = ["Bend", "Between", "bezier", "bezier_path", "interpolation"]


ASIDE = 0.1
"""So many steps aside of the line a curve begins, coordinate by coordinate."""


@dataclass(frozen=True, eq=False)
class Between:
    """The loss on a way between two points.

    Attributes:
        name: of the way.
        at: places t from 0 to 1, increasing.
        losses, test_losses: there; the latter empty without held-out data.
        barrier: max over t of f(t) − ((1 − t) f(0) + t f(1)), at least 0; 0 where it is rounding.
        barrier_at: the t of it.
        length: of the way, in units of the parameters.
    """

    name: str
    at: tuple[float, ...]
    losses: tuple[float, ...]
    test_losses: tuple[float, ...]
    barrier: Estimate
    barrier_at: float
    length: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data; None for what is not finite."""
        return plain({name: getattr(self, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class Bend:
    """The point c of a quadratic Bézier curve from a to b, and what finding it cost."""

    control: Tensor
    losses: tuple[float, ...]
    cost: float


def interpolation(
    objective: Objective,
    first: Tensor,
    second: Tensor,
    *,
    control: Tensor | None = None,
    test: Any = None,
    count: int = 25,
    name: str | None = None,
) -> Between:
    """The loss on the straight line between two points, or on the Bézier curve that ``control`` bends.

    The barrier is how far the loss on the way lies above the line between its ends (Frankle et al.,
    Linear Mode Connectivity, ICML 2020, whose error is here the loss; the ends weighted as by
    Entezari et al., ICLR 2022). About the highest of ``count`` places, four more are taken.

    Args:
        first, second: shape ``(dim,)``, at t = 0 and t = 1; taken in the precision of the network, or
            of the first.
        control: c of φ(t) = (1−t)² a + 2t(1−t) c + t² b.
        test: held-out examples in any form.
        count: places, 3 at least.

    Returns:
        The way. Error of the barrier: how much the last four places raised it, and what the examples
        leave open where these are a sample. Cost: a third of an evaluation a place.

    Raises:
        UsageError: points of other shapes, fewer places than 3.
    """
    if control is not None:
        objective.check_points(control)
    first, second = _alike(objective, first, second)
    if isinstance(count, bool) or not isinstance(count, int) or count < 3:
        raise UsageError(f"count must be a whole number of 3 or more, not {count!r}")
    way = _Way(objective, first, second, control)
    for t in torch.linspace(0, 1, count, dtype=torch.float64).tolist():
        way.visit(t)
    coarse = way.barrier()
    step = 1 / (count - 1)
    for _ in range(2):
        step /= 2
        for near in (way.highest - step, way.highest + step):
            if 0 < near < 1:
                way.visit(near)
    fine = way.barrier()
    places = sorted(way.seen)
    held_out: tuple[float, ...] = ()
    if test is not None and isinstance(objective, Supervised):
        other = objective.on(test)
        held_out = tuple(other.value(way.point(t)) for t in places)
    none = math.isfinite(fine.value) and fine.value <= way.rises.rounding
    value = 0.0 if none else fine.value
    raised = max(0.0, fine.value - max(0.0, coarse.value))
    error = math.hypot(fine.error, raised, way.missed())
    points = torch.stack([way.point(t).double() for t in torch.linspace(0, 1, 65).tolist()])
    return Between(
        name or ("straight line" if control is None else "Bézier curve"),
        tuple(places),
        tuple(float(way.rises.whole(way.seen[t])) for t in places),
        held_out,
        Estimate(value, error if math.isfinite(value) else math.nan, "loss", way.rises.cost),
        way.highest,
        float(points.diff(dim=0).norm(dim=1).sum()),
    )


class _Way:
    """Losses by parts of the examples at places on a line or curve."""

    def __init__(
        self, objective: Objective, first: Tensor, second: Tensor, control: Tensor | None
    ) -> None:
        self.ends = first.detach(), second.detach()
        self.control = control
        self.rises = Rises(objective, self.ends[0])
        self.seen: dict[float, Tensor] = {}
        self.highest = 0.0

    def point(self, t: float) -> Tensor:
        """φ(t)."""
        first, second = self.ends
        if self.control is None:
            return torch.lerp(first, second, t)
        return bezier(first, self.control.to(first), second, t)

    def visit(self, t: float) -> None:
        """Take the loss at t."""
        if t not in self.seen:
            self.seen[t] = self.rises.at(self.point(t)) + self.rises.start

    def barrier(self) -> Estimate:
        """The highest rise above the line between the ends."""
        above = {
            t: parts - (1 - t) * self.seen[0.0] - t * self.seen[1.0]
            for t, parts in self.seen.items()
        }
        values = {t: float(self.rises.whole(parts)) for t, parts in above.items()}
        wrong = next((t for t, value in values.items() if not math.isfinite(value)), None)
        if wrong is not None:  # a wall that is not finite is one
            self.highest = wrong
            return Estimate(values[wrong], math.nan, "loss")
        self.highest = max(values, key=lambda t: values[t])
        return self.rises.single(above[self.highest])

    def missed(self) -> float:
        """How much higher a parabola through the highest place and its neighbours goes."""
        places = sorted(self.seen)
        at = places.index(self.highest)
        if not 0 < at < len(places) - 1:
            return 0.0
        near = places[at - 1 : at + 2]
        left, top, right = (
            float(self.rises.whole(self.seen[t] - (1 - t) * self.seen[0.0] - t * self.seen[1.0]))
            for t in near
        )
        before, after = near[1] - near[0], near[2] - near[1]
        ahead, behind = (right - top) / after, (top - left) / before
        bend = (ahead - behind) / (before + after)
        slope = (behind * after + ahead * before) / (before + after)
        excess = -(slope**2) / (4 * bend) if bend < 0 else 0.0
        return excess if math.isfinite(excess) else 0.0


def bezier(first: Tensor, control: Tensor, second: Tensor, t: float) -> Tensor:
    """φ(t) = (1−t)² a + 2t(1−t) c + t² b, shape ``(dim,)``."""
    return (1 - t) ** 2 * first + 2 * t * (1 - t) * control + t**2 * second


def bezier_path(
    objective: Objective,
    first: Tensor,
    second: Tensor,
    *,
    steps: int = 300,
    batch_size: int | None = 128,
    rate: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Bend:
    """A quadratic Bézier curve between two points, trained so that the loss on it is low.

    Descends E f(φ(t)) over t uniform on [0, 1], in the control point c alone, whose gradient is
    2t(1−t) ∇f(φ(t)). By Adam, from next to the middle of the line (which may be a
    saddle between two ways around), with a rate that goes down to 0 as a
    cosine does. Each step draws one t (each in its own of as many parts of [0, 1] as there are steps
    in a round of 8) and, of a network, a mini-batch.

    Source: Garipov et al., Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs, NeurIPS
    2018, section 3.

    Args:
        steps: of Adam.
        batch_size: examples a step; None for all.
        rate: Adam's; by default such that c can go as far as a tenth of ‖b − a‖ in 100 steps.
        seed: of the draws.
        progress: called with steps done and how many there are.

    Returns:
        The control point, the loss met at each step, and the cost: ``batch_size / n`` a step.
    """
    first, second = _alike(objective, first.detach(), second.detach())
    check_counts(steps=steps)
    if batch_size is not None:
        check_counts(batch_size=batch_size)
    if rate is not None:
        check_tolerance(rate, "rate")
    if rate is None:
        apart = float((second - first).double().norm()) / math.sqrt(len(first))
        rate = 0.1 * apart or 1e-3
    generator = torch.Generator().manual_seed(seed)
    aside = torch.randn(len(first), generator=generator, dtype=torch.float64).to(first)
    control = ((first + second) / 2 + ASIDE * rate * aside).requires_grad_()
    optimizer = torch.optim.Adam([control], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses, cost = [], 0.0
    places: list[int] = []
    for step in range(steps):
        if progress is not None and step % 20 == 0:
            progress(step, steps)
        if not places:
            places = torch.randperm(8, generator=generator).tolist()
        t = (places.pop() + float(torch.rand((), generator=generator))) / 8
        some, share = _batch(objective, batch_size, generator)
        value, slope = value_and_gradient(some, bezier(first, control.detach(), second, t))
        cost += share
        losses.append(float(value))
        if not math.isfinite(losses[-1]):
            break
        control.grad = 2 * t * (1 - t) * slope
        optimizer.step()
        schedule.step()
    return Bend(control.detach(), tuple(losses), cost)


def _alike(objective: Objective, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both ends as the network's own point is, or the second as the first."""
    for point in (first, second):
        objective.check_points(point)
    like = objective.point() if isinstance(objective, Supervised) else first
    return first.to(like), second.to(like)


def _batch(
    objective: Objective, size: int | None, generator: torch.Generator
) -> tuple[Objective, float]:
    if not isinstance(objective, Supervised) or size is None or size >= objective.data.length:
        return objective, 1.0
    length = objective.data.length
    rows = torch.randperm(length, generator=generator)[:size].tolist()
    return objective.on(objective.data.fetch(rows), chunk=size), size / length
