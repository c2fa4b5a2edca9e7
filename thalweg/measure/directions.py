"""Directions in which a loss is looked at: random, of curvature, the gradient, a path, through points."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import number
from thalweg.measure.aside import Aside
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import Hessian, gradient
from thalweg.objective.supervised import Supervised

__all__ = [
    "NORMALISED",
    "Flat",
    "eigen_directions",
    "gradient_directions",
    "normalised_directions",
    "path_directions",
    "random_directions",
    "through",
]

NORMALISED = ("filter", "layer", "whole")
"""``filter``: each row of a weight (the filter of a convolution, the unit of a linear layer) has the
norm of the row of the parameters that it displaces (Li et al. 2018). ``layer``: the same tensor by
tensor. In both, tensors of one dimension (biases, BatchNorm) have no displacement, as in that
paper's figures. ``whole``: the whole direction has the norm of the whole point."""

MARGIN = 1.1
"""A plane of a path reaches so much farther than the path."""


@dataclass(frozen=True, eq=False)
class Flat:
    """A line or a plane: the points ``origin + Σ aₖ axesₖ``.

    Attributes:
        origin: where all coordinates are 0; ``(dim,)``, float64.
        axes: ``(1, dim)`` or ``(2, dim)``, float64; a coordinate counts these vectors, of whatever
            length, so that what is displaced is what the coordinate says.
        names: of the axes.
        kind: how they were chosen, in a few words.
    """

    origin: Tensor
    axes: Tensor
    names: tuple[str, ...]
    kind: str

    def __post_init__(self) -> None:
        if self.origin.ndim != 1 or self.axes.ndim != 2 or len(self.axes) not in (1, 2):
            raise UsageError(
                "axes must have shape (1, dim) or (2, dim) beside an origin of shape (dim,), not "
                f"{tuple(self.axes.shape)} beside {tuple(self.origin.shape)}"
            )
        if self.axes.shape[1] != len(self.origin) or len(self.names) != len(self.axes):
            raise UsageError("axes must have the dimension of origin, and one name each")
        for name in ("origin", "axes"):
            value: Tensor = getattr(self, name)
            if not bool(torch.isfinite(value).all()):
                raise UsageError(f"{name} must be finite, but is not")
            object.__setattr__(self, name, value.detach().double().cpu())
        gram = self.axes @ self.axes.T
        if not bool(gram.diagonal().all()) or float(torch.linalg.cond(gram)) > 1e12:
            one = len(self.axes) == 1
            what = f"the {'axis' if one else 'axes'} {' and '.join(self.names)}"
            raise UsageError(f"{what} must not vanish{'' if one else ' or be parallel'}")

    @property
    def lengths(self) -> tuple[float, ...]:
        """‖axis‖ of each: the displacement by a coordinate of 1."""
        return tuple(float(axis.norm()) for axis in self.axes)

    @property
    def angle(self) -> float:
        """Between the two axes, in degrees; of a line 90."""
        if len(self.axes) == 1:
            return 90.0
        one, two = (axis / axis.norm() for axis in self.axes)
        return math.degrees(math.acos(max(-1.0, min(1.0, float(one @ two)))))

    def at(self, coordinates: Tensor) -> Tensor:
        """Points ``(..., dim)`` in float64 at coordinates ``(..., 1)`` or ``(..., 2)``."""
        return self.origin + coordinates.double() @ self.axes

    def coordinates(self, points: Tensor) -> Tensor:
        """Coordinates ``(..., k)`` of the points' nearest neighbours on the line or plane."""
        gram = self.axes @ self.axes.T
        offsets = (points.detach().double().cpu() - self.origin) @ self.axes.T
        return (
            torch.linalg.solve(gram, offsets.mT).mT
            if offsets.ndim > 1
            else torch.linalg.solve(gram, offsets)
        )

    def share(self, points: Tensor) -> float:
        """Of a path's motion from point to point ``(n, dim)``, the share that lies in the plane.

        Σ‖P(xᵢ₊₁ − xᵢ)‖² / Σ‖xᵢ₊₁ − xᵢ‖² with P the orthogonal projection; NaN without motion.
        """
        moves = points.detach().double().cpu().diff(dim=0)
        held = self.coordinates(self.origin + moves) @ self.axes
        whole = float(moves.square().sum())
        return float(held.square().sum()) / whole if whole > 0 else math.nan


