"""The public names: each leads somewhere, none is loaded before it is used."""

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import thalweg

SOURCE = Path(thalweg.__file__)


@pytest.mark.parametrize("name", thalweg.__all__)
def test_a_public_name_is_what_its_home_defines(name: str) -> None:
    value = getattr(thalweg, name)
    if name == "__version__":
        assert isinstance(value, str)
    elif not isinstance(value, ModuleType):
        assert value.__doc__, f"{name} says nothing about itself"
        assert value.__name__ in (name, "descend")
    assert name in dir(thalweg)


def test_a_name_that_does_not_exist_is_said_as_python_says_it() -> None:
    with pytest.raises(AttributeError, match="module 'thalweg' has no attribute 'diagnos'"):
        thalweg.diagnos  # type: ignore[attr-defined]  # noqa: B018


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    tree = ast.parse(SOURCE.read_text())
    (seen,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in seen.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported.keys() | {"__version__"} == set(thalweg.__all__)
    for name, (module, original) in imported.items():
        value = getattr(thalweg, name)
        if not isinstance(value, ModuleType):
            assert value is getattr(sys.modules[module or ""], original)
        else:
            assert value.__name__ == f"{module}.{original}"


def test_importing_thalweg_loads_no_torch() -> None:
    code = "import sys, thalweg; thalweg.__version__; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=SOURCE.parents[1], capture_output=True, text=True
    )
    assert result.stdout == "False\n", result.stderr


def test_run_and_diagnose_are_functions_whatever_is_imported_first() -> None:
    code = (
        "from thalweg.run.plan import Plan; from thalweg.diagnose.cause import Cause; "
        "import thalweg as tw; import thalweg.run.plan; "
        "print(tw.run.__name__, tw.diagnose.__name__, tw.Plan is Plan)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=SOURCE.parents[1], capture_output=True, text=True
    )
    assert result.stdout == "descend diagnose True\n", result.stderr
