"""Whether the model's last step, the loss and the targets go together."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks.look import Look
from thalweg.diagnose.checks.loss_kind import LossKind, loss_kind
from thalweg.diagnose.finding import Mechanism

__all__ = ["broadcast", "link", "outside_classes"]

SHAPING = (
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Alias",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Permute",
    "Select",
    "Slice",
    "Clone",
    "Clamp",
    "ToCopy",
    "TBackward",
)
"""Beginnings of the names of graph nodes that only reshape, cut or clip."""


def link(look: Look) -> Iterator[Mechanism]:
    """A softmax or a sigmoid that the loss applies again, or one that it needs and does not get."""
    output, kind = look.output, loss_kind(look)
    if output is None or look.target is None:
        return
    values = output.detach()
    if _applies_softmax(look, values) and _rows_are_probabilities(values):
        classes = values.shape[-1] if values.ndim == 2 else _summing(values)
        floor = math.log(math.e + classes - 1) - 1
        yield Mechanism(
            "softmax before cross-entropy",
            "The model's outputs are probabilities, and the loss applies a softmax to them again: "
            f"with {classes} classes it cannot fall below {floor:.3f}, and its gradient fades.",
            "return logits  # in forward, without softmax: cross_entropy applies it",
            Cause.MISWIRED,
        )
    elif kind is not None and kind.name == "bce_logits" and _made_by(output, "Sigmoid"):
        yield Mechanism(
            "sigmoid before binary cross-entropy with logits",
            "The model ends in a sigmoid, and the loss applies another: the probabilities it sees "
            "lie between 0.5 and 0.73.",
            "return logits  # in forward, without sigmoid: the loss applies it",
            Cause.MISWIRED,
        )
    elif kind is not None and kind.name == "nll" and not _rows_are_log(values, kind):
        yield Mechanism(
            "negative log-likelihood of no log-probabilities",
            "The loss takes the outputs for log-probabilities, but they are none: it falls without "
            "bound as they grow.",
            "loss = torch.nn.functional.cross_entropy  # or log_softmax at the end of forward",
            Cause.MISWIRED,
        )
    elif kind is not None and kind.name == "cross_entropy" and _one_output(values, look.target):
        yield Mechanism(
            "cross-entropy over one output",
            f"Outputs have shape {tuple(values.shape)}: a softmax over one class is always 1 (over "
            "a vector without an axis of classes it runs over the examples).",
            "loss = torch.nn.functional.binary_cross_entropy_with_logits"
            "  # or one output for each class",
            Cause.MISWIRED,
        )


def outside_classes(look: Look) -> Iterator[Mechanism]:
    """Class labels that no output stands for."""
    output, target, kind = look.output, look.target, loss_kind(look)
    labelled = (
        output is not None
        and target is not None
        and not target.is_floating_point()
        and output.ndim > 1
        and target.ndim == output.ndim - 1
    )
    if not labelled or output is None or target is None:
        return
    if (kind is None or kind.name == "bce_logits") and "out of bounds" not in look.failure:
        return
    classes = output.shape[kind.axis if kind is not None else 1]
    labels = _all_targets(look, target).long()
    wrong = (labels < 0) | (labels >= classes)
    if kind is not None:
        wrong &= labels != kind.ignored
    if not wrong.any():
        return
    values = labels[wrong].unique()
    shown = ", ".join(str(int(v)) for v in values[:5]) + (", ..." if len(values) > 5 else "")
    shifted = int(labels[~wrong].min()) == 1 if (~wrong).any() else False
    yield Mechanism(
        "targets outside the classes",
        f"The model has {classes} outputs, for classes 0 to {classes - 1}, but "
        f"{float(wrong.double().mean()):.1%} of the targets are {shown}.",
        "y = y - 1  # classes count from 0"
        if shifted and values.tolist() == [classes]
        else f"torch.nn.Linear(..., {int(labels.max()) + 1})  # as the last layer, or mend the "
        "targets",
        Cause.MISWIRED,
    )


def broadcast(look: Look) -> Iterator[Mechanism]:
    """Outputs and targets of different shapes that an elementwise loss expands into a table."""
    output, target = look.output, look.target
    if output is None or target is None or output.shape == target.shape:
        return
    if output.numel() != target.numel() or output.numel() < 2 or not output.is_floating_point():
        return
    try:
        whole = torch.broadcast_shapes(output.shape, target.shape)
    except RuntimeError:
        return
    if math.prod(whole) <= output.numel():
        return
    trial = output.detach()
    noise = torch.randn(trial.shape, generator=torch.Generator().manual_seed(0)).to(trial)
    trial = trial + noise * (1 + trial.abs().max())
    as_is = look.apply_loss(trial, target)
    table = look.apply_loss(trial.expand(whole), target.expand(whole))
    single = [look.apply_loss(trial[i : i + 1], target[i : i + 1]) for i in range(len(trial))]
    known = [value for value in single if value is not None]
    if as_is is None or table is None or len(known) < len(single):
        return
    # Of a mean, or of a sum, over examples that are compared one by one.
    apart = torch.stack(known)
    if torch.allclose(as_is, apart.mean(), rtol=1e-3) or torch.allclose(
        as_is, apart.sum(), rtol=1e-3
    ):
        return
    if not torch.allclose(as_is, table, rtol=1e-3):
        return
    yield Mechanism(
        "shapes that broadcast",
        f"Outputs have shape {tuple(output.shape)} and targets {tuple(target.shape)}: the loss "
        f"compares every output with every target, {tuple(whole)} pairs, and is lowest where all "
        "outputs are the mean target.",
        "loss(output.squeeze(-1), target)"
        if output.ndim > target.ndim
        else "loss(output, target.squeeze(-1))",
        Cause.MISWIRED,
    )


def _applies_softmax(look: Look, values: Tensor) -> bool:
    """Whether the loss stays when a row of outputs is shifted, but not when one is changed."""
    assert look.target is not None
    if values.ndim < 2 or not values.is_floating_point():
        return False
    axis = 1 if values.ndim == 2 else _axis_summing_to_one(values)
    if axis is None or values.shape[axis] < 2:
        return False
    generator = torch.Generator().manual_seed(0)
    shape = list(values.shape)
    shape[axis] = 1
    shift = torch.randn(shape, generator=generator).to(values)
    noise = torch.randn(values.shape, generator=generator).to(values)
    target = _within(look.target, values.shape[axis])
    plain, shifted, changed = (
        look.apply_loss(trial, target) for trial in (values, values + shift, values + noise)
    )
    if plain is None or shifted is None or changed is None or not torch.isfinite(plain):
        return False
    return torch.allclose(plain, shifted, rtol=1e-4) and not torch.allclose(
        plain, changed, rtol=1e-3
    )


def _rows_are_probabilities(values: Tensor) -> bool:
    axis = 1 if values.ndim == 2 else _axis_summing_to_one(values)
    if axis is None or not torch.isfinite(values).all():
        return False
    ones = values.sum(axis)
    return bool((values >= 0).all()) and torch.allclose(ones, torch.ones_like(ones), atol=1e-3)


def _axis_summing_to_one(values: Tensor) -> int | None:
    for axis in (1, values.ndim - 1):
        ones = values.sum(axis)
        if torch.allclose(ones, torch.ones_like(ones), atol=1e-3):
            return axis
    return None


def _summing(values: Tensor) -> int:
    axis = _axis_summing_to_one(values)
    return values.shape[1 if axis is None else axis]


def _rows_are_log(values: Tensor, kind: LossKind) -> bool:
    if values.ndim < 2 or not torch.isfinite(values).any():
        return True
    total = values.logsumexp(kind.axis)
    return torch.allclose(total, torch.zeros_like(total), atol=1e-2)


def _one_output(values: Tensor, target: Tensor) -> bool:
    return (values.ndim == 1 and target.ndim == 1) or (values.ndim > 1 and values.shape[1] == 1)


def _made_by(output: Tensor, name: str) -> bool:
    """Whether the last operation that computes ``output`` is the one of that name."""
    node: Any = output.grad_fn
    while node is not None:
        kind = type(node).__name__
        if kind.startswith(name + "Backward"):
            return True
        if not kind.startswith(SHAPING) or not node.next_functions:
            return False
        node = node.next_functions[0][0]
    return False


def _within(target: Tensor, classes: int) -> Tensor:
    return target if target.is_floating_point() else target.long().clamp(0, classes - 1)


def _all_targets(look: Look, seen: Tensor) -> Tensor:
    """All the targets where the task has them as a tensor, else those looked at."""
    tensors = look.examples.tensors if look.examples is not None else None
    if isinstance(tensors, tuple) and len(tensors) == 2 and isinstance(tensors[1], Tensor):
        return tensors[1]
    return seen
