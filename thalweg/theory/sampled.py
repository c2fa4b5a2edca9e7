"""Any objective in few dimensions: c, C, L and V estimated on a grid, refined where they are worst.

These are estimates of the constants, not bounds: what lies between the places looked at is not seen.
"""

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch

from thalweg.errors import UsageError
from thalweg.objective.base import Objective
from thalweg.objective.noise import Noise, Sphere
from thalweg.objective.smoothed import Smoothed
from thalweg.theory.constants import Constant, Constants
from thalweg.theory.domain import Domain

__all__ = ["Sampled", "estimate_constants", "one_point_ratio"]

GRID = 4096
"""Places of a grid."""

CLOSE = 1e-2
"""Change at which the quadrature of ∇g stops, some ten times its error: over many places."""

DRAWS = 512
"""Draws that the variance of a step is taken over, the same ones at every place."""

FEW = 256
"""Places at which the variance of a step is estimated."""

GAP = 0.01
"""Without a zero of ∇g: c is taken where ‖e‖ is at least this share of the domain's reach."""

Values = Callable[[np.ndarray], np.ndarray]


class Sampled:
    """An objective smoothed by ηω, as functions of points ``(n, dim)``.

    Args:
        objective: of any dimension.
        learning_rate: η.
        noise: of the gradient.
        seed: of the draws of ω.
    """

    def __init__(
        self, objective: Objective, learning_rate: float, noise: Noise, *, seed: int = 0
    ) -> None:
        self.objective = objective
        self.eta = learning_rate
        self.noise = noise
        self.seed = seed
        self.mean = Smoothed(objective, noise.scaled(learning_rate), tolerance=CLOSE, seed=seed)

    @cached_property
    def steps(self) -> np.ndarray:
        """Draws of ηω, ``(draws, dim)``; each with its mirror image, so that their mean is 0."""
        dim = self.objective.dim
        bound = self.noise.bound(dim)
        if bound == 0:
            return np.zeros((1, dim))
        if dim == 1 and math.isfinite(bound) and not isinstance(self.noise, Sphere):
            unit = (np.arange(DRAWS) + 0.5) / DRAWS * 2 - 1
            return self.eta * bound * unit[:, None]
        generator = torch.Generator().manual_seed(self.seed)
        half = self.noise.draw((DRAWS // 2, dim), generator).numpy()
        return self.eta * np.concatenate([half, -half])

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """∇f, ``(n, dim)``."""
        at = torch.tensor(points, dtype=torch.float64, requires_grad=True)
        loss = self.objective.loss(at)
        if not loss.requires_grad:
            return np.zeros_like(points)
        (slopes,) = torch.autograd.grad(loss.sum(), at)
        return slopes.numpy()

    def smoothed(self, points: np.ndarray) -> np.ndarray:
        """∇g, ``(n, dim)``."""
        return self.mean.gradient(torch.from_numpy(points)).numpy()

    def variance(self, points: np.ndarray) -> np.ndarray:
        """Var(ηω + η∇f(y − ηω)) summed over the coordinates, ``(n,)``."""
        rows = max(1, 400_000 // len(self.steps))
        spreads = []
        for start in range(0, len(points), rows):
            part = points[start : start + rows]
            shifted = (part[:, None] - self.steps).reshape(-1, part.shape[1])
            slopes = self.gradient(shifted).reshape(len(part), len(self.steps), -1)
            spreads.append((self.steps + self.eta * slopes).var(axis=1).sum(axis=-1))
        return np.concatenate(spreads)


@np.errstate(over="ignore")  # what overflows is infinite, and told as that
def estimate_constants(
    objective: Objective,
    learning_rate: float,
    noise: Noise,
    target: tuple[float, ...],
    domain: Domain,
    *,
    seed: int = 0,
) -> Constants:
    """The constants of an objective on a domain, estimated.

    On a grid of some 4096 places, refined by sampling around the worst. The target is moved to the
    zero of ∇g that is found from it; where there is none, c and C are taken outside a small ball
    around it, and the pair (c, δ) holds everywhere.

    Raises:
        UsageError: an objective whose gradient is not finite on the domain.
    """
    sampled = Sampled(objective, learning_rate, noise, seed=seed)
    grid = domain.grid(_places(sampled))
    slopes = sampled.smoothed(grid)
    if not np.isfinite(slopes).all():
        worst = grid[~np.isfinite(slopes).all(axis=-1)][0]
        raise UsageError(
            f"domain must be where the loss has a finite gradient, but at {worst.tolist()} and "
            "within the noise's reach of it there is none"
        )
    zero = _zero(sampled, target, domain)
    settled = target if zero is None else zero
    gap = GAP * domain.reach(settled) if zero is None else 1e-6 * domain.reach(settled)
    centre = np.array(settled)

    def ratio(points: np.ndarray) -> np.ndarray:
        e = points - centre
        squares = (e**2).sum(axis=-1)
        inner = (sampled.smoothed(points) * e).sum(axis=-1)
        return np.where(squares >= gap**2, inner / np.maximum(squares, gap**2), math.inf)

    def steepness(points: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(points - centre, axis=-1)
        sizes = np.linalg.norm(sampled.smoothed(points), axis=-1)
        return np.where(lengths >= gap, sizes / np.maximum(lengths, gap), -math.inf)

    convexity = _lowest(ratio, domain, grid, seed)
    slope = _negated(_lowest(lambda p: -steepness(p), domain, grid, seed))
    excess = offset = 0.0
    if zero is None:
        near = Domain(tuple((p - gap, p + gap) for p in settled)).grid(GRID)
        e = near - centre
        inside = (e**2).sum(axis=-1) < gap**2
        gradients, squares = sampled.smoothed(near), (e**2).sum(axis=-1)
        inner = (gradients * e).sum(axis=-1)
        excess = float(np.max((convexity.value * squares - inner)[inside], initial=0.0))
        flat = (gradients**2).sum(axis=-1) - slope.value**2 * squares
        offset = float(np.max(flat[inside], initial=0.0))
    reach = learning_rate * _extent(noise, domain.dim)
    window = Domain(tuple((low - reach, high + reach) for low, high in domain.sides))
    coarse = domain.grid(FEW)
    return Constants(
        domain=domain,
        target=settled,
        settled=zero is not None,
        gap=gap if zero is None else 0.0,
        excess=excess,
        offset=offset,
        convexity=convexity,
        slope=slope,
        smoothness=_smoothness(sampled, window, seed),
        variance=_variance(sampled, domain, coarse, seed),
        closed=_closed(sampled, domain, window),
    )


@np.errstate(over="ignore")  # what overflows is infinite, and told as that
def one_point_ratio(
    sampled: Sampled, target: tuple[float, ...], domain: Domain
) -> tuple[float, bool]:
    """The lowest ⟨∇g(y), y − x*⟩/‖y − x*‖² seen, and whether x* is a zero of ∇g."""
    zero = _zero(sampled, target, domain)
    centre = np.array(target if zero is None else zero)
    gap = (GAP if zero is None else 1e-6) * domain.reach(centre.tolist())

    def ratio(points: np.ndarray) -> np.ndarray:
        e = points - centre
        squares = (e**2).sum(axis=-1)
        inner = (sampled.smoothed(points) * e).sum(axis=-1)
        return np.where(squares >= gap**2, inner / np.maximum(squares, gap**2), math.inf)

    return _lowest(ratio, domain, domain.grid(_places(sampled)), 0).value, zero is not None


def _places(sampled: Sampled) -> int:
    """Fewer where the mean is a quadrature over a plane."""
    plane = sampled.objective.dim > 1 and sampled.mean.method != "closed form"
    return GRID // 4 if plane else GRID


def _lowest(values: Values, domain: Domain, places: np.ndarray, seed: int) -> Constant:
    """The lowest value seen, on given places and in ever smaller boxes around the lowest."""
    rng = np.random.default_rng(seed)
    found = values(places)
    best = int(np.argmin(found))
    where, value, work = places[best], float(found[best]), len(places)
    half = np.array([high - low for low, high in domain.sides]) / 16
    low, high = np.array(domain.sides).T
    for _ in range(4):
        near = np.clip(where + half * rng.uniform(-1, 1, (128, len(where))), low, high)
        found = values(near)
        best = int(np.argmin(found))
        if found[best] < value:
            where, value = near[best], float(found[best])
        work += len(near)
        half = half / 6
    return Constant(value, value, tuple(where.tolist()), False, work)


def _negated(constant: Constant) -> Constant:
    return Constant(-constant.value, -constant.attained, constant.where, False, constant.work)


def _variance(sampled: Sampled, domain: Domain, places: np.ndarray, seed: int) -> Constant:
    if math.isinf(sampled.noise.second_moment(domain.dim)):
        return Constant(math.inf, math.inf, tuple(places[0].tolist()), False, 0)
    return _negated(_lowest(lambda p: -sampled.variance(p), domain, places, seed))


def _smoothness(sampled: Sampled, window: Domain, seed: int) -> Constant:
    """The largest \\|∇f(a) − ∇f(b)\\|/\\|a − b\\| over pairs that are close together."""
    step = 1e-4 * window.size
    ways = np.random.default_rng(seed).normal(size=(8, window.dim))
    ways = np.concatenate([np.eye(window.dim), ways]) if window.dim > 1 else np.eye(1)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)

    def curvature(points: np.ndarray) -> np.ndarray:
        pairs = [
            np.linalg.norm(
                sampled.gradient(points + step / 2 * way)
                - sampled.gradient(points - step / 2 * way),
                axis=-1,
            )
            for way in ways
        ]
        return np.max(pairs, axis=0) / step

    return _negated(_lowest(lambda p: -curvature(p), window, window.grid(GRID), seed))


def _closed(sampled: Sampled, domain: Domain, window: Domain) -> bool:
    if math.isinf(sampled.noise.bound(domain.dim)):
        return False
    places = window.grid(GRID)
    landed = places - sampled.eta * sampled.gradient(places)
    low, high = np.array(domain.sides).T
    return bool(((landed >= low) & (landed <= high)).all())


def _extent(noise: Noise, dim: int) -> float:
    """How far the noise reaches: its bound, or three standard deviations where it has none."""
    bound = noise.bound(dim)
    if math.isfinite(bound):
        return bound
    spread = noise.variance(dim)
    return 3 * math.sqrt(spread) if math.isfinite(spread) else 0.0


def _zero(sampled: Sampled, target: tuple[float, ...], domain: Domain) -> tuple[float, ...] | None:
    """A minimum of g found from the target by descent and Newton's method, inside the domain."""
    from scipy.optimize import root

    def slopes(point: np.ndarray) -> np.ndarray:
        return sampled.smoothed(point[None])[0]

    start = np.array(target)
    found = root(slopes, start, method="hybr", options={"xtol": 1e-12})
    scale = max(1e-12, float(np.abs(sampled.smoothed(domain.grid(64))).max()))
    point = found.x
    if not np.isfinite(point).all() or np.abs(slopes(point)).max() > 1e-7 * scale:
        return None
    if not domain.holds(point.tolist()) or np.linalg.norm(point - start) > domain.size / 4:
        return None
    step = 1e-5 * domain.size
    jacobian = np.stack(
        [(slopes(point + step * way) - slopes(point - step * way)) for way in np.eye(domain.dim)]
    ) / (2 * step)
    if np.linalg.eigvalsh((jacobian + jacobian.T) / 2)[0] <= 0:
        return None
    return tuple(point.tolist())
