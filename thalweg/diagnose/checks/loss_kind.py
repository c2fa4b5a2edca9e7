"""Which of torch's losses a user's loss is: by identity, or by giving the same numbers."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.diagnose.checks.look import Look

__all__ = ["LossKind", "class_axis", "loss_kind"]


class LossKind(NamedTuple):
    """A loss of torch's: its name, the class left out of it, and the axis of the classes."""

    name: str
    ignored: int = -100
    axis: int = 1


KNOWN: dict[str, tuple[Callable[..., Tensor], type[nn.Module]]] = {
    "cross_entropy": (F.cross_entropy, nn.CrossEntropyLoss),
    "nll": (F.nll_loss, nn.NLLLoss),
    "bce_logits": (F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss),
}


def loss_kind(look: Look) -> LossKind | None:
    """The kind of the task's loss, None where it is another, or cannot be told."""
    if look.task.loss is None or look.output is None or look.target is None:
        return None
    output, target = look.output.detach(), look.target
    inner: Any = look.task.loss
    keywords: dict[str, Any] = {}
    while isinstance(inner, functools.partial):
        keywords = {**inner.keywords, **keywords}
        inner = inner.func
    axis = class_axis(output, target)
    for name, (function, module) in KNOWN.items():
        if inner is function or isinstance(inner, module):
            ignored = keywords.get("ignore_index", getattr(inner, "ignore_index", -100))
            return LossKind(name, int(ignored), 1 if output.ndim > 1 else 0)
    for name, (function, _) in KNOWN.items():
        if _agrees(look, function, output, target, axis):
            return LossKind(name, axis=axis)
    return None


def class_axis(output: Tensor, target: Tensor) -> int:
    """The axis of ``output`` that counts the classes of an integer ``target``."""
    if (
        output.ndim > 2
        and target.shape == output.shape[:-1]
        and (target.shape != output.shape[:1] + output.shape[2:])
    ):
        return output.ndim - 1
    return min(1, output.ndim - 1)


def _agrees(
    look: Look, function: Callable[..., Tensor], output: Tensor, target: Tensor, axis: int
) -> bool:
    """Whether the user's loss gives the numbers of ``function`` at two different outputs."""
    tested = False
    for trial, answer in _trials(output, target, axis):
        given = look.apply_loss(trial, answer)
        rows = trial.movedim(axis, -1).flatten(0, -2) if trial.ndim > 2 else trial
        flat = answer.flatten() if trial.ndim > 2 and answer.ndim == trial.ndim - 1 else answer
        try:
            expected = function(rows, flat)
        except Exception:
            return False
        if given is None or not torch.isfinite(expected):
            return False
        if not torch.allclose(given.reshape(()).to(expected), expected, rtol=1e-4, atol=1e-6):
            return False
        tested = True
    return tested


def _trials(output: Tensor, target: Tensor, axis: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs made up, and targets that are surely within the classes."""
    integers = not target.is_floating_point()
    if integers and target.ndim == output.ndim - 1:
        target = target.long().clamp(0, output.shape[axis] - 1)
    generator = torch.Generator().manual_seed(0)
    for scale in (1.0, 3.0):
        noise = torch.randn(output.shape, generator=generator)
        yield (scale * noise).to(output), target
