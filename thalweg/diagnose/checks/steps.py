"""Whether the optimizer's numbers allow a step that goes down."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks.look import Look
from thalweg.diagnose.finding import Mechanism
from thalweg.diagnose.phrases import stated

__all__ = ["momentum", "rate", "schedule", "weight_decay"]

AHEAD = 100
"""Steps for which a schedule is looked ahead: a warmup begins at zero."""

DECAYED = 1e-3
"""Share of the first learning rate below which a schedule has all but ended the training."""

ENDED = 1e-6
"""Share of the first learning rate that counts as zero."""


def rate(look: Look) -> Iterator[Mechanism]:
    """A learning rate that is zero, negative, or not a number; an optimizer that ascends."""
    groups = _groups(look)
    rates = [_number(group.get("lr")) for group in groups]
    if not rates or any(r is None for r in rates):
        return
    known = [r for r in rates if r is not None]
    if not all(math.isfinite(r) for r in known):
        yield Mechanism(
            "learning rate not finite",
            f"The learning rate is {stated(next(r for r in known if not math.isfinite(r)))}.",
            _set("lr", "1e-3"),
            Cause.NOT_FINITE,
        )
        return
    ascending = [
        r for r, group in zip(known, groups, strict=True) if (r < 0) != bool(group.get("maximize"))
    ]
    if ascending and any(r != 0 for r in ascending):
        negative = any(r < 0 for r in known)
        value = look.eval_loss
        yield Mechanism(
            "negative learning rate" if negative else "optimizer that ascends",
            f"The learning rate is {min(known):g}: every step goes up the gradient."
            if negative
            else "The optimizer has maximize=True: every step raises the loss.",
            _set("lr", f"{abs(min(known)):g}") if negative else _set("maximize", "False"),
            None if value is not None and value < 0 else Cause.MISWIRED,
        )
        return
    yield from _vanished(look, groups, known)


def _vanished(look: Look, groups: list[dict[str, Any]], rates: list[float]) -> Iterator[Mechanism]:
    firsts = [_number(group.get("initial_lr")) or 0.0 for group in groups]
    over = [abs(r) <= ENDED * abs(first) for r, first in zip(rates, firsts, strict=True)]
    if all(over):
        if _largest_ahead(look) > ENDED * max(max(map(abs, firsts)), 0.0):
            return
        ended = look.task.schedule is not None
        yield Mechanism(
            "learning rate is zero",
            f"The learning rate is {max(rates):g}"
            + (f" after {type(look.task.schedule).__name__} has ended" if ended else "")
            + ": no step changes a weight.",
            _set("lr", f"{max(firsts):g}" if max(firsts) > 0 else "1e-3")
            + ("  # and a schedule that lasts as long as the training" if ended else ""),
            Cause.MISWIRED,
        )
        return
    if any(over) and _largest_ahead(look, every=True) <= 0:
        still = sum(
            p.numel() for group, o in zip(groups, over, strict=True) if o for p in group["params"]
        )
        yield Mechanism(
            "learning rate is zero for some parameters",
            f"{sum(over)} of {len(over)} parameter groups, {still} weights, have learning rate 0 "
            "and stay as they are.",
            f"optimizer.param_groups[{over.index(True)}]['lr'] = {max(rates):g}",
        )
    ratios = [r / first for r, first in zip(rates, firsts, strict=True) if first > 0]
    if ratios and max(ratios) < DECAYED and _largest_ahead(look) < DECAYED * max(firsts):
        yield Mechanism(
            "learning rate decayed away",
            f"The schedule has brought the learning rate from {max(firsts):g} to {max(rates):g}.",
            _set("lr", f"{max(firsts) / 10:g}"),
        )


def schedule(look: Look) -> Iterator[Mechanism]:
    """A schedule that moves the learning rate of an optimizer other than the task's."""
    owner = getattr(look.task.schedule, "optimizer", None)
    if owner is not None and owner is not look.task.optimizer:
        yield Mechanism(
            "schedule of another optimizer",
            f"{type(look.task.schedule).__name__} was made for another optimizer: it does not "
            "change the learning rate of this one.",
            f"schedule = torch.optim.lr_scheduler.{type(look.task.schedule).__name__}"
            "(optimizer, ...)",
        )


