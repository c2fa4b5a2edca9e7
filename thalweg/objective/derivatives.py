"""Gradients and Hessian-vector products of an objective at a point."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from thalweg.errors import ModelError, UsageError
from thalweg.estimate import PRODUCT_COST
from thalweg.objective.base import Objective
from thalweg.objective.graph import has_functions_of_its_own
from thalweg.objective.inner_product import inner_product, length
from thalweg.objective.replay import HOLES, Replay, record, replayable
from thalweg.objective.supervised import Supervised

__all__ = ["Hessian", "SymmetricOperator", "gradient", "value_and_gradient"]

FINITE_STEP = 0.03
"""Length of the step of central differences in single precision: error about 5e-5."""

CACHE = 2**22
"""Bytes of a graph that a processor goes through fastest: fewer are many short operations."""

PIECE = 2**27
"""Bytes of a graph above which it is made piece by piece, each in the memory of the one before."""


class SymmetricOperator(Protocol):
    """A symmetric matrix known by its products; ``cost`` counts what they cost so far."""

    dim: int

    @property
    def cost(self) -> float:
        """Gradient evaluations spent so far."""
        ...

    def __matmul__(self, vectors: Tensor, /) -> Tensor:
        """Products with vectors of shape ``(..., dim)``."""
        ...


def value_and_gradient(objective: Objective, point: Tensor) -> tuple[Tensor, Tensor]:
    """The loss (scalar) and its gradient (``(dim,)``) at one point of shape ``(dim,)``."""
    objective.check_points(point)
    if isinstance(objective, Supervised):
        return objective.value_and_gradient(point)
    leaf = point.detach().requires_grad_()
    with torch.enable_grad():
        value = objective.loss(leaf)
        if not value.requires_grad:  # a constant
            return value, torch.zeros_like(point)
        (slope,) = torch.autograd.grad(value, leaf)
    return value.detach(), slope


def gradient(objective: Objective, point: Tensor) -> Tensor:
    """The gradient ``(dim,)`` of the loss at one point of shape ``(dim,)``. Cost: 1."""
    return value_and_gradient(objective, point)[1]


class Hessian:
    """The matrix of second derivatives at a point, known by its products with vectors.

    ``hessian @ v`` is ``∇²f(θ) v`` by reverse-over-reverse differentiation. The graph of the
    gradient is kept between products where it fits ``objective.memory``, else rebuilt chunk by
    chunk at each product. On a processor the first product with a kept graph is recorded, and the
    next ones replay it (see :mod:`thalweg.objective.replay`). ``hessian @ V`` with ``V`` of shape
    ``(k, dim)`` gives ``k`` products.

    Where an operation has no second derivative the products are central differences of the
    gradient, and ``exact`` turns False. Of a ``torch.autograd.Function`` in the model that cannot be
    known: there the first product is compared with a difference, at 2 evaluations more.

    Attributes:
        dim: number of rows.
        cost: gradient evaluations spent so far: 1 to build the graph, 2 for each product.
        exact: whether the products are derivatives rather than differences.
        kept: whether the graph is kept.
    """

    def __init__(self, objective: Objective, point: Tensor, *, keep: bool | None = None) -> None:
        objective.check_points(point)
        if point.ndim != 1:
            raise UsageError(f"point must be one point, but has shape {tuple(point.shape)}")
        self.objective = objective
        self.point = point.detach().clone()  # the caller's may move on
        self.dim = objective.dim
        self.cost = 0.0
        self.exact = True
        self._pieces = _pieces(objective, self.point)
        self.kept = self._pieces.fits if keep is None else keep
        self._graphs: list[_Graph] | None = None
        self._replays = self.kept and self.point.device.type == "cpu"
        self._first: tuple[Tensor, Tensor] | None = None

    def __matmul__(self, vectors: Tensor) -> Tensor:
        if vectors.ndim == 0 or vectors.shape[-1] != self.dim:
            raise UsageError(
                f"vectors must have shape (..., {self.dim}), but have shape {tuple(vectors.shape)}"
            )
        if vectors.ndim == 1:
            return self._product(vectors)
        rows = [self._product(vector) for vector in vectors.reshape(-1, self.dim)]
        return torch.stack(rows).reshape(vectors.shape) if rows else vectors.to(self.point)

    def dense(self) -> Tensor:
        """The whole matrix ``(dim, dim)``, symmetrised; ``dim`` products."""
        identity = torch.eye(self.dim, dtype=self.point.dtype, device=self.point.device)
        matrix = self @ identity
        return (matrix + matrix.T) / 2

    def _product(self, vector: Tensor) -> Tensor:
        vector = vector.to(self.point)
        self.cost += PRODUCT_COST
        if self.exact:
            try:
                found = self._exact_product(vector)
                if self._pieces.doubtful:
                    self._compare(vector, found)
                if self.exact:
                    return found
            except (RuntimeError, NotImplementedError) as error:
                if not _lacks_second_derivative(error):
                    raise
                self.exact, self._graphs = False, None
        return self._difference(vector)

    def _exact_product(self, vector: Tensor) -> Tensor:
        result = self._pieces.decay * vector
        if self._graphs is not None and all(graph.replay for graph in self._graphs):
            for graph in self._graphs:
                result = result + graph.product(vector)
            return self._believed(vector, result)
        with torch.enable_grad(), self._pieces.held():
            graphs = self._pieces.graphs() if self._graphs is None else self._graphs
            self.cost += self._graphs is None
            seen = []
            for graph in graphs:
                result = result + graph.product(vector, retain=self.kept, note=self._replays)
                if self.kept:
                    seen.append(graph)
            self._graphs = seen or None
        if self._replays:
            self._first = vector, result.detach()
        return result.detach()

    def _believed(self, vector: Tensor, result: Tensor) -> Tensor:
        """The first replayed product, made again by autograd if it is not that of the same matrix.

        For vectors u and v a symmetric matrix has u·Hv = v·Hu: a check that costs no product.
        """
        if self._first is not None:
            (before, product), self._first = self._first, None
            scale = length(before) * length(result) + length(product) * length(vector)
            off = abs(inner_product(before, result) - inner_product(product, vector))
            if off > 1e3 * torch.finfo(result.dtype).eps * scale:
                self._graphs, self._replays = None, False
                return self._exact_product(vector)
        return result

    def _compare(self, vector: Tensor, found: Tensor) -> None:
        """Give up exact products if this one is far from a difference, as a missing part makes it."""
        self._pieces.doubtful = False
        self.cost += PRODUCT_COST
        expected = self._difference(vector)
        if length(found - expected) > 0.05 * length(expected):
            self.exact, self._graphs = False, None

    def _difference(self, vector: Tensor) -> Tensor:
        norm = length(vector)
        if norm == 0:
            return torch.zeros_like(vector)
        single = torch.finfo(self.point.dtype).eps > 1e-10
        step = (FINITE_STEP if single else 1e-5) / norm
        ahead = gradient(self.objective, self.point + step * vector)
        behind = gradient(self.objective, self.point - step * vector)
        return (ahead - behind) / (2 * step)


class _Graph:
    """The graph of one chunk's gradient."""

    def __init__(
        self,
        inputs: list[Tensor],
        slopes: list[Tensor | None],
        flat: Callable[[Any], Tensor],
        split: Callable[[Tensor], list[Tensor]],
    ) -> None:
        self.inputs, self.flat, self.split = inputs, flat, split
        used = [(i, s) for i, s in enumerate(slopes) if s is not None and s.requires_grad]
        self.used = [i for i, _ in used]
        self.slopes = [slope for _, slope in used]
        self.replay: Replay | None = None

    def product(self, vector: Tensor, *, retain: bool = True, note: bool = False) -> Tensor:
        """The product; with ``note`` it is recorded, and what the record does not need let go."""
        if self.replay is not None:
            return self.replay(vector)
        if not self.slopes:  # a loss that is linear in its parameters
            return torch.zeros_like(vector)
        if not (note and replayable(self.slopes)):
            return self._differentiated(vector, retain)
        result, self.replay = record(lambda v: self._differentiated(v, retain), vector)
        if self.replay is not None:
            self.slopes = []
        return result

    def _differentiated(self, vector: Tensor, retain: bool) -> Tensor:
        pieces = self.split(vector)
        products = torch.autograd.grad(
            self.slopes,
            self.inputs,
            [pieces[i] for i in self.used],
            retain_graph=retain,
            allow_unused=True,
        )
        return self.flat(products)


