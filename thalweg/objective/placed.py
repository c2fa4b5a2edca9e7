"""A model evaluated at a flat point: the point's values are placed in its parameters' storage.

Placing is the one way that every reader of a parameter sees: tied weights, parametrizations, losses
that walk over ``model.parameters()``, lists of parameters captured in a closure. It is done on a
private copy of the model, or, where the loss is seen to read the user's own objects, on those, and
undone before control returns.
"""

import copy
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_leaves

from thalweg.errors import ModelError, UsageError
from thalweg.objective.random_state import random_state

__all__ = ["MODES", "Placed", "copied", "random_state", "unwrapped"]

MODES = ("eval", "batch", "train")
"""``eval``: running statistics, no dropout. ``batch``: batch statistics, no dropout.
``train``: batch statistics and dropout with masks that the seed fixes. In a model that stands in
training mode, modules that do not (frozen statistics, say) stay as they are."""


class Placed:
    """Parameters and buffers of a model, to be set to a flat point for the length of a block.

    Attributes:
        model: the module that is evaluated.
        parameters: the trainable parameters, each once, in the order of ``model.parameters()``.
        dim: total number of their elements.
        torch_alone: whether the model is known to draw from no other random state than torch's.
    """

    def __init__(self, model: nn.Module, *, restore: bool) -> None:
        self.model = model
        self.restore = restore
        for name, p in model.named_parameters():
            if isinstance(p, nn.UninitializedParameter):
                raise ModelError(
                    f"model must have its sizes, but {name} has none yet: run it on a batch first"
                )
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.sizes = [p.numel() for p in self.parameters]
        self.dim = sum(self.sizes)
        self.torch_alone = False

    def point(self) -> Tensor:
        """The parameters as one flat point, a copy."""
        return torch.cat([p.detach().reshape(-1) for p in self.parameters])

    @contextmanager
    def at(self, point: Tensor, mode: str, seed: int = 0) -> Iterator[Sequence[Tensor]]:
        """Within the block the model stands at ``point``, in ``mode``; yields its parameters.

        Every draw from a global random state is fixed by ``seed``. Buffers that a forward pass
        changes, attributes that it sets, the modes of the modules and the global random states are
        as before afterwards; so are the parameters, where they are the user's own.
        """
        if mode not in MODES:
            raise UsageError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        # A copy, as a forward pass may write to weights (an Embedding with max_norm does).
        pieces = point.detach().clone().split(self.sizes)
        before = [p.data for p in self.parameters]
        attributes = [(vars(module), dict(vars(module))) for module in self.model.modules()]
        buffers: list[tuple[nn.Module, str, Tensor]] = []
        try:
            _set_mode(self.model, mode)
            for p, piece in zip(self.parameters, pieces, strict=True):
                p.data = piece.view(p.shape).to(p)
            self._lend_buffers(buffers)
            with _plain_arithmetic(), random_state(seed, torch_alone=self.torch_alone):
                yield self.parameters
        finally:
            for now, kept in attributes:  # what a forward pass leaves behind, and the modes
                now.clear()
                now.update(kept)
            for module, name, buffer in buffers:
                module._buffers[name] = buffer
            if self.restore:
                for p, data in zip(self.parameters, before, strict=True):
                    p.data = data

    def flat(self, pieces: Sequence[Tensor | None]) -> Tensor:
        """Tensors shaped like the parameters (None for zero) as one flat vector."""
        rows = []
        for p, piece in zip(self.parameters, pieces, strict=True):
            dense = piece.to_dense() if piece is not None and piece.is_sparse else piece
            rows.append((torch.zeros_like(p) if dense is None else dense).reshape(-1))
        return torch.cat(rows)

    def split(self, vector: Tensor) -> list[Tensor]:
        """A flat vector as tensors shaped like the parameters."""
        pieces = vector.split(self.sizes)
        return [piece.view(p.shape) for p, piece in zip(self.parameters, pieces, strict=True)]

    def _lend_buffers(self, lent: list[tuple[nn.Module, str, Tensor]]) -> None:
        twins: dict[int, Tensor] = {}  # a buffer may be held twice
        for module in self.model.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    lent.append((module, name, buffer))
                    module._buffers[name] = twins.setdefault(id(buffer), buffer.clone())


@contextmanager
def _plain_arithmetic() -> Iterator[None]:
    """No kernels without second derivative, no compiled code, no casts kept from other weights."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False, cache_enabled=False))
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        yield


def copied(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A deep copy; tensors with a graph that a forward pass left on a module are copied without.

    Raises:
        RuntimeError, TypeError, AttributeError: the model cannot be copied.
    """
    memo = {} if memo is None else memo
    for module in model.modules():
        own = [value for name, value in vars(module).items() if name != "_modules"]
        for leaf in tree_leaves(own):
            if isinstance(leaf, Tensor) and not leaf.is_leaf:
                memo[id(leaf)] = leaf.detach().clone()
    return copy.deepcopy(model, memo)


def unwrapped(model: nn.Module) -> nn.Module:
    """The plain module inside ``torch.compile``, DataParallel and DistributedDataParallel."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(
            model, nn.DataParallel | nn.parallel.DistributedDataParallel
        ):
            inner = model.module
        if inner is None:
            return model
        model = inner


def _set_mode(model: nn.Module, mode: str) -> None:
    trains = model.training
    for module in model.modules():
        training = mode != "eval" and (module.training or not trains)
        # Recurrent and attention layers hold their dropout as a number, not as a module.
        module.training = training and (mode == "train" or _normalises(module))


def _normalises(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm | nn.InstanceNorm1d | nn.InstanceNorm2d) or (
        not isinstance(module, _DropoutNd) and hasattr(module, "running_mean")
    )
