"""Critical points of an objective of a few variables: found from many starts, then classified."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST, PRODUCT_COST
from thalweg.measure.stationary import stationary_points
from thalweg.objective.base import Objective
from thalweg.objective.dense import gradients_and_hessians

__all__ = ["Classified", "Critical", "critical_points"]

MERGED = 1e-5
"""Points closer than this share of the domain's diagonal are one."""

AROUND = 1e-2
"""Radius, as a share of the diagonal, of the sphere on which the loss is compared with the centre."""

LARGEST_DIM = 64
"""Every Hessian is a whole matrix here."""


@dataclass(frozen=True)
class Classified:
    """A critical point that was found, and what it is.

    Attributes:
        point: where.
        kind: ``minimum``, ``saddle``, ``maximum`` or ``degenerate``.
        eigenvalues: of the Hessian, ascending.
        index: how many of them are below 0 by more than their error.
        loss: f there.
        gradient: ‖∇f‖ that is left.
        error: how far from here the true point may lie.
        starts: how many starts led here.
        isolated: False where it is one of a continuum of critical points of equal loss.
        decided: how ``kind`` was decided, in words.
    """

    point: tuple[float, ...]
    kind: str
    eigenvalues: tuple[float, ...]
    index: int
    loss: float
    gradient: float
    error: float
    starts: int
    isolated: bool
    decided: str


@dataclass(frozen=True)
class Critical:
    """The critical points that were found, by loss.

    Attributes:
        points: each once.
        starts: starting points that were used.
        outside: starts that led out of the domain.
        nowhere: starts from which the gradient did not vanish.
        cost: gradient evaluations, all starts together.
    """

    points: tuple[Classified, ...]
    starts: int
    outside: int
    nowhere: int
    cost: float

    def of_kind(self, kind: str) -> tuple[Classified, ...]:
        """Those of one kind: ``minimum``, ``saddle``, ``maximum`` or ``degenerate``."""
        return tuple(point for point in self.points if point.kind == kind)


