"""metrics.jsonl: what was seen, one JSON object a line, only ever appended to.

A line is ``{"step": 12, "loss": 0.5, "gradient_norm": 2.0}`` or a block of steps,
``{"step": [1, 2], "loss": [0.7, 0.6]}``. ``{"resumed": 8}`` says that the run was gone on with
from step 8, so that what was seen after it before counts no more. Numbers that JSON has no form
for are the texts ``nan``, ``inf`` and ``-inf``.
"""

import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.errors import UsageError
from thalweg.trajectory import Column, Trajectory, merge

__all__ = ["MetricsWriter", "read_metrics"]


class MetricsWriter:
    """Appends lines, each by one write, so that a kill can tear the last one at most.

    Raises:
        OSError: from every method, where the file cannot be written, or was removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        at_first = os.fstat(self._file)
        size, self._links = at_first.st_size, at_first.st_nlink  # 0 where a disk does not count
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            self._write(b"\n")  # a torn line stays alone

    def append(self, step: int | Sequence[int], numbers: Mapping[str, Any]) -> None:
        """Append one step, or a block of steps with a sequence for each number."""
        line: dict[str, Any] = {"step": step if isinstance(step, int) else list(step)}
        for name, value in numbers.items():
            if name in ("step", "resumed"):
                raise UsageError(f"a number cannot be called {name!r}")
            line[name] = _text(value) if isinstance(step, int) else [_text(v) for v in value]
        self._write(json.dumps(line, allow_nan=False).encode() + b"\n")

    def resume(self, step: int) -> None:
        """Say that the run goes on from ``step``."""
        self._write(json.dumps({"resumed": step}).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.close()

    def _write(self, content: bytes) -> None:
        if os.fstat(self._file).st_nlink == 0 < self._links:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        while content:
            content = content[os.write(self._file, content) :]


def read_metrics(path: Path) -> Trajectory:
    """The whole file as a Trajectory; a line that cannot be read is dropped, and a note says so."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Trajectory()
    parts = Trajectory()
    notes: list[str] = []
    rows: dict[str, dict[int, float]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            resumed = content.pop("resumed", None)
            if resumed is not None:
                parts = merge(parts, _trajectory(rows)).until(int(resumed))
                rows = {}
                notes.append(f"the run was gone on with from step {int(resumed)}")
                continue
            step = content.pop("step")
            steps = [int(s) for s in step] if isinstance(step, list) else [int(step)]
            found = {
                str(name): [float(v) for v in (value if isinstance(step, list) else [value])]
                for name, value in content.items()
            }
            if any(len(values) != len(steps) for values in found.values()):
                raise ValueError("a block whose columns differ in length")
        except (ValueError, TypeError, KeyError, AttributeError):
            last = not any(rest.strip() for rest in lines[number:])
            notes.append(
                f"the last line of {path.name} was torn, as by a kill, and is dropped"
                if last
                else f"line {number} of {path.name} cannot be read and is dropped"
            )
            continue
        for name, values in found.items():
            rows.setdefault(name, {}).update(zip(steps, values))
    whole = merge(parts, _trajectory(rows))
    return Trajectory(whole.columns, notes=tuple(notes))


def _trajectory(rows: Mapping[str, Mapping[int, float]]) -> Trajectory:
    columns = {}
    for name, values in rows.items():
        steps = sorted(values)
        columns[name] = Column(np.array(steps, np.int64), np.array([values[s] for s in steps]))
    return Trajectory(columns)


def _text(value: Any) -> Any:
    if isinstance(value, bool | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else str(number)
