"""Minima of a landscape on a domain, and in one dimension the walls between them."""

from dataclasses import dataclass

import numpy as np
import torch

from thalweg.objective.base import Objective
from thalweg.theory.domain import Domain

__all__ = ["Basin", "basins", "minima"]

LINE = 20_001
"""Places looked at in one dimension."""

PLANE = 301
"""Places along each side in two dimensions."""


@dataclass(frozen=True)
class Basin:
    """A minimum on a line, and the wall between it and the target.

    Attributes:
        minimum: where it is.
        top: the first maximum between the minimum and the target.
        height: f(top) − f(minimum).
        noise: the largest \\|f′\\| on the wall: with \\|ω\\| ≤ r and ηL ≤ 1 the basin can be left
            this way if and only if r exceeds it.
    """

    minimum: float
    top: float
    height: float
    noise: float


def basins(objective: Objective, target: float, domain: Domain) -> list[Basin]:
    """The minima in the domain between which and the target there is a wall; one dimension.

    Minima and maxima are where f′ changes sign on 20 001 places, found to double precision.
    """
    low, high = domain.sides[0]
    places = np.linspace(low, high, LINE)
    slopes = _slopes(objective, places)
    turning = _turning(objective, places, slopes)
    tops = [place for place, rises in turning if not rises]
    found = []
    for place, rises in turning:
        between = [top for top in tops if min(place, target) < top < max(place, target)]
        if not rises or not between:
            continue
        top = min(between, key=lambda t: abs(t - place))
        wall = np.linspace(place, top, 2001)
        height = float(np.subtract(*_losses(objective, np.array([top, place]))))
        found.append(Basin(place, top, height, float(np.abs(_slopes(objective, wall)).max())))
    return found


def minima(objective: Objective, domain: Domain) -> list[tuple[float, ...]]:
    """The minima of f inside the domain, for one or two dimensions; none found above that."""
    if domain.dim == 1:
        places = np.linspace(*domain.sides[0], LINE)
        turning = _turning(objective, places, _slopes(objective, places))
        return [(place,) for place, rises in turning if rises]
    if domain.dim == 2:
        return _minima_of_plane(objective, domain)
    return []


def _turning(
    objective: Objective, places: np.ndarray, slopes: np.ndarray
) -> list[tuple[float, bool]]:
    """Where f′ changes sign, and whether upward."""
    signs = np.sign(slopes)
    inside = np.nonzero(signs)[0]  # a place that is itself a zero is passed over
    changes = np.nonzero(np.diff(signs[inside]))[0]
    lows, highs = places[inside[changes]], places[inside[changes + 1]]
    rising = signs[inside[changes]] < 0
    for _ in range(60):
        middles = (lows + highs) / 2
        above = (_slopes(objective, middles) > 0) == rising
        lows, highs = np.where(above, lows, middles), np.where(above, middles, highs)
    return [(float(p), bool(r)) for p, r in zip((lows + highs) / 2, rising)]


def _minima_of_plane(objective: Objective, domain: Domain) -> list[tuple[float, ...]]:
    """Lowest of their neighbours on a grid, then Newton's method."""
    from scipy.optimize import minimize

    axes = [np.linspace(low, high, PLANE) for low, high in domain.sides]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = _losses(objective, grid.reshape(-1, 2)).reshape(PLANE, PLANE)
    inner = values[1:-1, 1:-1]
    lowest = np.ones_like(inner, dtype=bool)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            if (i, j) != (0, 0):
                lowest &= inner <= values[1 + i : PLANE - 1 + i, 1 + j : PLANE - 1 + j]
    found: list[tuple[float, ...]] = []
    for start in grid[1:-1, 1:-1][lowest]:
        end = minimize(
            lambda p: float(_losses(objective, p[None])[0]),
            start,
            jac=lambda p: _gradients(objective, p[None])[0],
            method="BFGS",
            options={"gtol": 1e-10},
        ).x
        new = all(np.linalg.norm(end - np.array(old)) > 1e-5 * domain.size for old in found)
        if new and domain.holds(end.tolist()):
            found.append(tuple(end.tolist()))
    return found


def _losses(objective: Objective, points: np.ndarray) -> np.ndarray:
    points = points[:, None] if points.ndim == 1 else points
    with torch.no_grad():
        return objective.loss(torch.from_numpy(points)).numpy()


def _slopes(objective: Objective, places: np.ndarray) -> np.ndarray:
    return _gradients(objective, places[:, None])[:, 0]


def _gradients(objective: Objective, points: np.ndarray) -> np.ndarray:
    at = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(objective.loss(at).sum(), at)
    return slopes.numpy()
