"""A landscape: a function of a few variables with what is known about it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.base import Objective
from thalweg.objective.formula import Formula

__all__ = ["CriticalPoint", "Landscape", "from_callable", "from_formula"]

KINDS = ("minimum", "saddle", "maximum", "degenerate")


@dataclass(frozen=True)
class CriticalPoint:
    """A point where the gradient vanishes, or where a kink makes a minimum or a maximum.

    Attributes:
        point: its coordinates.
        kind: read off the eigenvalues of the Hessian there: all positive (``minimum``), all
            negative (``maximum``), both signs and no zero (``saddle``), a zero (``degenerate``).
        curvatures: these eigenvalues, ascending; empty where they were not stated, or at a kink.
        smooth: False at a kink, where there is no gradient and no Hessian.
    """

    point: tuple[float, ...]
    kind: str
    curvatures: tuple[float, ...] = ()
    smooth: bool = True


@dataclass(frozen=True, eq=False)
class Landscape(Objective):
    """A loss given by a function, with what is known about it.

    Attributes:
        function: losses ``(...)`` of points ``(..., dim)``.
        dim: number of variables.
        name: how texts and figures call it.
        formula: the same as text, where the function is elementary; else empty.
        critical: the critical points that are known, inside ``domain`` unless said otherwise.
        smoothness: the smallest L with ‖∇f(x) − ∇f(y)‖ ≤ L‖x − y‖ everywhere; ``None`` where
            there is none or it is not known.
        domain: lowest and highest value of each coordinate worth a look; starting points are
            uniform on it.
        domain_smoothness: the same on the domain alone, where the whole space has none or a larger
            one: the largest absolute eigenvalue of the Hessian there.
        infimum: the greatest lower bound of the loss; ``None`` where it is unknown, −inf where the
            loss is unbounded below.
    """

    function: Callable[[Tensor], Tensor]
    dim: int
    name: str = "landscape"
    formula: str = ""
    critical: tuple[CriticalPoint, ...] = ()
    smoothness: float | None = None
    domain: tuple[tuple[float, float], ...] = ()
    domain_smoothness: float | None = None
    infimum: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise UsageError(f"function must be callable, not {type(self.function).__name__}")
        if not isinstance(self.dim, int) or isinstance(self.dim, bool) or self.dim < 1:
            raise UsageError(f"dim must be a whole number above 0, not {self.dim!r}")
        if not self.domain:
            object.__setattr__(self, "domain", ((-1.0, 1.0),) * self.dim)
        if len(self.domain) != self.dim or any(not low < high for low, high in self.domain):
            raise UsageError(
                f"domain must be {self.dim} pairs (low, high) with low < high, not {self.domain!r}"
            )
        for known in self.critical:
            if known.kind not in KINDS or len(known.point) != self.dim:
                raise UsageError(
                    f"critical must hold points of {self.dim} coordinates whose kind is one of "
                    f"{', '.join(KINDS)}, not {known!r}"
                )

    @cached_property
    def expression(self) -> Formula | None:
        """The formula, read; ``None`` where there is none."""
        return Formula.parse(self.formula) if self.formula else None

    @property
    def minima(self) -> tuple[tuple[float, ...], ...]:
        """The minima that are known."""
        return self._of_kind("minimum")

    @property
    def saddles(self) -> tuple[tuple[float, ...], ...]:
        """The strict saddles that are known."""
        return self._of_kind("saddle")

    def loss(self, points: Tensor) -> Tensor:
        """Losses ``(...)`` at points ``(..., dim)``, in the dtype and on the device of the points.

        Raises:
            UsageError: points of another dimension; a function that does not map ``(..., dim)``
                to ``(...)``.
        """
        self.check_points(points)
        losses = self.function(points)
        if not isinstance(losses, Tensor) or losses.shape != points.shape[:-1]:
            got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise UsageError(
                f"function must return losses of shape {tuple(points.shape[:-1])} for points of "
                f"shape {tuple(points.shape)}, but {self.name} returned {got}"
            )
        return losses

    def with_domain(self, domain: tuple[tuple[float, float], ...]) -> "Self":
        """The same function on another domain.

        Beyond its own domain there may be critical points that are not in the list, so that nothing
        counts as known of a domain that reaches farther.
        """
        farther = any(
            low < own_low or high > own_high
            for (low, high), (own_low, own_high) in zip(domain, self.domain)
        )
        critical = () if farther else self.critical
        return replace(self, domain=domain, critical=critical, domain_smoothness=None)

    def start(self, generator: torch.Generator, trials: int = 1) -> Tensor:
        """Points ``(trials, dim)``, uniform on the domain, in double precision."""
        low, high = torch.tensor(self.domain, dtype=torch.float64).T
        unit = torch.rand(trials, self.dim, generator=generator, dtype=torch.float64)
        return low + (high - low) * unit

    def _of_kind(self, kind: str) -> tuple[tuple[float, ...], ...]:
        return tuple(known.point for known in self.critical if known.kind == kind)


def from_callable(
    function: Callable[[Tensor], Tensor],
    dim: int,
    *,
    name: str | None = None,
    domain: Sequence[tuple[float, float]] = (),
    critical: Iterable[CriticalPoint] = (),
    smoothness: float | None = None,
) -> Landscape:
    """Any function of a tensor ``(..., dim)`` that returns ``(...)``, as a landscape.

    Example:
        >>> from_callable(lambda x: (x**2).sum(-1), 3).loss(torch.ones(2, 3))
        tensor([3., 3.])
    """
    return Landscape(
        function,
        dim,
        name=name or getattr(function, "__name__", "landscape"),
        critical=tuple(critical),
        smoothness=smoothness,
        domain=tuple(domain),
    )


def from_formula(
    text: str, *, domain: Sequence[tuple[float, float]] = (), name: str | None = None
) -> Landscape:
    """The landscape of a text such as ``x**2 + 0.3*cos(20*x)``; see :class:`Formula`.

    Args:
        text: the formula; its variables say how many dimensions there are.
        domain: low and high of each coordinate; −3 to 3 unless given.
        name: how texts and figures call it; the formula itself unless given.

    Raises:
        UsageError: a text that is no formula, with the place marked.

    Example:
        >>> from_formula("x**2 - y**2").loss(torch.tensor([[2.0, 1.0], [0.0, 1.0]]))
        tensor([ 3., -1.])
    """
    formula = Formula.parse(text)
    return Landscape(
        formula,
        formula.dim,
        name=name or " ".join(text.split()),
        formula=text,
        domain=tuple(domain) or ((-3.0, 3.0),) * formula.dim,
    )
