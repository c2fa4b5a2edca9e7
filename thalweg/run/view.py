"""The ground as the user's optimizer sees it: its rate, its metric, its decay, its stability limit."""

from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.task import Task

__all__ = ["OptimizerView"]

_ADAPTIVE = ("exp_avg_sq", "square_avg", "sum")
"""Names under which torch's optimizers keep the second moment of the gradient."""


@dataclass(frozen=True)
class OptimizerView:
    """What a step of the optimizer does near a point, ``θ ← θ − rate · metric ∘ (∇f + decay ∘ θ)``.

    Attributes:
        rate: learning rate of the group with the largest; other groups are in ``metric``.
        metric: diagonal, shape ``(dim,)``: relative rate of the group over the preconditioner.
        decay: weight decay as the coefficient of a quadratic, shape ``(dim,)``: what is descended
            is f + ½ Σ decay·θ². Decoupled decay (AdamW) is wd times the preconditioner.
        momentum: β of SGD, β₁ of Adam, 0 without.
        limit: stability limit of rate · λ_max in this metric (THEORY.md, section 4).
        adaptive: whether there is a preconditioner.
        known: whether the class is one of torch's whose update is accounted for here.
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
        name = type(optimizer).__name__
        adaptive = name in {"Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad"}
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
            scale = _preconditioner(optimizer, group, p, piece) if adaptive else 1.0
            weight = float(group.get("weight_decay", 0.0) or 0.0)
            decoupled = name == "AdamW" or bool(group.get("decoupled_weight_decay", False))
            one = torch.ones(p.numel(), dtype=p.dtype, device=p.device)
            share = float(group.get("lr", 0.0)) / rate if rate > 0 else 1.0
            metric.append(share * one / scale)
            decay.append(weight * one * (scale if decoupled else 1.0))
        first = optimizer.param_groups[0] if optimizer.param_groups else {}
        momentum, limit = _momentum_and_limit(name, first)
        return cls(
            rate,
            torch.cat(metric),
            torch.cat(decay),
            momentum,
            limit,
            adaptive,
            adaptive or name == "SGD",
        )


def _momentum_and_limit(name: str, group: dict[str, object]) -> tuple[float, float]:
    if "betas" in group and isinstance(group["betas"], tuple | list):
        beta = float(group["betas"][0])
        return beta, (2 + 2 * beta) / (1 - beta)
    beta = float(group.get("momentum", 0.0) or 0.0)  # pyright: ignore[reportArgumentType]
    if not 0 <= beta < 1:
        return beta, 2.0
    limit = 2 * (1 + beta)
    if group.get("nesterov"):
        limit = 2 * (1 + beta) / (1 + 2 * beta)
    if beta:
        limit /= 1 - float(group.get("dampening", 0.0) or 0.0)  # pyright: ignore[reportArgumentType]
    return beta, limit


def _preconditioner(
    optimizer: torch.optim.Optimizer, group: dict[str, object], p: Tensor, second: Tensor | None
) -> Tensor:
    """√v̂ + ε, with Adam's bias correction; from ``second`` where the optimizer has no state."""
    eps = float(group.get("eps", 1e-8))  # pyright: ignore[reportArgumentType]
    state = optimizer.state.get(p, {})
    moment = next((state[key] for key in _ADAPTIVE if key in state), None)
    if moment is None or (steps := float(state.get("step", 1))) < 1:
        if second is None:
            return torch.ones(p.numel(), dtype=p.dtype, device=p.device)
        return second.sqrt() + eps
    moment = moment.detach().reshape(-1)
    if "betas" in group and isinstance(group["betas"], tuple | list):
        moment = moment / (1 - float(group["betas"][1]) ** steps)
    return moment.sqrt() + eps