class _Pieces(Protocol):
    fits: bool
    decay: Any
    doubtful: bool

    def held(self) -> AbstractContextManager[Any]: ...
    def graphs(self) -> Iterator[_Graph]: ...


class _Whole:
    """Any objective, in one piece."""

    fits, decay, doubtful = True, 0.0, False

    def __init__(self, objective: Objective, point: Tensor) -> None:
        self.objective, self.point = objective, point

    def held(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def graphs(self) -> Iterator[_Graph]:
        leaf = self.point.clone().requires_grad_()
        loss = self.objective.loss(leaf)
        slopes = (
            torch.autograd.grad(loss, leaf, create_graph=True) if loss.requires_grad else [None]
        )
        yield _Graph(
            [leaf],
            list(slopes),
            lambda pieces: torch.zeros_like(leaf) if pieces[0] is None else pieces[0],
            lambda vector: [vector],
        )


class _Chunks:
    """A network's loss, chunk by chunk of its examples."""

    def __init__(self, objective: Supervised, point: Tensor) -> None:
        self.objective, self.point, self.decay = objective, point, objective.decay
        needed = objective.bytes_per_example() * (objective.examples or 1)
        self.fits = HOLES * needed <= objective.memory
        self.looked = self.doubtful = False

    def held(self) -> AbstractContextManager[Any]:
        return self.objective.placed.at(self.point, self.objective.mode, self.objective.seed)

    def graphs(self) -> Iterator[_Graph]:
        placed = self.objective.placed
        for batch, weight in self.objective.weighted_chunks(self._chunk()):
            loss = weight * self.objective.batch_loss(batch)
            if not loss.requires_grad:
                raise ModelError("loss must depend on the model's parameters, but does not")
            if not self.looked:
                self.looked, self.doubtful = True, has_functions_of_its_own(loss)
            slopes = torch.autograd.grad(
                loss, placed.parameters, create_graph=True, allow_unused=True
            )
            yield _Graph(list(placed.parameters), list(slopes), placed.flat, placed.split)

    def _chunk(self) -> int:
        """Examples at once: those of the objective, or more where more are faster."""
        objective = self.objective
        if objective.mode != "eval":
            return objective.chunk
        # Every chunk goes through the parameters too: it should be worth it.
        ample = max(CACHE, self.point.nbytes)
        each = objective.bytes_per_example()
        room = min(ample, objective.memory) / each
        most = min(max(objective.chunk, int(room)), max(1, int(max(ample, PIECE) / each)))
        examples = objective.data.length
        return -(-examples // -(-examples // most))


def _pieces(objective: Objective, point: Tensor) -> _Pieces:
    return (
        _Chunks(objective, point) if isinstance(objective, Supervised) else _Whole(objective, point)
    )


def _lacks_second_derivative(error: Exception) -> bool:
    words = str(error).lower()
    return isinstance(error, NotImplementedError) or any(
        sign in words
        for sign in (
            "not implemented",
            "double backward",
            "differentiate twice",
            "does not require grad",
            "derivative for",
        )
    )
