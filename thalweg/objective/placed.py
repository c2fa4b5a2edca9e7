"""A model evaluated at a flat point: the point's values are placed in its parameters' storage.

Placing is the one way that every reader of a parameter sees: tied weights, parametrizations, losses
that walk over ``model.parameters()``, lists of parameters captured in a closure. It is done on a
private copy of the model, or, where the loss is seen to read the user's own objects, on those, and
undone before control returns.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from thalweg.errors import UsageError

__all__ = ["MODES", "Placed", "random_state", "unwrapped"]

MODES = ("eval", "batch", "train")
"""``eval``: running statistics, no dropout. ``batch``: batch statistics, no dropout.
``train``: batch statistics and dropout with masks that the seed fixes."""


class Placed:
    """Parameters and buffers of a model, to be set to a flat point for the length of a block.

    Attributes:
        model: the module that is evaluated.
        parameters: the trainable parameters, each once, in the order of ``model.parameters()``.
        dim: total number of their elements.
    """

    def __init__(self, model: nn.Module, *, restore: bool) -> None:
        self.model = model
        self.restore = restore
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.sizes = [p.numel() for p in self.parameters]
        self.dim = sum(self.sizes)

    def point(self) -> Tensor:
        """The parameters as one flat point, a copy."""
        return torch.cat([p.detach().reshape(-1) for p in self.parameters])

    @contextmanager
    def at(self, point: Tensor, mode: str, seed: int = 0) -> Iterator[Sequence[Tensor]]:
        """Within the block the model stands at ``point``, in ``mode``; yields its parameters.

        Buffers that a forward pass changes, the modes of the modules and the global random state
        are as before afterwards; so are the parameters, where they are the user's own.
        """
        before = [p.data for p in self.parameters]
        for p, piece in zip(self.parameters, point.detach().split(self.sizes), strict=True):
            p.data = piece.view(p.shape)
        buffers = self._lend_buffers() if mode != "eval" else []
        training = _set_mode(self.model, mode)
        try:
            with sdpa_kernel(SDPBackend.MATH), random_state(seed if mode == "train" else None):
                yield self.parameters
        finally:
            for module, flag in training:
                module.training = flag
            for module, name, buffer in buffers:
                module._buffers[name] = buffer
            if self.restore:
                for p, data in zip(self.parameters, before, strict=True):
                    p.data = data

    def flat(self, pieces: Sequence[Tensor | None]) -> Tensor:
        """Tensors shaped like the parameters (None for zero) as one flat vector."""
        return torch.cat(
            [
                torch.zeros_like(p).reshape(-1) if piece is None else piece.reshape(-1)
                for p, piece in zip(self.parameters, pieces, strict=True)
            ]
        )

    def split(self, vector: Tensor) -> list[Tensor]:
        """A flat vector as tensors shaped like the parameters."""
        pieces = vector.split(self.sizes)
        return [piece.view(p.shape) for p, piece in zip(self.parameters, pieces, strict=True)]

    def _lend_buffers(self) -> list[tuple[nn.Module, str, Tensor]]:
        lent = []
        for module in self.model.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    lent.append((module, name, buffer))
                    module._buffers[name] = buffer.clone()
        return lent


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


@contextmanager
def random_state(seed: int | None) -> Iterator[None]:
    """Within the block torch's global random state is that of ``seed``; None changes nothing."""
    if seed is None:
        with nullcontext():
            yield
        return
    cpu = torch.random.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def _set_mode(model: nn.Module, mode: str) -> list[tuple[nn.Module, bool]]:
    if mode not in MODES:
        raise UsageError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    changed = []
    for module in model.modules():
        training = mode != "eval"
        if mode == "batch" and not _normalises(module):
            # Recurrent and attention layers hold their dropout as a number, not as a module.
            training = False
        if module.training != training:
            changed.append((module, module.training))
            module.training = training
    return changed


def _normalises(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm | nn.InstanceNorm1d | nn.InstanceNorm2d) or (
        not isinstance(module, _DropoutNd) and hasattr(module, "running_mean")
    )
