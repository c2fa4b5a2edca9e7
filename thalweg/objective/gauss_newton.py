"""The Gauss-Newton matrix of a network's loss, known by its products."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import PRODUCT_COST
from thalweg.objective.base import Objective
from thalweg.objective.replay import HOLES, Replay, record, replayable
from thalweg.objective.supervised import Supervised

__all__ = ["GaussNewton", "output_and_loss"]


def output_and_loss(objective: Objective) -> Supervised:
    """The objective, whose loss must be one of an output and a target.

    Raises:
        UsageError: it is no network with data, or its loss is a ``batch_loss``: what its output is
            cannot be known then.
    """
    if not isinstance(objective, Supervised):
        raise UsageError(
            "objective must be a Supervised for its Gauss-Newton matrix, not "
            f"{type(objective).__name__}"
        )
    if objective.pair_loss is None:
        raise UsageError(
            "objective must have a loss(output, target) for its Gauss-Newton matrix, not a "
            "batch_loss(model, batch)"
        )
    return objective


class GaussNewton:
    """``mean of JᵀSJ`` plus the decay: the Hessian without the curvature of the network itself.

    ``J`` is the Jacobian of an example's output in the parameters, ``S`` the Hessian of the loss in
    the output; positive semidefinite where the loss is convex in the output, as cross-entropy and
    squared error are. ``J v`` is the derivative of ``Jᵀu`` in ``u``, so no forward-mode derivative
    is needed. The graph is kept between products where it fits ``objective.memory``; on a processor
    the first product is recorded and the next ones replay it.

    Source: Schraudolph, Fast curvature matrix-vector products, Neural Computation 14 (2002).

    Attributes:
        dim: number of rows.
        cost: gradient evaluations spent so far: 1 to build the graph, 2 for each product.

    Raises:
        UsageError: no network with data, a ``batch_loss``, or an output that is not one tensor.
    """

    def __init__(self, objective: Objective, point: Tensor, *, keep: bool | None = None) -> None:
        self.objective = output_and_loss(objective)
        objective.check_points(point)
        if point.ndim != 1:
            raise UsageError(f"point must be one point, but has shape {tuple(point.shape)}")
        self.point = point.detach().clone()
        self.dim = objective.dim
        self.cost = 0.0
        needed = self.objective.bytes_per_example() * self.objective.data.length
        self.kept = HOLES * needed <= self.objective.memory if keep is None else keep
        self._chunks: list[_Chunk] | None = None

    def __matmul__(self, vectors: Tensor) -> Tensor:
        if vectors.ndim == 0 or vectors.shape[-1] != self.dim:
            raise UsageError(
                f"vectors must have shape (..., {self.dim}), but have shape {tuple(vectors.shape)}"
            )
        if vectors.ndim == 1:
            return self._product(vectors.to(self.point))
        rows = [self._product(v) for v in vectors.reshape(-1, self.dim).to(self.point)]
        return torch.stack(rows).reshape(vectors.shape) if rows else vectors.to(self.point)

    def _product(self, vector: Tensor) -> Tensor:
        objective = self.objective
        self.cost += PRODUCT_COST
        result = objective.decay * vector
        if self._chunks is not None and all(chunk.replay for chunk in self._chunks):
            for chunk in self._chunks:
                result = result + chunk.product(vector)
            return result
        replays = self.kept and self.point.device.type == "cpu"
        seen = []
        with torch.enable_grad(), objective.placed.at(self.point, objective.mode, objective.seed):
            self.cost += self._chunks is None
            for chunk in self._built() if self._chunks is None else self._chunks:
                result = result + chunk.product(vector, note=replays)
                if self.kept:
                    seen.append(chunk)
        self._chunks = seen or None
        return result.detach()

    def _built(self) -> Iterator["_Chunk"]:
        whole = self.objective.data.length if self.kept and self.objective.mode == "eval" else None
        for batch, weight in self.objective.weighted_chunks(whole):
            yield _Chunk(self.objective, batch, weight)


class _Chunk:
    """``JᵀSJ`` of one chunk of the examples, while the model stands placed."""

    def __init__(self, objective: Supervised, batch: Any, weight: float) -> None:
        self.placed = objective.placed
        self.inputs = list(self.placed.parameters)
        self.output = self.placed.model(batch[0])
        if not isinstance(self.output, Tensor):
            raise UsageError(
                "the model's output must be one tensor for a Gauss-Newton matrix, not "
                f"{type(self.output).__name__}"
            )
        assert objective.pair_loss is not None
        pair_loss = objective.pair_loss
        self.leaf = self.output.detach().requires_grad_()
        loss = weight * objective.reduction.mean(
            lambda pair: pair_loss(*pair), (self.leaf, batch[1]), objective.unit
        )
        (self.slope,) = torch.autograd.grad(loss, self.leaf, create_graph=True)
        self.dual = torch.zeros_like(self.output).requires_grad_()
        pulled = torch.autograd.grad(
            self.output, self.inputs, self.dual, create_graph=True, allow_unused=True
        )
        used = [(i, p) for i, p in enumerate(pulled) if p is not None and p.requires_grad]
        self.used, self.pulled = [i for i, _ in used], [p for _, p in used]
        self.replay: Replay | None = None

    def product(self, vector: Tensor, *, note: bool = False) -> Tensor:
        """The product; with ``note`` it is recorded."""
        if self.replay is not None:
            return self.replay(vector)
        if not self.slope.requires_grad or not self.pulled:  # a loss that is linear in the output
            return torch.zeros_like(vector)
        if not (note and replayable([*self.pulled, self.slope, self.output])):
            return self._differentiated(vector)
        result, self.replay = record(self._differentiated, vector)
        if self.replay is not None:
            self.pulled = []
        return result

    def pull(self, cotangent: Tensor) -> list[Tensor | None]:
        """``Jᵀ`` times a tensor of the output's shape, parameter by parameter."""
        return list(
            torch.autograd.grad(
                self.output, self.inputs, cotangent, retain_graph=True, allow_unused=True
            )
        )

    def _differentiated(self, vector: Tensor) -> Tensor:
        pieces = self.placed.split(vector)
        (pushed,) = torch.autograd.grad(
            self.pulled, self.dual, [pieces[i] for i in self.used], retain_graph=True
        )
        (bent,) = torch.autograd.grad(self.slope, self.leaf, pushed, retain_graph=True)
        return self.placed.flat(self.pull(bent))
