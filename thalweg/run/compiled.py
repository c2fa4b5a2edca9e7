"""Steps that are compiled: eight at once for SGD, the gradient alone for other optimizers."""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

from thalweg.objective.base import Objective
from thalweg.objective.supervised import Supervised
from thalweg.run.block import Block
from thalweg.run.plan import Plan

__all__ = ["STEPS", "Compiled"]

STEPS = 8
"""Updates in one call: a point stays in a register in between."""

_MADE: WeakKeyDictionary[Objective, dict[tuple[Any, ...], Callable[..., Any]]] = WeakKeyDictionary()
"""What was compiled for an objective, as long as that lives."""


class Compiled:
    """The compiled form of a plan's step on an objective.

    Compiled anew for each number of rows, of which a run has at most two, and kept with the
    objective for later runs.

    Attributes:
        refusal: why nothing is compiled, in a few words; ``None`` where all is well.
    """

    def __init__(self, objective: Objective, plan: Plan) -> None:
        self.objective, self.plan = objective, plan
        self.whole = plan.optimizer.lower() == "sgd" and not plan.options.get("maximize")
        self.made = _made(objective)
        self.numbers: dict[tuple[Any, ...], Tensor] = {}
        self.refusal: str | None = None
        if isinstance(objective, Supervised):
            self.refusal = "the loss of a network is evaluated by the network's own code"
        elif plan.batch is not None:
            self.refusal = "mini-batches are picked anew at every step"
        elif plan.optimizer.lower() == "lbfgs":
            self.refusal = "lbfgs evaluates the loss as often as it likes"

    def prepare(self, block: Block) -> None:
        """Compile for the block's number of rows, and let it use a compiled gradient."""
        key = self._key(block)
        if self.refusal is None and key not in self.made:
            try:
                self.made[key] = self._several(block) if self.whole else self._gradient(block)
            except (
                Exception
            ) as error:  # no compiler, or a loss that cannot be traced: go on without
                self.refusal = _reason(error)
        if self.refusal is None and self.whole:
            block.several = self.made[key]
        elif self.refusal is None:
            block.gradient = self.made[key]

    def _key(self, block: Block) -> tuple[Any, ...]:
        """What a compiled function depends on besides the objective."""
        points, group = block.points, block.optimizer.param_groups[0]
        where = (points.shape, points.dtype, points.device, torch.get_num_threads())
        if not self.whole:
            return where
        settings = (group["weight_decay"], group["dampening"], group["nesterov"])
        return (*where, *settings, group["momentum"] != 0, self._seen(block), str(self.plan.noise))

    def _seen(self, block: Block) -> bool:
        return bool(block.tallies) or self.plan.points_every is not None

    def stride(self, step: int, steps: int) -> int:
        """How many updates the call at this step makes.

        The first one goes through torch's own optimizer, which makes its state.
        """
        several = self.whole and self.refusal is None and 1 <= step <= steps - STEPS
        return STEPS if several else 1

    def advance(self, block: Block, step: int) -> Sequence[float]:
        """That many updates of every trial of a block; returns their learning rates, if any lives."""
        if not block.lives:
            for later in range(STEPS):
                block.see(step + later)
            return ()
        assert block.several is not None
        group = block.optimizer.param_groups[0]
        rates, momenta = [], []
        for _ in range(STEPS):
            rates.append(float(group["lr"]))
            momenta.append(float(group["momentum"]))
            block.follow_schedule(block.ones[:0])
        state = block.optimizer.state[block.points]
        points = block.points.detach()
        drawn = [] if block.draws is None else [block.draws.next() for _ in range(STEPS)]
        with torch.no_grad():
            losses, buffer, paths = block.several(
                points,
                state.get("momentum_buffer"),
                self._tensor(rates, points),
                self._tensor(momenta, points),
                drawn,
            )
        block.observe(step, losses)
        if state.get("momentum_buffer") is not None:
            state["momentum_buffer"] = buffer
        for later, moved in enumerate(paths, STEPS - len(paths) + 1):
            block.points.data = moved
            if later < STEPS:
                block.see(step + later)
        block.updates = step + STEPS
        return rates

    def _tensor(self, values: list[float], points: Tensor) -> Tensor:
        """The numbers like the points; the same tensor as long as they are the same."""
        key = (*values, points.dtype, points.device)
        if key not in self.numbers:
            self.numbers = {key: points.new_tensor(values)} | dict([*self.numbers.items()][:1])
        return self.numbers[key]

    def _gradient(self, block: Block) -> Callable[..., Any]:
        def gradient(points: Tensor) -> tuple[Tensor, Tensor]:
            return self._value_and_slope(points)

        return _verified(gradient, (block.points.detach(),))

    def _value_and_slope(self, points: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            losses = self.objective.loss(points)
            (slopes,) = torch.autograd.grad(losses, points, torch.ones_like(losses))
        return losses.detach(), slopes

    def _several(self, block: Block) -> Callable[..., Any]:
        group = block.optimizer.param_groups[0]
        decay, damping = float(group["weight_decay"]), 1 - float(group["dampening"])
        nesterov, heavy = bool(group["nesterov"]), group["momentum"] != 0
        seen = self._seen(block)
        draws = block.draws

        def steps(
            points: Tensor, buffer: Tensor, rates: Tensor, momenta: Tensor, drawn: list[Tensor]
        ) -> tuple[Tensor, Tensor, list[Tensor]]:
            first: Tensor | None = None
            paths: list[Tensor] = []
            for k in range(STEPS):
                losses, move = self._value_and_slope(points)
                first = losses if first is None else first
                if draws is not None:
                    move = move + draws.noise(drawn[k])
                if decay:
                    move = move + decay * points
                if heavy:
                    buffer = momenta[k] * buffer + damping * move
                    move = move + momenta[k] * buffer if nesterov else buffer
                points = points - rates[k] * move
                paths.append(points)
            assert first is not None
            return first, buffer, paths if seen else paths[-1:]

        points = block.points.detach()
        trial = (
            points,
            torch.zeros_like(points) if heavy else None,
            points.new_full((STEPS,), 1e-3),
            points.new_full((STEPS,), 0.5),  # a tensor of its own: tracing tells inputs by identity
            [] if draws is None else [torch.ones_like(draws.like) for _ in range(STEPS)],
        )
        return _verified(steps, trial)


def _made(objective: Objective) -> dict[tuple[Any, ...], Callable[..., Any]]:
    try:
        return _MADE.setdefault(objective, {})
    except TypeError:  # an objective that cannot be a key
        return {}


def _verified(function: Callable[..., Any], trial: tuple[Any, ...]) -> Callable[..., Any]:
    """The compiled form of a function, that was seen to agree with it on these arguments."""
    with torch.no_grad():
        compiled = torch.compile(make_fx(function)(*trial))
        both = (tree_leaves(run(*trial)) for run in (compiled, function))
        for found, true in zip(*both, strict=True):
            if true is None:
                continue
            tolerance = 1e-9 if true.dtype == torch.float64 else 1e-3
            least = tolerance * float(true.abs().nan_to_num(0, 0, 0).max())
            if not torch.allclose(found, true, rtol=tolerance, atol=least, equal_nan=True):
                raise ArithmeticError("the compiled step is not the step")
    return compiled


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
