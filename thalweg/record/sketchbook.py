"""Sketches on disk: parameters and gradients at some steps, in segments that are written whole."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from thalweg.errors import FolderError
from thalweg.record.sketch import FoldSketch

__all__ = ["SketchBook", "Sketches", "cut_sketches", "read_sketches"]

SEGMENT = re.compile(r"from-(\d{8,})\.safetensors")
COLUMNS = ("steps", "losses", "parameters", "gradients")


@dataclass(frozen=True, eq=False)
class Sketches:
    """Where a run was at some steps, and the mini-batch gradient that it met there.

    Attributes:
        sketch: how the vectors were sketched; ``sketch.exact`` where they were kept as they are.
        names: of the parameters that the vectors hold, in turn.
        shapes: of these.
        steps: numbers of updates, increasing, shape ``(n,)``; 0 is the start.
        parameters: after that many updates, shape ``(n, sketch.size)``.
        gradients: of the mini-batch that the next update used, at these parameters, likewise; rows
            of NaN where it was not seen.
        losses: of that mini-batch; NaN where it was not seen.
    """

    sketch: FoldSketch
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    steps: NDArray[np.int64]
    parameters: Tensor
    gradients: Tensor
    losses: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)

    def weights(self, index: int) -> dict[str, Tensor]:
        """The parameters of a row by name, where they were kept as they are.

        Raises:
            FolderError: they were sketched.
        """
        if not self.sketch.exact:
            raise FolderError(
                f"parameters must be kept as they are to be read back, but {self.sketch.dim} "
                f"numbers were sketched to {self.sketch.size}"
            )
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        parts = self.parameters[index].split(sizes)
        return {n: v.reshape(shape) for n, v, shape in zip(self.names, parts, self.shapes)}


class SketchBook:
    """Writes the segments of one run.

        sketches/from-00000001.safetensors    steps, losses, parameters, gradients; each a row a step

    Raises:
        OSError: from every method, where the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        sketch: FoldSketch,
        names: Sequence[str],
        shapes: Sequence[Sequence[int]],
    ) -> None:
        self.path = path
        self._metadata = {
            "sketch": json.dumps({"dim": sketch.dim, "size": sketch.size, "seed": sketch.seed}),
            "names": json.dumps(list(names)),
            "shapes": json.dumps([list(shape) for shape in shapes]),
        }

    def append(
        self, steps: Sequence[int], parameters: Tensor, gradients: Tensor, losses: Sequence[float]
    ) -> None:
        """Write rows of increasing steps, all above those that are there, as one more segment."""
        rows = {
            "steps": torch.tensor(steps, dtype=torch.int64),
            "losses": torch.tensor(losses, dtype=torch.float64),
            "parameters": parameters.detach().cpu().contiguous(),
            "gradients": gradients.detach().cpu().contiguous(),
        }
        _write(self.path, rows, self._metadata)


def read_sketches(path: Path) -> Sketches | None:
    """What the folder of segments holds; ``None`` where there are none.

    Raises:
        FolderError: a segment that cannot be read, or that was sketched in another way.
    """
    read = [_read(file) for _, file in _segments(path)]
    if not read:
        return None
    rows, metadata = read[0][0], read[0][1]
    if any(other != metadata for _, other in read):
        raise FolderError(f"{path} must hold the sketches of one model, but its segments differ")
    rows = {name: torch.cat([part[name] for part, _ in read]) for name in COLUMNS}
    return Sketches(
        FoldSketch(**json.loads(metadata["sketch"])),
        tuple(json.loads(metadata["names"])),
        tuple(tuple(shape) for shape in json.loads(metadata["shapes"])),
        rows["steps"].numpy(),
        rows["parameters"],
        rows["gradients"],
        rows["losses"].numpy(),
    )


def cut_sketches(path: Path, step: int) -> None:
    """Forget the rows above ``step``, from which the run goes on.

    Raises:
        OSError: the folder cannot be written.
    """
    for first, file in reversed(_segments(path)):
        if first > step:
            file.unlink()
            continue
        rows, metadata = _read(file)
        kept = int((rows["steps"] <= step).sum())
        if kept < len(rows["steps"]):
            whole = {name: rows[name][:kept].clone() for name in COLUMNS}
            _write(path, whole, metadata)


def _write(path: Path, rows: dict[str, Tensor], metadata: dict[str, str]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    target = path / f"from-{int(rows['steps'][0]):08d}.safetensors"
    building = target.with_name(f".{target.name}.building")
    try:
        save_file(rows, building, metadata=metadata)
        os.replace(building, target)
    except SafetensorError as error:
        raise OSError(f"{target} cannot be written: {error}") from error
    finally:
        building.unlink(missing_ok=True)


def _segments(path: Path) -> list[tuple[int, Path]]:
    if not path.is_dir():
        return []
    found = ((SEGMENT.fullmatch(file.name), file) for file in path.iterdir())
    return sorted((int(match[1]), file) for match, file in found if match is not None)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            rows = {name: file.get_tensor(name) for name in COLUMNS}
            metadata = file.metadata() or {}
        kept = {name: metadata[name] for name in ("sketch", "names", "shapes")}
    except (SafetensorError, OSError, KeyError) as error:
        raise FolderError(f"{path} cannot be read: {error}") from error
    return rows, kept
