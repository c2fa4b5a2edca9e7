"""A formula typed by anybody, as a function: read by a whitelist, never executed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.differentiation import derivative
from thalweg.objective.expression import FUNCTIONS, Expression, Number
from thalweg.objective.grammar import read

__all__ = ["Formula"]

LARGEST_DERIVATIVE = 100_000
"""Nodes of a derivative."""

TORCH: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(torch, name) for name in FUNCTIONS if name not in ("min", "max")},
    "min": lambda u, v: torch.minimum(*_tensors(u, v)),
    "max": lambda u, v: torch.maximum(*_tensors(u, v)),
}
NUMPY: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in FUNCTIONS if name not in ("min", "max", "atan")},
    "atan": np.arctan,
    "min": np.minimum,
    "max": np.maximum,
}


@dataclass(frozen=True)
class Formula:
    """A function of a few variables, from text.

    Allowed are numbers, the variables x, y, z, w (in this order) or x0, x1, x2, …, the operators
    ``+ - * / **``, brackets, ``pi``, ``e`` and the functions sin, cos, tan, exp, log, sqrt, abs,
    sign, tanh, sinh, cosh, atan, min and max. An exponent is a number of at most 100, unless the
    base is a positive number. Numbers are those of double precision, and parts without variables
    are computed when the text is read.

    Attributes:
        tree: the expression; see :mod:`thalweg.objective.expression`.
        variables: names of the coordinates, in order.
        text: the formula in words that :meth:`parse` reads.

    Example:
        >>> Formula.parse("x**2 + 0.3*cos(20*x)").derivative("x").text
        '2*x - 6*sin(20*x)'
    """

    tree: Expression
    variables: tuple[str, ...]
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> "Formula":
        """The formula that a text describes.

        Raises:
            UsageError: for any other text; the message holds it with «» around the first part that
                is refused.
        """
        if not isinstance(text, str):
            raise UsageError(f"formula must be a text, not {type(text).__name__}")
        return cls(*read(text), text)

    @property
    def dim(self) -> int:
        """Number of coordinates of a point."""
        return len(self.variables)

    def evaluate(
        self, values: Sequence[Any], functions: Mapping[str, Callable[..., Any]] | None = None
    ) -> Any:
        """The value where the variables have ``values``, one for each.

        Args:
            values: torch tensors (the result is differentiable), arrays, numbers, or anything that
                has the operators and for which ``functions`` are given.
            functions: by name; left out, torch's for tensors and NumPy's for arrays and numbers
                (outside a function's domain: not a number, without a warning). An entry ``power``
                takes base and exponent in place of the operator ``**``.
        """
        if len(values) != self.dim:
            raise UsageError(
                f"values must be {self.dim}, one for each of {', '.join(self.variables)}, "
                f"not {len(values)}"
            )
        if functions is not None:
            return self.tree.evaluate(dict(zip(self.variables, values)), functions)
        if isinstance(values[0], Tensor):
            value = self.tree.evaluate(dict(zip(self.variables, values)), TORCH)
            return value if isinstance(value, Tensor) else 0 * values[0] + value
        arrays = [np.asarray(value, dtype=np.float64)[()] for value in values]
        with np.errstate(all="ignore"):
            value = self.tree.evaluate(dict(zip(self.variables, arrays)), NUMPY)
            return 0 * arrays[0] + value if isinstance(self.tree, Number) else value

    def __call__(self, points: Tensor) -> Tensor:
        """Values ``(...)`` at points ``(..., dim)``."""
        one = self.dim == 1  # a view, where unbinding makes its gradient anew
        return self.evaluate((points.squeeze(-1),) if one else points.unbind(-1))

    def derivative(self, name: str) -> "Formula":
        """The partial derivative, a formula in the same variables.

        That of ``abs`` is ``sign``, which is 0 at 0; that of ``sign`` is 0.

        Raises:
            UsageError: a name that is no variable; a derivative that would be larger than 100 000
                parts, or hold a number that is not finite.
        """
        if name not in self.variables:
            raise UsageError(f"name must be one of {', '.join(self.variables)}, not {name!r}")
        try:
            tree = derivative(self.tree, name)
        except (ArithmeticError, ValueError) as error:
            raise UsageError(
                f"formula must have a derivative of finite numbers, not {self.text}"
            ) from error
        if tree.size > LARGEST_DERIVATIVE:
            raise UsageError(
                f"formula must have a derivative of at most {LARGEST_DERIVATIVE} parts, "
                f"not of {tree.size}"
            )
        return Formula(tree, self.variables, str(tree))

    def __str__(self) -> str:
        return self.text


def _tensors(*values: Any) -> list[Tensor]:
    like = next(value for value in values if isinstance(value, Tensor))
    return [
        value if isinstance(value, Tensor) else torch.full_like(like, value) for value in values
    ]
