"""How strongly the output of each single example depends on the parameters: ``‖Jᵀu‖²``, all at once.

A backward pass gives the gradient of a sum over the examples. In the usual layers the squared norm
of each example's own part follows from the layer's input and the slope at its output.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.objective.supervised import Supervised

__all__ = ["Traced", "traced", "understood"]

SAME = 1e-3
"""Relative difference from the norms of single examples that rounding may cause."""

FEW = 8
"""Examples by which it is seen that the loss is a mean over them."""


class Traced:
    """A forward pass of a batch that remembers what went into each layer.

    Attributes:
        output: of the model, shape ``(n, ...)``.
    """

    def __init__(self, output: Tensor, seen: list[tuple[nn.Module, Tensor, Tensor]]) -> None:
        self.output, self._seen = output, seen

    def squared_norms(self, cotangent: Tensor) -> Tensor:
        """``‖Jᵀu‖²`` of each example, shape ``(n,)``, for ``u`` of the output's shape."""
        places = [out for _, _, out in self._seen]
        slopes = torch.autograd.grad(
            self.output, places, cotangent, retain_graph=True, allow_unused=True
        )
        total = cotangent.new_zeros(len(cotangent))
        with torch.no_grad():
            for (module, given, _), slope in zip(self._seen, slopes, strict=True):
                if slope is not None:
                    total = total + _rule(module)(module, given, slope)  # pyright: ignore[reportOptionalCall]
        return total


@contextmanager
def traced(objective: Supervised) -> Iterator[Callable[[Any], Traced]]:
    """Within the block, while the model stands placed, a function from an input to a Traced pass."""
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []

    def note(module: nn.Module, given: tuple[Any, ...], out: Tensor) -> Tensor:
        seen.append((module, given[0].detach().clone(), out))
        return out.clone()  # which the model may write to

    owners = _owners(objective.placed.model)
    hooks = [module.register_forward_hook(note) for module in owners]

    def run(given: Any) -> Traced:
        seen.clear()
        with torch.enable_grad():
            output = objective.placed.model(given)
        return Traced(output, seen.copy())

    try:
        yield run
    finally:
        for hook in hooks:
            hook.remove()


def understood(objective: Supervised, point: Tensor) -> bool:
    """Whether the norms are right for this model: those of two single examples are compared.

    Layers of another kind, weights that are used twice or by another way, and outputs that depend
    on several examples are seen by that.
    """
    if objective.pair_loss is None or objective.mode != "eval":
        return False
    if not all(_rule(module) for module in _owners(objective.placed.model)):
        return False
    few = objective.on(objective.data.fetch(slice(0, min(FEW, objective.data.length))))
    with objective.placed.at(point, objective.mode, objective.seed), traced(objective) as run:
        batch = next(iter(few.weighted_chunks(FEW)))[0]
        if not all(isinstance(part, Tensor) for part in batch) or not _separate(few, batch):
            return False
        both = run(batch[0][:2])
        if not isinstance(both.output, Tensor) or not both.output.requires_grad:
            return False
        if len(both.output) != len(batch[0][:2]) or both.output.ndim < 2:
            return False
        u = torch.randn(
            both.output.shape, generator=torch.Generator().manual_seed(0), dtype=point.dtype
        ).to(point.device)
        norms = both.squared_norms(u)
        single = [
            _plain_norm(run(batch[0][i : i + 1]).output, objective.placed.parameters, u[i : i + 1])
            for i in range(len(u))
        ]
    return bool(torch.allclose(norms, torch.stack(single), rtol=SAME))


def _separate(few: Supervised, batch: Any) -> bool:
    """Whether the loss of a batch is the mean of those of its examples."""
    with torch.no_grad():
        joint = few.batch_loss(batch)
        rows = range(len(batch[0]))
        single = [few.batch_loss(tuple(part[i : i + 1] for part in batch)) for i in rows]
    return bool(torch.allclose(joint, torch.stack(single).mean(), rtol=SAME))


def _plain_norm(output: Tensor, parameters: Sequence[Tensor], u: Tensor) -> Tensor:
    slopes = torch.autograd.grad(output, parameters, u, allow_unused=True)
    return sum(((s * s).sum() for s in slopes if s is not None), u.new_zeros(()))


def _owners(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if any(p.requires_grad for p in m.parameters(False))]


def _rule(module: nn.Module) -> Callable[[Any, Tensor, Tensor], Tensor] | None:
    if type(module) is nn.Linear:
        return _linear
    if type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros":
        return None if isinstance(module.padding, str) else _convolution
    if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d) and module.track_running_stats:
        return _batch_norm
    return _layer_norm if type(module) is nn.LayerNorm else None


def _squares(tensor: Tensor) -> Tensor:
    return (tensor * tensor).flatten(1).sum(1)


def _joined(module: nn.Module, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """The sum over those of the two parameters that are trained."""
    parts = [
        value
        for name, value in (("weight", weight), ("bias", bias))
        if value is not None and getattr(getattr(module, name), "requires_grad", False)
    ]
    return sum(parts[1:], parts[0])


def _linear(module: nn.Linear, given: Tensor, slope: Tensor) -> Tensor:
    if given.ndim == 2:
        size = _squares(slope)
        return _joined(module, size * _squares(given), size)
    slope, given = slope.flatten(1, -2), given.flatten(1, -2)
    return _joined(module, _squares(slope.mT @ given), _squares(slope.sum(1)))


def _convolution(module: nn.Conv2d, given: Tensor, slope: Tensor) -> Tensor:
    patches = F.unfold(
        given,
        module.kernel_size,
        dilation=module.dilation,
        padding=module.padding,  # pyright: ignore[reportArgumentType]
        stride=module.stride,
    )
    flat = slope.flatten(2)
    return _joined(module, _squares(flat @ patches.mT), _squares(flat.sum(2)))


def _batch_norm(module: nn.BatchNorm2d, given: Tensor, slope: Tensor) -> Tensor:
    plain = F.batch_norm(given, module.running_mean, module.running_var, eps=module.eps)
    over = tuple(range(2, given.ndim))
    weighted, summed = plain * slope, slope
    if over:
        weighted, summed = weighted.sum(over), slope.sum(over)
    return _joined(module, _squares(weighted), _squares(summed))


def _layer_norm(module: nn.LayerNorm, given: Tensor, slope: Tensor) -> Tensor:
    plain = F.layer_norm(given, module.normalized_shape, eps=module.eps)
    over = tuple(range(1, given.ndim - len(module.normalized_shape)))
    weighted, summed = plain * slope, slope
    if over:
        weighted, summed = weighted.sum(over), slope.sum(over)
    return _joined(module, _squares(weighted), _squares(summed))
