"""Sketches: short random projections from which inner products and distances can be read."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import Estimate

__all__ = ["SIZE", "FoldSketch", "PathPCA"]

SIZE = 4093
"""Numbers of a sketch. A prime: the folds of a power of two would line up with a network's layers."""

ROWS = 64
"""Folds of a chunk, for which signs are drawn together; part of what a seed means."""

KEPT = 2**27
"""Signs that are kept, a byte each; those of a longer vector are drawn anew for every sketch."""


@dataclass(frozen=True, eq=False)
class PathPCA:
    """The principal components of a path, read from sketches.

    Attributes:
        coordinates: of each point along the components, shape ``(points, components)``.
        shares: of the path's variance along each, with standard errors.
        angles: standard error of each component's direction among the points, in radians; 0 where
            sketches are exact, infinite where two components have the same variance.
    """

    coordinates: np.ndarray
    shares: tuple[Estimate, ...]
    angles: tuple[float, ...]


class FoldSketch:
    """Random signs, then every ``size``-th number added up: a linear map of ``(dim,)`` to ``(size,)``.

    Inner products of sketches are unbiased, with variance (‖x‖²‖y‖² + ⟨x,y⟩²)/size over the signs
    where no few coordinates carry most of x or y (the count sketch of Charikar, Chen and
    Farach-Colton 2002, with the hash replaced by the index modulo a prime). Seed, ``dim`` and
    ``size`` say all: sketches of several runs, made anywhere, compare.

    A vector of at most ``size`` numbers is kept as it is, and everything read from it is exact.

    Args:
        dim: numbers of what is sketched.
        size: numbers of a sketch.
        seed: of the signs.
        kept: longest vector whose signs are kept, a byte each. Others cost a chunk of memory and
            the time to draw.
    """

    def __init__(self, dim: int, size: int = SIZE, seed: int = 0, *, kept: int = KEPT) -> None:
        if dim < 1 or size < 1:
            raise UsageError(f"dim and size must be 1 or more, not {dim} and {size}")
        if not 0 <= seed < 2**64:
            raise UsageError(f"seed must be a whole number from 0 to 2⁶⁴ − 1, not {seed}")
        self.dim, self.seed = dim, seed
        self.exact = dim <= size
        self.size = dim if self.exact else size
        self._keeps = not self.exact and dim <= kept
        self._kept: Tensor | None = None
        self._room: Tensor | None = None

    def sketch(self, vector: Tensor | Sequence[Tensor], out: Tensor | None = None) -> Tensor:
        """The sketch of a vector, shape ``(size,)``, float32, on the vector's device.

        Args:
            vector: ``dim`` numbers of any shape, or several tensors that hold them in turn, such as
                a model's parameters, which are never put together.
            out: where to write it; of double precision, an exact sketch keeps that too.

        Raises:
            UsageError: another count of numbers.
        """
        parts = [vector] if isinstance(vector, Tensor) else list(vector)
        count = sum(part.numel() for part in parts)
        if count != self.dim:
            raise UsageError(f"vector must hold {self.dim} numbers, not {count}")
        device = parts[0].device
        result = torch.empty(self.size, device=device) if out is None else out
        flat = [part.detach().reshape(-1) for part in parts]
        if self.exact:
            return torch.cat([part.to(device, result.dtype) for part in flat], out=result)
        chunk = self._chunk(device)
        begin = 0
        for pieces, length in _chunks(flat, len(chunk)):
            torch.cat([piece.to(chunk) for piece in pieces], out=chunk[:length])
            chunk[:length].mul_(self._signs(begin, length, device))
            rows = -(-length // self.size)
            chunk[length : rows * self.size] = 0
            folded = chunk[: rows * self.size].view(rows, self.size)
            if begin:
                result += folded.sum(0)
            else:
                torch.sum(folded, 0, out=result)
            begin += length
        return result

    def inner(self, one: Tensor, other: Tensor) -> Estimate:
        """⟨x, y⟩ from the sketches of both, with its standard error over the signs."""
        x, y = (v.double() for v in self._checked(one, other))
        product = float(x @ y)
        return Estimate(product, self._error(float(x @ x) * float(y @ y) + product**2))

    def norm(self, one: Tensor) -> Estimate:
        """‖x‖."""
        (x,) = self._checked(one)
        return self._length(x)

    def distance(self, one: Tensor, other: Tensor) -> Estimate:
        """‖x − y‖ from the sketches of both: Var ‖S(x−y)‖² = 2‖x−y‖⁴/size."""
        x, y = self._checked(one, other)
        return self._length(x.double() - y.double())

    def cosine(self, one: Tensor, other: Tensor) -> Estimate:
        """⟨x, y⟩/(‖x‖‖y‖), with standard error (1 − cos²)/√size; NaN where one of them is 0."""
        x, y = (v.double() for v in self._checked(one, other))
        lengths = float(x.norm() * y.norm())
        value = float(x @ y) / lengths if lengths else math.nan
        return Estimate(value, 0.0 if self.exact else (1 - value**2) / math.sqrt(self.size))

    def pca(self, sketches: Tensor, components: int = 2) -> PathPCA:
        """Principal components of points, from their sketches of shape ``(points, size)``.

        From the Gram matrix of the centred points. To first order in the sketch's error a variance
        λᵢ has standard error λᵢ√(2/size), independent of the others, and the direction turns by
        √(Σⱼ λᵢλⱼ/(λᵢ − λⱼ)²/size).

        Raises:
            UsageError: fewer than 2 points, or sketches of another size.
        """
        (points,) = self._checked(sketches)
        if points.ndim != 2 or len(points) < 2:
            raise UsageError(f"sketches must be of 2 points or more, not {tuple(points.shape)}")
        centred = points.double() - points.double().mean(0)
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        values, vectors = values.flip(0).clamp_min(0).numpy(), vectors.flip(1).numpy()
        count = min(components, len(values) - 1)
        # eigh leaves the signs open: the last point lies on the positive side.
        signs = np.where(vectors[-1, :count] < 0, -1.0, 1.0)
        coordinates = vectors[:, :count] * signs * np.sqrt(values[:count])
        total = values.sum()
        shares = values / total if total > 0 else np.full_like(values, math.nan)
        spread = shares**2 * ((1 - shares) ** 2 + (shares**2).sum() - shares**2)
        told = tuple(
            Estimate(float(shares[i]), self._error(2 * float(spread[i])), "of the path's variance")
            for i in range(count)
        )
        return PathPCA(coordinates, told, tuple(self._angle(values, i) for i in range(count)))

    def _angle(self, values: np.ndarray, index: int) -> float:
        own, others = values[index], np.delete(values, index)
        others = others[others > 1e-12 * values[0]]
        if self.exact:
            return 0.0
        with np.errstate(divide="ignore"):
            return self._error(float((own * others / (own - others) ** 2).sum()))

    def _length(self, sketch: Tensor) -> Estimate:
        length = float(sketch.double().norm())
        return Estimate(length, 0.5 * self._error(2 * length**2))

    def _error(self, variance_times_size: float) -> float:
        return 0.0 if self.exact else math.sqrt(variance_times_size / self.size)

    def _checked(self, *sketches: Tensor) -> list[Tensor]:
        for sketch in sketches:
            if sketch.shape[-1] != self.size:
                raise UsageError(
                    f"sketches must have {self.size} numbers, not shape {tuple(sketch.shape)}"
                )
        return [sketch.detach().cpu() for sketch in sketches]

    def _chunk(self, device: torch.device) -> Tensor:
        """Room for the chunk that is being folded, kept: to map it anew would take longest."""
        if self._room is None or self._room.device != device:
            length = min(ROWS, -(-self.dim // self.size)) * self.size
            self._room = torch.empty(length, device=device)
        return self._room

    def _signs(self, begin: int, length: int, device: torch.device) -> Tensor:
        """Those of so many numbers from ``begin`` on, the first of a chunk; int8."""
        if not self._keeps:
            return self._drawn(begin)[:length].to(device)
        if self._kept is None or self._kept.device != device:
            chunk = ROWS * self.size
            kept = torch.empty(self.dim, dtype=torch.int8)
            for first in range(0, self.dim, chunk):
                kept[first : first + chunk] = self._drawn(first)[: self.dim - first]
            self._kept = kept.to(device)
        return self._kept[begin : begin + length]

    def _drawn(self, begin: int) -> Tensor:
        """The signs of the chunk that begins there: the bits of Philox at a counter of its own."""
        length = ROWS * self.size
        source = np.random.Philox(key=self.seed, counter=[0, begin // length, 0, 0])
        raw = np.asarray(source.random_raw(-(-length // 64)), dtype="<u8").view(np.uint8)
        bits = np.unpackbits(raw, count=length).view(np.int8)
        return torch.from_numpy(1 - 2 * bits)


def _chunks(parts: Sequence[Tensor], length: int) -> Iterator[tuple[list[Tensor], int]]:
    """The pieces of flat tensors that fill one chunk after the other, and how far."""
    pieces: list[Tensor] = []
    filled = 0
    for part in parts:
        while len(part):
            piece, part = part[: length - filled], part[length - filled :]
            pieces.append(piece)
            filled += len(piece)
            if filled == length:
                yield pieces, filled
                pieces, filled = [], 0
    if pieces:
        yield pieces, filled
