"""Whether everything that training reads is a finite number."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_flatten

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks.look import Look, rows_of
from thalweg.diagnose.finding import Mechanism
from thalweg.diagnose.phrases import stated

__all__ = ["data_not_finite", "loss_not_finite", "state_not_finite"]

FEW = 8
"""Examples with a number that is not finite on which the loss is evaluated."""

BLOCK = 2**24
"""Numbers that are looked at in one piece."""


def data_not_finite(look: Look) -> Iterator[Mechanism]:
    """NaN or infinity in the inputs or targets: all of them where they are tensors in memory."""
    data = _whole(look)
    if data is None:
        return
    parts = {"data": data}
    if look.pairs:
        parts = {"inputs": data[0], "targets": data[1]}
    for name, part in parts.items():
        for leaf in tree_flatten(part)[0]:
            if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or not leaf.ndim:
                continue
            rows = _rows_not_finite(leaf)
            if not rows:
                continue
            yield Mechanism(
                f"{name} not finite",
                f"{len(rows)} of {len(leaf)} examples hold NaN or infinity in their {name}.",
                "x = torch.nan_to_num(x)  # or leave those examples out: "
                "x.isfinite().flatten(1).all(1)",
                None if _bearable(look, data, rows[:FEW]) else Cause.NOT_FINITE,
            )
            break


def state_not_finite(look: Look) -> Iterator[Mechanism]:
    """NaN or infinity in the weights, the running statistics or the optimizer's state."""
    weights = [p for p in look.model.parameters() if not _finite(p)]
    if weights:
        yield Mechanism(
            "weights not finite",
            f"{len(weights)} parameters hold NaN or infinity: {look.named(weights)}.",
            "model.load_state_dict(last_good)  # then train with a lower rate or clipping",
            Cause.NOT_FINITE,
        )
    bad = [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in look.model.named_modules()
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.is_floating_point()
        # A mask is full of infinities on purpose; running statistics are not.
        and (buffer.isnan().any() or (isinstance(module, _NormBase) and not _finite(buffer)))
    ]
    if bad:
        yield Mechanism(
            "buffers not finite",
            f"{len(bad)} buffers hold NaN or infinity: {', '.join(f'`{b}`' for b in bad[:3])}.",
            "module.reset_running_stats()  # for BatchNorm, after the data has been cleaned",
            Cause.NOT_FINITE,
        )
    state = look.task.optimizer.state
    spoilt = [
        key
        for key, entry in state.items()
        if any(isinstance(v, Tensor) and not _finite(v) for v in _entries(entry))
    ]
    if spoilt:
        yield Mechanism(
            "optimizer state not finite",
            f"The optimizer remembers NaN or infinity for {len(spoilt)} parameters, and carries it "
            "into every later step.",
            "optimizer.state.clear()  # after the cause of the NaN has been removed",
            Cause.NOT_FINITE,
        )


def loss_not_finite(look: Look) -> Iterator[Mechanism]:
    """A loss or a gradient that is NaN or infinite on the examples looked at."""
    if isinstance(look.loss, Tensor) and not _finite(look.loss):
        yield Mechanism(
            "loss not finite",
            f"The loss is {stated(float(look.loss.flatten()[0]))} on {_mode(look)}.",
            "torch.autograd.set_detect_anomaly(True)  # names the operation that does it",
            Cause.NOT_FINITE,
        )
    elif look.gradients is not None:
        pairs = zip(look.trainable, look.gradients, strict=True)
        bad = [p for p, g in pairs if g is not None and not _finite(g)]
        if bad:
            yield Mechanism(
                "gradient not finite",
                f"The loss is finite, but the gradients of {len(bad)} parameters are not: "
                f"{look.named(bad)}.",
                "torch.autograd.set_detect_anomaly(True)"
                "  # often sqrt(0), 0/0 behind torch.where, or a norm of zeros",
                Cause.NOT_FINITE,
            )


def _whole(look: Look) -> Any:
    """All the data in memory, else the examples looked at."""
    tensors = look.examples.tensors if look.examples is not None else None
    return look.batch if tensors is None else tensors


def _rows_not_finite(leaf: Tensor) -> list[int]:
    """Which examples of a tensor hold a number that is not finite."""
    step = max(1, BLOCK // max(1, leaf[0].numel()))
    found: list[int] = []
    for begin in range(0, len(leaf), step):
        part = leaf[begin : begin + step]
        if not _finite(part):
            bad = ~part.isfinite().flatten(1).all(1) if part.ndim > 1 else ~part.isfinite()
            found.extend((begin + torch.nonzero(bad).flatten()).tolist())
    return found


def _bearable(look: Look, data: Any, rows: list[int]) -> bool:
    """Whether the loss of those examples is finite all the same."""
    value = look.loss_of(look.on_device(rows_of(data, rows)), "eval")
    return value is not None and value == value and abs(value) != float("inf")


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _entries(entry: Any) -> list[Any]:
    return list(entry.values()) if isinstance(entry, Mapping) else [entry]


def _mode(look: Look) -> str:
    return "the examples looked at, in " + ("training" if look.model.training else "evaluation")
