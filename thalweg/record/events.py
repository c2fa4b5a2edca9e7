"""events.jsonl: what rules saw in a run while it went on, one JSON object a line."""

import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thalweg.errors import UsageError
from thalweg.trajectory import Trajectory

__all__ = ["EVENTS", "Event", "LiveRules", "Rule", "append_events", "read_events"]

EVENTS = "events.jsonl"

AGAIN = 2.0
"""What was said at a step is said again, if it still holds, from so many times that step on."""

SHARE = 0.01
"""Of the training's time that asking may take."""


@dataclass(frozen=True)
class Event:
    """Something that a rule saw.

    Attributes:
        step: of the run.
        name: the same for the same thing, such as ``rising``.
        sentence: for whoever watches, with the numbers.
        numbers: these, by name.
    """

    step: int
    name: str
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)


Rule = Callable[[Trajectory], Event | None]
"""Sees the history of a run so far; answers with what it finds there, if anything."""


class LiveRules:
    """Asks rules about a run as it goes on, seldom enough, and says what is new in one line each.

    A rule that fails is warned of and asked no more; the training goes on.

    Args:
        rules: asked in turn.
        tell: called with each line; by default it is written to stderr.
    """

    def __init__(self, rules: Sequence[Rule], tell: Callable[[str], None] | None = None) -> None:
        self._rules = list(rules)
        self._tell = tell or _to_stderr
        self._quiet_until: dict[str, float] = {}
        self._due = 0.0

    def is_due(self, now: float, *, closing: bool = False) -> bool:
        """Whether they may be asked, at this time of ``time.perf_counter``; as a run ends, always."""
        return bool(self._rules) and (closing or now >= self._due)

    def ask(self, history: Trajectory) -> list[Event]:
        """What they see that was not said lately; it is said."""
        begin = time.perf_counter()
        found = []
        for rule in tuple(self._rules):
            try:
                event = _sound(rule(history))
            except Exception as error:
                self._rules.remove(rule)
                name = getattr(rule, "__name__", type(rule).__name__)
                warnings.warn(
                    f"rule {name} failed and is asked no more: {type(error).__name__}: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                continue
            if event is not None and event.step >= self._quiet_until.get(event.name, -math.inf):
                self._quiet_until[event.name] = max(event.step + 1, AGAIN * event.step)
                self._tell(f"step {event.step}: {event.sentence}")
                found.append(event)
        end = time.perf_counter()
        self._due = end + (end - begin) / SHARE
        return found


def _sound(answer: object) -> Event | None:
    """A rule's answer as plain data."""
    if answer is None:
        return None
    if not isinstance(answer, Event):
        raise UsageError(f"a rule must answer with an Event or None, not {type(answer).__name__}")
    numbers = {str(name): float(value) for name, value in answer.numbers.items()}
    return Event(int(answer.step), str(answer.name), str(answer.sentence), numbers)


def append_events(folder: Path, events: Sequence[Event]) -> None:
    """Append them to the file in a run folder, by one write. Raises OSError where it cannot be."""
    if not events:
        return
    lines = [
        json.dumps(
            {
                "step": event.step,
                "name": event.name,
                "sentence": event.sentence,
                "numbers": {
                    name: value if math.isfinite(value) else str(value)
                    for name, value in event.numbers.items()
                },
            }
        )
        for event in events
    ]
    content = "".join(f"{line}\n" for line in lines).encode()
    file = os.open(folder / EVENTS, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            content = b"\n" + content  # a line that a kill tore stays alone
        while content:
            content = content[os.write(file, content) :]
    finally:
        os.close(file)


def read_events(folder: Path) -> list[Event]:
    """The events of a run, in the order of the file; lines that cannot be read are left out."""
    try:
        lines = (folder / EVENTS).read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            row = json.loads(line)
            numbers = {str(name): float(value) for name, value in row["numbers"].items()}
            found.append(Event(int(row["step"]), str(row["name"]), str(row["sentence"]), numbers))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"thalweg: {line}\n")
