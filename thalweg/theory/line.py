"""One dimension, proved: c, C, L and V of a formula by branch and bound over intervals.

Uniform noise has a closed form for any f, g′(y) = (f(y+ρ) − f(y−ρ))/(2ρ); noise of two points
±ρ has g′(y) = (f′(y+ρ) + f′(y−ρ))/2. Neither needs more of f than its values and slopes.
"""

import math
from functools import partial
from typing import Any

from thalweg.objective.formula import Formula
from thalweg.objective.noise import Ball, Noise, Sphere, Uniform
from thalweg.theory.constants import Constant, Constants
from thalweg.theory.domain import Domain
from thalweg.theory.intervals import (
    Box,
    above,
    ball,
    below,
    common,
    jet_at,
    minimum,
    value_at,
    widened,
)
from thalweg.theory.spread import largest_variance

__all__ = ["Line", "prove_line"]

GAP = 0.01
"""Without a zero of g′: c is taken where ‖e‖ is at least this share of the domain's reach."""

SCAN = 400
"""Places at which a zero of g′ is looked for before it is proved."""


class Line:
    """A formula of one variable smoothed by ηω, enclosed over intervals.

    Args:
        formula: of one variable.
        learning_rate: η.
        noise: of the gradient: uniform, ball or sphere, or of size 0.
    """

    def __init__(self, formula: Formula, learning_rate: float, noise: Noise) -> None:
        self.formula = formula
        self.eta = ball(learning_rate, learning_rate)
        size = noise.bound(1)
        self.radius = self.eta * ball(size, size)
        self.reach = above(self.radius) if size else 0.0
        self.kind = "none" if size == 0 else "two" if isinstance(noise, Sphere) else "even"
        moment = noise.second_moment(1)
        self.moment = ball(moment * (1 - 1e-12), moment * (1 + 1e-12))

    @staticmethod
    def takes(formula: Formula, noise: Noise) -> bool:
        """Whether this noise has a closed form here."""
        known = isinstance(noise, Uniform | Ball | Sphere) or noise.bound(1) == 0
        return formula.dim == 1 and known

    def derivatives(self, y: Any) -> tuple[Any, Any, Any]:
        """f, f′ and f″ over a ball."""
        jet = jet_at(self.formula, [y])
        nothing = ball(0.0, 0.0)
        return jet.value, jet.slopes[0] + nothing, jet.bends[0][0] + nothing

    def smoothed(self, y: Any) -> tuple[Any, Any]:
        """g′ and g″ over a ball."""
        _, slope, bend = self.derivatives(y + ball(-self.reach, self.reach))
        if self.kind == "none":
            return slope, bend
        left, right = self.derivatives(y - self.radius), self.derivatives(y + self.radius)
        if self.kind == "two":
            means = [(a + b) / 2 for a, b in zip(left[1:], right[1:], strict=True)]
        else:
            means = [(b - a) / (self.radius * 2) for a, b in zip(left[:2], right[:2], strict=True)]
        return common(means[0], slope), common(means[1], bend)

    def slope_at(self, place: float) -> Any:
        """g′ at a point."""
        y = ball(place, place)
        if self.kind != "even":
            return self.smoothed(y)[0]
        right, left = (value_at(self.formula, [y + r]) for r in (self.radius, -self.radius))
        return (right - left) / (self.radius * 2)

    def steep(self, domain: Domain) -> bool:
        """Whether no bound on f′ is known on what the noise reaches: f may jump or have a pole there.

        Then E f′ is not g′, though g′ is finite wherever neither end of the window is such a place.
        """

        def slope(box: Box) -> Any:
            return -abs(self.derivatives(ball(*box[0]))[1])

        window = [widened(domain.sides, self.reach)]
        return math.isinf(minimum(slope, window, tolerance=1.0, most=2000).lower)

    def ratio(self, box: Box, target: Any, *, settled: bool = True) -> Any:
        """r(y) = g′(y)/(y − x*) over a box.

        What lies in all of: g″ between the box and x*, by the mean value, where ``settled`` says
        that g′(x*) = 0; g′ over y − x*; and r(m) + r′(Y)(Y − m), with r′ = (g″ − r)/(y − x*).
        """
        low, high = box[0]
        y, place = ball(low, high), (low + high) / 2
        if settled and y.overlaps(target):
            return self.smoothed(y.union(target))[1]
        middle = ball(place, place)
        at_middle = self.slope_at(place) / (middle - target)
        if low == high:
            return at_middle
        slope, bend = self.smoothed(y)
        found = slope / (y - target)
        turned = at_middle + (bend - found) / (y - target) * (y - middle)
        found = common(found, turned)
        near = y.union(target)
        if settled and float(near.rad()) < 4 * (high - low):
            found = common(found, self.smoothed(near)[1])
        return found

    def zero(self, near: float, domain: Domain) -> Any | None:
        """A ball in the domain with one zero of g′ in it, where g′ rises: the nearest found, proved.

        ``None`` where there is none, or interval Newton proves none.
        """
        (low, high) = domain.sides[0]
        places = sorted({near, *(low + (high - low) * i / SCAN for i in range(SCAN + 1))})
        values = [float(self.slope_at(p).mid()) for p in places]
        rising = [
            (a, b)
            for a, b, u, v in zip(places, places[1:], values, values[1:])
            if u <= 0 <= v and u < v
        ]
        for a, b in sorted(rising, key=lambda ends: abs((ends[0] + ends[1]) / 2 - near)):
            found = self._newton(self._bisected(a, b), domain)
            if found is not None:
                return found
        return None

    def _bisected(self, low: float, high: float) -> float:
        for _ in range(80):
            middle = (low + high) / 2
            if float(self.slope_at(middle).mid()) < 0:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    def _newton(self, zero: float, domain: Domain) -> Any | None:
        """Interval Newton: N(Y) = m − g′(m)/g″(Y) inside Y proves one zero in Y, and it is in N(Y)."""
        middle = ball(zero, zero)
        value = self.slope_at(zero)
        for share in (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4):
            half = share * domain.size
            box = ball(zero - half, zero + half)
            if not domain.holds((zero - half,)) or not domain.holds((zero + half,)):
                return None
            step = middle - value / self.smoothed(box)[1]
            if step.is_finite() and zero - half < below(step) and above(step) < zero + half:
                return step
        return None


