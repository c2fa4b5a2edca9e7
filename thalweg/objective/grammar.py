"""The grammar of formulas: text that anybody may have typed to a tree, by a whitelist."""

import ast
import difflib
import math
import re
from typing import NoReturn

from thalweg.errors import UsageError
from thalweg.objective.expression import (
    FUNCTIONS,
    Expression,
    Number,
    Power,
    Product,
    Variable,
    add,
    call,
    multiply,
    power,
)

__all__ = ["read"]

LONGEST = 4_000
"""Characters of a text."""

DEEPEST = 40
"""Levels of brackets, calls and powers inside one another."""

LARGEST_POWER = 100
"""The largest exponent, and the largest product of the exponents of powers inside powers."""

CONSTANTS = {"pi": math.pi, "e": math.e}
LETTERS = ("x", "y", "z", "w")
TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)|(?P<operator>[-+*/(),])",
    re.ASCII,
)
NUMBERED = re.compile(r"x(0|[1-9][0-9]{0,2})", re.ASCII)


def read(text: str) -> tuple[Expression, tuple[str, ...]]:
    """The tree of a text and the names of the coordinates.

    Python's own parser sees only numbers, names, brackets and operators, and of the tree that it
    makes (and that is never compiled) nothing is taken but the nodes named here.

    Raises:
        UsageError: whatever is no formula, with «» around the place.
    """
    reader = _Reader(text)
    return reader.tree(), reader.variables()