def random_directions(
    objective: Objective,
    point: Tensor,
    *,
    generator: torch.Generator,
    count: int = 2,
    normalised: str = "filter",
) -> Flat:
    """Gaussian directions through a point, scaled by one of :data:`NORMALISED`.

    An objective that is no network has no filters: there every choice but ``whole`` is refused. A
    single filter of norm 0 stays where it is. Where they all are 0, as before a network that begins
    at zero has learnt anything, no norm is left to take: the same tensors are then moved by unit
    vectors, or all of them where none has two dimensions, and ``kind`` says so.
    """
    axes = normalised_directions(
        objective, point, generator=generator, count=count, normalised=normalised
    )
    kind = f"random directions, {normalised}-normalised"
    if not axes.any():
        draws = torch.randn(axes.shape, generator=generator, dtype=torch.float64)
        assert isinstance(objective, Supervised)  # a whole direction never vanishes
        moved = [torch.full((p.numel(),), p.ndim > 1) for p in objective.placed.parameters]
        mask = torch.cat(moved)
        axes = draws * mask if bool(mask.any()) else draws
        axes = axes / axes.norm(dim=1, keepdim=True)
        kind = f"random directions of length 1, as no {normalised} has a norm above 0 to take"
    names = tuple(f"random {place}" for place in range(1, count + 1))
    return Flat(point, axes, names, kind)


def normalised_directions(
    objective: Objective,
    point: Tensor,
    *,
    generator: torch.Generator,
    count: int = 1,
    normalised: str = "filter",
) -> Tensor:
    """The vectors of :func:`random_directions` ``(count, dim)``: 0 where every filter is 0."""
    if normalised not in NORMALISED:
        raise UsageError(f"normalised must be one of {', '.join(NORMALISED)}, not {normalised!r}")
    _check(objective, point, count)
    origin = point.detach().double().cpu()
    draws = torch.randn(count, objective.dim, generator=generator, dtype=torch.float64)
    if normalised == "whole":
        scale = origin.norm() if bool(origin.norm() > 0) else origin.new_ones(())
        return draws / draws.norm(dim=1, keepdim=True) * scale
    if not isinstance(objective, Supervised):
        raise UsageError(
            f"normalised must be whole for {type(objective).__name__}, not {normalised}"
        )
    shapes = [tuple(p.shape) for p in objective.placed.parameters]
    return torch.stack([_scaled(draw, origin, shapes, normalised) for draw in draws])


def eigen_directions(
    objective: Objective, point: Tensor, *, count: int = 2, rtol: float = 1e-2
) -> Flat:
    """Unit eigenvectors of the Hessian of the largest eigenvalues; of a line only the first.

    The second is sought at right angles to the first, so that of two equal eigenvalues both are
    shown, and a curvature of 0 or below 0 where no larger one is left; ``kind`` tells the two.
    """
    _check(objective, point, count)
    if count > objective.dim:
        raise UsageError("count must be 1 for a line where point has one coordinate, not 2")
    hessian = Hessian(objective, point)
    first = extreme_eigenvalues(hessian, point, top=1, bottom=0, rtol=rtol)
    axes, values = [first.top_vector], [first.top[0]]
    if count == 2 and bool(torch.isfinite(first.top_vector).all()):
        rest = Aside(hessian, first.top_vector)
        # From another start: the first one is all but used up where there are few eigenvalues.
        generator = torch.Generator().manual_seed(1)
        second = extreme_eigenvalues(rest, point, top=1, bottom=0, rtol=rtol, generator=generator)
        axes.append(rest.lifted(second.top_vector))
        values.append(second.top[0])
    elif count == 2:
        axes = 2 * axes
    names = tuple(f"eigenvector {k}" for k in range(1, count + 1))
    rounding = 16 * torch.finfo(point.dtype).eps * max(abs(e.value) for e in values)
    none = [abs(e.value) <= max(e.error, rounding) for e in values]
    told = " and ".join(number(0.0 if n else e.value, 3) for e, n in zip(values, none))
    return Flat(point, torch.stack(axes), names, f"eigenvectors of the largest curvature, {told}")


