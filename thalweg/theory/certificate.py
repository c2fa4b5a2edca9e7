"""The certificate that SGD leaves spurious minima: bounds (6) and (7) with proved constants."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.theory.bounds import EscapeBounds
from thalweg.theory.constants import Constants

__all__ = ["Certificate", "Exclusion", "certify"]

SETTLED = 0.01
"""How far above its limit the bound (6) may still be where its steps are counted."""


@dataclass(frozen=True)
class Exclusion:
    """A minimum of f other than the target's, and whether SGD is done with it.

    Attributes:
        point: the minimum.
        distance: to the target.
        probability: that y is nearer to the target than that after ``steps`` steps, at least; 0
            where the certificate says nothing.
        steps: the number at which this was asked.
    """

    point: tuple[float, ...]
    distance: float
    probability: float
    steps: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**self.__dict__, "point": list(self.point)}


@dataclass(frozen=True)
class Certificate:
    """What (6) and (7) say from any start y₀ on the domain and within ``start`` of the target.

    Attributes:
        constants: on the domain that the iterates must stay in.
        bounds: (6) and (7) with these constants.
        start: d₀, the largest ‖y₀ − x*‖ that is allowed for.
        ball: radius of the ball around the target on which the constants hold; infinite where no
            step leads out of the domain.
        steps: until (6) is within 1% of its limit; 0 where it has none.
        exclusions: one for each minimum of f that is not the target's own.
        rigorous: whether c, C and V were proved.
    """

    constants: Constants
    bounds: EscapeBounds
    start: float
    ball: float
    steps: int
    exclusions: tuple[Exclusion, ...]
    rigorous: bool

    @property
    def radius(self) -> float:
        """√(V/(1−q)): the root mean square of ‖y − x*‖ in the end is at most this."""
        return math.sqrt(self.bounds.stationary)

    @property
    def excluded(self) -> tuple[Exclusion, ...]:
        """The minima of which it says something."""
        return tuple(e for e in self.exclusions if e.probability > 0)

    @property
    def says_something(self) -> bool:
        """Whether at least one minimum is excluded with a probability above 0."""
        return bool(self.excluded)

    @property
    def status(self) -> str:
        """``rigorous`` or ``estimated``."""
        return "rigorous" if self.rigorous else "estimated"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is ``None``."""
        numbers = {
            "q": self.bounds.factor,
            "V": self.bounds.noise,
            "radius": self.radius,
            "start": self.start,
            "ball": self.ball,
        }
        return {
            **{name: n if math.isfinite(n) else None for name, n in numbers.items()},
            "steps": self.steps,
            "domain": [list(side) for side in self.constants.domain.sides],
            "closed": self.constants.closed,
            "status": self.status,
            "says_something": self.says_something,
            "exclusions": [e.to_dict() for e in self.exclusions],
        }


def certify(
    constants: Constants,
    learning_rate: float,
    start: float,
    minima: Sequence[tuple[float, ...]],
) -> Certificate:
    """The certificate that these constants give.

    Args:
        constants: on the domain of the iterates.
        learning_rate: η.
        start: d₀, a distance from the target.
        minima: those of f; the one next to the target is not asked about.
    """
    bounds = EscapeBounds(
        convexity=constants.convexity.value,
        slope=constants.slope.value,
        variance=constants.variance.value,
        learning_rate=learning_rate,
        dim=constants.domain.dim,
        excess=constants.excess,
        offset=constants.offset,
    )
    ball = math.inf if constants.closed else constants.domain.margin(constants.target)
    steps = _steps(bounds, start)
    others = sorted(minima, key=lambda point: math.dist(point, constants.target))[1:]
    exclusions = []
    for point in others:
        distance = math.dist(point, constants.target)
        risk, when = _least_risk(bounds, start, distance, ball, steps)
        exclusions.append(Exclusion(point, distance, max(0.0, 1 - risk), when))
    return Certificate(constants, bounds, start, ball, steps, tuple(exclusions), constants.rigorous)


def _steps(bounds: EscapeBounds, start: float) -> int:
    q, limit = bounds.factor, bounds.stationary
    if not 0 < q < 1 or not math.isfinite(limit):
        return 0
    if limit == 0 or start**2 <= SETTLED * limit:
        return 1
    return max(1, math.ceil(math.log(SETTLED * limit / start**2) / math.log(q)))


def _least_risk(
    bounds: EscapeBounds, start: float, distance: float, ball: float, steps: int
) -> tuple[float, int]:
    """The smallest bound on P(‖e_t‖ ≥ distance) over t up to where (6) has settled, and that t."""
    if steps == 0:
        return 1.0, 0
    if math.isinf(ball):
        return bounds.tail(steps, start, distance), steps
    tried = sorted({max(1, round(steps * share / 64)) for share in range(1, 65)})
    return min((bounds.tail(t, start, distance, ball=ball), t) for t in tried)
