"""Text -> Task or run folder: ``file.py:callable``, ``module:callable``, ``case:NAME``, a path.

A reference to a callable runs code: the file or module is imported and the callable is called. A
run folder and a case of the clinic run no code of anybody else's.
"""

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
import zlib
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib.machinery import SourceFileLoader
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from thalweg.errors import ReferenceError, ThalwegError
from thalweg.record.folder import RunFolder
from thalweg.task import Task

__all__ = ["FORMS", "load_task", "resolve"]

FORMS = "file.py:callable, module:callable, case:NAME or the path of a run folder"
"""What a reference may look like."""

CASE = "case:"
WEIGHTS = {".safetensors", ".pt", ".pth", ".ckpt", ".bin"}


def resolve(text: str) -> Task | Path:
    """What a reference leads to: a Task, or the path of a run folder.

    Args:
        text: one of
            ``file.py:callable``: the file is run, as by ``python file.py`` but not as ``__main__``,
            and the callable in it called without arguments; it returns a Task (a Task itself serves
            too);
            ``module:callable``: the same for a module that can be imported from here;
            ``case:NAME`` or ``case:NAME:SEED``: a case of the clinic, as the seed varies it;
            the path of a run folder, of which nothing is run.

    Raises:
        ReferenceError: it leads to neither; the sentence says what is there, and for code that
            fails which exception was raised at which line of the user's.
    """
    if text.startswith(CASE):
        return _case(text)
    path = Path(text)
    if text and os.path.isdir(path):  # which also answers for a text that can be no path
        return _run_folder(path)
    before, colon, name = text.rpartition(":")
    if not colon:
        raise ReferenceError(_without_colon(text))
    if not before or not name or not all(part.isidentifier() for part in name.split(".")):
        raise ReferenceError(f"{text!r} must be {FORMS}")
    if before.endswith(".py") or os.sep in before or "/" in before or os.path.isfile(before):
        return _called(text, _from_file(text, Path(before)), name, Path(before).name)
    return _called(text, _from_module(text, before), name, before)


def load_task(text: str) -> Task:
    """The Task that a reference leads to; as :func:`resolve`, but a run folder will not do."""
    found = resolve(text)
    if isinstance(found, Task):
        return found
    raise ReferenceError(f"{text} must lead to a task, but is a run folder")


def _case(text: str) -> Task:
    from thalweg.clinic import case

    name, colon, seed = text.removeprefix(CASE).partition(":")
    if colon and not (seed.isascii() and seed.isdecimal()):
        raise ReferenceError(
            f"the seed of {CASE}{name} must be a whole number of 0 or more, not {seed!r}"
        )
    return case(name, int(seed or 0))


def _run_folder(path: Path) -> Path:
    if RunFolder.is_run(path):
        return path
    runs = sorted(str(inner) for inner in path.iterdir() if RunFolder.is_run(inner))
    inside = f"; it holds the runs {', '.join(runs[:5])}" if runs else ""
    raise ReferenceError(f"{path} must be a run folder, but has no run.toml{inside}")


def _without_colon(text: str) -> str:
    """Why a text without a colon, that is no folder, leads nowhere."""
    path = Path(text)
    if path.suffix == ".py":
        if not os.path.isfile(path):
            return _no_file(text, path)
        names = _functions(path)
        known = f" such as {text}:{names[0]}" if names else ""
        return f"{text} must name a callable in the file after a colon{known}"
    if os.path.isfile(path):
        if path.suffix in WEIGHTS:
            return (
                f"{text} is a checkpoint, which holds weights but no task: "
                f"name the task, and give the file with --checkpoint"
            )
        return f"{text} is a file, but must be {FORMS}"
    from thalweg.clinic import CASES

    if text in CASES:
        return f"{text} leads nowhere: did you mean {CASE}{text}?"
    return f"{text!r} leads nowhere: it must be {FORMS}"