class _Reader:
    """One text on its way to a tree."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.shift = 0
        self.used: dict[str, tuple[int, int]] = {}

    def tree(self) -> Expression:
        if len(self.text) > LONGEST:
            raise UsageError(
                f"formula must have at most {LONGEST} characters, not {len(self.text)}"
            )
        if not self.text.strip():
            raise UsageError("formula must not be empty")
        self.scan()
        plain = re.sub(r"\s", " ", self.text)
        self.shift = len(plain) - len(plain.lstrip())
        try:
            body = ast.parse(plain.strip(), mode="eval").body
        except SyntaxError as error:
            start = self.shift + max((error.offset or 1) - 1, 0)
            end = self.shift + max((error.end_offset or 0) - 1, 0)
            self.refuse("be complete and well formed", start, max(end, start + 1))
        except (RecursionError, MemoryError, ValueError):
            self.refuse("be nested less deeply", 0, len(self.text))
        tree = self.read(body, DEEPEST)
        if _height(tree) > LARGEST_POWER:
            self.refuse(
                f"have powers inside powers of at most {LARGEST_POWER} together", 0, len(self.text)
            )
        return tree

    def scan(self) -> None:
        """Refuse whatever is no number, known name or operator, before Python's parser sees it."""
        at, before, start, opened = 0, "operator", 0, 0
        while at < len(self.text):
            token = TOKEN.match(self.text, at)
            if token is None:
                if self.text[at] == "^":
                    self.refuse("write powers as **", at, at + 1)
                self.refuse("hold only numbers, variables, functions and + - * / **", at, at + 1)
            kind, end = str(token.lastgroup), token.end()
            if kind == "name":
                if before == "number":
                    self.refuse("have an operator between a number and a name", at, end)
                self.name(at, end)
            opened += {"(": 1, ")": -1}.get(token[0], 0)
            if opened > DEEPEST:
                self.refuse(f"have at most {DEEPEST} brackets inside one another", at, end)
            start = start if kind == "space" else at
            at, before = end, kind
        if self.text[start] in "+-*/(,":
            self.refuse("be complete and well formed", start, start + 1)

    def name(self, at: int, end: int) -> None:
        name = self.text[at:end]
        if name in LETTERS or NUMBERED.fullmatch(name):
            self.used.setdefault(name, (at, end))
        elif name not in FUNCTIONS and name not in CONSTANTS:
            known = [*FUNCTIONS, *CONSTANTS, *LETTERS]
            near = difflib.get_close_matches(name[:20].lower(), known, 1, 0.6)
            meant = f" (did you mean {near[0]}?)" if near else ""
            self.refuse(f"use x, y, z, w or x0, x1, … and {', '.join(FUNCTIONS)}{meant}", at, end)

    def variables(self) -> tuple[str, ...]:
        """All coordinates up to the last one used, each of which must be."""
        numbered = [name for name in self.used if name not in LETTERS]
        if not self.used:
            self.refuse("use a variable such as x", 0, len(self.text))
        if numbered and len(numbered) < len(self.used):
            self.refuse("use either x, y, z, w or x0, x1, …", *self.used[numbered[0]])
        names = [f"x{i}" for i in range(len(self.used))] if numbered else LETTERS[: len(self.used)]
        for name, place in self.used.items():
            if name not in names:
                rule = "x0, x1, …" if numbered else "x, y, z, w"
                self.refuse(f"use its variables in the order {rule} without a gap", *place)
        return tuple(names)

    def read(self, node: ast.expr, depth: int) -> Expression:
        if depth == 0:
            self.refuse_node(f"be at most {DEEPEST} levels deep", node)
        try:
            return self.build(node, depth)
        except (ArithmeticError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            self.refuse_node("hold only numbers that are finite and real", node)

    def build(self, node: ast.expr, depth: int) -> Expression:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                if not math.isfinite(value := float(value)):
                    raise OverflowError
                return Number(value)
            case ast.Name(id=name) if name in CONSTANTS:
                return Number(CONSTANTS[name])
            case ast.Name(id=name) if name not in FUNCTIONS:
                return Variable(name)
            case ast.UnaryOp():
                return self.signed(node, depth)
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                return add(self.chain(node, (ast.Add, ast.Sub), depth))
            case ast.BinOp(op=ast.Mult() | ast.Div()):
                return multiply(self.chain(node, (ast.Mult, ast.Div), depth))
            case ast.BinOp(op=ast.Pow()):
                return self.raised(node, depth)
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
                return self.called(name, node, depth)
        self.refuse_node("hold only numbers, variables, + - * / ** and calls of functions", node)

    def signed(self, node: ast.UnaryOp, depth: int) -> Expression:
        """A row of signs, however long."""
        sign, part = 1.0, node
        while isinstance(part, ast.UnaryOp):
            sign = -sign if isinstance(part.op, ast.USub) else sign
            part = part.operand
        return multiply([Number(sign), self.read(part, depth - 1)])

    def chain(self, node: ast.BinOp, kinds: tuple[type, ...], depth: int) -> list[Expression]:
        """The terms of a sum or the factors of a product, however many."""
        parts: list[Expression] = []
        part: ast.expr = node
        while isinstance(part, ast.BinOp) and isinstance(part.op, kinds):
            right = self.read(part.right, depth - 1)
            if isinstance(part.op, ast.Sub):
                right = multiply([Number(-1.0), right])
            elif isinstance(part.op, ast.Div):
                right = self.inverse(right, part.right)
            parts.append(right)
            part = part.left
        parts.append(self.read(part, depth - 1))
        return parts[::-1]

    def inverse(self, divisor: Expression, node: ast.expr) -> Expression:
        if divisor == Number(0.0):
            self.refuse_node("not divide by zero", node)
        factors = divisor.factors if isinstance(divisor, Product) else (divisor,)
        return multiply(power(factor, -1) for factor in factors)

    def raised(self, node: ast.BinOp, depth: int) -> Expression:
        base, exponent = self.read(node.left, depth - 1), self.read(node.right, depth - 1)
        if isinstance(exponent, Number):
            if abs(exponent.value) > LARGEST_POWER:
                self.refuse_node(f"have powers of at most {LARGEST_POWER}", node.right)
            return power(base, exponent.value)
        if isinstance(base, Number) and base.value > 0:
            return call("exp", [multiply([Number(math.log(base.value)), exponent])])
        self.refuse_node("have numbers as powers, or of positive numbers", node.right)

    def called(self, name: str, node: ast.Call, depth: int) -> Expression:
        count = 2 if name in ("min", "max") else 1
        plain = not any(isinstance(argument, ast.Starred) for argument in node.args)
        if len(node.args) != count or node.keywords or not plain:
            self.refuse_node(f"call {name} with {count} argument{'s' * (count - 1)}", node)
        return call(name, [self.read(argument, depth - 1) for argument in node.args])

    def refuse_node(self, rule: str, node: ast.expr) -> NoReturn:
        end = node.end_col_offset or node.col_offset + 1
        self.refuse(rule, self.shift + node.col_offset, self.shift + end)

    def refuse(self, rule: str, start: int, end: int) -> NoReturn:
        """Raise UsageError with «» around the place."""
        start = min(start, len(self.text))
        end = min(max(end, start), len(self.text))
        before, part, after = self.text[:start], self.text[start:end], self.text[end:]
        before = "…" + before[-40:] if len(before) > 41 else before
        part = part[:30] + "…" + part[-10:] if len(part) > 41 else part
        after = after[:40] + "…" if len(after) > 41 else after
        raise UsageError(
            f"formula must {rule}: {_shown(before)}«{_shown(part)}»{_shown(after)}"
        ) from None


def _height(tree: Expression) -> float:
    """The largest product of the exponents of powers that stand inside one another."""
    own = max(1.0, abs(tree.exponent)) if isinstance(tree, Power) else 1.0
    return own * max(map(_height, tree.parts), default=1.0)


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
