"""Where a recorded run has been: its checkpoints, or the parameters that its sketches keep whole."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import ModelError
from thalweg.objective.placed import Placed, copied, unwrapped
from thalweg.record.folder import RunFolder
from thalweg.record.sketchbook import Sketches

__all__ = ["KeptPoints", "SavedPoints", "points_of", "some_of"]


class SavedPoints(Mapping[int, Tensor]):
    """The trainable parameters at a run's checkpoints, by step; each is read when asked for.

    Args:
        run: the folder.
        model: of the shape that was trained; a copy of it takes the weights.
        most: how many checkpoints at most, as :func:`some_of` chooses them.
    """

    def __init__(self, run: RunFolder, model: nn.Module, most: int | None = None) -> None:
        self._run = run
        try:
            self._model = copied(unwrapped(model))
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ModelError(f"model must allow copy.deepcopy, but it fails: {error}") from error
        self._placed = Placed(self._model, restore=False)
        self._steps = some_of(run.checkpoints(), most)

    def __getitem__(self, step: int) -> Tensor:
        if step not in self._steps:
            raise KeyError(step)
        self._run.load_checkpoint(step, self._model)
        return self._placed.point()

    def __iter__(self) -> Iterator[int]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)


class KeptPoints(Mapping[int, Tensor]):
    """The same of a small model, whose run keeps them whole beside its checkpoints."""

    def __init__(self, kept: Sketches, model: nn.Module, most: int | None = None) -> None:
        self._kept = kept
        self._parameters = {n: p for n, p in unwrapped(model).named_parameters() if p.requires_grad}
        self._rows = {int(step): row for row, step in enumerate(kept.steps)}
        self._steps = some_of(list(self._rows), most)

    @staticmethod
    def fit(kept: Sketches, model: nn.Module) -> bool:
        """Whether they are whole, and those of this model."""
        own = {
            name: tuple(p.shape)
            for name, p in unwrapped(model).named_parameters()
            if p.requires_grad
        }
        return kept.sketch.exact and dict(zip(kept.names, kept.shapes)) == own

    def __getitem__(self, step: int) -> Tensor:
        weights = self._kept.weights(self._rows[step])
        parts = [weights[name].reshape(-1).to(p) for name, p in self._parameters.items()]
        return torch.cat(parts)

    def __iter__(self) -> Iterator[int]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)


def points_of(run: RunFolder, model: nn.Module, most: int | None = None) -> Mapping[int, Tensor]:
    """What there is more of: checkpoints, or parameters that sketches keep whole."""
    saved = SavedPoints(run, model, most)
    kept = run.sketches()
    if kept is None or len(kept) <= len(saved) or not KeptPoints.fit(kept, model):
        return saved
    return KeptPoints(kept, model, most)


def some_of(steps: Sequence[int], most: int | None) -> list[int]:
    """At most so many of the steps: the first, the last, and those nearest to T·(i/m)² between them.

    So they are dense where the run moves fast, and about the same for every run of one length.
    """
    if most is None or most >= len(steps):
        return list(steps)
    known = np.asarray(steps)
    wanted = known[0] + (known[-1] - known[0]) * np.linspace(0, 1, most) ** 2
    nearest = np.abs(known[None, :] - wanted[:, None]).argmin(1)
    return [steps[place] for place in sorted(set(nearest.tolist()))]
