"""Trajectory: the immutable record of a run, as plain data that saves, loads and merges."""

import json
import math
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from thalweg.errors import UsageError

__all__ = ["Column", "Trajectory", "environment", "merge"]

FORMAT = 1
"""Version of :meth:`Trajectory.to_dict`."""


@dataclass(frozen=True, eq=False)
class Column:
    """One quantity at the steps where it was seen.

    Attributes:
        steps: strictly increasing whole numbers, shape ``(n,)``.
        values: numbers, shape ``(n, ...)``; what was not finite is not finite.
    """

    steps: NDArray[np.int64]
    values: NDArray[Any]

    def __post_init__(self) -> None:
        steps, values = np.array(self.steps), np.array(self.values)
        if steps.size == 0:
            steps = steps.astype(np.int64)
        if steps.ndim != 1 or values.ndim == 0 or len(values) != len(steps):
            raise UsageError(
                "a column must hold one value for each step, but has steps of shape "
                f"{steps.shape} and values of shape {values.shape}"
            )
        if steps.dtype.kind not in "iu" or np.any(np.diff(steps) <= 0):
            raise UsageError("the steps of a column must be whole numbers that increase")
        if values.dtype.kind not in "biuf":
            raise UsageError(f"the values of a column must be numbers, not {values.dtype}")
        object.__setattr__(self, "steps", _frozen(steps.astype(np.int64)))
        object.__setattr__(self, "values", _frozen(values))

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Pairs of step and value."""
        return zip(self.steps.tolist(), self.values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Column):
            return NotImplemented
        return _same(self.steps, other.steps) and _same(self.values, other.values)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def until(self, step: int) -> "Column":
        """The part up to and including that step."""
        kept = int(np.searchsorted(self.steps, step, side="right"))
        return Column(self.steps[:kept], self.values[:kept])

    def then(self, later: "Column") -> "Column":
        """This column followed by a later one, which counts from its first step on."""
        if not len(later) or not len(self):
            return later if len(later) else self
        before = self.until(int(later.steps[0]) - 1)
        if before.values.shape[1:] != later.values.shape[1:]:
            raise UsageError(
                f"columns that are merged must hold values of one shape, not "
                f"{before.values.shape[1:]} and {later.values.shape[1:]}"
            )
        return Column(
            np.concatenate([before.steps, later.steps]),
            np.concatenate([before.values, later.values]),
        )


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What was seen of a run, at which step, where it ended, and in what environment.

    Two are equal where they saw the same and ended the same, to the bit (NaN equals NaN); the
    environment and the notes may differ.

    Attributes:
        columns: each with its own steps: ``loss`` and ``learning_rate`` at every step, others on
            a cadence. The loss of step t is that before the t-th update, counted from 0, in a run
            of :func:`thalweg.run.descend.descend`; in a watched loop it is that of the t-th
            ``step(loss)``, counted from 1.
        end: arrays that describe where the run ended.
        environment: versions and platform; nothing that names a machine or a person.
        notes: what a reader must know: lines that were lost, where a run was gone on with.
    """

    columns: Mapping[str, Column] = field(default_factory=dict)
    end: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        end = {name: np.array(value) for name, value in self.end.items()}
        for name, value in end.items():
            if value.dtype.kind not in "biuf":
                raise UsageError(f"end must hold arrays of numbers, but {name} has {value.dtype}")
            _frozen(value)
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))
        object.__setattr__(self, "end", MappingProxyType(end))
        object.__setattr__(self, "environment", MappingProxyType(dict(self.environment)))
        object.__setattr__(self, "notes", tuple(self.notes))

    @classmethod
    def of_losses(cls, losses: Iterable[float], *, first: int = 1) -> "Trajectory":
        """The record of a plain list of losses, one a step."""
        values = np.fromiter((float(loss) for loss in losses), dtype=np.float64)
        return cls({"loss": Column(np.arange(first, first + len(values)), values)})

    def __getitem__(self, name: str) -> Column:
        """The column of that name; empty where nobody recorded it."""
        return self.columns.get(name, EMPTY)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    @property
    def steps(self) -> int:
        """The last step at which anything was seen; 0 where nothing was."""
        return max((int(c.steps[-1]) for c in self.columns.values() if len(c)), default=0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trajectory):
            return NotImplemented
        return (
            dict(self.columns) == dict(other.columns)
            and self.end.keys() == other.end.keys()
            and all(_same(value, other.end[name]) for name, value in self.end.items())
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __reduce__(self) -> tuple[Any, ...]:
        plain = (dict(self.columns), dict(self.end), dict(self.environment), self.notes)
        return Trajectory, plain

    def until(self, step: int) -> "Trajectory":
        """What was seen up to and including that step, without the end."""
        return replace(
            self, columns={name: c.until(step) for name, c in self.columns.items()}, end={}
        )

    def table(self) -> dict[str, NDArray[Any]]:
        """Arrays of one length for ``pandas.DataFrame``: ``step`` and a column for each number.

        A column of vectors becomes ``name[0]``, ``name[1]``, ...; NaN where a column has no value
        at a step.
        """
        seen = [column.steps for column in self.columns.values()]
        steps = np.unique(np.concatenate(seen)) if seen else np.zeros(0, np.int64)
        result: dict[str, NDArray[Any]] = {"step": steps}
        for name, column in self.columns.items():
            rows = np.searchsorted(steps, column.steps)
            for index in np.ndindex(column.values.shape[1:]):
                label = f"{name}[{','.join(map(str, index))}]" if index else name
                result[label] = np.full(len(steps), np.nan)
                result[label][rows] = column.values[(slice(None), *index)]
        return result

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; NaN and infinities as text, since JSON has no numbers for them."""
        return {
            "format": FORMAT,
            "columns": {
                name: {"steps": c.steps.tolist(), **_array_to_plain(c.values)}
                for name, c in self.columns.items()
            },
            "end": {name: _array_to_plain(value) for name, value in self.end.items()},
            "environment": dict(self.environment),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Trajectory":
        """The inverse of :meth:`to_dict`. Raises UsageError where it is no such data."""
        try:
            if data["format"] != FORMAT:
                raise UsageError(f"a trajectory of format {data['format']!r} cannot be read")
            columns = {
                name: Column(np.array(c["steps"], np.int64), _array_from_plain(c))
                for name, c in data["columns"].items()
            }
            end = {name: _array_from_plain(value) for name, value in data["end"].items()}
            return cls(columns, end, data["environment"], tuple(data["notes"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"data must be what Trajectory.to_dict wrote: {error!r}") from error

    def to_json(self) -> str:
        """:meth:`to_dict` as text."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Trajectory":
        """The inverse of :meth:`to_json`."""
        return cls.from_dict(json.loads(text))


def merge(*trajectories: Trajectory) -> Trajectory:
    """One record of several, in the order of time.

    Columns of the same name follow each other; where two saw the same steps the later one counts,
    from its first step of that column on. The end is that of the last that has one. Associative.

    Raises:
        UsageError: columns of one name whose values differ in shape.
    """
    columns: dict[str, Column] = {}
    end: Mapping[str, NDArray[Any]] = {}
    known: dict[str, str] = {}
    notes: list[str] = []
    for trajectory in trajectories:
        for name, column in trajectory.columns.items():
            columns[name] = columns[name].then(column) if name in columns else column
        end = trajectory.end or end
        known |= trajectory.environment
        notes += [note for note in trajectory.notes if note not in notes]
    return Trajectory(columns, end, known, tuple(notes))


def environment() -> dict[str, str]:
    """Versions, platform and threads: what a number may depend on, and no name of a machine."""
    try:
        own = metadata.version("thalweg")
    except metadata.PackageNotFoundError:
        own = "unknown"
    found = {
        "thalweg": own,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": sys.platform,
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
    }
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    return found


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    floats = one.dtype.kind == "f" and other.dtype.kind == "f"
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=floats)


def _array_to_plain(array: NDArray[Any]) -> dict[str, Any]:
    values = array.tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        values = _texts(values)
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": values}


def _array_from_plain(data: Mapping[str, Any]) -> NDArray[Any]:
    values = np.array(data["values"], dtype=object).reshape(data["shape"])
    return values.astype(np.dtype(data["dtype"]))  # "nan" and "inf" are numbers to float()


def _texts(values: Any) -> Any:
    if isinstance(values, list):
        return [_texts(value) for value in values]
    return values if math.isfinite(values) else str(values)


EMPTY = Column(np.zeros(0, np.int64), np.zeros(0))
"""A column of nothing."""