def _from_file(text: str, path: Path) -> ModuleType:
    """The module in a file; its folder can be imported from, as by ``python file.py``."""
    if not os.path.isfile(path):
        raise ReferenceError(_no_file(text, path))
    path = path.resolve()
    name = path.stem
    loaded = sys.modules.get(name)
    if not name.isidentifier() or (
        loaded is not None and getattr(loaded, "__file__", None) != str(path)
    ):
        name = f"task_{zlib.crc32(str(path).encode()):08x}"
    loader = SourceFileLoader(name, str(path))
    specification = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules[name] = module  # where pickle and dataclasses look for what the file defines
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name)
        raise _failed(text, error, path) from error
    return module


def _from_module(text: str, name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ReferenceError(f"{text!r} must be {FORMS}")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        if missing and (name == missing or name.startswith(f"{missing}.")):
            file = Path(f"{name}.py")
            hint = (
                f"; did you mean {file}:{text.rpartition(':')[2]}?" if os.path.isfile(file) else ""
            )
            raise ReferenceError(f"{text} leads nowhere: no module {missing}{hint}") from error
        found = importlib.util.find_spec(name) if "." not in name else None
        origin = None if found is None else found.origin
        raise _failed(text, error, None if origin is None else Path(origin)) from error


def _called(text: str, module: ModuleType, name: str, where: str) -> Task:
    try:
        value = attrgetter(name)(module)
    except AttributeError as error:
        own = [n for n, v in vars(module).items() if callable(v) or isinstance(v, Task)]
        hint = _nearest(name, [n for n in own if not n.startswith("_")])
        raise ReferenceError(f"{text} leads nowhere: {where} has no {name}{hint}") from error
    if isinstance(value, Task):
        return value
    if not callable(value):
        raise ReferenceError(f"{text} must be a callable, but is {_kind(value)}")
    needed = _arguments(value)
    if needed:
        raise ReferenceError(
            f"{text} must be callable without arguments, but needs {' and '.join(needed)}"
        )
    file = getattr(module, "__file__", None)
    try:
        task = value()
    except (Exception, SystemExit) as error:
        raise _failed(text, error, None if file is None else Path(file)) from error
    if not isinstance(task, Task):
        raise ReferenceError(f"{text} must return a thalweg.Task, but returned {_kind(task)}")
    return task


def _failed(text: str, error: BaseException, file: Path | None) -> ReferenceError:
    """What the user's code raised and where in it, in one sentence."""
    if isinstance(error, SyntaxError) and (file is None or error.filename in (str(file), None)):
        name = Path(error.filename).name if error.filename else text
        line = f", line {error.lineno}" if error.lineno else ""
        return ReferenceError(f"{text} cannot be read as Python: {error.msg} ({name}{line})")
    reason = " ".join(str(error).split())
    if not isinstance(error, ThalwegError):  # ours say by themselves what is wrong
        reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    of_file = [f for f in frames if file is not None and _same(f.filename, file)]
    if isinstance(error, ValueError) and "null bytes" in str(error) and not of_file:
        # raised by reading it, as a SyntaxError from 3.11.4 on
        return ReferenceError(f"{text} cannot be read as Python: {error}")
    users = of_file or [f for f in frames if not _ours(f.filename)]
    where = f" ({Path(users[-1].filename).name}, line {users[-1].lineno})" if users else ""
    return ReferenceError(f"{text} failed: {reason}{where}")


def _same(filename: str, file: Path) -> bool:
    return Path(filename).resolve() == file.resolve()


def _ours(filename: str) -> bool:
    own = Path(__file__).parent
    return filename.startswith("<frozen") or own in Path(filename).resolve().parents


def _no_file(text: str, path: Path) -> str:
    folder = path.parent
    beside = [p.name for p in folder.glob("*.py")] if os.path.isdir(folder) else []
    return f"{text} leads nowhere: there is no file {path}{_nearest(path.name, beside)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _functions(path: Path) -> list[str]:
    """Names of the functions in a file, without running it."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError, OSError):
        return []
    return [n.name for n in body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]


def _arguments(value: Callable[..., Any]) -> list[str]:
    """Names of the arguments that a callable cannot do without."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _kind(value: object) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