def gradient_directions(
    objective: Objective, point: Tensor, *, generator: torch.Generator, count: int = 2
) -> Flat:
    """The unit vector of minus the gradient and, for a plane, a random one at right angles to it."""
    _check(objective, point, count)
    slope = -gradient(objective, point.detach()).double().cpu()
    if not 0 < float(slope.norm()) < math.inf:
        how = "vanishes" if float(slope.norm()) == 0 else "is not finite"
        raise UsageError(f"point must have a gradient for a line along it, but it {how} there")
    axes = [slope / slope.norm()]
    names = ["minus gradient"]
    if count == 2:
        other = torch.randn(objective.dim, generator=generator, dtype=torch.float64)
        other -= (other @ axes[0]) * axes[0]
        axes.append(other / other.norm())
        names.append("random, at right angles")
    return Flat(point, torch.stack(axes), tuple(names), "along the gradient")


def path_directions(
    points: Mapping[int, Tensor] | Sequence[Tensor] | Tensor, *, count: int = 2
) -> Flat:
    """The principal components of a path, seen from its last point (Li et al. 2018, section 7).

    They are those of the displacements from the last point, not centred. Each axis is as long as
    the path reaches along it and a tenth more, so that the path lies within −1 and 1.
    """
    rows = list(points.values()) if isinstance(points, Mapping) else list(points)
    if len(rows) <= count:
        raise UsageError(f"points must be more than {count} for {count} axes, not {len(rows)}")
    path = torch.stack([row.detach().double().cpu() for row in rows])
    moves = path - path[-1]
    _, lengths, axes = torch.linalg.svd(moves[:-1], full_matrices=False)
    if not bool(lengths[count - 1] > 1e-9 * lengths[0]):
        raise UsageError(f"points must span {count} directions, but lie in fewer")
    axes = axes[:count]
    axes = axes * MARGIN * (moves @ axes.T).abs().amax(dim=0)[:, None]
    names = tuple(f"component {k}" for k in range(1, count + 1))
    return Flat(path[-1], axes, names, "principal components of the path")


def through(points: Sequence[Tensor]) -> Flat:
    """The line through two points, or the plane through three.

    The first has the coordinates (0, 0), the second (1, 0), the third (0, 1): the weights of the
    second and the third in barycentric coordinates.
    """
    if len(points) not in (2, 3):
        raise UsageError(f"points must be two or three, not {len(points)}")
    first, *others = (p.detach().double().cpu() for p in points)
    axes = torch.stack([other - first for other in others])
    names = tuple(f"to point {k}" for k in range(2, len(points) + 1))
    return Flat(first, axes, names, f"through {'two' if len(points) == 2 else 'three'} points")


def _scaled(draw: Tensor, origin: Tensor, shapes: Sequence[tuple[int, ...]], by: str) -> Tensor:
    sizes = [math.prod(shape) for shape in shapes]
    pieces = []
    for shape, own, theirs in zip(shapes, draw.split(sizes), origin.split(sizes), strict=True):
        if len(shape) < 2:
            pieces.append(torch.zeros_like(own))
            continue
        rows = shape[0] if by == "filter" else 1
        own, theirs = own.view(rows, -1), theirs.view(rows, -1)
        pieces.append((own * (theirs.norm(dim=1) / own.norm(dim=1))[:, None]).reshape(-1))
    return torch.cat(pieces)


def _check(objective: Objective, point: Tensor, count: int) -> None:
    objective.check_finite(point)
    if point.ndim != 1:
        raise UsageError(f"point must be one point, but has shape {tuple(point.shape)}")
    if count not in (1, 2):
        raise UsageError(f"count must be 1 for a line or 2 for a plane, not {count!r}")
