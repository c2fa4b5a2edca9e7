"""The noise that a mini-batch makes in the gradient: it depends on where the gradient is taken."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol, runtime_checkable

import torch
from torch import Tensor

from thalweg.errors import DataError, UsageError
from thalweg.objective.base import Objective
from thalweg.objective.noise import Noise
from thalweg.objective.supervised import Supervised

__all__ = ["MiniBatch"]


@runtime_checkable
class _OnIndices(Protocol):
    """An objective that gives its mean over chosen examples, another choice for each point."""

    def on(self, indices: Tensor, /) -> Objective: ...


@dataclass(frozen=True, eq=False)
class MiniBatch(Noise):
    """``ω(x)``: the gradient on a mini-batch at x less that on all examples; a mini-batch for each row.

    It has mean 0, but it is neither isotropic nor symmetric, has no bound that is known (``bound``
    is infinite) and no closed form of its moments or its characteristic function, which are refused.
    ``measure.gradient_noise`` estimates its second moments. Frozen at a point, ``at(point)``, it is
    a distribution that can be drawn from without one, and that :class:`Smoothed` takes.

    Attributes:
        objective: one that has examples: Supervised, or with ``on(indices)`` as the landscapes that
            are finite sums have it.
        batch: examples in a mini-batch.
        replacement: whether an example may come twice; without, noise vanishes at ``batch`` = all.
        factor: what the noise is multiplied by.
        point: where it is frozen, ``(dim,)``, or ``None``.

    Raises:
        UsageError: an objective without examples; a batch that is no whole number above 0.
        DataError: a batch larger than there are examples, without replacement.
    """

    objective: Objective
    batch: int
    replacement: bool = False
    factor: float = 1.0
    point: Tensor | None = None
    kind = "mini-batch"
    symmetric = False

    def __post_init__(self) -> None:
        objective, batch = self.objective, self.batch
        examples = getattr(objective, "examples", None)
        if examples is None or not isinstance(objective, Supervised | _OnIndices):
            raise UsageError(
                "objective must have examples for mini-batch noise, but "
                f"{type(objective).__name__} has none"
            )
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise UsageError(f"batch must be a whole number of 1 or more, not {batch!r}")
        if batch > examples and not self.replacement:
            raise DataError(
                f"batch must be at most the number of examples, {examples}, not {batch}"
            )
        if self.point is not None:
            objective.check_points(self.point)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    @property
    def text(self) -> str:
        """``mini-batch:B``; no text can be read back, as it does not hold the objective."""
        return f"{self.kind}:{self.batch}"

    def at(self, point: Tensor) -> "MiniBatch":
        """The noise of one point ``(dim,)``, whatever point it is added to."""
        if point.ndim != 1:
            raise UsageError(f"point must be one point, but has shape {tuple(point.shape)}")
        return replace(self, point=point.detach().clone())

    def scaled(self, factor: float) -> "MiniBatch":
        return replace(self, factor=self.factor * factor)

    def bound(self, dim: int) -> float:
        """Infinite: no bound is known."""
        return math.inf

    def draw_at(self, points: Tensor, generator: torch.Generator) -> Tensor:
        """Draws ``(..., dim)`` at points ``(..., dim)``, a mini-batch for each.

        Cost: a mini-batch gradient a row, and a full gradient for each run of equal points.
        """
        self.objective.check_points(points)
        flat = points.detach().reshape(-1, self.objective.dim)
        rows = self._choose(len(flat), generator)
        if isinstance(self.objective, Supervised):
            draws = self._supervised(self.objective, flat, rows)
        else:
            assert isinstance(self.objective, _OnIndices)
            some = self.objective.on(rows.to(flat.device))
            draws = _slopes(some, flat) - _slopes(self.objective, flat)
        return draws.mul_(self.factor).reshape(points.shape)

    def draw_into(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        if self.point is None:
            raise UsageError(
                "noise of mini-batches depends on the point: draw it with draw_at(points, generator), "
                "or freeze it with at(point)"
            )
        self.objective.check_points(tensor)
        return tensor.copy_(self.draw_at(self.point.expand(tensor.shape), generator))

    def characteristic(self, k: Tensor) -> NoReturn:
        """Refused: there is no closed form."""
        raise UsageError("noise of mini-batches has no characteristic function in closed form")

    def moment(self, orders: Sequence[int]) -> NoReturn:
        """Refused: there is no closed form."""
        raise UsageError(
            "noise of mini-batches has no moments in closed form: measure.gradient_noise estimates them"
        )

    def _choose(self, rows: int, generator: torch.Generator) -> Tensor:
        """Numbers of examples ``(rows, batch)``."""
        examples = self.objective.examples
        assert examples is not None
        if self.replacement:
            return torch.randint(examples, (rows, self.batch), generator=generator)
        chosen = [torch.randperm(examples, generator=generator)[: self.batch] for _ in range(rows)]
        return torch.stack(chosen) if chosen else torch.empty(0, self.batch, dtype=torch.long)

    def _supervised(self, objective: Supervised, points: Tensor, rows: Tensor) -> Tensor:
        draws = torch.empty_like(points)
        last, full = None, torch.empty(0)
        for row, point, chosen in zip(draws, points, rows.tolist()):
            if last is None or not torch.equal(point, last):
                full = objective.value_and_gradient(point)[1] - objective.decay * point
                last = point
            part: Any = objective.data.fetch(chosen)
            some = objective.on(part, chunk=self.batch, decay=False)
            row.copy_(some.value_and_gradient(point)[1] - full)
        return draws


def _slopes(objective: Objective, points: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = points.clone().requires_grad_()
        return torch.autograd.grad(objective.loss(leaf).sum(), leaf)[0]
