"""One and two dimensions, proved for polynomials times plane waves: c, C, L and V in closed form.

The smoothed loss, its derivatives and the variance of a step are sums of the same kind, bounded over
a box by branch and bound.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from thalweg.objective.formula import Formula
from thalweg.objective.noise import Noise
from thalweg.theory.constants import Constant, Constants
from thalweg.theory.domain import Domain
from thalweg.theory.intervals import (
    Box,
    above,
    ball,
    below,
    common,
    exact,
    minimum,
    power,
    widened,
)
from thalweg.theory.root import zero_of
from thalweg.theory.waves import NotCoveredError, Waves, evaluator, expanded, smoothed

__all__ = ["prove_waves"]

Balls = list[Any]


class Field:
    """∇g and ∇²g, and the map T(x) = x − η∇f(x) with its derivatives, enclosed over boxes."""

    def __init__(self, waves: Waves, mean: Waves) -> None:
        self.dim = dim = waves.dim
        self.pairs = [(i, j) for i in range(dim) for j in range(i + 1)]
        slopes = [mean.derivative(i) for i in range(dim)]
        bends = [slopes[i].derivative(j) for i, j in self.pairs]
        self._slopes = evaluator(slopes)
        self._both = evaluator([*slopes, *bends])
        raw = [waves.derivative(i) for i in range(dim)]
        self._raw = evaluator([*raw, *(raw[i].derivative(j) for i, j in self.pairs)])

    def slopes(self, box: Balls) -> Balls:
        """∇g."""
        return self._slopes(box)

    def both(self, box: Balls) -> tuple[Balls, list[Balls]]:
        """∇g and ∇²g."""
        return self._split(self._both(box))

    def raw(self, box: Balls) -> tuple[Balls, list[Balls]]:
        """∇f and ∇²f."""
        return self._split(self._raw(box))

    def _split(self, values: Balls) -> tuple[Balls, list[Balls]]:
        bends = [[exact(0)] * self.dim for _ in range(self.dim)]
        for (i, j), value in zip(self.pairs, values[self.dim :]):
            bends[i][j] = bends[j][i] = value
        return values[: self.dim], bends


def prove_waves(
    formula: Formula,
    learning_rate: float,
    noise: Noise,
    target: tuple[float, ...],
    domain: Domain,
    *,
    tolerance: float | None = None,
    most: int = 6000,
) -> Constants | None:
    """The constants of a sum of polynomials times plane waves in one or two variables, proved.

    Returns:
        ``None`` for another formula, for noise without a closed form, where no zero of ∇g could be
        proved near the target, or where c could not be bounded.
    """
    waves = expanded(formula) if formula.dim <= 2 else None
    mean = None if waves is None else smoothed(waves, noise, learning_rate)
    if waves is None or mean is None:
        return None
    tolerance = tolerance or (1e-3 if formula.dim == 1 else 1e-2)
    field = Field(waves, mean)
    zero = zero_of(field, target, domain)
    if zero is None:
        return None
    centre = tuple(float(z.mid()) for z in zero)
    orthants = _orthants(domain, centre)

    def bound(enclose: Callable[[Box], Any], boxes: Sequence[Box], sign: float) -> Constant:
        found = minimum(enclose, boxes, tolerance=tolerance, most=most)
        where, seen = found.where, found.upper
        if not math.isfinite(seen):  # boxes without end have no middle
            where, seen = centre, above(enclose(tuple((p, p) for p in centre)))
        return Constant(sign * found.lower, sign * seen, where, True, found.boxes)

    convexity = bound(partial(_ratio, field, zero), orthants, 1.0)
    if math.isinf(convexity.value):
        return None
    if not convexity.value > 0:  # then the rest certifies nothing
        most = most // 10
    square = bound(lambda box: -_steepness(field, zero, box), orthants, -1.0)
    reach = above(exact(learning_rate) * exact(noise.bound(1)))
    window = widened(domain.sides, reach) if math.isfinite(reach) else _everywhere(domain.dim)
    stretch = exact(learning_rate)
    return Constants(
        domain=domain,
        target=centre,
        settled=True,
        convexity=convexity,
        slope=_rooted(square),
        smoothness=bound(lambda box: -_norm(field.raw(_balls(box))[1]), [window], -1.0),
        variance=_variance(waves, field, noise, learning_rate, domain, window, bound),
        closed=math.isfinite(reach) and _closed(field, stretch, domain, window),
    )


def _ratio(field: Field, target: Balls, box: Box) -> Any:
    """⟨∇g(y), e⟩/‖e‖² over a box: what the mean value and the centred forms have in common."""
    y = _balls(box)
    near = [a.union(b) for a, b in zip(y, target)]
    found = _spectrum(field.both(near)[1])
    e = [a - b for a, b in zip(y, target)]
    square = _square(e)
    if not square > 0:
        return found
    slopes, bends = field.both(y)
    middle = [exact(float(a.mid())) for a in y]
    shift = [a - b for a, b in zip(y, middle)]
    there = field.slopes(middle)
    slopes = [common(s, t + _dot(row, shift)) for s, t, row in zip(slopes, there, bends)]
    found = common(found, _dot(slopes, e) / square)
    offset = [a - b for a, b in zip(middle, target)]
    base = _square(offset)
    if base > 0:
        turn = [(_dot(row, e) + s - found * d * 2) / square for row, s, d in zip(bends, slopes, e)]
        found = common(found, _dot(there, offset) / base + _dot(turn, shift))
    return found


def _steepness(field: Field, target: Balls, box: Box) -> Any:
    """‖∇g(y)‖²/‖e‖² over a box, in the same ways."""
    y = _balls(box)
    near = [a.union(b) for a, b in zip(y, target)]
    found = ball(0.0, above(power(_norm(field.both(near)[1]), 2)))
    e = [a - b for a, b in zip(y, target)]
    square = _square(e)
    if not square > 0:
        return found
    slopes, bends = field.both(y)
    middle = [exact(float(a.mid())) for a in y]
    shift = [a - b for a, b in zip(y, middle)]
    there = field.slopes(middle)
    slopes = [common(s, t + _dot(row, shift)) for s, t, row in zip(slopes, there, bends)]
    found = common(found, _square(slopes) / square)
    offset = [a - b for a, b in zip(middle, target)]
    base = _square(offset)
    if base > 0:
        turn = [
            (_dot([bends[i][j] for i in range(field.dim)], slopes) - found * e[j]) * 2 / square
            for j in range(field.dim)
        ]
        found = common(found, _square(there) / base + _dot(turn, shift))
    return found


def _variance(
    waves: Waves,
    field: Field,
    noise: Noise,
    eta: float,
    domain: Domain,
    window: Box,
    bound: Callable[..., Constant],
) -> Constant:
    """V = Σ E Tᵢ² − (E Tᵢ)² in closed form, or η²E‖ω‖² sup ‖I − η∇²f‖² where that is smaller."""
    moment = noise.second_moment(domain.dim)

    def stretch(box: Box) -> Any:
        bends = field.raw(_balls(box))[1]
        for i, row in enumerate(bends):
            bends[i] = [(1 if i == j else 0) - value * eta for j, value in enumerate(row)]
        return -power(_norm(bends), 2)

    found = bound(stretch, [window], -1.0)
    unit = exact(eta) * exact(eta) * ball(moment * (1 - 1e-12), moment * (1 + 1e-12))
    scale = float(unit.mid())
    value = above(unit * exact(found.value)) if math.isfinite(found.value) else math.inf
    by_slope = Constant(value, scale * found.attained, found.where, True, found.work)
    spread = _spread(waves, noise, eta)
    if spread is None:
        return by_slope
    values = evaluator([spread])
    turns = evaluator([spread.derivative(i) for i in range(waves.dim)])

    def size(box: Box) -> Any:
        y = _balls(box)
        middle = [exact(float(a.mid())) for a in y]
        shift = [a - b for a, b in zip(y, middle)]
        return -common(values(y)[0], values(middle)[0] + _dot(turns(y), shift))

    exactly = bound(size, [domain.sides], -1.0)
    return exactly if exactly.value < by_slope.value else by_slope


def _spread(waves: Waves, noise: Noise, eta: float) -> Waves | None:
    """Var T(y − ηω), summed over the coordinates, as such a sum."""
    dim = waves.dim
    zero = next(iter(waves.terms))[1]
    still = tuple(x * 0 for x in zero)
    total: Waves | None = None
    try:
        for i in range(dim):
            orders = tuple(int(i == j) for j in range(dim))
            one = exact(1) + waves.terms[next(iter(waves.terms))] * 0
            landed = Waves(dim, {(orders, still): one}) + waves.derivative(i).scaled(-exact(eta))
            square, mean = smoothed(landed * landed, noise, eta), smoothed(landed, noise, eta)
            if square is None or mean is None:
                return None
            part = square + (mean * mean).scaled(exact(-1))
            total = part if total is None else total + part
    except NotCoveredError:
        return None
    return total


def _closed(field: Field, eta: Any, domain: Domain, window: Box) -> bool:
    """Whether T maps everything within the noise's reach of the domain into it."""

    def room(box: Box) -> Any:
        x = _balls(box)
        slopes, bends = field.raw(x)
        middle = [exact(float(a.mid())) for a in x]
        shift = [a - b for a, b in zip(x, middle)]
        there = field.raw(middle)[0]
        least = None
        for i, (low, high) in enumerate(domain.sides):
            row = [(1 if i == j else 0) - eta * bend for j, bend in enumerate(bends[i])]
            centred = middle[i] - eta * there[i] + _dot(row, shift)
            landed = common(x[i] - eta * slopes[i], centred)
            inside = (landed - low).min(high - landed)
            least = inside if least is None else least.min(inside)
        return least

    return minimum(room, [window], most=4000, enough=0.0, hopeless=0.0).lower >= 0


