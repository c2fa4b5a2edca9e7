"""Whether gradients pile up because nobody zeroes them, seen from inside a training loop."""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

import torch
from torch import Tensor

__all__ = ["PileUp"]

FEW = 4
"""Parameters that are looked at to find one with a gradient that is not zero."""


class _Base(Enum):
    """What a backward pass found in ``.grad`` and added to."""

    USED = "the gradient that the optimizer's last step has used"
    CLEARED = "nothing, or zeros"
    OTHER = "something else: micro-batches before it, or a gradient scaled on purpose"


class PileUp:
    """Follows one small parameter from one optimizer step to the next.

    :meth:`watch` is called right after a step of the optimizer, :meth:`verdict` right after the
    next. In between, each backward pass that adds into ``.grad`` is asked what it adds to. If the
    gradient that the last step used was there, unchanged, and no later pass of the same interval
    found it cleared, then the next step has used it a second time: it piled up.

    No false alarm under accumulation on purpose (several passes a step), zeroing after the forward
    pass, zeroing between passes that belong to other losses (a discriminator's, say),
    ``torch.autograd.grad``, gradients assigned by hand, or gradients decayed on purpose. Only hooks
    that read are set, on one parameter, and only between the two calls.

    Attributes:
        passes: backward passes that added up to the gradient which was judged last.
    """

    def __init__(self) -> None:
        self._kept: Tensor | None = None
        self._hooks: list[Any] = []
        self._found: _Base | None = None
        self._base: _Base | None = None
        self._count = self.passes = 0

    def watch(self, parameters: Iterable[Tensor]) -> None:
        """Choose a parameter whose gradient is finite and not zero, and follow it from here on."""
        self.stop()
        chosen = _small_with_gradient(parameters)
        if chosen is None:
            return
        assert chosen.grad is not None
        kept = self._kept = chosen.grad.detach().clone()

        def before(_: Tensor) -> None:
            self._found = _base(chosen.grad, kept)

        def after(_: Tensor) -> None:
            # Only here is it sure that the pass has added into .grad.
            self._count = 1 if self._found is _Base.CLEARED else self._count + 1
            if self._base is None or self._found is _Base.CLEARED:
                self._base = self._found

        register: Callable[..., Any] = chosen.register_post_accumulate_grad_hook
        self._hooks = [chosen.register_hook(before), register(after)]

    def verdict(self) -> bool | None:
        """Whether it piled up; ``None`` where nothing was followed or no pass was seen."""
        base, self.passes = self._base, self._count
        self.stop()
        return None if base is None else base is _Base.USED

    def stop(self) -> None:
        """Take the hooks away and forget."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._kept, self._found, self._base = [], None, None, None
        self._count = 0


def _small_with_gradient(parameters: Iterable[Tensor]) -> Tensor | None:
    dense = [
        p
        for p in parameters
        if p.requires_grad and p.is_leaf and p.grad is not None and p.grad.layout is torch.strided
    ]
    for parameter in sorted(dense, key=Tensor.numel)[:FEW]:
        gradient = parameter.grad
        # Of one that is not finite nothing can be told: scaled or not, it is the same.
        if gradient is not None and bool(gradient.any() & gradient.isfinite().all()):
            return parameter
    return None


def _base(gradient: Tensor | None, kept: Tensor) -> _Base:
    if gradient is None:
        return _Base.CLEARED
    if torch.equal(gradient, kept):
        return _Base.USED
    return _Base.OTHER if bool(gradient.any()) else _Base.CLEARED
