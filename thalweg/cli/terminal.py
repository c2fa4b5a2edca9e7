"""Where a command speaks: results on stdout, progress and remarks on stderr."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from thalweg.show.wording import clean

__all__ = ["NOTHING", "Interrupted", "Terminal", "complain", "flush"]

Tell = Callable[..., None]
"""Called with a phrase as a piece of work begins; where the work can be counted, with how much is
done and how much there is."""


NOTHING = "nothing was kept, and nothing changed"
"""What there is after the interruption of work that leaves no trace."""


class Interrupted(Exception):
    """Ctrl-C; the message says what was kept."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read our output has seen enough: go on silently, with the true exit status."""
        self.quiet = True
        _silence(self.file)


class Terminal:
    """Results on stdout, the rest on stderr.

    Args:
        json: stdout holds one JSON object and nothing else.
        quiet: no progress and no remarks.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.out: TextIO = sys.stdout
        self.console = _Console(file=self.out, highlight=False, markup=False, emoji=False)
        self._remarks = _Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._silent = quiet
        self._moving = self._remarks.is_terminal and not json and not quiet

    def show(self, pretty: RenderableType, plain: str) -> None:
        """A result: in colour and as wide as the terminal, or as plain text in a file or a pipe."""
        if self.console.is_terminal:
            self.console.print(pretty)
        else:
            self.line(plain)

    def line(self, text: str = "") -> None:
        """A line of text on stdout, at once."""
        try:
            self.out.write(f"{text}\n")
            self.out.flush()
        except BrokenPipeError:
            _silence(self.out)

    def json(self, content: Mapping[str, Any]) -> None:
        """The one JSON object."""
        self.line(json.dumps(content, allow_nan=False))

    def remark(self, text: str) -> None:
        """A line on stderr, beside the result."""
        if not self._silent:
            complain(text, name="")

    @contextmanager
    def work(self, phrase: str, *, kept: Callable[[], str] = lambda: NOTHING) -> Iterator[Tell]:
        """Show that something goes on; what the work itself prints goes to stderr.

        Args:
            phrase: what begins.
            kept: says what there still is after Ctrl-C, for the last sentence.

        Raises:
            Interrupted: Ctrl-C.
        """
        try:
            with redirect_stdout(sys.stderr):
                if self._moving:
                    with _moving(self._remarks, phrase) as tell:
                        yield tell
                else:
                    yield _untold
        except KeyboardInterrupt:
            raise Interrupted(kept()) from None


@contextmanager
def _moving(console: Console, phrase: str) -> Iterator[Tell]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        shown = progress.add_task(clean(phrase), total=None)

        def tell(phrase: str, done: float | None = None, total: float | None = None) -> None:
            progress.update(shown, description=clean(phrase), completed=done, total=total)

        yield tell


def _untold(phrase: str, done: float | None = None, total: float | None = None) -> None:
    pass


def complain(text: str, *, name: str = "thalweg: ") -> None:
    """One line on stderr, whatever is in the text."""
    line = clean(" ".join(text.split()))
    with suppress(OSError):
        sys.stderr.write(f"{name}{line}\n")
        sys.stderr.flush()


def flush() -> None:
    """Write out what is left, so that a reader who has gone is noticed here and not at the exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)


def _silence(stream: Any) -> None:
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
