"""Which steps of a run are sketched, and the rows that wait to be written."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from thalweg.record.sketch import SIZE, FoldSketch
from thalweg.record.sketchbook import SketchBook

__all__ = ["WHOLE", "Sketching"]

WHOLE = 100_000
"""Models of at most so many parameters keep them as they are."""

ROOM = 64_000_000
"""Bytes that the sketches of a run may fill."""

HELD = 16
"""Rows that are held back at most, to be written together."""


class Sketching:
    """Sketches a path at steps 0, 1, 2, ... that lie further and further apart, and by epoch.

    A row is where the parameters were after a step, and the gradient that the next update met
    there. About every (1 + 1/n)-th step is wanted, with n such that a million steps fit into
    :data:`ROOM`, and the first that can be had after each epoch.

    Args:
        path: folder of the segments.
        parameters: by name; those that are trained.
        epoch: steps of one, if known.
        begin: step that the run goes on from.
    """

    def __init__(
        self, path: Path, parameters: Mapping[str, Tensor], epoch: int | None, begin: int = 0
    ) -> None:
        self._parameters = list(parameters.values())
        dim = sum(p.numel() for p in self._parameters)
        self.sketch = FoldSketch(dim, max(SIZE, dim) if dim <= WHOLE else SIZE)
        self.book = SketchBook(
            path, self.sketch, list(parameters), [p.shape for p in self._parameters]
        )
        double = any(p.dtype == torch.float64 for p in self._parameters) and self.sketch.exact
        dtype = torch.float64 if double else torch.float32
        self._left = max(8, ROOM // (2 * dtype.itemsize * self.sketch.size))
        self._density = min(32, max(3, self._left // 16))
        self._epoch = epoch
        self._spaced = self._by_epoch = begin
        self.last = -1
        self._steps: list[int] = []
        self._met_at: list[int | None] = []
        self._meets = False
        device = self._parameters[0].device
        self._points, self._gradients = (
            torch.empty(HELD, self.sketch.size, dtype=dtype, device=device) for _ in range(2)
        )

    def wants(self, step: int) -> bool:
        """Whether the point after this step is to be sketched."""
        return (step >= self._spaced or step >= self._by_epoch) and self._left > 1

    @property
    def is_full(self) -> bool:
        """Whether rows must be written before there is room for another."""
        return len(self._steps) == HELD

    def point(self, step: int) -> None:
        """Begin a row: the parameters as they are now, after that step."""
        row = len(self._steps)
        self.sketch.sketch(self._parameters, out=self._points[row])
        self._gradients[row] = math.nan
        self.last = step
        self._steps.append(step)
        self._met_at.append(None)
        self._meets = True
        self._left -= 1
        self._spaced = max(step + 1, math.ceil(step * (1 + 1 / self._density)))
        self._by_epoch = (
            math.inf if self._epoch is None else self._epoch * (step // self._epoch + 1)
        )

    def gradient(self, step: int) -> None:
        """End the row: the gradients as they are now, which the update of that step has used."""
        row = len(self._steps) - 1
        parts = [
            torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in self._parameters
        ]
        self.sketch.sketch(parts, out=self._gradients[row])
        self._met_at[row] = step
        self._meets = False

    def write(self, loss_at: Callable[[int], float], *, last: bool = False) -> None:
        """Write the rows that wait; one that has yet to meet its gradient only where it is the last.

        Raises:
            OSError: they cannot be written.
        """
        rows = len(self._steps)
        count = rows - (self._meets and not last)
        if not count:
            return
        losses = [math.nan if at is None else loss_at(at) for at in self._met_at[:count]]
        steps, self._steps = self._steps[:count], self._steps[count:]
        self._met_at = self._met_at[count:]
        self.book.append(steps, self._points[:count], self._gradients[:count], losses)
        if count < rows:
            self._points[0] = self._points[count]
            self._gradients[0] = math.nan
