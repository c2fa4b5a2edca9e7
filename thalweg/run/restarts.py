"""A small network at many points at once: restarts as the rows of one tensor."""

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from thalweg.objective.reduction import Reduction
from thalweg.objective.supervised import Supervised

__all__ = ["Restarts"]


class Restarts:
    """The losses of a network with its data at points ``(rows, dim)``, all rows in one pass.

    The model is vectorised over its weights where that is seen to give the values and the
    gradients of one row after another; where it is not (a loss of the user's own that reads the
    model, dropout, batch statistics), the rows are evaluated one by one.
    """

    def __init__(self, objective: Supervised) -> None:
        self.objective = objective
        names = {id(p): name for name, p in objective.placed.model.named_parameters()}
        self.names = [names[id(p)] for p in objective.placed.parameters]
        self.shapes = [p.shape for p in objective.placed.parameters]
        self.vectorised = False
        self.data: Any = None

    @classmethod
    def of(cls, objective: Supervised, points: Tensor) -> "Restarts":
        """For trials that start at points ``(rows, dim)``, two at least."""
        restarts = cls(objective)
        plain = (
            objective.pair_loss is not None
            and objective.mode == "eval"
            and objective.reduction is Reduction.MEAN
            and not objective.placed.restore
        )
        if plain:
            restarts.data = objective.data.fetch(slice(0, objective.data.length))
            restarts.vectorised = restarts._agrees(points[:2].detach())
        return restarts

    def loss(self, points: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Losses ``(rows,)``, of each row's own examples where ``chosen`` ``(rows, batch)`` names them."""
        if self.vectorised:
            return self._together(points, chosen)
        if chosen is None:
            return self.objective.loss(points)
        fetch = self.objective.data.fetch
        losses = [
            self.objective.on(fetch(rows.tolist()), chunk=len(rows)).loss(point)
            for point, rows in zip(points, chosen)
        ]
        return torch.stack(losses)

    def _together(self, points: Tensor, chosen: Tensor | None) -> Tensor:
        objective = self.objective
        data, axis = self.data, None
        if chosen is not None:
            data = tree_map(lambda leaf: leaf[chosen] if isinstance(leaf, Tensor) else leaf, data)
            axis = 0
        examples = objective.examples if chosen is None else chosen.shape[1]
        each = objective.bytes_per_example() * (examples or 1)
        at_once = max(1, int(objective.memory / each))
        with objective.placed.at(objective.point(), objective.mode, objective.seed):
            losses = vmap(self._one, (0, axis), chunk_size=at_once)(points, data)
        return losses + 0.5 * (objective.decay * points * points).sum(-1)

    def _one(self, point: Tensor, data: Any) -> Tensor:
        pieces = point.split([shape.numel() for shape in self.shapes])
        weights = {
            name: piece.view(shape)
            for name, piece, shape in zip(self.names, pieces, self.shapes, strict=True)
        }
        inputs, targets = data
        assert self.objective.pair_loss is not None
        output = functional_call(self.objective.placed.model, weights, (inputs,))
        return self.objective.pair_loss(output, targets).reshape(())

    def _agrees(self, points: Tensor) -> bool:
        """Whether values and gradients are those of one row after another, near two starts."""
        generator = torch.Generator().manual_seed(0)
        shift = torch.randn(points.shape, generator=generator, dtype=torch.float64).to(points)
        near = points + 0.1 * shift
        try:
            fast = _with_slopes(self._together, near)
        except Exception:  # whatever a model cannot do under vmap: one row after another can
            return False
        slow = _with_slopes(lambda rows, _: self.objective.loss(rows), near)
        tolerance = 1e-9 if points.dtype == torch.float64 else 1e-3
        return all(
            torch.allclose(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))
            for one, other in zip(fast, slow)
        )


def _with_slopes(losses: Any, points: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        points = points.clone().requires_grad_()
        values = losses(points, None)
        (slopes,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), slopes