def critical_points(
    objective: Objective,
    *,
    domain: Sequence[tuple[float, float]] | None = None,
    starts: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Critical:
    """Look for every critical point in a box, from starts that fill it evenly.

    Each start descends ‖∇f‖² by Levenberg and Marquardt's method and so is drawn to minima, saddles
    and maxima alike; ends that agree are merged. An eigenvalue counts as 0, and the point as
    degenerate, where the gradient that is left allows the point to lie where it vanishes. That all
    were found is likely where many starts led to each, and never certain.

    Args:
        objective: twice differentiable, of at most 64 variables; its loss takes points ``(n, dim)``.
        domain: lowest and highest value of each coordinate; the objective's own by default.
        starts: how many.
        seed: of the starts.
        progress: called with the iterations done and the most there can be.

    Raises:
        UsageError: no domain, or one that fits no box of the objective; no start; too many variables.
    """
    box = _box(objective, domain)
    _check(objective, starts, seed)
    low, high = box
    sobol = torch.quasirandom.SobolEngine(objective.dim, scramble=True, seed=seed)
    begin = low + (high - low) * sobol.draw(starts, dtype=torch.float64)
    found = stationary_points(objective, begin, box, progress=progress)
    diagonal = float((high - low).norm())
    groups = _merged(found.points, found.gradients.norm(dim=-1), MERGED * diagonal)
    scale = Scale(diagonal, found.curvature)
    looks = _looks(objective, [found.points[group] for group in groups], scale)
    points = sorted((look.classified() for look in looks), key=lambda p: (p.loss, p.point))
    each = 1 + PRODUCT_COST * objective.dim
    cost = (found.evaluations + len(groups)) * each + sum(look.cost for look in looks)
    return Critical(tuple(points), starts, found.outside, found.nowhere, cost)


def _box(
    objective: Objective, domain: Sequence[tuple[float, float]] | None
) -> tuple[Tensor, Tensor]:
    given = getattr(objective, "domain", None) if domain is None else domain
    if given is None:
        raise UsageError("domain must be given for an objective that has none of its own")
    pairs = [tuple(map(float, pair)) for pair in given]
    if len(pairs) != objective.dim or any(
        len(pair) != 2 or not (math.isfinite(pair[1] - pair[0]) and pair[0] < pair[1])
        for pair in pairs
    ):
        raise UsageError(
            f"domain must be {objective.dim} pairs (low, high) with low < high, not {given!r}"
        )
    low, high = torch.tensor(pairs, dtype=torch.float64).T
    return low, high


def _check(objective: Objective, starts: int, seed: int) -> None:
    if objective.dim > LARGEST_DIM:
        raise UsageError(
            f"objective must have at most {LARGEST_DIM} variables, not {objective.dim}"
        )
    for name, value, least in (("starts", starts, 1), ("seed", seed, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(f"{name} must be a whole number of {least} or more, not {value!r}")


def _merged(points: Tensor, residuals: Tensor, radius: float) -> list[Tensor]:
    """Rows that lie together, the row of the smallest residual first in each group."""
    left = residuals.argsort()
    groups = []
    while len(left):
        near = (points[left] - points[left[0]]).norm(dim=-1) <= radius
        groups.append(left[near])
        left = left[~near]
    return groups


@dataclass(frozen=True)
class Scale:
    """What is large here: the diagonal of the domain, and a typical curvature in it."""

    diagonal: float
    curvature: float


def _looks(objective: Objective, groups: Sequence[Tensor], scale: Scale) -> "list[_Look]":
    """A look at each group; of a continuum only the first point of each loss is looked at."""
    if not groups:
        return []
    best = torch.stack([members[0] for members in groups])
    with torch.no_grad():
        losses = objective.loss(best).tolist()
    sizes = torch.linalg.eigvalsh(gradients_and_hessians(objective, best)[1]).abs()
    flat = (sizes.amin(-1) <= 1e-6 * sizes.amax(-1) + 1e-12 * scale.curvature).tolist()
    looks: list[_Look] = []
    for members, loss, is_flat in zip(groups, losses, flat):
        twins = (
            look
            for look in looks
            if is_flat and look.alike and math.isclose(look.loss, loss, rel_tol=1e-9, abs_tol=1e-9)
        )
        twin = next(twins, None)
        if twin is None:
            looks.append(_look(objective, members, loss, scale))
        else:
            twin.members = torch.cat([twin.members, members])
    return looks


@dataclass
class _Look:
    """One critical point looked at closely."""

    members: Tensor
    point: Tensor
    loss: float
    gradient: Tensor
    eigenvalues: Tensor
    vectors: Tensor
    errors: Tensor
    position_error: float
    around: str
    alike: bool
    cost: float

    @property
    def zero(self) -> Tensor:
        return self.eigenvalues.abs() <= self.errors

    def classified(self) -> Classified:
        kind, decided = self._decide()
        return Classified(
            tuple((self.point + 0.0).tolist()),  # no −0
            kind,
            tuple(self.eigenvalues.tolist()),
            int(((self.eigenvalues < 0) & ~self.zero).sum()),
            self.loss,
            float(self.gradient.norm()),
            self.position_error,
            len(self.members),
            not self.alike,
            decided,
        )

    def _decide(self) -> tuple[str, str]:
        count, zeros = len(self.eigenvalues), int(self.zero.sum())
        below = int((self.eigenvalues < 0).sum())
        word = "eigenvalue" if count == 1 else "eigenvalues"
        if zeros:
            around = (
                "one of a continuum of equal loss" if self.alike else f"around it {self.around}"
            )
            return "degenerate", f"{zeros} of {count} {word} 0 within the error; {around}"
        if 0 < below < count:
            return (
                "saddle",
                f"{below} of {count} {word} below 0, the others above, by more than errors",
            )
        side, kind = ("above", "minimum") if below == 0 else ("below", "maximum")
        return kind, f"{count} of {count} {word} {side} 0 by more than the error"


def _look(objective: Objective, members: Tensor, loss: float, scale: Scale) -> _Look:
    """Eigenvalues with their errors at the best of some points that are one."""
    point = members[0]
    slope, hessian = (t[0] for t in gradients_and_hessians(objective, point[None]))
    values, vectors = torch.linalg.eigh(hessian)
    # What the gradient may still be, along each eigenvector: what is left, and its rounding.
    left = (vectors.T @ slope).abs() + _rounding(objective, point, slope, vectors)
    tiny = torch.finfo(torch.float64).tiny
    floor = (1e-14 * values.abs().max()).clamp_min(1e-12 * scale.curvature + tiny)
    radius = AROUND * scale.diagonal
    reach = (4 * left / values.abs().clamp_min(float(floor))).clamp_max(radius)
    ends = torch.cat([point + reach[:, None] * vectors.T, point - reach[:, None] * vectors.T])
    there = torch.einsum(
        "ki,nij,kj->nk", vectors.T, gradients_and_hessians(objective, ends)[1], vectors.T
    )
    k = torch.arange(len(values))
    moved = torch.stack([there[k, k], there[k + len(values), k]]) - values
    errors = moved.abs().amax(0).nan_to_num(math.inf).maximum(floor)
    zero = values.abs() <= errors
    spread = float((members - point).norm(dim=-1).max())
    error = float((left / values.abs())[~zero].norm()) if not zero.all() else 0.0
    error = max(error, spread, float(reach[zero].max())) if zero.any() else error
    cost = (1 + PRODUCT_COST * len(point)) * (1 + len(ends)) + 16
    around, alike = "", False
    if zero.any():
        around = _around(objective, point, loss, vectors, radius)
        alike = _alike(objective, point, loss, vectors[:, zero], radius)
        cost += LOSS_COST * 256
    return _Look(members, point, loss, slope, values, vectors, errors, error, around, alike, cost)


def _rounding(objective: Objective, point: Tensor, slope: Tensor, vectors: Tensor) -> Tensor:
    """How far rounding moves the gradient along each eigenvector: seen a few last digits away."""
    eps = torch.finfo(point.dtype).eps
    generator = torch.Generator().manual_seed(0)
    nudges = torch.randn(16, len(point), generator=generator, dtype=point.dtype)
    leaf = (point + 2 * eps * nudges * (point.abs() + eps)).requires_grad_()
    with torch.enable_grad():
        (slopes,) = torch.autograd.grad(objective.loss(leaf).sum(), leaf)
    return ((slopes - slope) @ vectors).abs().amax(0)


def _around(
    objective: Objective, point: Tensor, loss: float, vectors: Tensor, radius: float
) -> str:
    """What the loss does on a small sphere about the point, in words."""
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(240, len(point), generator=generator, dtype=point.dtype)
    ways = torch.cat([vectors.T, -vectors.T, random / random.norm(dim=-1, keepdim=True)])
    with torch.no_grad():
        change = objective.loss(point + radius * ways) - loss
    tiny = 1e-12 * max(abs(loss), float(change.abs().max()))
    rises, falls = bool((change > tiny).any()), bool((change < -tiny).any())
    if rises and falls:
        return "the loss rises and falls: a saddle of higher order"
    if rises or falls:
        return f"the loss {'rises' if rises else 'falls'}: a {'minimum' if rises else 'maximum'}"
    return "the loss is level"


def _alike(objective: Objective, point: Tensor, loss: float, flat: Tensor, radius: float) -> bool:
    """Whether a step along a flat direction leads to another critical point of the same loss."""
    ends = torch.cat([point + radius * flat.T, point - radius * flat.T])
    box = (point - 2 * radius, point + 2 * radius)
    found = stationary_points(objective, ends, box)
    away = (found.points - point).norm(dim=-1) > radius / 2
    if not away.any():
        return False
    with torch.no_grad():
        losses = objective.loss(found.points[away])
        height = (objective.loss(ends) - loss).abs().max()
    return bool(((losses - loss).abs() <= 1e-9 * max(1.0, abs(loss)) + 1e-6 * height).any())
