"""Names of learning-rate schedules, and torch's own schedulers behind them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim import lr_scheduler

from thalweg.errors import UsageError
from thalweg.run.optimizer import construct, suggestion

__all__ = ["SCHEDULES", "make_schedule"]

Options = dict[str, Any]

SCHEDULES: Mapping[str, tuple[type[Any], Callable[[int, float], Options]]] = {
    "step": (lr_scheduler.StepLR, lambda steps, rate: {"step_size": max(1, steps // 3)}),
    "multistep": (
        lr_scheduler.MultiStepLR,
        lambda steps, rate: {"milestones": [steps // 2, 3 * steps // 4]},
    ),
    "exponential": (lr_scheduler.ExponentialLR, lambda steps, rate: {"gamma": 0.1 ** (1 / steps)}),
    "linear": (lr_scheduler.LinearLR, lambda steps, rate: {"total_iters": steps}),
    "polynomial": (lr_scheduler.PolynomialLR, lambda steps, rate: {"total_iters": steps}),
    "cosine": (lr_scheduler.CosineAnnealingLR, lambda steps, rate: {"T_max": steps}),
    "warm-restarts": (
        lr_scheduler.CosineAnnealingWarmRestarts,
        lambda steps, rate: {"T_0": max(1, steps // 4)},
    ),
    "cyclic": (
        lr_scheduler.CyclicLR,
        lambda steps, rate: {
            "base_lr": rate / 10,
            "max_lr": rate,
            "step_size_up": max(1, steps // 8),
        },
    ),
    "one-cycle": (
        lr_scheduler.OneCycleLR,
        lambda steps, rate: {"max_lr": rate, "total_steps": steps},
    ),
    "plateau": (lr_scheduler.ReduceLROnPlateau, lambda steps, rate: {}),
}
"""torch's class for every name, and what it is given unless the options say otherwise."""

CYCLES_MOMENTUM = ("cyclic", "one-cycle")


def make_schedule(
    name: str,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    learning_rate: float,
    options: Mapping[str, Any] | None = None,
    trials: int = 1,
) -> Any | None:
    """torch's scheduler of that name on ``optimizer``; ``None`` for ``constant``.

    Step it after the optimizer's step; that of ``plateau`` with the loss.

    Args:
        name: ``constant`` or a key of :data:`SCHEDULES`, in any case of letters.
        steps: length of the run, over which a schedule with a length runs.
        learning_rate: of the plan: the highest rate of ``cyclic`` and ``one-cycle``.
        options: the scheduler's own arguments, before the defaults of :data:`SCHEDULES`.
        trials: how many rows are runs of their own.

    Raises:
        UsageError: an unknown name or option (with a suggestion), a value that torch refuses, or
            ``plateau``, which follows a single loss, with more than one trial.
    """
    key = str(name).lower().replace("_", "-")
    if key == "constant":
        if options:
            raise UsageError(f"schedule constant takes no options, but was given {dict(options)!r}")
        return None
    if key not in SCHEDULES:
        names = ["constant", *SCHEDULES]
        raise UsageError(
            f"schedule must be one of {', '.join(names)}, not {name!r}" + suggestion(key, names)
        )
    if key == "plateau" and trials > 1:
        raise UsageError(
            f"schedule plateau runs one trial only, not {trials}: it follows a single loss"
        )
    make, defaults = SCHEDULES[key]
    given = {**defaults(max(1, steps), learning_rate), **(options or {})}
    group = optimizer.param_groups[0]
    if key in CYCLES_MOMENTUM and not ("momentum" in group or "betas" in group):
        given.setdefault("cycle_momentum", False)
    return construct(make, "schedule", optimizer, **given)
