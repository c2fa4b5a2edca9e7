"""The arms of the continuation: the user's run as it is, at a tenth of the rate, and raised."""

import math

import torch

from thalweg.diagnose.continuation import continued
from thalweg.diagnose.examination import Examination, plain_history
from thalweg.diagnose.history import jumps
from thalweg.estimate import Estimate

__all__ = ["take_continuation"]

RAISE_TO = 0.3
"""Stability to which the raised arm of the continuation lifts the rate: well inside the limit, as
curvature grows while the loss falls."""

BACK_OFF = 10.0
"""Where the raised rate blows up or falls no further than the run does, as curvature may grow on the
way down, this many times less is tried."""

STEPS = (20, 1500)
"""Fewest and most steps of a continuation."""

ARM = 0.1
"""Share of the budget for each arm of the continuation."""

RECENT = 300
"""Losses of the history that count for jumps, with those of the continuation."""


def take_continuation(e: Examination) -> None:
    """Add the fall of every arm, the jumps of the losses and the rise of the held-out loss."""
    start = e.estimates["loss"].value
    arm = ARM * e.budget
    steps = int(min(max(arm * e.population / e.batch_size, STEPS[0]), STEPS[1]))
    stability = e.estimates["stability"].value
    factors = {"unchanged": 1.0, "lower_rate": 0.1}
    if 0 < stability < RAISE_TO / 1.5:
        factors["raised_rate"] = RAISE_TO / stability
        if e.view.adaptive:
            # An adaptive step moves each weight by about the rate: keep that to a small part of it.
            typical = float(e.point.norm()) / math.sqrt(e.objective.dim)
            factors["raised_rate"] = min(
                factors["raised_rate"], 0.05 * typical / max(e.view.rate, 1e-30)
            )
    level: float | None = None
    for name, factor in factors.items():
        if name == "raised_rate" and factor < 1.5:
            continue
        e.tick(f"continuation: {name.replace('_', ' ')}")
        test = e.test if name == "unchanged" else None
        cost = 0.0
        while True:
            training = e.training()
            if factor != 1.0:
                _scale_rate(training.optimizer, factor)
            run = continued(training, e.objective, steps=steps, start=start, level=level, test=test)
            cost += run.cost
            own = e.falls["unchanged_fall"].value if name == "raised_rate" else -math.inf
            if name != "raised_rate" or run.fall.value > own or factor < 1.5 * BACK_OFF:
                break
            factor /= BACK_OFF
        if name == "raised_rate":
            e.add("raised_by", Estimate(factor), charge=False)
        level = run.level if name == "unchanged" and run.finite else level
        e.add_fall(f"{name}_fall", run.fall.value, run.fall.error, cost)
        e.curves[f"continuation_{name}"] = run.curve()
        e.lowest = min(e.lowest, *(v for v in run.losses if math.isfinite(v)))
        if name == "unchanged":
            worst = max((v for v in run.losses if math.isfinite(v)), default=math.nan)
            if run.finite:
                e.add_fall("late_fall", run.late, run.fall.error, 0.0)
                e.add_fall("bounce", run.bounce, 0.0, 0.0)
            e.add_fall("unchanged_rise", worst - start if run.finite else math.inf, 0.0, 0.0)
            seen = [*plain_history(e.task.history)[-RECENT:], *run.batch_losses]
            size, height, share, count, kick = jumps(seen)
            e.add("kick", Estimate(kick, 0.0, "spreads"))
            e.add("jumps", Estimate(float(count)))
            e.add("jump", Estimate(size, 0.0, "spreads"))
            e.add("jump_share", Estimate(share))
            e.add_fall("jump_height", height, 0.0, 0.0)
            if run.test_losses:
                rise = -run.test_fall()
                gap = run.test_losses[0] - e.estimates["plain_loss"].value
                error = math.hypot(e.estimates["test_loss"].error, e.estimates["loss_spread"].value)
                e.add_fall("test_rise", rise.value, rise.error, 0.0)
                e.add_fall("test_gap", gap, error, 0.0)
                e.curves["continuation_test"] = run.test_curve()
    e.add("continuation_steps", Estimate(float(steps), unit="steps"), charge=False)


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
