"""A network with its data as an objective over flat points."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from thalweg.errors import DataError, ModelError, UsageError
from thalweg.objective.base import Objective
from thalweg.objective.examples import Examples
from thalweg.objective.failures import explained, refuse_hidden_weights, shape_of
from thalweg.objective.flat import FlatLoss
from thalweg.objective.graph_bytes import graph_bytes
from thalweg.objective.placed import MODES, Placed, copied, unwrapped
from thalweg.objective.random_state import RandomState, random_state
from thalweg.objective.reduction import Reduction
from thalweg.objective.shares import Shares

__all__ = ["Supervised"]

CACHE = 2**20
"""Bytes of activations that a processor keeps close: chunks of that size are the fastest."""


class Supervised(Objective):
    """The mean loss of a model over examples, plus ½ Σ decay·θ², at any flat point.

    The model is copied once; its weights, buffers, mode and gradients, and the global random
    state, are never changed. A loss that reads the user's model in a way of its own (an explicit
    L2 term) is seen to do so at construction, and evaluated on the user's objects, which are as
    before when a method returns.

    Args:
        model: any module; frozen parameters are no coordinates, tied ones are one.
        loss: ``loss(model(input), target)``, the mean over the examples of the batch, or one by
            weights of its own (of classes, or of targets that are not ignored).
        data: ``(inputs, targets)``, a Dataset, a DataLoader, or :class:`Examples`.
        batch_loss: in place of ``loss``: ``batch_loss(model, batch)``.
        decay: weight decay: a number, or one for each coordinate.
        mode: ``eval``, ``batch`` or ``train``: see :data:`thalweg.objective.placed.MODES`.
        chunk: examples evaluated at once. In the modes with batch statistics it is the batch whose
            statistics are taken, and part of what the loss means; in ``eval`` it is chosen from
            ``memory``.
        memory: bytes that intermediate results may take.
        seed: of the dropout masks.
        unit: for a loss that sums over a batch: the batch size that its value is meant for. A
            penalty that such a loss adds to the sum is counted once.

    Raises:
        ModelError: no trainable parameter; a model or a loss that fails on a batch, or a loss that
            is not a scalar.
        DataError: empty data, lengths that differ, integer inputs to a model that needs floats.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, Any], Tensor] | None = None,
        data: Any = None,
        *,
        batch_loss: Callable[[nn.Module, Any], Tensor] | None = None,
        decay: float | Tensor = 0.0,
        mode: str = "eval",
        chunk: int | None = None,
        memory: int = 2**30,
        seed: int = 0,
        unit: int = 1,
    ) -> None:
        if (loss is None) == (batch_loss is None):
            raise UsageError("exactly one of loss and batch_loss must be given")
        if mode not in MODES:
            raise UsageError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        if chunk is not None and chunk < 1:
            raise UsageError(f"chunk must be at least 1, not {chunk}")
        self.pair_loss, self._batch_loss = loss, batch_loss
        self.data = Examples.of(data)
        self.examples = len(self.data)
        self.mode, self.memory, self.seed, self.unit = mode, memory, seed, unit
        own = unwrapped(model)
        if not any(p.requires_grad for p in own.parameters()):
            raise ModelError("model must have a parameter that requires a gradient, but has none")
        self.reduction = Reduction.MEAN
        self.placed = self._place(own)
        self.dim = self.placed.dim
        if isinstance(decay, Tensor) and decay.shape not in ((), (self.dim,)):
            raise UsageError(
                f"decay must be a number or of shape ({self.dim},), but has shape {tuple(decay.shape)}"
            )
        self.decay = decay
        few = self.data.fetch(slice(0, min(4, self.data.length)))
        self.reduction = Reduction.of(
            lambda batch, seed: float(self._loss_at(self.placed, self._start, batch, seed=seed)),
            few,
        )
        self._found: dict[int, list[float]] = {}
        plain = mode != "eval" or self.sums or self._start.element_size() < 4
        self._shares = None if plain else Shares.of(self._weighed, self.data)
        self._bytes: float | None = None
        self._weights_seen = False
        self.chunk = chunk or (self._fitting_chunk() if mode == "eval" else min(self.examples, 256))

    @property
    def sums(self) -> bool:
        """Whether the loss of a batch is a sum over its examples."""
        return self.reduction is not Reduction.MEAN

    # What is evaluated ------------------------------------------------------------------------

    def point(self) -> Tensor:
        """Where the model stood when this objective was made, a flat copy."""
        return self._start.clone()

    def start(self, generator: torch.Generator, trials: int = 1) -> Tensor:
        """The model's own point, ``trials`` times; shape ``(trials, dim)``."""
        return self._start.expand(trials, -1).clone()

    def loss(self, points: Tensor) -> Tensor:
        self.check_points(points)
        flat = points.reshape(-1, self.dim)
        values = [FlatLoss.apply(self, point) for point in flat]
        return torch.stack(values).reshape(points.shape[:-1])  # pyright: ignore[reportArgumentType]

    def value(self, point: Tensor) -> float:
        """The loss at one point as a number."""
        with torch.no_grad():
            return float(self.loss(point))

    def plain_value(self, point: Tensor) -> Tensor:
        """The loss at one point as a scalar tensor without a graph."""
        losses, weights = self.chunk_losses(point)
        penalty = 0.5 * (self.decay * point * point).sum().double().cpu()
        return ((losses * weights).sum() + penalty).to(point)

    def hessian_vector_product(self, point: Tensor, vector: Tensor) -> Tensor:
        """∇²f(point) · vector, shape ``(dim,)``; for many at one point use ``Hessian``."""
        from thalweg.objective.derivatives import Hessian  # which evaluates this class

        return Hessian(self, point, keep=False) @ vector

    def value_and_gradient(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """The loss (scalar) and its gradient (``(dim,)``) at one point."""
        gradient = torch.zeros_like(point)
        total = torch.zeros((), dtype=torch.float64)
        with torch.enable_grad(), self.placed.at(point, self.mode, self.seed) as parameters:
            for batch, weight in self.weighted_chunks():
                loss = self.batch_loss(batch)
                if not loss.requires_grad:
                    raise ModelError("loss must depend on the model's parameters, but does not")
                pieces = self._differentiated(loss, parameters)
                gradient += self.placed.flat(pieces) * weight
                total += weight * loss.detach().double().cpu()
        penalty = 0.5 * (self.decay * point * point).sum().double().cpu()
        return (total + penalty).to(point.dtype), gradient + self.decay * point

    def chunk_losses(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of every chunk, without the decay, and the share of the examples in it."""
        losses, weights = [], []
        with torch.no_grad(), self.placed.at(point, self.mode, self.seed):
            for batch, weight in self.weighted_chunks():
                losses.append(float(self.batch_loss(batch)))
                weights.append(weight)
        return torch.tensor(losses, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64)

    def outputs(self, point: Tensor) -> Iterator[tuple[Any, Any]]:
        """Pairs of the model's output and the target, chunk by chunk; only with ``loss``."""
        with torch.no_grad(), self.placed.at(point, self.mode, self.seed):
            for batch, _ in self.weighted_chunks():
                yield self.placed.model(batch[0]), batch[1]

    def on(self, data: Any, *, chunk: int | None = None, decay: bool = True) -> "Supervised":
        """The same objective on other examples, on the same copy of the model."""
        other = copy.copy(self)
        other.data = Examples.of(data)
        other.examples, other._found = len(other.data), {}
        other.decay = self.decay if decay else 0.0
        other.chunk = chunk or min(self.chunk, other.examples)
        return other

    # How it is evaluated ----------------------------------------------------------------------

    def weighted_chunks(self, size: int | None = None) -> Iterator[tuple[Any, float]]:
        """Every chunk on the model's device, with the weight its loss has in the whole."""
        least = 1 if self.mode == "eval" else 2  # one example has no statistics
        size = size or self.chunk
        if self._shares is not None and self.data.length > size and size not in self._found:
            chunks = self.data.chunks(size, least=least)
            self._found[size] = self._shares.among(self._moved(batch) for batch, _ in chunks)
        shares = self._found.get(size)
        for place, (batch, length) in enumerate(self.data.chunks(size, least=least)):
            weight = length / self.data.length if shares is None else shares[place]
            if weight:  # else all of its examples are ignored, and it has no loss
                yield self._moved(batch), weight

    def first_batch(self, count: int) -> Any:
        """The first examples, on the model's device."""
        return self._moved(self.data.fetch(slice(0, count)))

    def _moved(self, batch: Any) -> Any:
        device = self._start.device
        if device.type == "cpu":
            return batch
        return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, batch)

    def _weighed(self, batch: Any, far: float) -> float:
        """The loss of a batch some way from the start, while the model may stand placed elsewhere."""
        placed = self.placed
        before = [p.data for p in placed.parameters]
        noise = torch.randn(self.dim, generator=torch.Generator().manual_seed(0))
        try:
            point = self._start + far * noise.to(self._start)
            return float(self._loss_at(placed, point, batch))
        finally:
            for p, data in zip(placed.parameters, before, strict=True):
                p.data = data

    def batch_loss(self, batch: Any) -> Tensor:
        """The mean loss of a batch, a scalar, at the parameters where the model stands placed."""
        return self.reduction.mean(self._given_loss, batch, self.unit)

    def _given_loss(self, batch: Any) -> Tensor:
        try:
            if self._batch_loss is not None:
                loss = self._batch_loss(self.placed.model, batch)
            else:
                assert self.pair_loss is not None
                loss = self.pair_loss(self.placed.model(batch[0]), batch[1])
        except Exception as error:
            raise explained(error, batch, self._start.dtype, self.pair_loss is not None) from error
        return loss.reshape(()) if isinstance(loss, Tensor) and loss.numel() == 1 else loss

    def _differentiated(
        self, loss: Tensor, parameters: Sequence[Tensor]
    ) -> Sequence[Tensor | None]:
        try:
            slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
        except (RuntimeError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"the loss cannot be differentiated: {reason}") from error
        if not self._weights_seen:
            refuse_hidden_weights(loss, slopes)
            self._weights_seen = True
        return slopes

    def bytes_per_example(self) -> float:
        """Memory of the graph that a Hessian-vector product keeps, for each example: measured."""
        if self._bytes is None:
            few = min(8, self.data.length)
            half = (few + 1) // 2
            large, small = (graph_bytes(self, self._start, count) for count in (few, half))
            each = (large - small) / (few - half) if few > half else large / few
            self._bytes = max(each, 1.0)
        return self._bytes

    def _fitting_chunk(self) -> int:
        each = self.bytes_per_example()
        fits = int(self.memory / each)
        if self._start.device.type == "cpu":
            fits = min(fits, max(256, int(CACHE / each)))
        chunks = max(1, -(-self.data.length // max(1, fits)))
        return -(-self.data.length // chunks)

    def _place(self, own: nn.Module) -> Placed:
        """A private copy where it gives the true value at a shifted point, else the user's own."""
        users = Placed(own, restore=True)
        self.placed, self._start = users, users.point()
        noise = torch.randn(
            users.dim, generator=torch.Generator().manual_seed(0), dtype=self._start.dtype
        ).to(self._start.device)
        batch = self.data.fetch(slice(0, min(8, self.data.length)))
        self._first_loss(batch)
        try:
            private = copied(own)
        except (RuntimeError, TypeError, AttributeError):
            return users
        twin = Placed(private, restore=False)
        twin.torch_alone = users.torch_alone
        # Far enough that even a weak L2 term, read from the user's own weights, is seen to change;
        # less far where that is beyond what is finite.
        for far in (1.5, 1.01):
            shifted = far * self._start + (far - 1) * 2e-3 * noise
            truth, value = (self._loss_at(placed, shifted, batch) for placed in (users, twin))
            if torch.isfinite(truth):
                break
        self.placed = twin if torch.allclose(truth, value, rtol=1e-6, equal_nan=True) else users
        return self.placed

    def _loss_at(
        self, placed: Placed, point: Tensor, batch: Any, *, mode: str = "eval", seed: int = 0
    ) -> Tensor:
        self.placed = placed
        batch = tree_map(  # a copy, as the model may write to it
            lambda leaf: leaf.to(point.device, copy=True) if isinstance(leaf, Tensor) else leaf,
            batch,
        )
        with torch.no_grad(), placed.at(point, mode, seed):
            loss = self._given_loss(batch)
        return loss.detach() if isinstance(loss, Tensor) else loss

    def _first_loss(self, batch: Any) -> None:
        """Evaluate once, and say in one sentence what does not work."""
        if self.pair_loss is not None and not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise DataError(
                "train must give pairs (input, target) for loss(output, target), but gives "
                f"{shape_of(batch)}: use batch_loss(model, batch) for anything else"
            )
        with random_state(0):
            before = RandomState.now()
            self.placed.torch_alone = True
            loss = self._loss_at(self.placed, self._start, batch)
            if self.mode != "eval":
                self._loss_at(self.placed, self._start, batch, mode=self.mode)
            self.placed.torch_alone = not RandomState.now().drew_elsewhere(before)
        if not isinstance(loss, Tensor) or loss.ndim:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ModelError(
                f"loss must return a scalar, the mean over the batch, but returned {what}"
            )
