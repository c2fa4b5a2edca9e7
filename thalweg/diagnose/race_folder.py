"""What a folder keeps of a race: its finished runs, so that it goes on where it was stopped."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thalweg.diagnose.fingerprint import fingerprint, of_other_states
from thalweg.diagnose.track import Leg, Ran
from thalweg.errors import FolderError

__all__ = ["RaceFolder"]

FORMAT = 2


class RaceFolder:
    """The finished runs of one race, a line each in ``race.jsonl`` behind a line that names the race.

    Args:
        path: the folder; None keeps nothing.
        state: a text that differs for every state of a training.
        length: gradient evaluations of the longest run.

    Raises:
        FolderError: it holds another race, or cannot be read or written.
    """

    def __init__(self, path: Path | str | None, state: str, length: float) -> None:
        self._file = None if path is None else Path(path) / "race.jsonl"
        self._finished: dict[tuple[str, str | None], Ran] = {}
        if self._file is None:
            return
        head = {"format": FORMAT, "state": state, "length": length}
        lines = [line for line in map(_read, self._lines()) if isinstance(line, dict)]
        heads = [line for line in lines if "format" in line]
        if lines and heads[:1] != [head]:
            raise FolderError(
                f"{self._file.parent} must hold this race or none, but holds one of another state "
                "or budget: name another folder"
            )
        for line in lines:
            self._take(line)
        self._append(None if heads else head)

    def get(self, leg: Leg) -> Ran | None:
        """The finished run, if it is there."""
        if self._file is None:
            return None
        key = _key(leg)
        return self._finished.get((key, None)) or self._finished.get((key, _others(leg)))

    def keep(self, leg: Leg, ran: Ran) -> None:
        """Append a finished run."""
        if self._file is None:
            return
        drew = _others(leg) if ran.moved and leg.seed == 0 else None
        plain = {
            name: [v if math.isfinite(v) else None for v in value]
            if isinstance(value, tuple)
            else value
            for name, value in asdict(ran).items()
        }
        self._append({"key": _key(leg), "arm": leg.name, "seed": leg.seed, "drew": drew, **plain})

    def _take(self, kept: Any) -> None:
        try:
            losses, tests = (
                tuple(math.nan if v is None else float(v) for v in kept[key])
                for key in ("losses", "test_losses")
            )
            ran = Ran(
                losses, tests, float(kept["cost"]), bool(kept["moved"]), str(kept.get("raised", ""))
            )
            self._finished[kept["key"], kept["drew"]] = ran
        except (ValueError, KeyError, TypeError):
            return  # the line that a kill tore

    def _lines(self) -> list[str]:
        assert self._file is not None
        try:
            if not self._file.exists():
                return []
            return self._file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise FolderError(f"{self._file} cannot be read: {error.strerror}") from error

    def _append(self, content: Any) -> None:
        """A line; without content, nothing but whether the folder can be written."""
        assert self._file is not None
        line = "" if content is None else json.dumps(content) + "\n"
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            whole = not self._file.exists() or self._file.read_bytes()[-1:] in (b"", b"\n")
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line if whole else "\n" + line)
        except OSError as error:
            raise FolderError(
                f"{self._file.parent} cannot keep the race: {error.strerror}"
            ) from error


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _key(leg: Leg) -> str:
    cure = leg.cure
    what = None if cure is None else fingerprint([cure.name, cure.code, cure.change])
    return f"{leg.name}|{leg.seed}|{leg.evaluations[-1]!r}|{len(leg.evaluations)}|{what}"


def _others(leg: Leg) -> str:
    """NumPy's and Python's random states, which count only for a run that draws from them."""
    return of_other_states(leg.state)
