"""A zero of a smoothed gradient, found by Newton's method and proved by Krawczyk's operator.

Krawczyk, *Computing* 4 (1969): where m − Y∇g(m) + (1 − Y∇²g(B))(B − m) lies inside the box B there is
exactly one zero of ∇g in B, for any matrix Y.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.theory.domain import Domain
from thalweg.theory.intervals import above, ball, below, exact

if TYPE_CHECKING:
    from thalweg.theory.plane import Field

__all__ = ["zero_of"]


def zero_of(field: "Field", target: tuple[float, ...], domain: Domain) -> list[Any] | None:
    """A ball with one zero of ∇g in it: Newton's method, then Krawczyk's operator proves it."""
    point = np.array(target, dtype=float)
    for _ in range(60):
        slopes, bends = field.both([exact(p) for p in point.tolist()])
        matrix = np.array([[float(b.mid()) for b in row] for row in bends])
        value = np.array([float(s.mid()) for s in slopes])
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-300:
            return None
        step = np.linalg.solve(matrix, value)
        point = point - step
        if not np.isfinite(point).all():
            return None
        if np.abs(step).max() < 1e-15 * max(1.0, np.abs(point).max()):
            break
    far = np.linalg.norm(point - np.array(target)) > domain.size / 4
    if far or not domain.holds(point.tolist()):
        return None
    return _krawczyk(field, point, domain)


def _krawczyk(field: "Field", point: np.ndarray, domain: Domain) -> list[Any] | None:
    middle = [exact(p) for p in point.tolist()]
    slopes, bends = field.both(middle)
    inverse = np.linalg.inv(np.array([[float(b.mid()) for b in row] for row in bends]))
    rough = [[exact(v) for v in row] for row in inverse.tolist()]
    size = range(field.dim)
    for share in (1e-13, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3):
        half = share * domain.size
        sides = tuple((p - half, p + half) for p in point.tolist())
        box = [ball(low, high) for low, high in sides]
        turns = field.both(box)[1]
        shift = [a - b for a, b in zip(box, middle)]
        found = []
        for i in size:
            rest = exact(0)
            for j in size:
                product = sum((rough[i][k] * turns[k][j] for k in size), exact(0))
                rest = rest + ((1 if i == j else 0) - product) * shift[j]
            found.append(
                middle[i] - sum((a * b for a, b in zip(rough[i], slopes)), exact(0)) + rest
            )
        inside = all(low < below(z) and above(z) < high for z, (low, high) in zip(found, sides))
        if inside and all(z.is_finite() for z in found):
            return found
    return None
