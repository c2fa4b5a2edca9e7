"""Whether the optimizer holds what the loss depends on."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks.frozen import NEARLY_ALL, gradient_share
from thalweg.diagnose.checks.look import Look
from thalweg.diagnose.checks.offset import OFFSET, only_offset
from thalweg.diagnose.finding import Mechanism

__all__ = ["held_twice", "not_held", "not_registered"]

MOSTLY = 0.5
"""Share of the weights that must be held twice for a run's steps to be other than they were set."""


def not_held(look: Look) -> Iterator[Mechanism]:
    """Trainable parameters that the optimizer does not hold, and whose it holds instead."""
    held = {id(p) for p in look.held}
    trainable = look.trainable
    missing = [p for p in trainable if id(p) not in held]
    if not missing:
        return
    strangers = _strangers(look)
    used = missing if look.gradients is None else [p for p in missing if _reached(look, p)]
    if strangers and used:
        yield Mechanism(
            "optimizer of another model",
            f"The optimizer does not hold {len(missing)} of {len(trainable)} trainable parameters "
            f"({look.named(missing)}), but {len(strangers)} that neither the model nor the loss "
            "uses: it was made for another model, or before a layer of this one was replaced.",
            _remade(look),
            Cause.MISWIRED,
        )
        return
    name = "parameters the optimizer does not hold"
    if len(missing) == len(trainable):
        yield Mechanism(
            name,
            f"The optimizer holds none of the model's {len(trainable)} trainable parameters "
            f"({look.named(missing)}): no step can change the model.",
            _remade(look),
            Cause.MISWIRED,
        )
        return
    said = (
        f"The optimizer does not hold {len(missing)} of {len(trainable)} trainable parameters, "
        f"{_size(missing) / _size(trainable):.0%} of the trainable weights: {look.named(missing)}"
    )
    share = gradient_share(look.trainable, look.gradients, missing)
    offset = only_offset(look, look.held)
    enough = look.task.loss is not None and (
        share > NEARLY_ALL or offset or _holds_last(look, missing)
    )
    if share > NEARLY_ALL:
        said += f". {share:.1%} of the squared gradient lies in them"
    if offset:
        said += f". {OFFSET}"
    yield Mechanism(
        name,
        said + ".",
        f"optimizer.add_param_group({{'params': [model.get_parameter(name) for name in "
        f"{[look.names[id(p)] for p in missing[:3]]!r}]}})  # or .requires_grad_(False) for them"
        if len(missing) <= 3
        else _remade(look),
        Cause.MISWIRED if enough else None,
    )


def held_twice(look: Look) -> Iterator[Mechanism]:
    """Parameters that one step updates more than once."""
    seen: set[int] = set()
    twice: dict[int, Tensor] = {}
    for p in look.held:
        if id(p) in seen:
            twice[id(p)] = p
        seen.add(id(p))
    if not twice:
        return
    known = [p for p in twice.values() if id(p) in look.names]
    yield Mechanism(
        "parameters held twice",
        f"The optimizer holds {len(twice)} parameters more than once"
        + (f": {look.named(known)}" if known else "")
        + ". Each step moves them as often, so their learning rate is a multiple of the one set.",
        "optimizer = "
        f"torch.optim.{type(look.task.optimizer).__name__}(dict.fromkeys(parameters), lr=...)",
        Cause.MISWIRED if _size(known) > MOSTLY * look.size else None,
    )


def not_registered(look: Look) -> Iterator[Mechanism]:
    """Layers that the loss uses but that ``model.parameters()`` does not know."""
    held = {id(p) for p in look.held}
    lost = [
        (path, tensor)
        for path, tensor in _unregistered(look.model)
        if id(tensor) in look.leaves and id(tensor) not in held and id(tensor) not in look.names
    ]
    if not lost:
        return
    names = ", ".join(f"`{path}`" for path, _ in lost[:3])
    rest = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    attribute = lost[0][0].split("[")[0].rsplit(".", 1)[-1]
    yield Mechanism(
        "layers the model does not register",
        f"The loss uses {len(lost)} trainable tensors that `model.parameters()` does not list and "
        f"the optimizer does not hold: {names}{rest}. A plain list or dict hides them.",
        f"self.{attribute} = torch.nn.ModuleList(self.{attribute})"
        "  # nn.ModuleDict, nn.Parameter: before the optimizer is made",
        Cause.MISWIRED,
    )


def _strangers(look: Look) -> list[Tensor]:
    """What the optimizer holds though neither the model nor the loss knows it."""
    if not look.leaves:
        return [p for p in look.held if id(p) not in look.names] if look.failure else []
    known = look.names.keys() | look.leaves.keys()
    return [p for p in look.held if id(p) not in known]


def _reached(look: Look, parameter: nn.Parameter) -> bool:
    return _gradient(look, parameter) is not None


def _gradient(look: Look, parameter: Tensor) -> Tensor | None:
    if look.gradients is None:
        return None
    slopes = zip(look.trainable, look.gradients, strict=True)
    return next((g for p, g in slopes if p is parameter), None)


def _holds_last(look: Look, missing: list[nn.Parameter]) -> bool:
    """Whether the layer whose sum is the model's output is among the missing ones."""
    absent = {id(p) for p in missing}
    node: Any = look.output.grad_fn if look.output is not None else None
    for _ in range(64):
        if node is None:
            return False
        direct = [getattr(f, "variable", None) for f, _ in node.next_functions]
        inner = [
            getattr(g, "variable", None)
            for f, _ in node.next_functions
            if f is not None and type(f).__name__ == "TBackward0"
            for g, _ in f.next_functions
        ]
        found = [v for v in direct + inner if v is not None]
        if found:
            return all(id(v) in absent for v in found)
        ahead = [f for f, _ in node.next_functions if f is not None]
        if len(ahead) != 1:
            return False
        node = ahead[0]
    return False


def _unregistered(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters in plain lists and dicts of any module, and plain tensors that want a gradient."""
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_") and name in nn.Module().__dict__:
                continue
            path = f"{prefix}.{name}" if prefix else name
            if isinstance(value, Mapping):
                parts: list[tuple[Any, Any]] = list(value.items())
            elif isinstance(value, list | tuple):
                parts = list(enumerate(value))
            else:
                if isinstance(value, Tensor) and value.requires_grad and value.is_leaf:
                    yield path, value
                continue
            for key, part in parts:
                if isinstance(part, nn.Module):
                    for inner, p in part.named_parameters():
                        yield f"{path}[{key!r}].{inner}", p
                elif isinstance(part, Tensor) and part.requires_grad and part.is_leaf:
                    yield f"{path}[{key!r}]", part


def _size(parameters: Sequence[Tensor]) -> int:
    return sum(p.numel() for p in parameters)


def _remade(look: Look) -> str:
    optimizer = look.task.optimizer
    rate = optimizer.param_groups[0].get("lr", "...")
    if isinstance(rate, float | int | torch.Tensor):
        rate = f"{float(rate):g}" if math.isfinite(rate) else "1e-3"
    return f"optimizer = torch.optim.{type(optimizer).__name__}(model.parameters(), lr={rate})"
