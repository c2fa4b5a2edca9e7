"""The constants that a guarantee rests on, each with whether it was proved."""

import math
from dataclasses import dataclass
from typing import Any

from thalweg.theory.domain import Domain

__all__ = ["Constant", "Constants"]


@dataclass(frozen=True)
class Constant:
    """A bound on a quantity of a landscape over a domain.

    Attributes:
        value: on the safe side if proved: at most the true one for c, at least it for C, L and V.
        attained: the quantity at ``where``; the true constant lies between the two.
        where: a point that attains it.
        rigorous: whether ``value`` was proved by interval arithmetic; else it is an estimate.
        work: boxes or points that were looked at.
    """

    value: float
    attained: float
    where: tuple[float, ...]
    rigorous: bool
    work: int

    @property
    def status(self) -> str:
        """``rigorous`` or ``estimated``."""
        return "rigorous" if self.rigorous else "estimated"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a value that is not finite is ``None``."""
        return {
            "value": self.value if math.isfinite(self.value) else None,
            "attained": self.attained if math.isfinite(self.attained) else None,
            "where": list(self.where),
            "status": self.status,
            "work": self.work,
        }


@dataclass(frozen=True, kw_only=True)
class Constants:
    """The constants on one domain.

    Attributes:
        domain: of y, the point after the deterministic half of a step; x is within the noise's
            reach of it.
        target: x*, a zero of ∇g if ``settled``.
        settled: whether the target is one (proved, where the constants are).
        gap: ε where it is not one: c and C are taken over ‖y − x*‖ ≥ ε only.
        excess: δ, with ⟨∇g, e⟩ ≥ c‖e‖² − δ everywhere on the domain, e = y − x*; 0 if settled.
        offset: κ, with ‖∇g‖² ≤ C²‖e‖² + κ everywhere on the domain; 0 if settled.
        convexity: c, the largest with ⟨∇g(y), y − x*⟩ ≥ c‖y − x*‖².
        slope: C, the smallest with ‖∇g(y)‖ ≤ C‖y − x*‖.
        smoothness: L, the largest curvature \\|∇²f\\|.
        variance: V = sup Var(ηω + η∇f(y − ηω)), summed over the coordinates.
        closed: whether no step leads out of the domain.
    """

    domain: Domain
    target: tuple[float, ...]
    settled: bool
    gap: float = 0.0
    excess: float = 0.0
    offset: float = 0.0
    convexity: Constant
    slope: Constant
    smoothness: Constant
    variance: Constant
    closed: bool

    @property
    def rigorous(self) -> bool:
        """Whether all that an escape certificate needs was proved: c, C and V."""
        return self.convexity.rigorous and self.slope.rigorous and self.variance.rigorous
