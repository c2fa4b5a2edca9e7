"""What is read at each place of a line or plane: losses, and shares of examples classified right."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.measure.directions import Flat
from thalweg.objective.base import Objective
from thalweg.objective.supervised import Supervised

__all__ = ["Readings", "classifies"]


@dataclass(frozen=True, eq=False)
class Readings:
    """Called with indices into the grid ``(n, d)``, gives a row of readings for each.

    It holds all that this takes, so that it can be sent to another process.

    Attributes:
        losses: the objectives, the training loss first.
        accuracy: whether each is followed by the share of its examples classified right.
        lines: coordinates along each axis of the flat; the grid's last index is along the first.
        like: a point of the dtype and on the device where losses are evaluated.
    """

    losses: Sequence[Objective]
    accuracy: bool
    flat: Flat
    lines: tuple[np.ndarray, ...]
    like: Tensor

    @classmethod
    def of(
        cls,
        objective: Objective,
        flat: Flat,
        lines: tuple[np.ndarray, ...],
        like: Tensor,
        accuracy: bool,
        held_out: Any,
    ) -> "Readings":
        """Checked for what accuracy needs; ``held_out`` is an objective, or examples for one."""
        if held_out is not None and not isinstance(held_out, Objective):
            if not isinstance(objective, Supervised):
                raise UsageError(
                    f"held_out must be an objective beside {type(objective).__name__}, which has no "
                    f"examples, not {type(held_out).__name__}"
                )
            held_out = objective.on(held_out, decay=False)
        losses = [objective] if held_out is None else [objective, held_out]
        objective.check_points(flat.origin)
        if accuracy and not all(classifies(loss) for loss in losses):
            raise UsageError(
                "accuracy must be of a network with loss(output, target) whose targets are classes"
            )
        return cls(losses, accuracy, flat, lines, like)

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        named = ["loss", "held-out loss"][: len(self.losses)]
        kinds = [["loss"], ["held-out loss"]][: len(self.losses)]
        if self.accuracy:
            kinds = [[loss, loss.replace("loss", "accuracy")] for loss in named]
        return [name for kind in kinds for name in kind]

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        return np.array([self._at(row) for row in indices])

    def fingerprint(self) -> str:
        """Of the surface: its plane, its grid, and what the losses answer at two of its points."""
        digest = hashlib.sha256()
        for array in (self.flat.origin.numpy(), self.flat.axes.numpy(), *self.lines):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr(self.names).encode())
        corner = [len(line) - 1 for line in self.lines]
        for row in ([0] * len(corner), corner):
            digest.update(self._at(np.array(row)).tobytes())
        return digest.hexdigest()

    def _at(self, index: np.ndarray) -> np.ndarray:
        coordinates = [line[k] for line, k in zip(self.lines, reversed(index.tolist()))]
        point = self.flat.at(torch.tensor(coordinates, dtype=torch.float64)).to(self.like)
        row: list[float] = []
        for loss in self.losses:
            with torch.no_grad():
                row.append(float(loss.loss(point)))
            if self.accuracy:
                assert isinstance(loss, Supervised)
                row.append(_accuracy(loss, point))
        return np.array(row)


def _accuracy(objective: Supervised, point: Tensor) -> float:
    right = total = 0
    for output, target in objective.outputs(point):
        right += int((output.argmax(dim=1) == target).sum())
        total += len(target)
    return right / total


def classifies(objective: Any) -> bool:
    """Whether accuracy means something: outputs (n, classes), targets the numbers of classes."""
    if not isinstance(objective, Supervised) or objective.pair_loss is None:
        return False
    output, target = next(iter(objective.outputs(objective.point())))
    fits = isinstance(output, Tensor) and output.ndim == 2 and isinstance(target, Tensor)
    return fits and target.ndim == 1 and not target.is_floating_point()
