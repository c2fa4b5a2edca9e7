"""The shape of the package: what may import what, what it loads, what it offers, how long files are."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "thalweg"
SOURCES = sorted(PACKAGE.rglob("*.py"))

ORDER = [
    "errors",
    "estimate",
    "objective",
    "task",
    "trajectory",
    "run",
    "record",
    "theory",
    "measure",
    "diagnose",
    "clinic",
    "reference",
    "show",
    "parallel",
    "web",
    "cli",
]
"""The layout, from the top down: a part imports itself and what stands above it."""

IMPORTS_NOTHING = {"parallel"}
"""Parts that import no other part, though they stand low."""

SEE_THE_WHOLE = {"__init__", "__main__"}
"""Files at the root that offer the parts to the outside and so may import all of them."""

IMPORT_THE_PUBLIC_NAMES = {"web", "cli"}
"""Parts that may write `import thalweg` as a user does."""

SHOW_THEMSELVES = {
    ("diagnose/escape_result.py", "show"),
    ("diagnose/finding.py", "show"),
    ("diagnose/race_result.py", "show"),
}
"""The one exception: a result shows itself (`__str__`, `_repr_html_`), so a function of it imports
what draws it, at the moment it is asked to. Nobody pays for it, or needs it, before that."""

IMPORT_BY_A_NAME_COMPUTED = {"__init__.py", "reference.py", "cli", "parallel"}
"""Where a module may be imported under a name that is not written out."""

HOMES = {
    "ray": "parallel",
    "dash": "web",
    "lightning": "record/adapters",
    "transformers": "record/adapters",
    "kaleido": "show",
    "sklearn": "clinic",
    "flint": "theory",
}
"""Each of these is imported in one place: a folder, and where it is no folder's main business
(`ONE_FILE`) a single file in it."""

ONE_FILE = {"ray", "lightning", "transformers", "kaleido", "flint"}

LATE = ["plotly", "dash", "ray", "lightning", "transformers", "sklearn", "flint"]
"""What `import thalweg` must not load."""

NAMESPACES = {"clinic", "landscapes", "measure", "noise", "show", "theory"}
"""Modules that are public names."""

MAX_LINES = 300
GRACE = 20


class Import(NamedTuple):
    """One import statement's target; ``name`` is dotted, empty where it is computed."""

    name: str
    line: int
    lazy: bool


def imports(tree: ast.AST, package: str) -> Iterator[Import]:
    """Every import in a file; ``package`` is the dotted folder that the file is in."""

    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(alias.name, node.lineno, lazy)
            case ast.ImportFrom():
                base = node.module or ""
                if node.level:
                    above = package.split(".")[: len(package.split(".")) - node.level + 1]
                    base = ".".join([*above, *filter(None, [base])])
                for alias in node.names:
                    yield Import(f"{base}.{alias.name}", node.lineno, lazy)
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)) if called in (
                "import_module",
                "__import__",
            ):
                literal = node.args[0] if node.args else None
                is_text = isinstance(literal, ast.Constant) and isinstance(literal.value, str)
                yield Import(str(literal.value) if is_text else "", node.lineno, lazy)
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(tree, False)


def imports_of(path: Path) -> Iterator[Import]:
    folders = path.relative_to(ROOT).parent.parts
    yield from imports(ast.parse(path.read_text(), str(path)), ".".join(folders))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def part_imported(name: str) -> str | None:
    """The part of thalweg that a dotted name leads into; "" for the public names, None if outside."""
    root, _, rest = name.partition(".")
    if root != "thalweg":
        return None
    first = rest.partition(".")[0]
    return first if first in ORDER else ""


def may_import(importer: str, imported: str) -> bool:
    if importer in SEE_THE_WHOLE or importer == imported:
        return True
    if importer in IMPORTS_NOTHING:
        return False
    if imported == "":
        return importer in IMPORT_THE_PUBLIC_NAMES
    return ORDER.index(imported) < ORDER.index(importer)


def name_in_tree(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_in_tree)
def test_a_file_imports_only_what_stands_above_it(path: Path) -> None:
    part = part_of(path)
    where = name_in_tree(path)
    assert part in (*ORDER, *SEE_THE_WHOLE), f"{where} has no place in the layout: {ORDER}"
    for found in imports_of(path):
        if not found.name:
            assert {part, where} & IMPORT_BY_A_NAME_COMPUTED, (
                f"{where}:{found.line} imports a module by a computed name"
            )
            continue
        imported = part_imported(found.name)
        if imported is None or may_import(part, imported):
            continue
        if found.lazy and (where, imported) in SHOW_THEMSELVES:
            continue
        pytest.fail(
            f"{where}:{found.line} imports {found.name}, which does not stand above {part!r} in "
            f"the layout"
        )


