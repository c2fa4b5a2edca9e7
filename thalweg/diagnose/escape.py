"""Escape: does noise at this point lead out, how much of it, how often, and where to?"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from thalweg.diagnose.escape_result import Attempt, End, Escape, Round
from thalweg.diagnose.examination import Examination, fan_in_scales
from thalweg.diagnose.probes import fresh_point
from thalweg.diagnose.source import task_of
from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST, Estimate
from thalweg.measure.comparison import compare
from thalweg.measure.connectivity import interpolation
from thalweg.measure.descent import descend_from
from thalweg.run.training import Training
from thalweg.task import Task

__all__ = ["escape"]

LENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Radii of the rounds by default, in lengths of a whole fresh weight vector."""

PEAKS = (1.0, 10.0, 100.0)
"""Peaks of the warm restarts, in learning rates that the training stands at."""

CYCLES, PASSES, STEPS = 2, 5.0, (20, 300)
"""Warm restarts of a trial, passes over the data in each, and fewest and most steps of one."""

SAME = 1e-3
"""A fall counts from this share of what descents from noise usually fall."""

HALVINGS = 3
"""Rounds that close in on the edge of the basin."""

PLACES = 9
"""Places between two minima at which the loss is taken."""


def escape(
    source: Task | Callable[[], Task] | str | Path,
    *,
    task: Task | None = None,
    checkpoint: str | Path | None = None,
    radii: Sequence[float] | None = None,
    trials: int = 6,
    evaluations: int = 40,
    warm: bool = True,
    restarts: int = 4,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Escape:
    """Whether noise about the point where a training stands leads to a lower loss.

    First descent from there, by L-BFGS, to the bottom of its basin. From that bottom, rounds of
    noise of growing length in random directions, each followed by descent; three more rounds close in
    on the edge of the basin. Then the same with warm restarts in place of noise: the user's own
    steps at a rate that begins high and goes down as a cosine does, twice, then descent. Last,
    descents from fresh weights. Nothing of the user's is changed.

    The noise has a direction that is Gaussian, each weight in units of its usual size after a fresh
    start (1/√fan-in), and the given length: the radius to which the loss would be smoothed (Kleinberg,
    Li and Yuan, An Alternative View: When Does SGD Escape Local Minima?, ICML 2018).

    Args:
        source, task, checkpoint: as for :func:`thalweg.diagnose`.
        radii: lengths of the noise, in the units of the parameters; by default from 0.01 to 3 lengths
            of a whole fresh weight vector.
        trials: in each round.
        evaluations: gradient evaluations of a descent; one from fresh weights takes three times as
            many.
        warm: whether warm restarts are tried.
        restarts: descents from fresh weights.
        seed: of every draw.
        progress: called with a few words as each piece of work begins.

    Raises:
        UsageError: a number out of its range; a run folder without its task.
    """
    for name, value, least in (
        ("trials", trials, 1),
        ("evaluations", evaluations, 5),
        ("restarts", restarts, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"{name} must be a whole number of at least {least}, not {value!r}")
    found = task_of(source, task=task, checkpoint=checkpoint)
    if not isinstance(found, Task):
        raise UsageError("an escape needs the run's task: pass task= or --task")
    tick = progress or (lambda words: None)
    e = Examination.of(found, budget=math.inf, seed=seed, tick=tick)
    tick("descent to the bottom")
    ground = _Ground.below(e, evaluations)
    scale = float(fan_in_scales(found.model).norm())
    lengths = _checked(radii, scale)
    trying = _Trials(ground, trials, scale)
    tried = {length: trying.noise(length) for length in lengths}
    ground.judge([each for drawn in tried.values() for each in drawn])
    rounds = {length: trying.round(length, drawn) for length, drawn in tried.items()}
    for _ in range(HALVINGS):
        inside, outside = _edge(rounds)
        if not 0 < inside < outside < math.inf:
            break
        middle = math.sqrt(inside * outside)
        rounds[middle] = trying.round(middle, trying.noise(middle))
    warmed = trying.warm() if warm else ()
    fresh = tuple(ground.end(drawn) for drawn in trying.fresh(restarts))
    return Escape(
        ground.loss,
        ground.settled,
        Attempt(tuple(rounds[length] for length in sorted(rounds))),
        Attempt(warmed),
        fresh,
        ground.tolerance,
        _diameter(rounds),
        ground.spent * e.share,
        found.name,
        (*e.notes, *ground.notes),
    )


@dataclass(frozen=True)
class _Drawn:
    """A trial: the loss after the noise, and where descent from there ended."""

    begin: float
    point: Tensor
    loss: float


class _Ground:
    """The bottom of the basin, and what an end elsewhere is to it."""

    def __init__(self, e: Examination, point: Tensor, loss: Estimate, evaluations: int) -> None:
        self.e, self.point, self.loss, self.evaluations = e, point, loss, evaluations
        self.spent = 0.0
        self.settled = Estimate(0.0)
        self.tolerance = 0.0
        self.notes: list[str] = []

    @classmethod
    def below(cls, e: Examination, evaluations: int) -> "_Ground":
        """The bottom below the task's point: descent goes on while it falls."""
        start = e.objective.value(e.point)
        if not math.isfinite(start):
            raise UsageError("source must stand where its loss is finite, but it is not")
        found = descend_from(e.objective, e.point, evaluations=5 * evaluations)
        point, loss = (found.point, found.loss)
        ground = cls(e, point, loss, evaluations)
        ground.spent = loss.cost + LOSS_COST
        ground.settled = Estimate(start - loss.value, loss.error, "loss")
        return ground

    def judge(self, drawn: Sequence[_Drawn]) -> None:
        """Set the fall that counts, from what descents fall and how losses there are rounded."""
        falls = [d.begin - d.loss for d in drawn if math.isfinite(d.begin - d.loss)]
        usual = median(falls) if falls else 0.0
        highest = max((d.begin for d in drawn if math.isfinite(d.begin)), default=0.0)
        rounding = torch.finfo(self.point.dtype).eps * abs(highest)
        self.tolerance = max(SAME * usual, SAME * self.settled.value, rounding, 3 * self.loss.error)
        if self.settled.value > self.tolerance:
            self.notes.append("the run had not come to rest: descent alone leads lower")

    def end(self, drawn: _Drawn) -> End:
        """What an end is to the bottom."""
        fall = self.loss.value - drawn.loss
        apart = float((drawn.point.double() - self.point.double()).norm())
        if not math.isfinite(fall):
            return End(drawn.loss, -math.inf, apart, math.nan, math.nan, "other")
        way = interpolation(self.e.objective, self.point, drawn.point, count=PLACES)
        self.spent += way.barrier.cost
        agreement = compare(self.e.objective, self.point, drawn.point).agreement
        self.spent += 4 * LOSS_COST
        kind = "back"
        if fall > self.tolerance:
            kind = "lower"
        elif fall < -self.tolerance or way.barrier.value > self.tolerance:
            kind = "other"
        return End(drawn.loss, fall, apart, way.barrier.value, agreement.value, kind)

    def descended(self, begin: Tensor, *, times: int = 1) -> _Drawn:
        """Descent from a point; where it is still falling at about the bottom's height, twice more."""
        start = self.e.objective.value(begin)
        found = descend_from(self.e.objective, begin, evaluations=times * self.evaluations)
        self.spent += found.loss.cost + LOSS_COST
        half = found.losses[: len(found.losses) // 2]
        falling = bool(half) and min(half) - found.loss.value > 1e-4 * abs(start - found.loss.value)
        if falling and len(found.losses) >= times * self.evaluations:
            found = descend_from(self.e.objective, found.point, evaluations=2 * self.evaluations)
            self.spent += found.loss.cost
        return _Drawn(start, found.point, found.loss.value)


class _Trials:
    """Draws the trials, each from a stream of random numbers of its own."""

    def __init__(self, ground: _Ground, count: int, scale: float) -> None:
        self.ground, self.count, self.scale = ground, count, scale
        self.drawn = 0

    def noise(self, length: float) -> list[_Drawn]:
        """Noise of this length in so many directions, each time followed by descent."""
        e = self.ground.e
        e.tick(f"noise of length {length:.3g}")
        found = []
        for _ in range(self.count):
            direction = self._direction()
            found.append(self.ground.descended(self.ground.point + length * direction))
        return found

    def _direction(self) -> Tensor:
        e, point = self.ground.e, self.ground.point
        self.drawn += 1
        generator = e.generator(200 + self.drawn)
        noise = torch.randn(point.shape, generator=generator, dtype=point.dtype).to(point.device)
        noise = noise * fan_in_scales(e.task.model)
        return noise / noise.norm()

    def round(self, length: float, drawn: Sequence[_Drawn]) -> Round:
        """What the trials of a length came to."""
        ends = tuple(self.ground.end(each) for each in drawn)
        return Round(length, length / self.scale, ends)

    def fresh(self, count: int) -> list[_Drawn]:
        """Descents from fresh weights."""
        e = self.ground.e
        e.tick("fresh starts")
        points = [fresh_point(e, 1.0, 5000 + k) for k in range(count)]
        return [self.ground.descended(point, times=3) for point in points]

    def warm(self) -> tuple[Round, ...]:
        """Warm restarts of growing rate, until one ends lower or the steps blow up."""
        ground, e = self.ground, self.ground.e
        rate = e.view.rate
        rounds = []
        alike = e.batch_size >= e.population  # then every trial is the same
        for peak in PEAKS:
            e.tick(f"warm restarts at {peak:g} times the rate")
            found = [self._cycled(peak, 1 + k) for k in range(1 if alike else self.count // 2 or 1)]
            rounds.append(Round(peak * rate, peak, tuple(map(ground.end, found))))
            if rounds[-1].share("lower").successes or not all(math.isfinite(d.loss) for d in found):
                break
        return tuple(rounds)

    def _cycled(self, peak: float, seed: int) -> _Drawn:
        ground, e = self.ground, self.ground.e
        training = Training.of(e.task, seed=seed, lent=e.objective.placed.restore)
        training.place(ground.point)
        training.schedule = None
        rates = [group["lr"] for group in training.optimizer.param_groups]
        steps = int(min(max(PASSES * e.population / e.batch_size, STEPS[0]), STEPS[1]))

        def cycle(which: Training) -> None:
            phase = len(which.losses) % steps / steps
            factor = peak * (1 + math.cos(math.pi * phase)) / 2
            for group, rate in zip(which.optimizer.param_groups, rates, strict=True):
                group["lr"] = factor * rate

        training.before_step.append(cycle)
        finite = training.advance(CYCLES * steps)
        ground.spent += training.cost / e.share
        if not finite:
            return _Drawn(math.nan, ground.point, math.nan)
        return ground.descended(training.point())


def _checked(radii: Sequence[float] | None, scale: float) -> list[float]:
    if radii is None:
        return [length * scale for length in LENGTHS]
    lengths = [float(radius) for radius in radii]
    if not lengths or not all(0 < length < math.inf for length in lengths):
        raise UsageError(f"radii must be numbers above 0, one at least, not {list(radii)!r}")
    return sorted(set(lengths))


def _edge(rounds: dict[float, Round]) -> tuple[float, float]:
    """The largest radius below which every trial came back, and the smallest at which one did not."""
    left = [r for r, each in rounds.items() if each.share("back").successes < len(each.ends)]
    outside = min(left, default=math.inf)
    return max((r for r in rounds if r < outside), default=0.0), outside


def _diameter(rounds: dict[float, Round]) -> Estimate:
    inside, outside = _edge(rounds)
    if math.isinf(outside):
        return Estimate(2 * inside, math.inf, "unit")
    return Estimate(inside + outside, outside - inside, "unit")
