"""The program as a function that answers with its exit status and what it wrote."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from tests.show import samples
from thalweg.cli import main
from thalweg.diagnose import race as race_module


class Outcome(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


Program = Callable[..., Outcome]


@pytest.fixture
def thalweg_program(capfd: pytest.CaptureFixture[str]) -> Program:
    """Calls the program in this process."""

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        status = main(arguments)
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return call


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to stand in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("THALWEG_TRACEBACK", raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", None) or ""
        if path.startswith(str(tmp_path)):
            del sys.modules[name]


class Library:
    """Stands in for diagnose and race: notes how they were called and answers with samples."""

    def __init__(self) -> None:
        self.finding: Any = samples.saddle()
        self.race_result: Any = samples.race()
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.raises: BaseException | None = None

    def diagnose(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer("diagnose", args, kwargs, self.finding)

    def race(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer("race", args, kwargs, self.race_result)

    def _answer(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        self.calls.append((name, args, kwargs))
        if kwargs.get("progress") is not None:
            kwargs["progress"]("measuring", *((1, 3) if name == "race" else ()))
        print("what a user's model prints")
        if self.raises is not None:
            raise self.raises
        return result


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    """The commands meet this in place of the library."""
    stands_in = Library()
    verdict = ModuleType("thalweg.diagnose.verdict")
    verdict.diagnose = stands_in.diagnose  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "thalweg.diagnose.verdict", verdict)
    monkeypatch.setattr(race_module, "race", stands_in.race, raising=False)
    return stands_in
