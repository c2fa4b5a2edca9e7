"""The code of two cures as one: place by place, names that would get in each other's way distinct."""

import ast
import re
from collections.abc import Mapping
from dataclasses import replace

from thalweg.diagnose.cures.places import REPLACES, Block, Places

__all__ = ["joined"]

SHARED = frozenset(
    (
        *("model", "optimizer", "loss", "loader", "dataset", "batch_size", "x", "y", "held_out"),
        *("inputs", "targets", "value", "epoch", "epochs"),
        *("torch", "tw", "DataLoader", "TensorDataset"),
    )
)
"""What the code of every cure means by the same name, and may change for the other."""


IMPORT = re.compile(r"import [\w.]+|from [\w.]+ import \w+")
"""One that is a line of its own."""


class _CannotBeJoinedError(Exception):
    """Code that cannot be read, or a name in it that cannot be another."""


def joined(first: str, second: str) -> str | None:
    """What runs both, the first's lines of a place before the second's; None where that cannot be said.

    A name of the second's that the first uses gets a number, unless both only pass by it.
    """
    one, two = Places.of(first), Places.of(second)
    if not (one.is_code and two.is_code):
        return None
    try:
        one, two = _apart(one, two)
    except (_CannotBeJoinedError, SyntaxError):
        return None
    blocks = _imports_first([*one.blocks, *two.blocks])
    remarks = dict.fromkeys(one.remarks + two.remarks)
    if any(REPLACES in block.mark for block in blocks):
        remarks = {}
    return Places(tuple(blocks), tuple(remarks)).text


def _apart(one: Places, two: Places) -> tuple[Places, Places]:
    """Both with names that do not meet."""
    mine, yours = _Names.of(one), _Names.of(two)
    both = mine.given & yours.given
    made = both & (mine.made.keys() | yours.made.keys())
    if any(mine.made.get(name) != yours.made.get(name) for name in made):
        raise _CannotBeJoinedError
    lasting = (mine.lasting | yours.lasting) - made
    second = (both & lasting) | (yours.given & (mine.used - mine.given))
    first = mine.given & (yours.used - yours.given)
    taken = mine.used | yours.used | SHARED
    return _renamed(one, _fresh(first - SHARED, taken)), _renamed(
        two, _fresh(second - SHARED, taken)
    )


def _fresh(names: frozenset[str] | set[str], taken: frozenset[str] | set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in sorted(names):
        number = 2
        while f"{name}_{number}" in taken:
            number += 1
        found[name] = f"{name}_{number}"
    return found


def _renamed(places: Places, names: Mapping[str, str]) -> Places:
    return replace(places, blocks=tuple(_block_renamed(block, names) for block in places.blocks))


def _block_renamed(block: Block, names: Mapping[str, str]) -> Block:
    found = _Seen()
    found.visit(ast.parse(block.lines))
    if names.keys() & (found.made.keys() | found.inside):
        raise _CannotBeJoinedError
    lines = [line.encode() for line in block.lines.splitlines()]
    spots = [(n.lineno - 1, n.col_offset, n.id.encode()) for n in found.names if n.id in names]
    for row, begin, old in sorted(spots, reverse=True):
        line, end = lines[row], begin + len(old)
        if line[begin:end] != old:  # within a text, where older Pythons do not tell the place
            raise _CannotBeJoinedError
        lines[row] = line[:begin] + names[old.decode()].encode() + line[end:]
    return replace(block, lines=b"\n".join(lines).decode())


def _imports_first(blocks: list[Block]) -> list[Block]:
    """The imports before the loop once and first, in a block of their own."""
    before = [line for b in blocks if b.place == "before" for line in b.lines.splitlines()]
    imports = dict.fromkeys(line for line in before if IMPORT.fullmatch(line))
    found = [Block("before", "", "\n".join(imports))]
    for block in blocks:
        lines = [line for line in block.lines.splitlines() if line not in imports]
        found.append(replace(block, lines="\n".join(lines)))
    return [block for block in found if block.lines.strip()]


class _Names:
    """What the code of a cure calls by name.

    Attributes:
        used: every name.
        given: those that it gives a value, or makes.
        lasting: those that one block leaves for another; what only passes by is given its value in
            the block that uses it.
        made: those of imports, functions and the like, with what is made, as text.
    """

    def __init__(self, blocks: list["_Seen"]) -> None:
        self.made = {name: what for seen in blocks for name, what in seen.made.items()}
        each = [{n.id for n in b.names} | b.made.keys() | b.inside for b in blocks]
        stored = {n.id for b in blocks for n in b.names if not isinstance(n.ctx, ast.Load)}
        self.used = frozenset().union(*each)
        self.given = frozenset(stored | self.made.keys()) - SHARED
        self.lasting = frozenset(n for n in self.used if sum(n in names for names in each) > 1)

    @classmethod
    def of(cls, places: Places) -> "_Names":
        found = []
        for block in places.blocks:
            found.append(_Seen())
            found[-1].visit(ast.parse(block.lines))
        return cls(found)


class _Seen(ast.NodeVisitor):
    """The names of a block: ``names`` that can be others, ``made`` by import, def and the like,
    ``inside`` functions and classes."""

    def __init__(self) -> None:
        self.names: list[ast.Name] = []
        self.made: dict[str, str] = {}
        self.inside: set[str] = set()
        self._own: list[set[str]] = []

    def visit_Name(self, node: ast.Name) -> None:
        if not any(node.id in own for own in self._own):
            self.names.append(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.split(".")[0]
            self.made[name] = ast.dump(node)

    visit_ImportFrom = visit_Import

    def visit_FunctionDef(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ) -> None:
        self.made[node.name] = ast.dump(node)
        self.inside |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        self.inside |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name is not None:
            self.made[node.name] = ast.dump(node)
        self.generic_visit(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._within({n.arg for n in ast.walk(node.args) if isinstance(n, ast.arg)}, node)

    def visit_ListComp(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        targets = [n for part in node.generators for n in ast.walk(part.target)]
        self._within({n.id for n in targets if isinstance(n, ast.Name)}, node)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def _within(self, own: set[str], node: ast.AST) -> None:
        self._own.append(own)
        self.generic_visit(node)
        self._own.pop()