def momentum(look: Look) -> Iterator[Mechanism]:
    """Momentum, dampening and the decay rates of moments outside the range where they forget."""
    for group in _groups(look):
        numbers: dict[str, tuple[Any, float]] = {"momentum": (group.get("momentum"), 0.9)}
        numbers["alpha"] = (group.get("alpha") if "centered" in group else None, 0.99)
        betas = group.get("betas")
        if isinstance(betas, tuple | list):
            numbers |= {f"betas[{i}]": (b, (0.9, 0.999)[min(i, 1)]) for i, b in enumerate(betas)}
        for name, (given, usual) in numbers.items():
            value = _number(given)
            if value is None or 0 <= value < 1:
                continue
            plain = name.split("[")[0]
            yield Mechanism(
                "momentum out of range",
                f"{name} is {stated(value)}, but must be at least 0 and below 1: past gradients are "
                "never forgotten.",
                _set(plain, "(0.9, 0.999)" if plain == "betas" else f"{usual:g}"),
                Cause.MISWIRED,
            )
            return
        held, damp = _number(group.get("momentum")), _number(group.get("dampening"))
        if held and damp is not None and damp >= 1:
            yield Mechanism(
                "dampening leaves no gradient",
                f"With momentum {held:g} a dampening of {damp:g} leaves out every gradient after "
                "the first.",
                _set("dampening", "0"),
                Cause.MISWIRED,
            )
            return


def weight_decay(look: Look) -> Iterator[Mechanism]:
    """Weight decay that overwrites the weights at every step, or makes them grow."""
    for group in _groups(look):
        decay, step = _number(group.get("weight_decay")), _number(group.get("lr"))
        if not decay or step is None or not math.isfinite(step):
            continue
        if not math.isfinite(decay):
            yield Mechanism(
                "weight decay out of range",
                f"Weight decay is {stated(decay)}: one step leaves no weight finite.",
                _set("weight_decay", "0.01"),
                Cause.NOT_FINITE,
            )
            return
        decoupled = isinstance(look.task.optimizer, torch.optim.AdamW) or bool(
            group.get("decoupled_weight_decay")
        )
        plain = isinstance(look.task.optimizer, torch.optim.SGD)
        if decay < 0 or ((decoupled or plain) and step * decay >= 1):
            yield Mechanism(
                "weight decay out of range",
                f"Weight decay {decay:g} at learning rate {step:g} multiplies every weight by "
                f"{1 - step * decay:.3g} at each step.",
                _set("weight_decay", "0.01"),
                Cause.MISWIRED,
            )
            return


def _groups(look: Look) -> list[dict[str, Any]]:
    """The parameter groups that hold anything."""
    return [group for group in look.task.optimizer.param_groups if group["params"]]


def _largest_ahead(look: Look, *, every: bool = False) -> float:
    """The largest learning rate that the schedule sets in the steps ahead, 0 without a schedule.

    The schedule is copied, with a stand-in for the optimizer that has its numbers and no
    parameters. With ``every`` the smallest over the groups of each group's largest.
    """
    scheduler, optimizer = look.task.schedule, look.task.optimizer
    plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    if scheduler is None or plateau or getattr(scheduler, "optimizer", None) is not optimizer:
        return 0.0
    best = [0.0] * len(optimizer.param_groups)
    try:
        double = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        double.param_groups = [
            {key: copy.copy(value) for key, value in group.items() if key != "params"}
            | {"params": []}
            for group in optimizer.param_groups
        ]
        double.defaults = dict(optimizer.defaults)
        memo: dict[int, Any] = {id(optimizer): double}
        memo |= {id(p): p for group in optimizer.param_groups for p in group["params"]}
        twin = copy.deepcopy(scheduler, memo)
        for _ in range(AHEAD):
            twin.step()
            rates = [_number(group["lr"]) or 0.0 for group in double.param_groups]
            best = [max(b, r) for b, r in zip(best, rates, strict=True)]
    except Exception:  # a schedule of the user's own, or one at its last step
        pass
    return min(best) if every else max(best)


def _number(value: Any) -> float | None:
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _set(name: str, value: str) -> str:
    return f"for group in optimizer.param_groups: group[{name!r}] = {value}"
