"""Every landscape by its name, and the reading of a name, arguments or a formula from text."""

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from thalweg.errors import UsageError
from thalweg.objective.expression import FUNCTIONS
from thalweg.objective.landscape import Landscape, from_formula
from thalweg.objective.landscapes import (
    classics,
    quadratics,
    saddles,
    spikes,
    sums,
    wells,
)
from thalweg.objective.landscapes.curves import spline, spline_from_file

__all__ = ["CATALOGUE", "from_reference", "get"]

CATALOGUE: Mapping[str, Callable[..., Landscape]] = MappingProxyType(
    {
        "ackley": classics.ackley,
        "beale": classics.beale,
        "bounded_saddle": saddles.bounded_saddle,
        "double_well": wells.double_well,
        "finite_sum": sums.finite_sum,
        "flat_and_sharp": wells.flat_and_sharp,
        "gaussian_spikes": spikes.gaussian_spikes,
        "himmelblau": classics.himmelblau,
        "ill_conditioned": quadratics.ill_conditioned,
        "least_squares": sums.least_squares,
        "local_and_global": wells.local_and_global,
        "matrix_factorization": saddles.matrix_factorization,
        "modulated": spikes.modulated,
        "monkey_saddle": saddles.monkey_saddle,
        "mueller_brown": classics.mueller_brown,
        "quadratic": quadratics.quadratic,
        "rastrigin": classics.rastrigin,
        "rosenbrock": classics.rosenbrock,
        "saddle": quadratics.saddle,
        "spiky": spikes.spiky,
        "spline": spline,
        "styblinski_tang": classics.styblinski_tang,
        "triangle_spikes": spikes.triangle_spikes,
    }
)
"""Every landscape, by name; none needs an argument."""

LONGEST = 100_000
REFERENCE = re.compile(r"\s*(?P<name>[A-Za-z_][A-Za-z_0-9 -]*?)\s*(?P<arguments>\(.*\))?\s*", re.S)


def get(name: str, **arguments: Any) -> Landscape:
    """The landscape of a name in the catalogue; blanks and hyphens may stand for underscores.

    Raises:
        UsageError: a name that is not there (with the nearest that is), or arguments that the
            landscape does not take.
    """
    if not isinstance(name, str):
        raise UsageError(f"name must be a text, not {type(name).__name__}")
    factory = CATALOGUE.get(_plain(name))
    if factory is None:
        near = difflib.get_close_matches(_plain(name)[:60], CATALOGUE, 1, 0.5)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"name must be one of {', '.join(CATALOGUE)}, not {name[:60]!a}{meant}")
    return _made(factory, (), arguments)


def from_reference(text: str) -> Landscape:
    """The landscape that a text names: for a command line.

    ``spiky`` is a name of the catalogue, ``spiky(amplitude=0.5)`` the same with arguments (numbers,
    and lists of them), ``spline:FILE`` a spline through the knots of a file; whatever else is a
    formula such as ``x**2 + 0.3*cos(20*x)``. Nothing is ever executed.

    Raises:
        UsageError: none of these; one sentence says what is wrong and where.
    """
    if not isinstance(text, str):
        raise UsageError(f"function must be a text, not {type(text).__name__}")
    if len(text) > LONGEST:
        raise UsageError(f"function must have at most {LONGEST} characters, not {len(text)}")
    kind, colon, path = text.partition(":")
    if colon and kind.strip() == "spline":
        return spline_from_file(path.strip())
    match = REFERENCE.fullmatch(text)
    if match is None or _is_formula(match["name"], match["arguments"]):
        return from_formula(text)
    factory = CATALOGUE.get(_plain(match["name"]))
    if factory is None or not match["arguments"]:
        return get(match["name"])
    return _made(factory, *_arguments(match["arguments"]))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _is_formula(name: str, arguments: str | None) -> bool:
    """Whether a text of the form ``name`` or ``name(...)`` is rather a formula."""
    if _plain(name) in CATALOGUE:
        return False
    words = re.findall(r"[A-Za-z_]\w*", name)
    if any(re.fullmatch(r"[xyzwe]|pi|x\d+", word) or word in FUNCTIONS for word in words):
        return True
    return arguments is not None and "=" not in arguments and not words


def _arguments(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What stands in brackets behind a name: numbers and lists of numbers, by place or by name."""
    problem = (
        f"arguments must be numbers or lists of them such as (amplitude=0.5), not {text[:60]!r}"
    )
    if not text.isascii() or "\0" in text or "'" in text or '"' in text or "\\" in text:
        raise UsageError(problem.encode("unicode_escape").decode())
    try:
        tree = ast.parse(f"f{' '.join(text.split())}", mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            raise UsageError(problem)
        names = {word.arg: _value(word.value) for word in tree.keywords}
        if None in names or len(names) < len(tree.keywords):
            raise UsageError(problem)
        return tuple(_value(node) for node in tree.args), names  # pyright: ignore[reportReturnType]
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError):
        raise UsageError(problem) from None


def _value(node: ast.expr) -> Any:
    """A number, a signed number, or a list or tuple of such."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_value(part) for part in parts]
    raise TypeError(f"{type(node).__name__} is no number")


def _made(
    factory: Callable[..., Landscape], places: tuple[Any, ...], names: dict[str, Any]
) -> Landscape:
    signature = inspect.signature(factory)
    try:
        bound = signature.bind(*places, **names)
    except TypeError:
        takes = ", ".join(map(str, signature.parameters.values())) or "none"
        takes = re.sub(r"(\w+): .*? = ", r"\1=", takes)
        raise UsageError(
            f"arguments of {factory.__name__} must be among ({takes}), not "
            f"({', '.join([*map(repr, places), *(f'{k}={v!r}' for k, v in names.items())])[:80]})"
        ) from None
    return factory(*bound.args, **bound.kwargs)
