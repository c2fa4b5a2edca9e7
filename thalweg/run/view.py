"""The ground as the user's optimizer sees it: its rate, its metric, its decay, its stability limit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg.task import Task

__all__ = ["OptimizerView"]

_MOMENTS = {
    "Adam": "exp_avg_sq",
    "AdamW": "exp_avg_sq",
    "NAdam": "exp_avg_sq",
    "RAdam": "exp_avg_sq",
    "SparseAdam": "exp_avg_sq",
    "Adamax": "exp_inf",
    "RMSprop": "square_avg",
    "Adagrad": "sum",
}
"""torch's adaptive optimizers, and where each keeps the size of the gradient."""


@dataclass(frozen=True)
class OptimizerView:
    """What a step of the optimizer does near a point, ``θ ← θ − rate · metric ∘ (∇f + decay ∘ θ)``.

    Attributes:
        rate: learning rate of the group with the largest; other groups are in ``metric``.
        metric: diagonal, shape ``(dim,)``: relative rate of the group over the preconditioner.
        decay: weight decay as the coefficient of a quadratic, shape ``(dim,)``: what is descended
            is f + ½ Σ decay·θ². Decoupled decay (AdamW) is wd times the preconditioner.
        momentum: β of SGD, β₁ of Adam, 0 without.
        limit: stability limit of rate · λ_max in this metric.
        adaptive: whether there is a preconditioner.
        known: whether the class is one of torch's whose update is accounted for here, and descends.
    """

    rate: float
    metric: Tensor
    decay: Tensor
    momentum: float
    limit: float
    adaptive: bool
    known: bool

    @classmethod
    def of(cls, task: Task, second_moment: Tensor | None = None) -> "OptimizerView":
        """The view of a task's optimizer as its state stands.

        Args:
            second_moment: mean squared mini-batch gradient ``(dim,)``, used where an adaptive
                optimizer has taken no step yet.
        """
        optimizer = task.optimizer
        name = _torch_name(optimizer)
        adaptive = name in _MOMENTS
        groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        rate = max((float(g.get("lr", 0.0)) for g in optimizer.param_groups), default=0.0)
        metric, decay = [], []
        begin = 0
        for p in task.model.parameters():
            if not p.requires_grad:
                continue
            piece = None if second_moment is None else second_moment[begin : begin + p.numel()]
            begin += p.numel()
            group = groups.get(id(p))
            if group is None:  # never stepped
                metric.append(torch.zeros(p.numel(), dtype=p.dtype, device=p.device))
                decay.append(metric[-1])
                continue
            gain = torch.ones(p.numel(), dtype=p.dtype, device=p.device)
            if adaptive:
                gain = gain * _gain(name, optimizer.state.get(p, {}), group, piece)
            weight = float(group.get("weight_decay", 0.0) or 0.0)
            decoupled = name == "AdamW" or bool(group.get("decoupled_weight_decay", False))
            share = float(group.get("lr", 0.0)) / rate if rate > 0 else 1.0
            metric.append(share * gain)
            decay.append(weight / gain if decoupled else weight * torch.ones_like(gain))
        first = optimizer.param_groups[0] if optimizer.param_groups else {}
        state = next(iter(optimizer.state.values()), {})
        momentum, limit = _momentum_and_limit(name, first, state)
        own = type(optimizer).__module__.startswith("torch.optim")
        upward = any(group.get("maximize") for group in optimizer.param_groups)
        return cls(
            rate,
            torch.cat(metric),
            torch.cat(decay),
            momentum,
            limit,
            adaptive,
            own and not upward and (adaptive or name == "SGD"),
        )


def _torch_name(optimizer: torch.optim.Optimizer) -> str:
    """The class of torch's that it is, or is made from."""
    kinds = (c for c in type(optimizer).__mro__ if c.__module__.startswith("torch.optim"))
    return next(kinds, type(optimizer)).__name__


def _number(value: Any) -> float:
    return float(value or 0.0)


def _momentum_and_limit(
    name: str, group: Mapping[str, Any], state: Mapping[str, Any]
) -> tuple[float, float]:
    if "betas" in group:
        beta = float(group["betas"][0])
        # A step moves by `now` of the gradient and `later` of its moving average.
        now, later = 0.0, 1.0
        if name == "NAdam":
            steps = _number(state.get("step", 0)) + 1
            now = 1 - beta * (1 - 0.5 * 0.96 ** (steps * float(group["momentum_decay"])))
            later = beta * (1 - 0.5 * 0.96 ** ((steps + 1) * float(group["momentum_decay"])))
        return beta, 2 / (now + later * (1 - beta) / (1 + beta))
    beta = _number(group.get("momentum"))
    if not 0 <= beta < 1:
        return beta, 2.0
    limit = 2 * (1 + beta)
    if group.get("nesterov"):
        limit = 2 * (1 + beta) / (1 + 2 * beta)
    damped = 1 - _number(group.get("dampening")) if beta else 1.0
    return beta, limit / damped if damped > 0 else math.inf


def _gain(
    name: str, state: Mapping[str, Any], group: Mapping[str, Any], second: Tensor | None
) -> Tensor | float:
    """What a step multiplies (the moving average of) the gradient by, besides the rate.

    From ``second`` where the optimizer has taken no step yet.
    """
    eps = _number(group.get("eps"))
    steps = _number(state.get("step", 0))
    key = "max_exp_avg_sq" if group.get("amsgrad") else _MOMENTS[name]
    if key not in state or steps < 1:
        return 1.0 if second is None else 1 / (second.sqrt() + eps)
    moment = state[key].detach().reshape(-1)
    if name == "Adamax":
        return 1 / moment
    if group.get("centered"):
        moment = moment - state["grad_avg"].detach().reshape(-1) ** 2
    factor = 1.0
    if "betas" in group:
        left = float(group["betas"][1]) ** steps
        moment = moment / (1 - left)
        if name == "RAdam":
            last = 2 / (1 - float(group["betas"][1])) - 1
            rho = last - 2 * steps * left / (1 - left)
            if rho <= 5:
                return 1.0
            factor = (rho - 4) * (rho - 2) * last / ((last - 4) * (last - 2) * rho)
    elif name == "Adagrad":
        factor = (1 + (steps - 1) * _number(group.get("lr_decay"))) ** -2
    return math.sqrt(factor) / (moment.sqrt() + eps)
