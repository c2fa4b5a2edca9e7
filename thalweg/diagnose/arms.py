"""The arms of the continuation: the user's run as it is, at a tenth of the rate, and raised."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from thalweg.diagnose.continuation import Continuation, continued
from thalweg.diagnose.examination import Examination, plain_history
from thalweg.diagnose.history import jumps
from thalweg.diagnose.thresholds import FEW, STILL, TEST_RISE
from thalweg.estimate import Estimate
from thalweg.measure.examples import per_example

__all__ = ["take_continuation"]

RAISE_TO = 0.3
"""Stability to which the raised arm of the continuation lifts the rate: well inside the limit, as
curvature grows while the loss falls."""

PROMISE = 0.3
"""Share of the range that the raised arm is to fall by, if it falls in proportion to its rate: curvature
grows on the way down, and a rate that is far higher blows up where this one tells as much."""

BACK_OFF = 10.0
"""Where the raised rate blows up or falls no further than the run does, as curvature may grow on the
way down, this many times less is tried."""

STEPS = (20, 1500)
"""Fewest and most steps of a continuation."""

ARM, ARM_OF_ALL = 0.1, 0.14
"""Share of the budget for each arm of the continuation; and where a step takes all the examples, so that
there are few of them, and one order."""

REST = 0.4
"""Share of the budget that must be left for what follows, where noise rules, or the run blows up, and
another order of the data is to be tried."""

FREEDOM = 2.0
"""What an error by the distance of two runs is widened by: Student's t with one degree of freedom."""

SUSPECT = 5.0
"""Spreads of a jump from which single examples are looked at."""

LOOKED_AT = 2048
"""Single examples at most: the rarer, the easier missed by a draw."""

NEAR_LEAST = 0.1
"""Height of an example's loss above the least, as a share of the mean one, from which it counts."""

RECENT = 300
"""Losses of the history that count for jumps, with those of the continuation."""


def take_continuation(e: Examination) -> None:
    """Add the fall of every arm, the jumps of the losses and the rise of the held-out loss."""
    arm = (ARM if e.batch_size < e.population else ARM_OF_ALL) * e.budget
    steps = int(min(max(arm * e.population / e.batch_size, STEPS[0]), STEPS[1]))
    e.add("continuation_steps", Estimate(float(steps), unit="steps"), charge=False)
    unchanged = [_continued(e, "unchanged", steps, test=True)]
    if _by_chance(e, unchanged[0]):
        unchanged.append(_continued(e, "unchanged", steps, test=True, order=1))
    _add_unchanged(e, unchanged)
    level = e.estimates["loss"].value
    if e.batch_size >= e.population:
        level = next((run.level for run in unchanged if run.finite), None)
    lower = _continued(e, "lower_rate", steps, factor=0.1, level=level)
    _add_arm(e, "lower_rate", [lower])
    _take_raised(e, steps, level)


def _by_chance(e: Examination, run: Continuation) -> bool:
    """Whether another order of the data may go another way, and there is room to try one.

    Noise rules, and it scatters the loss or the held-out loss rises; or the run has blown up.
    """
    if e.batch_size >= e.population or e.left - 2 * run.cost < REST * e.budget:
        return False
    if not run.finite:
        return True
    scale = e.scale().value
    scattered = run.fall.error >= STILL / 10 * scale
    rises = bool(run.test_losses) and run.test_fall().value < -TEST_RISE * scale
    return e.estimates["gradient_signal"].value < 1 and (scattered or rises)


def _continued(
    e: Examination,
    name: str,
    steps: int,
    *,
    factor: float = 1.0,
    level: float | None = None,
    test: bool = False,
    order: int = 0,
) -> Continuation:
    e.tick(f"continuation: {name.replace('_', ' ')}")
    training = e.training(order)
    if factor != 1.0:
        _scale_rate(training.optimizer, factor)
    start = e.estimates["loss"].value
    run = continued(
        training,
        e.objective,
        steps=steps,
        start=start,
        level=level,
        noisy=e.batch_size < e.population,
        test=e.watched if test else None,
    )
    e.lowest = min(e.lowest, *(v for v in run.losses if math.isfinite(v)))
    return run


def _add_arm(e: Examination, name: str, runs: Sequence[Continuation]) -> None:
    """The fall, a mean over the orders of the data, and how far above a constant predictor it ends."""
    fall = _mean([run.fall for run in runs])
    e.add_fall(f"{name}_fall", fall.value, fall.error, sum(run.cost for run in runs))
    e.curves[f"continuation_{name}"] = runs[0].curve()
    constant = e.estimates["constant_loss"].value
    if math.isfinite(constant):  # weight decay is taken to stay what it is
        decay = e.estimates["loss"].value - e.estimates["plain_loss"].value
        above = _mean([Estimate(run.end - decay - constant, run.fall.error) for run in runs])
        e.add_fall(f"{name}_above", above.value, above.error, 0.0)


