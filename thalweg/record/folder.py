"""The run folder: a directory that stays readable whenever the process is killed."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thalweg.errors import FolderError, UsageError
from thalweg.record.checkpoint import (
    Generators,
    checkpoint_at,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from thalweg.record.metrics import MetricsWriter, read_metrics
from thalweg.record.sketchbook import Sketches, cut_sketches, read_sketches
from thalweg.record.weights import read_weights
from thalweg.run.random_state import RandomState
from thalweg.trajectory import Trajectory, environment

__all__ = ["RunFolder", "read_weights"]

FORMAT = 1
"""Version of the layout; a folder of a newer one is refused."""

RUN, METRICS, CHECKPOINTS = "run.toml", "metrics.jsonl", "checkpoints"
SKETCHES = "sketches"
STEP = re.compile(r"\.?step-(\d{8,})(\.replaced)?")


class RunFolder:
    """One run on disk.

        run.toml                  format, name, task reference, seed, environment
        metrics.jsonl             what was seen, appended to
        checkpoints/step-00001000/{model.safetensors, optimizer.pt}
        sketches/from-00000001.safetensors
        finding.json, report.html

    Everything is appended to or written under another name and renamed, so that killing the process
    at any moment leaves a folder that reads. Made by :meth:`create` or :meth:`open`.

    Attributes:
        path: the directory.
        name: how reports call the run.
        task_reference: the text that leads to the Task, such as ``file.py:callable``, if known.
        seed: of the run, if known.
        environment: versions and platform where it was made.
        facts: other plain facts about the run.
    """

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self.name: str = content.get("name", path.name)
        self.task_reference: str | None = content.get("task_reference")
        self.seed: int | None = content.get("seed")
        self.environment: dict[str, str] = dict(content.get("environment", {}))
        self.facts: dict[str, Any] = dict(content.get("facts", {}))
        self._metrics: MetricsWriter | None = None

    @staticmethod
    def is_run(path: Path | str) -> bool:
        """Whether a path leads to a run folder."""
        return (Path(path) / RUN).is_file()

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        task_reference: str | None = None,
        name: str | None = None,
        seed: int | None = None,
        facts: Mapping[str, str | int | float | bool] | None = None,
    ) -> "RunFolder":
        """A new run in a directory that is made if need be.

        Raises:
            FolderError: the directory holds a run already; or it cannot be written (then the
                OSError is its ``__cause__``).
        """
        path = Path(path)
        if any((path / part).exists() for part in (RUN, METRICS, CHECKPOINTS, SKETCHES)):
            raise FolderError(f"folder {path} must hold no other run, but has a {RUN} or its files")
        content: dict[str, Any] = {"format": FORMAT, "name": name or path.resolve().name}
        if task_reference is not None:
            content["task_reference"] = task_reference
        if seed is not None:
            content["seed"] = seed
        content["environment"] = environment()
        content["facts"] = dict(facts or {})
        try:
            path.mkdir(parents=True, exist_ok=True)
            _write_whole(path / RUN, _toml(content))
        except OSError as error:
            raise FolderError(f"folder {path} cannot be written: {error.strerror}") from error
        return cls(path, content)

    @classmethod
    def open(cls, path: Path | str) -> "RunFolder":
        """A run that is there, to read it or to go on with it.

        Raises:
            FolderError: no such folder, no run in it, or one of a newer format.
        """
        path = Path(path)
        try:
            content = tomllib.loads((path / RUN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            what = f"has no {RUN}" if path.is_dir() else "does not exist"
            raise FolderError(f"folder {path} must hold a run, but {what}") from None
        except (OSError, ValueError) as error:
            raise FolderError(f"{path / RUN} cannot be read: {error}") from error
        version = content.get("format")
        if not isinstance(version, int) or version > FORMAT:
            raise FolderError(
                f"{path / RUN} has format {version!r}, but this version of thalweg reads up to "
                f"format {FORMAT}"
            )
        return cls(path, content)

    # What was seen ------------------------------------------------------------------------------

    def append(self, step: int, **numbers: float) -> None:
        """Append what was seen at a step.

        Raises:
            OSError: the folder cannot be written.
        """
        self.append_block(step, numbers)

    def append_block(self, step: Any, numbers: Mapping[str, Any]) -> None:
        """The same for a sequence of steps, with a sequence for each name; one line in the file."""
        self._writer().append(step, numbers)

    def resume(self, step: int) -> None:
        """Note that the run goes on from ``step``: what was seen after it counts no more."""
        self._writer().resume(step)

    def metrics(self) -> Trajectory:
        """All that was seen. A last line torn by a kill is dropped, which a note says."""
        seen = read_metrics(self.path / METRICS)
        return Trajectory(seen.columns, environment=self.environment, notes=seen.notes)

    def close(self) -> None:
        """Close the file of metrics; what follows opens it again."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    def _writer(self) -> MetricsWriter:
        if self._metrics is None:
            self._metrics = MetricsWriter(self.path / METRICS)
        return self._metrics

    # Checkpoints --------------------------------------------------------------------------------

    def checkpoints(self) -> list[int]:
        """The steps at which there is a whole checkpoint, in order."""
        folder = self.path / CHECKPOINTS
        names = (
            (STEP.fullmatch(entry.name) for entry in folder.iterdir()) if folder.is_dir() else ()
        )
        return sorted({int(match[1]) for match in names if match is not None})

    def latest_checkpoint(self) -> int | None:
        """The step of the last one, or ``None``."""
        return max(self.checkpoints(), default=None)

    def checkpoint_path(self, step: int) -> Path:
        """The folder of a checkpoint, for :func:`read_weights`. Raises FolderError if none."""
        found = checkpoint_at(self._at(step))
        if found is None:
            steps = ", ".join(map(str, self.checkpoints())) or "none"
            raise FolderError(
                f"step must be that of a checkpoint of {self.path} ({steps}), not {step}"
            )
        return found

    def save_checkpoint(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Any = None,
        *,
        random_state: RandomState | None = None,
        generators: Generators | None = None,
    ) -> Path:
        """Save all that a training needs to go on from here to the bit.

        Args:
            step: number of the last step taken.
            model, optimizer, scheduler: whose states are saved.
            random_state: of torch, NumPy and Python; as it is now unless given.
            generators: the training's own, by name, such as that of its loader.

        Raises:
            FolderError: a state that is not plain data.
            OSError: the folder cannot be written.
        """
        if not isinstance(step, int) or step < 0:
            raise UsageError(f"step must be a whole number of 0 or more, not {step!r}")
        path = self._at(step)
        write_checkpoint(path, model, optimizer, scheduler, random_state, generators)
        return path

    def load_checkpoint(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        *,
        random_state: bool = False,
        generators: Generators | None = None,
    ) -> None:
        """Put a checkpoint into the objects given.

        Args:
            step: one of :meth:`checkpoints`.
            random_state: also set the global random states of torch, NumPy and Python, so that a
                training goes on to the bit.

        Raises:
            FolderError: none at that step; one that carries code, is damaged, or does not fit the
                model (the first parameter that differs is named, with both shapes).
        """
        read_checkpoint(
            self.checkpoint_path(step),
            model,
            optimizer,
            scheduler,
            random_state=random_state,
            generators=generators,
        )

    def remove_checkpoint(self, step: int) -> None:
        """Remove a checkpoint, if it is there. Raises OSError where it cannot be."""
        remove_checkpoint(self._at(step))

    def read_weights(self, step: int) -> dict[str, torch.Tensor]:
        """The tensors of the checkpoint at a step by name. Raises FolderError if none."""
        return read_weights(self.checkpoint_path(step))

    # Sketches -----------------------------------------------------------------------------------

    @property
    def sketches_path(self) -> Path:
        """The folder of their segments."""
        return self.path / SKETCHES

    def sketches(self) -> Sketches | None:
        """Parameters and gradients at some steps, whole or sketched; ``None`` where there are none.

        Raises:
            FolderError: a segment that cannot be read.
        """
        return read_sketches(self.sketches_path)

    def cut_sketches(self, step: int) -> None:
        """Forget those after ``step``."""
        cut_sketches(self.sketches_path, step)

    def _at(self, step: int) -> Path:
        return self.path / CHECKPOINTS / f"step-{step:08d}"

    # What was made of it ------------------------------------------------------------------------

    def write(self, name: str, text: str) -> Path:
        """Write ``finding.json``, ``report.html`` or the like, whole or not at all."""
        if Path(name).name != name or name in (RUN, METRICS, CHECKPOINTS, SKETCHES):
            raise UsageError(f"name must be that of a file beside {RUN}, not {name!r}")
        _write_whole(self.path / name, text)
        return self.path / name


def _write_whole(path: Path, text: str) -> None:
    building = path.with_name(f".{path.name}.{os.getpid()}.building")
    try:
        building.write_text(text, encoding="utf-8")
        os.replace(building, path)
    finally:
        building.unlink(missing_ok=True)


def _toml(content: Mapping[str, Any]) -> str:
    plain = [f"{key} = {_value(v)}" for key, v in content.items() if not isinstance(v, Mapping)]
    for key, table in content.items():
        if isinstance(table, Mapping):
            plain += ["", f"[{key}]", *(f"{_value(k)} = {_value(v)}" for k, v in table.items())]
    return "\n".join(plain) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, str):
        sound = value.encode("utf-8", "replace").decode()  # a file's name may hold what is no text
        return json.dumps(sound, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)  # whole numbers and floats, nan and inf too, are written as in Python
