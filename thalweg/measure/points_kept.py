"""Values of a surface as they come: kept in a folder, so that an interrupted one is gone on from."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.errors import FolderError

__all__ = ["PointsKept"]

ABOUT, VALUES = "surface.json", "values.txt"

PARTS = 16
"""Into so many a round is split for ``map``."""


class PointsKept:
    """Readings by index into the grid; none is evaluated twice.

    Args:
        folder: where ``surface.json`` says what surface it is and ``values.txt`` has a line for each
            place, indices then readings; None keeps them in memory alone.
        fingerprint: of the surface.
        names: of the readings.
        map: over parts of a round.
        size: of the grid along an axis.

    Raises:
        FolderError: the folder holds another surface, or cannot be written.
    """

    def __init__(
        self,
        folder: Path | str | None,
        fingerprint: str,
        names: Sequence[str],
        map: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]],
        size: int,
    ) -> None:
        self._known: dict[tuple[int, ...], list[float]] = {}
        self._names, self._map = list(names), map
        self._file = None
        if folder is not None:
            self._file = Path(folder) / VALUES
            about = {"fingerprint": fingerprint, "readings": self._names, "size": size}
            try:
                self._open(Path(folder), about)
            except OSError as error:
                raise FolderError(f"{folder} cannot be written: {error.strerror}") from error

    def read(self, readings: Callable[[np.ndarray], np.ndarray], indices: np.ndarray) -> np.ndarray:
        """Readings ``(n, names)`` at indices ``(n, d)``."""
        rows = [tuple(map(int, row)) for row in indices]
        new = np.array([row for row in rows if row not in self._known], dtype=int)
        if len(new):
            every = self._map is map  # one by one: each is kept before the next is begun
            parts = np.array_split(new, len(new) if every else min(PARTS, len(new)))
            for part, found in zip(parts, self._map(readings, parts)):
                self._keep(part, found)
        return np.array([self._known[row] for row in rows])

    def grid(self, shape: tuple[int, ...], seen: np.ndarray) -> np.ndarray:
        """All readings ``(*shape, names)``, NaN where not seen."""
        found = np.full((*shape, len(self._names)), np.nan)
        for row in np.argwhere(seen):
            found[tuple(row)] = self._known[tuple(map(int, row))]
        return found

    def _keep(self, part: np.ndarray, found: np.ndarray) -> None:
        lines = []
        for row, values in zip(part, np.asarray(found, dtype=float)):
            self._known[tuple(map(int, row))] = values.tolist()
            lines.append(" ".join([*map(str, row.tolist()), *map(repr, values.tolist())]) + "\n")
        if self._file is not None:
            with self._file.open("a", encoding="ascii") as file:
                file.writelines(lines)

    def _open(self, folder: Path, about: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ABOUT
        if not path.exists():
            if any(folder.iterdir()):
                raise FolderError(f"folder must be empty or hold a surface, but {folder} does not")
            path.write_text(json.dumps(about), encoding="utf-8")
        try:
            same = json.loads(path.read_text(encoding="utf-8")) == about
        except ValueError:
            same = False
        if not same:
            raise FolderError(f"folder must be of the same surface, but {folder} holds another")
        assert self._file is not None
        if self._file.exists():
            try:
                self._load(self._file)
            except ValueError as error:
                raise FolderError(
                    f"{self._file} must hold numbers alone, but is damaged"
                ) from error

    def _load(self, file: Path) -> None:
        text = file.read_text(encoding="ascii")
        whole = text[: text.rfind("\n") + 1]  # the last line may have been cut off
        if whole != text:
            file.write_text(whole, encoding="ascii")
        for line in whole.splitlines():
            words = line.split()
            axes = len(words) - len(self._names)
            if axes not in (1, 2):
                raise ValueError(f"{len(words)} numbers in a line")
            self._known[tuple(map(int, words[:axes]))] = [float(word) for word in words[axes:]]