def _add_unchanged(e: Examination, every: Sequence[Continuation]) -> None:
    """What the orders of the data show that do not blow up, if there are such; and how many do."""
    runs = [run for run in every if run.finite] or every
    blown = sum(not run.finite for run in every)
    e.add("blown_up", Estimate(blown / len(every), 0.0, "of the orders"))
    e.spent += sum(run.cost for run in every if run not in runs)
    _add_arm(e, "unchanged", runs)
    start = e.estimates["loss"].value
    if blown < len(every):
        late = _mean([Estimate(run.late, run.fall.error) for run in runs])
        e.add_fall("late_fall", late.value, late.error, 0.0)
        e.add_fall("bounce", min(run.bounce for run in runs), 0.0, 0.0)
    worst = max((v for run in runs for v in run.losses if math.isfinite(v)), default=math.nan)
    e.add_fall("unchanged_rise", math.inf if blown else worst - start, 0.0, 0.0)
    seen = [*plain_history(e.task.history)[-RECENT:], *runs[0].batch_losses]
    size, height, share, count, kick = jumps(seen)
    e.add("kick", Estimate(kick, 0.0, "spreads"))
    e.add("jumps", Estimate(float(count)))
    e.add("jump", Estimate(size, 0.0, "spreads"))
    e.add("jump_share", Estimate(share))
    e.add_fall("jump_height", height, 0.0, 0.0)
    if size > SUSPECT and e.objective.pair_loss is not None:
        _add_rare(e)
    if runs[0].test_losses:
        rise = -_mean([run.test_fall() for run in runs])
        gap = e.estimates["test_loss"].value - e.estimates["plain_loss"].value
        error = math.hypot(e.estimates["test_loss"].error, e.estimates["loss_spread"].value)
        e.add_fall("test_rise", rise.value, rise.error, 0.0)
        e.add_fall("test_gap", gap, error, 0.0)
        e.curves["continuation_test"] = runs[0].test_curve()


def _add_rare(e: Examination) -> None:
    """How much of the squared gradients a few examples have, and how many of them a step overshoots."""
    e.tick("single examples")
    found = per_example(e.objective, e.point, sample=LOOKED_AT, seed=e.seed)
    e.spent += found.cost
    squares = found.gradient_norms**2
    few = math.ceil(FEW * len(squares))
    whole = float(squares.sum())
    if not (whole > 0 and math.isfinite(whole)):
        return
    share = float(np.sort(squares)[-few:].sum()) / whole
    e.add("rare_share", Estimate(share, 0.0, "of the squared gradients", found.cost), charge=False)
    above = found.losses - found.losses.min()
    floor = NEAR_LEAST * float(above.mean())
    plain = e.view.known and not e.view.adaptive and bool((e.view.metric == 1).all())
    if plain and floor > 0:
        # Of a loss that is nowhere below 0, ‖∇fᵢ‖² / 2fᵢ is at most its curvature; here 0 is the least.
        curvature = squares / (2 * np.maximum(above, floor))
        steps = e.view.rate / (1 - e.view.momentum) / e.batch_size * curvature
        e.add("overstep", Estimate(float(steps.max())), charge=False)
        e.add("overstep_share", Estimate(float((steps > 1).mean())), charge=False)


def _mean(found: Sequence[Estimate]) -> Estimate:
    """Of runs that differ by their order of the data, whose errors their distance joins."""
    values = [each.value for each in found]
    finite = all(map(math.isfinite, values))
    value = math.fsum(values) / len(values) if finite else max(values, key=abs)
    if len(values) == 1 or not math.isfinite(value):
        return replace(found[0], value=value)
    apart = (
        FREEDOM**2 * math.fsum((v - value) ** 2 for v in values) / (len(values) - 1) / len(values)
    )
    own = math.fsum(each.error**2 for each in found) / len(values) ** 2
    return replace(found[0], value=value, error=math.sqrt(own + apart))


def _take_raised(e: Examination, steps: int, level: float | None) -> None:
    """The arm of a raised rate, where stability leaves room for one."""
    stability = e.estimates["stability"].value
    if not 0 < stability < RAISE_TO / 1.5:
        return
    factor = RAISE_TO / stability
    if e.view.adaptive:
        # An adaptive step moves each weight by about the rate: keep that to a small part of it.
        typical = float(e.point.norm()) / math.sqrt(e.objective.dim)
        factor = min(factor, 0.05 * typical / max(e.view.rate, 1e-30))
    own, cost = e.falls["unchanged_fall"].value, 0.0
    if own > 0:  # no further than what the run as it is promises at so many times the rate
        factor = min(factor, max(BACK_OFF, PROMISE * e.scale().value / own))
    if factor < 1.5:
        return
    while True:
        run = _continued(e, "raised_rate", steps, factor=factor, level=level)
        cost += run.cost
        spent = cost > 4 * ARM * e.budget or (run.finite and e.left - cost < 2 * ARM * e.budget)
        if run.fall.value > own or factor < 1.5 * BACK_OFF or spent:
            break
        factor /= BACK_OFF
    e.add("raised_by", Estimate(factor), charge=False)
    _add_arm(e, "raised_rate", [replace(run, cost=cost)])


def _scale_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every step at ``factor`` times the rate that the schedule says, which goes on as it was."""
    kept: list[float] = []

    def before(which: torch.optim.Optimizer, *_: object) -> None:
        kept[:] = [group["lr"] for group in which.param_groups]
        for group in which.param_groups:
            group["lr"] = group["lr"] * factor

    def after(which: torch.optim.Optimizer, *_: object) -> None:
        for group, rate in zip(which.param_groups, kept, strict=True):
            group["lr"] = rate

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