def test_the_exceptions_to_the_import_order_are_in_use() -> None:
    in_use = {
        (where, part_imported(found.name))
        for where, _ in SHOW_THEMSELVES
        for found in imports_of(PACKAGE / where)
        if found.lazy
    }
    assert in_use >= SHOW_THEMSELVES


def test_the_reading_of_imports() -> None:
    source = """
import torch, thalweg.show
from thalweg import cli
if TYPE_CHECKING:
    from thalweg.web.routes import page
class Result:
    from . import task
    def __str__(self):
        from ..show import text
        import_module("thalweg.run")
        importlib.import_module(name)
"""
    found = [(i.name, i.lazy) for i in imports(ast.parse(source), "thalweg.diagnose")]
    assert found == [
        ("torch", False),
        ("thalweg.show", False),
        ("thalweg.cli", False),
        ("thalweg.web.routes.page", False),
        ("thalweg.diagnose.task", False),
        ("thalweg.show.text", True),
        ("thalweg.run", True),
        ("", True),
    ]
    assert [part_imported(name) for name, _ in found[:4]] == [None, "show", "cli", "web"]
    assert part_imported("thalweg.Estimate") == ""


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_dependency_is_imported_in_one_place(library: str) -> None:
    importers = [
        name_in_tree(path)
        for path in SOURCES
        if any(found.name.partition(".")[0] == library for found in imports_of(path))
    ]
    astray = [
        where
        for where in importers
        if not where.startswith((f"{HOMES[library]}/", f"{HOMES[library]}."))
    ]
    assert not astray, f"{library} belongs into thalweg/{HOMES[library]} only"
    if library in ONE_FILE:
        assert len(importers) <= 1, f"{library} is to be imported by one file"


def run_python(code: str) -> str:
    """What a fresh interpreter prints for some code that is run at the root of the repository."""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_thalweg_loads_no_plotting_web_or_cluster_library() -> None:
    code = f"import sys, thalweg; print(*(name for name in {LATE} if name in sys.modules))"
    assert run_python(code).split() == []


def test_the_public_names_are_exact() -> None:
    import thalweg

    assert thalweg.__all__ == sorted(set(thalweg.__all__))
    listed = set(thalweg.__all__)
    loaded = {name: getattr(thalweg, name) for name in listed}  # which binds modules to their names
    values = {**vars(thalweg), **loaded}
    modules = {name for name, value in values.items() if isinstance(value, ModuleType)}
    assert listed & modules <= NAMESPACES
    # Python itself binds the package's own modules once they are imported; nothing else may leak.
    own_modules = {name for name in modules if values[name].__name__ == f"thalweg.{name}"}
    public = {name for name in vars(thalweg) if not name.startswith("_")}
    assert public - own_modules <= listed
    assert {name for name in listed if name.startswith("_")} <= {"__version__"}


def test_a_public_name_stays_what_it_is_when_a_module_of_that_name_is_imported() -> None:
    """`thalweg.run` is a function and `thalweg.run.plan` a module: importing one must not hide the other."""
    modules = [
        "thalweg."
        + ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for path in SOURCES
        if path.name not in ("__main__.py",) and path.parent != PACKAGE
        if not {"web", "parallel", "adapters"} & set(path.parts)
    ]
    code = f"""
import importlib, types
for name in {modules}:
    importlib.import_module(name)
import thalweg
print(*(name for name in thalweg.__all__
        if isinstance(getattr(thalweg, name), types.ModuleType) and name not in {NAMESPACES}))
"""
    assert run_python(code).split() == []


def test_no_file_is_named_after_nothing() -> None:
    nameless = {"util", "utils", "helper", "helpers", "common", "misc"}
    found = [name_in_tree(path) for path in PACKAGE.rglob("*") if path.stem.strip("_") in nameless]
    assert not found, "name a file after what it holds"


@pytest.mark.parametrize("path", SOURCES, ids=name_in_tree)
def test_a_file_is_short_enough_to_have_one_reason_to_change(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES + GRACE, (
        f"{name_in_tree(path)} has {lines} lines: past {MAX_LINES} a file is to be split"
    )