def prove_line(
    formula: Formula,
    learning_rate: float,
    noise: Noise,
    target: float,
    domain: Domain,
    *,
    tolerance: float = 1e-3,
    most: int = 20_000,
) -> Constants | None:
    """The constants of a formula of one variable, proved.

    The target is moved to the zero of g′ next to it; c of a target that is none would be −∞. Where
    no zero can be proved, c and C are taken outside a small ball around the target.

    Returns:
        ``None`` where no closed form is known for the noise, where f′ or c could not be bounded.
    """
    if not Line.takes(formula, noise):
        return None
    line = Line(formula, learning_rate, noise)
    if line.steep(domain):
        return None
    zero = line.zero(target, domain)
    low, high = domain.sides[0]
    centre = target if zero is None else float(zero.mid())
    gap = 0.0 if zero is not None else GAP * domain.reach((centre,))
    at = ball(centre, centre) if zero is None else zero
    outer: list[Box] = [((low, centre - gap),), ((centre + gap, high),)]
    outer = [box for box in outer if box[0][0] < box[0][1]]

    def bound(enclose: Any, boxes: list[Box], sign: float) -> Constant:
        found = minimum(enclose, boxes, tolerance=tolerance, most=most)
        return Constant(sign * found.lower, sign * found.upper, found.where, True, found.boxes)

    ratio = partial(line.ratio, target=at, settled=zero is not None)
    convexity = bound(ratio, outer, 1.0)
    if math.isinf(convexity.value):
        return None
    if not convexity.value > 0:  # then the rest certifies nothing
        most = most // 10
    slope = bound(lambda box: -abs(ratio(box)), outer, -1.0)
    excess = offset = 0.0
    if zero is None:
        inner: list[Box] = [((centre - gap, centre),), ((centre, centre + gap),)]
        excess = max(0.0, bound(partial(_shortfall, line, at, convexity.value), inner, -1.0).value)
        offset = max(0.0, bound(partial(_surplus, line, at, slope.value), inner, -1.0).value)
    window: list[Box] = [widened(domain.sides, line.reach)]
    return Constants(
        domain=domain,
        target=(centre,),
        settled=zero is not None,
        gap=gap,
        excess=excess,
        offset=offset,
        convexity=convexity,
        slope=slope,
        smoothness=bound(lambda box: -abs(line.derivatives(ball(*box[0]))[2]), window, -1.0),
        variance=largest_variance(line, domain, tolerance, most),
        closed=_closed(line, domain),
    )


def _shortfall(line: Line, target: Any, convexity: float, box: Box) -> Any:
    """−(ce² − g′(y)e)."""
    y = ball(*box[0])
    return (line.smoothed(y)[0] - convexity * (y - target)) * (y - target)


def _surplus(line: Line, target: Any, slope: float, box: Box) -> Any:
    """−(g′(y)² − C²e²)."""
    y = ball(*box[0])
    return (slope * (y - target)) ** 2 - line.smoothed(y)[0] ** 2


def _closed(line: Line, domain: Domain) -> bool:
    """Whether x ↦ x − ηf′(x) maps everything within ρ of the domain into the domain."""
    low, high = domain.sides[0]

    def room(box: Box) -> Any:
        (a, b) = box[0]
        x = ball(a, b)
        _, slope, bend = line.derivatives(x)
        landed = x - line.eta * slope
        if a < b:
            middle = ball((a + b) / 2, (a + b) / 2)
            at_middle = middle - line.eta * line.derivatives(middle)[1]
            landed = common(landed, at_middle + (1 - line.eta * bend) * (x - middle))
        return (landed - low).min(high - landed)

    found = minimum(room, [widened(domain.sides, line.reach)], most=4000, enough=0.0, hopeless=0.0)
    return found.lower >= 0
