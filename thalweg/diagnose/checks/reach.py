"""Whether the gradient of the loss reaches what is to be trained, and is used once."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks.look import Look
from thalweg.diagnose.finding import Mechanism
from thalweg.trajectory import Trajectory

__all__ = ["accumulated", "input_unused", "not_reached", "without_gradient", "zero_gradient"]

SHARE_CUT = 0.1
"""Share of the held, trainable weights that must be cut off to explain being stuck."""

ONE_BY_ONE = 16
"""So many parameters without gradient are each moved to see whether the loss depends on them."""


def without_gradient(look: Look) -> Iterator[Mechanism]:
    """A loss that autograd cannot follow to any parameter."""
    if not look.trainable or look.loss is None:
        return
    if not isinstance(look.loss, Tensor):
        yield Mechanism(
            "loss without gradient",
            f"The loss is a {type(look.loss).__name__}, not a tensor: nothing can be "
            "differentiated.",
            "return loss  # without .item(), float() or .numpy()",
            Cause.MISWIRED,
        )
    elif look.gradients is None and not look.failure and look.loss.numel() == 1:
        yield Mechanism(
            "loss without gradient",
            "The loss does not depend on any parameter as far as autograd can see: the graph is "
            "cut by .detach(), .item(), .data, torch.no_grad() or a tensor made anew.",
            "loss = loss_function(model(x), y)  # every step on tensors, none of them detached",
            Cause.MISWIRED,
        )
    elif look.gradients is not None and all(g is None for g in look.gradients):
        yield Mechanism(
            "loss without gradient",
            "The loss has a gradient, but none of the model's parameters takes part in it.",
            "loss = batch_loss(model, batch)  # of the very model whose parameters are trained",
            Cause.MISWIRED,
        )


def not_reached(look: Look) -> Iterator[Mechanism]:
    """Parameters that get no gradient: the loss does not use them, or the graph to them is cut."""
    if look.gradients is None or all(g is None for g in look.gradients):
        return
    lost = [p for p, g in zip(look.trainable, look.gradients, strict=True) if g is None]
    if not lost:
        return
    cut = _cut_off(look, lost)
    unused = [p for p in lost if not any(p is other for other in cut)]
    if cut:
        held = {id(p) for group in look.task.optimizer.param_groups for p in group["params"]}
        total = sum(p.numel() for p in look.trainable if id(p) in held)
        share = sum(p.numel() for p in cut if id(p) in held) / total if total else 0.0
        yield Mechanism(
            "gradient cut off",
            f"The loss depends on {len(cut)} parameters that get no gradient: {look.named(cut)}. "
            "Between them and the loss the graph is cut by .detach(), .data, torch.no_grad(), "
            "a conversion to NumPy or an operation without derivative such as argmax.",
            "hidden = layer(x)  # without .detach() and outside torch.no_grad()",
            Cause.MISWIRED if share > SHARE_CUT else None,
        )
    if unused:
        yield Mechanism(
            "parameters outside the loss",
            f"{len(unused)} trainable parameters take no part in the loss and get no gradient: "
            f"{look.named(unused)}.",
            f"model.get_parameter({look.names[id(unused[0])]!r}).requires_grad_(False)"
            "  # or use it in forward",
        )


def input_unused(look: Look) -> Iterator[Mechanism]:
    """One and the same output for inputs that differ, with no way from them to it."""
    output = look.output
    if not look.pairs or output is None or output.ndim == 0 or len(output) < 2:
        return
    alike = bool((output == output[:1]).all())
    differ = any(bool((x != x[:1]).any()) for x in look.inputs if x.ndim)
    if not alike or not differ or look.reached_by_inputs():
        return
    yield Mechanism(
        "output without the input",
        f"All {len(output)} outputs are the same, and no path leads from the inputs to them: the "
        "model does not use what it is given.",
        "print(model(x[:2]))  # follow x through forward: left out, made anew or cut by .detach()",
        Cause.MISWIRED,
    )


def zero_gradient(look: Look) -> Iterator[Mechanism]:
    """Parameters whose gradient is exactly zero for every example looked at."""
    if look.gradients is None:
        return
    pairs = zip(look.trainable, look.gradients, strict=True)
    zero = [p for p, g in pairs if g is not None and not torch.any(g != 0)]
    if not zero:
        return
    yield Mechanism(
        "zero gradient",
        f"{len(zero)} of {len(look.trainable)} parameters have a gradient of exactly zero on "
        f"every example looked at: {look.named(zero)}.",
        "print(torch.autograd.grad(loss, activation))"
        "  # look for dead units, zero weights after them, or rounding on the way",
    )


def accumulated(look: Look) -> Iterator[Mechanism]:
    """Gradients that pile up because nobody zeroes them, where the recorded history says so."""
    if not _truth(_recorded(look.task.history, "gradients_accumulate")):
        return
    yield Mechanism(
        "gradients never zeroed",
        "The recorded loop adds each gradient to those before it, because nothing sets them to "
        "zero between the steps.",
        "optimizer.zero_grad()  # before every loss.backward()",
        Cause.MISWIRED,
    )


def _cut_off(look: Look, lost: list[nn.Parameter]) -> list[nn.Parameter]:
    """Those of the parameters without gradient whose move changes the loss all the same."""
    mode = "train" if look.model.training else "eval"
    before = look.loss_of(look.batch, mode)
    if before is None or look.loss_of(look.batch, mode) != before:
        return []

    def matters(some: list[nn.Parameter]) -> bool:
        after = look.loss_of(look.batch, mode, shift=some)
        return after is not None and after != before

    if not matters(lost):
        return []
    return [p for p in lost if matters([p])] if len(lost) <= ONE_BY_ONE else lost


def _recorded(history: Any, name: str) -> Any:
    """What a Trajectory says under a name: the last value of the column."""
    if not isinstance(history, Trajectory) or name not in history:
        return None
    values = history[name].values
    return values[-1] if len(values) else None


def _truth(value: Any) -> bool:
    try:
        return value is not None and float(value) > 0.5
    except (TypeError, ValueError):
        return False
