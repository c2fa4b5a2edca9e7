"""Looks at gradients and weights between a training's steps, as often as a budget allows."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.record.micro_batches import MicroBatches
from thalweg.record.pace import Pace
from thalweg.record.pile_up import PileUp
from thalweg.record.sketching import Sketching

__all__ = ["Look", "Looks", "numbers_of"]

Number = Tensor | float

ASKED = 8
"""Pairs at the start, and every so manieth after them, that ask whether gradients pile up."""


class Look(NamedTuple):
    """What was seen right after an update: scalars by name, and by layer the norms of what the
    update added and of the weights, shape ``(2, parameters)``."""

    step: int
    numbers: dict[str, Number]
    norms: Tensor | None = None


class Looks:
    """Looks at pairs of consecutive updates of an optimizer, by a hook after its step.

    By then gradients are unscaled, by a GradScaler or, in place, by the fused optimizer it left that to.

    One pair compares the gradients (their product estimates ‖∇f‖²), the next the weights (what an
    update adds), so that one copy of the parameters is kept at most.

    Attributes:
        rate: learning rate of the last update, of the first parameter group, until it is taken
            away; ``None`` where there was none since.
        new: the looks since they were last taken away.
        layers: names of the modules that hold parameters.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        pace: Pace,
        *,
        sketching: Sketching | None = None,
        accumulates: bool = True,
    ) -> None:
        self.rate: Number | None = None
        self.new: list[Look] = []
        self.sketching = sketching
        self._names, self._parameters = list(parameters), list(parameters.values())
        self._shapes = [p.shape for p in self._parameters]
        self._optimizer, self._pace = optimizer, pace
        self._pile_up = PileUp()
        self._micro = MicroBatches() if accumulates else None
        self._in_parts = self._asks = False
        self._pairs = 0
        self._open = ""
        self._held: list[Tensor] = []
        self._compares = "weights"
        self._sketched = False
        self._cost = 0.0
        self._recorder: Any = None
        self._hook: Any = None
        self._layer_of = [name.rpartition(".")[0] or name for name in self._names]
        self.layers = list(dict.fromkeys(self._layer_of))

    def attach(self, recorder: Any) -> None:
        """Start; ``recorder.step_of_update()`` tells the number of the step that an update is of."""
        self._recorder = recorder
        self._hook = self._optimizer.register_step_post_hook(self._after_update)
        if self.sketching is not None:
            self._pair("weights", recorder.steps)

    def detach(self) -> None:
        """Stop."""
        if self._hook is not None:
            self._hook.remove()
        self._pile_up.stop()
        if self._micro is not None:
            self._micro.stop()

    def last_point(self, step: int) -> None:
        """Sketch where the run ended."""
        sketching = self.sketching
        if sketching is not None and sketching.last != step and not sketching.is_full:
            self.check_shapes()
            with torch.no_grad():
                sketching.point(step)

    def rate_now(self) -> Number:
        """The learning rate as the optimizer has it."""
        rate = self._optimizer.param_groups[0]["lr"]
        return rate.detach().clone() if isinstance(rate, Tensor) else rate

    def layer_ratios(self, updates: Sequence[float], weights: Sequence[float]) -> dict[str, float]:
        """‖Δw‖/‖w‖ of each layer from the norms of its parameters; NaN for weights of 0."""
        squares = {layer: [0.0, 0.0] for layer in self.layers}
        for layer, update, weight in zip(self._layer_of, updates, weights):
            squares[layer][0] += update * update
            squares[layer][1] += weight * weight
        return {
            layer: math.sqrt(update / weight) if weight > 0 else math.nan
            for layer, (update, weight) in squares.items()
        }

    def check_shapes(self) -> None:
        """UsageError where a parameter has another shape than at the start."""
        for name, parameter, shape in zip(self._names, self._parameters, self._shapes):
            if parameter.shape != shape:
                raise UsageError(
                    f"model must keep the shapes it is watched with, but {name} went from "
                    f"{tuple(shape)} to {tuple(parameter.shape)}: close this recorder and begin "
                    "another run"
                )

    def _after_update(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        rate = optimizer.param_groups[0]["lr"]
        self.rate = rate if type(rate) is float else self.rate_now()
        if self._open or time.perf_counter() >= self._pace.next:
            self._look_now()

    def _look_now(self) -> None:
        begin = time.perf_counter()
        if not self._open and self._recorder.saves_first(begin):
            return
        with torch.no_grad():
            self._look(self._recorder.step_of_update())
        end = time.perf_counter()
        self._cost += end - begin
        if not self._open:
            self._pace.took(self._cost, end)
            self._cost = 0.0

    def _look(self, step: int) -> None:
        self.check_shapes()
        numbers, gradients = self._gradient_norm()
        norms = None
        if self._open:
            if self._asks:
                fact = self._pile_up.verdict()
                if fact is not None:
                    numbers["gradients_accumulate"] = float(fact)
                self._in_parts = self._pile_up.passes > 1 and not fact
            if self._open == "gradients":
                numbers |= self._gradient_product(gradients, numbers)
            else:
                norms = self._weight_norms(numbers)
                # A line search asks for gradients at other points than the one it began at.
                searches = isinstance(self._optimizer, torch.optim.LBFGS)
                if self._sketched and self.sketching is not None and not searches:
                    self.sketching.gradient(step)
            self._open, self._sketched = "", False
        else:
            self._pair("gradients" if self._compares == "weights" else "weights", step)
        if numbers:
            self.new.append(Look(step, numbers, norms))

    def _pair(self, compares: str, step: int) -> None:
        """Begin a pair: keep what the next look compares with."""
        self._open = self._compares = compares
        if not self._held:
            self._held = [torch.empty_like(p) for p in self._parameters]
        if compares == "weights":
            torch._foreach_copy_(self._held, self._parameters)  # pyright: ignore[reportPrivateImportUsage]
            sketching = self.sketching
            if sketching is not None and sketching.wants(step) and not sketching.is_full:
                sketching.point(step)
                self._sketched = True
                if sketching.is_full:
                    self._recorder.flush_soon()
        elif self._in_parts and self._micro is not None:
            self._micro.watch(self._parameters)
        else:
            for held, parameter in zip(self._held, self._parameters):
                if parameter.grad is None or parameter.grad.is_sparse:
                    held.zero_()
                else:
                    held.copy_(parameter.grad)
        self._asks = self._pairs < ASKED or self._pairs % ASKED == 0
        self._pairs += 1
        if self._asks:
            self._pile_up.watch(self._parameters)

    def _gradient_norm(self) -> tuple[dict[str, Number], list[Tensor | None]]:
        gradients = [p.grad for p in self._parameters]
        seen = [g.coalesce().values() if g.is_sparse else g for g in gradients if g is not None]
        if not seen:
            return {}, gradients
        return {"gradient_norm": torch.linalg.vector_norm(_norms(seen))}, gradients

    def _gradient_product(
        self, gradients: Sequence[Tensor | None], numbers: Mapping[str, Number]
    ) -> dict[str, Number]:
        """The estimate of ‖∇f‖², from micro-batches or from the update before."""
        if self._in_parts and self._micro is not None:
            told = self._micro.share()
            if told is None or "gradient_norm" not in numbers:
                return {}
            m, share = told
            return {"gradient_product": share * numbers["gradient_norm"] ** 2, "micro_batches": m}
        pairs = [(h, g) for h, g in zip(self._held, gradients) if g is not None and not g.is_sparse]
        if not pairs:
            return {}
        # Not torch.dot, which is off by 1% where there are millions; what is held is done with.
        products = [h.mul_(g).sum().float() for h, g in pairs]
        return {"gradient_product": torch.stack([p.to(products[0]) for p in products]).sum()}

    def _weight_norms(self, numbers: dict[str, Number]) -> Tensor:
        weights = [p.detach() for p in self._parameters]
        torch._foreach_sub_(self._held, weights)  # pyright: ignore[reportPrivateImportUsage]
        norms = _norms([*self._held, *weights]).view(2, -1)
        numbers["update_norm"], numbers["parameter_norm"] = torch.linalg.vector_norm(norms, dim=1)
        return norms


def numbers_of(looks: Sequence[Look], of: Looks) -> list[tuple[int, dict[str, float]]]:
    """Steps and numbers of looks, fetched from their device together."""
    tensors = [v for look in looks for v in look.numbers.values() if isinstance(v, Tensor)]
    fetched = iter(_fetched(tensors))
    rows = [look.norms for look in looks if look.norms is not None]
    norms: Iterator[list[list[float]]] = iter(torch.stack(rows).tolist() if rows else [])
    result = []
    for look in looks:
        row = {
            name: next(fetched) if isinstance(value, Tensor) else float(value)
            for name, value in look.numbers.items()
        }
        if look.norms is not None:
            ratios = of.layer_ratios(*next(norms))
            row |= {f"update_ratio/{layer}": ratio for layer, ratio in ratios.items()}
        result.append((look.step, row))
    return result


def _fetched(values: list[Tensor]) -> list[float]:
    return torch.stack([value.float() for value in values]).tolist() if values else []


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """Of each, on the device of the first."""
    norms = torch._foreach_norm(list(tensors))  # pyright: ignore[reportPrivateImportUsage]
    return torch.stack([norm.to(norms[0]) for norm in norms])
