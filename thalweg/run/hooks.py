"""Hooks on the gradients of a user's parameters, carried to a fork, which copies drop."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from thalweg.run.rebound import rebound

__all__ = ["Hooks", "has_hooks"]


class Hooks:
    """The tensor hooks and the post-accumulate-grad hooks of a training's parameters.

    A hook may change a gradient, or step an optimizer of its own, so that a fork without it would be
    another run. It is called with copies of all that it holds (:func:`thalweg.run.rebound.rebound`),
    so that it changes nothing of the user's.

    Args:
        pairs: parameters of the user's and their copies, which are given the hooks.
        lent: parameters of the user's that the fork itself trains, within :meth:`at_work`.
        memo: of the copies, as ``copy.deepcopy`` keeps it.

    Attributes:
        left_out: for each hook that cannot be carried, as something that it holds cannot be copied,
            the reason.
    """

    def __init__(
        self, pairs: Sequence[tuple[Tensor, Tensor]], lent: Sequence[Tensor], memo: dict[int, Any]
    ) -> None:
        self.left_out: list[str] = []
        self._exchanged: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        for mine, twin in pairs:
            wanted = twin.requires_grad
            if has_hooks(mine):
                twin.requires_grad_(True)  # a frozen parameter may have hooks, but takes none
            before, after = _of(mine)
            for hook in self._carried(before, memo).values():
                twin.register_hook(hook)
            for hook in self._carried(after, memo).values():
                twin.register_post_accumulate_grad_hook(hook)
            twin.requires_grad_(wanted)
        for p in lent:
            self._exchanged += [(own, self._carried(own, memo)) for own in _of(p) if own]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within the block the lent parameters have the carried hooks in the place of the user's."""
        users = [dict(own) for own, _ in self._exchanged]
        try:
            for own, carried in self._exchanged:
                own.clear()
                own.update(carried)
            yield
        finally:
            for (own, _), before in zip(self._exchanged, users, strict=True):
                own.clear()
                own.update(before)

    def _carried(self, hooks: dict[Any, Any], memo: dict[int, Any]) -> dict[Any, Any]:
        carried: dict[Any, Any] = {}
        for key, hook in hooks.items():
            try:
                carried[key] = rebound(hook, memo)
            except Exception as error:  # of any kind: what is held is copied by its own code
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                self.left_out.append(reason)
        return carried


def has_hooks(p: Tensor) -> bool:
    """Whether a parameter has any hook on its gradient."""
    return any(_of(p))


def _of(p: Tensor) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Those before and those after a gradient is accumulated: torch's own record of them."""
    before: Any = p._backward_hooks
    after: Any = getattr(p, "_post_accumulate_grad_hooks", None)
    return before or {}, after or {}
