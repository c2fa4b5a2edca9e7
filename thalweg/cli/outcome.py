"""From what a command answers or raises to an exit status, and to one sentence where it failed."""

import io
import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import CycloptsError

from thalweg.cli.program import program, sentence
from thalweg.cli.terminal import Interrupted, Terminal, complain, flush
from thalweg.errors import ThalwegError

__all__ = ["run"]

DONE, USAGE, FAULT, INTERRUPTED = 0, 2, 3, 130
"""Exit status; a command answers 0, or 1 for a finding that is neither healthy nor a minimum."""


def run(arguments: Sequence[str]) -> int:
    """Run the program and return its exit status; mistakes are said in one sentence on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know no λ
            stream.reconfigure(errors="replace")
    try:
        status = program(arguments, Terminal())(arguments)
        return status if isinstance(status, int) else DONE
    except CycloptsError as error:
        return _failed(error, sentence(error), USAGE, arguments)
    except ThalwegError as error:
        return _failed(error, str(error), USAGE, arguments)
    except Interrupted as error:
        complain(f"interrupted: {error}")
        return INTERRUPTED
    except Exception as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        hint = "" if _wants_traceback(arguments) else "; --traceback shows where it arose"
        return _failed(error, f"unforeseen failure: {reason}{hint}", FAULT, arguments)
    finally:
        flush()


def _failed(error: Exception, text: str, status: int, arguments: Sequence[str]) -> int:
    if _wants_traceback(arguments):
        traceback.print_exception(error)
    complain(text)
    return status


def _wants_traceback(arguments: Sequence[str]) -> bool:
    return "--traceback" in arguments or bool(os.environ.get("THALWEG_TRACEBACK"))