def _orthants(domain: Domain, centre: tuple[float, ...]) -> list[Box]:
    halves = [((low, p), (p, high)) for (low, high), p in zip(domain.sides, centre)]
    return list(itertools.product(*halves))


def _everywhere(dim: int) -> Box:
    return ((-math.inf, math.inf),) * dim


def _balls(box: Box) -> Balls:
    return [ball(low, high) for low, high in box]


def _dot(first: Balls, second: Balls) -> Any:
    return sum((a * b for a, b in zip(first, second)), exact(0))


def _square(balls: Balls) -> Any:
    return sum((power(b, 2) for b in balls), exact(0))


def _spectrum(matrix: list[Balls]) -> Any:
    """Everything between the lowest and the highest eigenvalue of the symmetric matrices.

    By the formula for two rows and by Gershgorin's discs, whichever is closer at each end.
    """
    if len(matrix) == 1:
        return matrix[0][0]
    (a, b), (_, d) = matrix
    apart = (power((a - d) / 2, 2) + power(b, 2)).sqrt()
    roots = ((a + d) / 2 - apart).union((a + d) / 2 + apart)
    return common(roots, (a - abs(b)).union(a + abs(b)).union(d - abs(b)).union(d + abs(b)))


def _norm(matrix: list[Balls]) -> Any:
    """The spectral norm of the symmetric matrices, ‖t‖ + s for the eigenvalues t ± s."""
    if len(matrix) == 1:
        return abs(matrix[0][0])
    (a, b), (_, d) = matrix
    size = abs((a + d) / 2) + (power((a - d) / 2, 2) + power(b, 2)).sqrt()
    most = above(abs(a).max(abs(d)) + abs(b))
    if not size.is_finite():
        return ball(0.0, most) if math.isfinite(most) else size
    return ball(max(0.0, below(size)), min(above(size), most))


def _rooted(square: Constant) -> Constant:
    root = above(exact(max(0.0, square.value)).sqrt())
    seen = math.sqrt(max(0.0, square.attained))
    return Constant(root, seen, square.where, True, square.work)
