"""The program: its commands, its options file, and what it says where they are misused."""

import tomllib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)
from cyclopts.config import Toml

import thalweg
from thalweg.cli.cases import cases
from thalweg.cli.connect import connect
from thalweg.cli.critical import critical
from thalweg.cli.cures import cures
from thalweg.cli.demo import demo
from thalweg.cli.diagnose import diagnose
from thalweg.cli.escape import escape
from thalweg.cli.figures import figures
from thalweg.cli.flatness import flatness
from thalweg.cli.guarantee import guarantee
from thalweg.cli.path import path
from thalweg.cli.race import race
from thalweg.cli.run import run
from thalweg.cli.spectrum import spectrum
from thalweg.cli.surface import surface
from thalweg.cli.terminal import Terminal
from thalweg.errors import UsageError

__all__ = ["COMMANDS", "program", "sentence"]

COMMANDS = {
    "demo": demo,
    "diagnose": diagnose,
    "race": race,
    "cases": cases,
    "connect": connect,
    "critical": critical,
    "cures": cures,
    "escape": escape,
    "figures": figures,
    "flatness": flatness,
    "guarantee": guarantee,
    "path": path,
    "run": run,
    "spectrum": spectrum,
    "surface": surface,
}
"""Each in a file of its name, with its docstring as help. They load torch when they are called."""

HELP = """Finds out why a PyTorch training is stuck, and gets it out.

TASK is file.py:callable or module:callable, where the callable returns a thalweg.Task (this runs
that code), or case:NAME for a case of the clinic. RUN is a run folder, as thalweg.watch writes it.

Exit status: 0 healthy or at its minimum (of other commands: done), 1 another finding, 2 a mistake
in what was asked for, 3 a fault of thalweg, 130 interrupted.
"""


def program(arguments: Sequence[str], terminal: Terminal) -> App:
    """The program, ready to be called with the arguments; its options file is looked up in them."""
    app = App(
        name="thalweg",
        help=HELP,
        help_format="markdown",
        version=lambda: f"thalweg {thalweg.__version__}",
        console=terminal.console,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        help_on_error=False,
        suppress_keyboard_interrupt=False,
    )
    for name, command in COMMANDS.items():
        app.command(command, name=name)
    config = _config(arguments)
    if config is not None:
        _check_tables(config)
        app.config = Toml(config, must_exist=True)
    return app


def sentence(error: CycloptsError) -> str:
    """What was wrong with the arguments, in one sentence."""
    match error:
        case MissingArgumentError(keyword=str(keyword)):
            return f"{keyword} must be followed by a value: see --help"
        case MissingArgumentError(argument=argument) if argument is not None:
            return f"{argument.name} must be given: see --help"
        case UnusedCliTokensError(unused_tokens=list(tokens)):
            return f"there is one argument too many, {' '.join(tokens)}: see --help"
        case RepeatArgumentError(token=token):
            return f"{token.keyword} must be given once"
        case UnknownCommandError(unused_tokens=[name, *_]):
            commands = f"there are {', '.join(COMMANDS)}"
            return f"there is no command {name}: {_nearest(name, COMMANDS) or commands}"
        case UnknownOptionError(token=token, argument_collection=known):
            name = (token.keyword or token.value).partition("=")[0].strip("[]")
            where = "" if token.source == "cli" else f" in {token.source}"
            dashes = "--" if name.startswith("-") else ""
            names = [f"{dashes}{n.strip('-')}" for argument in known for n in argument.names]
            return f"there is no option {name}{where}: {_nearest(name, names) or 'see --help'}"
        case CoercionError(msg=str(rule)) if rule:
            return rule
    return str(error).rstrip(".")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _config(arguments: Sequence[str]) -> Path | None:
    """The value of --config, wherever it stands."""
    before = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    for place, argument in enumerate(before):
        name, equals, value = argument.partition("=")
        if name == "--config":
            if equals:
                return Path(value)
            if place + 1 < len(before):
                return Path(before[place + 1])
    return None


def _check_tables(path: Path) -> None:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--config {path} must be a TOML file: {error}") from error
    for key, value in content.items():
        if key not in COMMANDS:
            hint = _nearest(key, COMMANDS) or f"there are {', '.join(COMMANDS)}"
            raise UsageError(
                f"--config {path} must hold tables named after commands, but has {key}: {hint}"
            )
        if not isinstance(value, dict):
            raise UsageError(f"--config {path} must have a table [{key}], not a value {key}")
