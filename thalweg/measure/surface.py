"""A loss over a line or a plane: values at true coordinates, from few evaluations or from all."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST, Estimate, number
from thalweg.measure.adaptive import Filled, carried, fill
from thalweg.measure.directions import Flat
from thalweg.measure.passes import Spot, spots
from thalweg.measure.points_kept import PointsKept
from thalweg.measure.readings import Readings
from thalweg.objective.base import Objective

__all__ = ["LARGEST", "Surface", "Walk", "surface"]

LARGEST = 1001
"""Coordinates along an axis at most."""

LEAST = 2e-3
"""Share of the range by which a critical point must stand out, whatever the error."""

SHARE = (0.0, 1.0)
"""Where an accuracy lies."""

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, eq=False)
class Walk:
    """Where a run went, projected on a line or plane.

    Attributes:
        steps: of its points.
        coordinates: of each, ``(n, k)``.
        losses: the true loss of each, not that of its projection; NaN where not evaluated.
        share: of its squared motion, how much lies in the plane.
    """

    steps: tuple[int, ...]
    coordinates: np.ndarray
    losses: np.ndarray
    share: float


@dataclass(frozen=True, eq=False)
class Surface:
    """A loss over a line or a plane.

    Attributes:
        flat: the line or plane.
        x: coordinates along its first axis, ``(columns,)``.
        y: along its second, ``(rows,)``; None for a line.
        loss: values ``(rows, columns)``, or ``(columns,)``: see :class:`Filled`.
        beside: other quantities over the same grid, by name: held-out loss, accuracy.
        logarithm: whether the tolerance was on the logarithm of the loss.
        centre: the loss where all coordinates are 0.
        walk: a run's path on it.
        cost: in gradient evaluations over the training data, those of the other quantities not
            counted.
        notes: what a reader must know.
    """

    flat: Flat
    x: np.ndarray
    y: np.ndarray | None
    loss: Filled
    beside: Mapping[str, Filled]
    logarithm: bool
    centre: float
    walk: Walk | None = None
    notes: tuple[str, ...] = ()
    name: str = ""

    @property
    def values(self) -> np.ndarray:
        """The loss, ``(rows, columns)`` or ``(columns,)``; gaps are NaN or infinite."""
        return self.loss.values

    @property
    def cost(self) -> float:
        """In gradient evaluations."""
        return LOSS_COST * self.loss.evaluations

    @property
    def lowest(self) -> tuple[float, ...]:
        """Coordinates of the lowest value of the grid; NaN where none is finite."""
        values = np.where(np.isfinite(self.values), self.values, np.inf)
        if not np.isfinite(values).any():
            return (math.nan,) * self.values.ndim
        return self.at(tuple(map(int, np.unravel_index(int(values.argmin()), values.shape))))

    def at(self, index: tuple[int, ...]) -> tuple[float, ...]:
        """Coordinates of a place of the grid: along the first axis, then along the second."""
        lines = (self.x,) if self.y is None else (self.x, self.y)
        return tuple(float(line[k]) for line, k in zip(lines, reversed(index)))

    @property
    def critical(self) -> tuple[Spot, ...]:
        """Critical points within the plane that stand out by more than the error bound.

        The passes, minima and maxima of what is shown; of a line none are told.
        """
        if self.y is None:
            return ()
        with np.errstate(divide="ignore", invalid="ignore"):
            heights = np.log(self.values) if self.logarithm else self.values
        return tuple(spots(heights, max(self.loss.bound, LEAST * self.loss.range)))

    @property
    def largest_error(self) -> Estimate:
        """The bound on the error of the values shown, as a share of their range."""
        return Estimate(self.loss.share, 0.0, "of the range", self.cost)

    def sentence(self) -> str:
        """What was spent on it and how far off a value may be."""
        f = self.loss
        what = "its logarithm" if self.logarithm else "the loss"
        if f.seen.all():
            every = f"All {f.seen.size} values were evaluated"
            return f"{every}: the surface is too rough to save any." if f.rough else f"{every}."
        return (
            f"{f.evaluations} of {f.seen.size} values were evaluated ({f.saved:.3g} times fewer), "
            f"{int(f.checked.sum())} of them held back to check the others: {what} is off by at most "
            f"{100 * f.share:.2g}% of its range ({100 * f.largest / f.range:.2g}% was seen)."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers: what is not finite is None."""
        lines = {"x": _plain(self.x), **({} if self.y is None else {"y": _plain(self.y)})}
        walk = self.walk
        return {
            "name": self.name,
            "directions": self.flat.kind,
            "axes": [
                {"name": name, "length": length}
                for name, length in zip(self.flat.names, self.flat.lengths)
            ],
            "angle": self.flat.angle,
            **lines,
            "loss": {**_filled(self.loss), "logarithm": self.logarithm},
            "beside": {name: _filled(filled) for name, filled in self.beside.items()},
            "centre": _plain(self.centre),
            "lowest": _plain(np.array(self.lowest)),
            "critical": [
                {
                    "kind": spot.kind,
                    "at": [_plain(x) for x in self.at(spot.index)],
                    "prominence": _plain(spot.prominence),
                }
                for spot in self.critical
            ],
            "walk": None
            if walk is None
            else {
                "steps": list(walk.steps),
                "coordinates": _plain(walk.coordinates),
                "loss": _plain(walk.losses),
                "share": _plain(walk.share),
            },
            "cost": self.cost,
            "notes": list(self.notes),
        }


def surface(
    objective: Objective,
    flat: Flat,
    *,
    size: int = 51,
    span: float | tuple[tuple[float, float], ...] = 1.0,
    tolerance: float = 0.01,
    logarithm: bool = False,
    exact: bool = False,
    accuracy: bool = False,
    held_out: Objective | None = None,
    walk: Mapping[int, Tensor] | None = None,
    folder: Path | str | None = None,
    map: Map = map,
    seed: int = 0,
    name: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Surface:
    """The loss over a line or a plane, with few evaluations where the surface allows.

    Args:
        objective: the training loss.
        flat: the line or plane: see :mod:`thalweg.measure.directions`.
        size: coordinates along each axis.
        span: they reach from −span to span; or a pair (from, to) for each axis.
        tolerance: largest error, as a share of the range of the loss shown.
        logarithm: the loss is shown, and the tolerance meant, in logarithms.
        exact: evaluate every value.
        accuracy: the share of examples classified right is told too, of a network that classifies.
        held_out: the loss on other examples, at the same places.
        walk: points of a run by step, projected on it; their true losses are evaluated.
        folder: keeps each value as it comes, and is gone on from.
        map: of the values of a round, to do them in parallel.
        seed: of the places held back.
        progress: called with values evaluated, and the size of the grid.

    Raises:
        UsageError: a span of which single precision cannot tell the coordinates apart; a folder that
            holds another surface.
    """
    spans = _spans(span, len(flat.axes))
    if not isinstance(size, int) or isinstance(size, bool) or not 3 <= size <= LARGEST:
        raise UsageError(f"size must be a whole number from 3 to {LARGEST}, not {size!r}")
    lines = [np.linspace(low, high, size) for low, high in spans]
    like = objective.start(torch.Generator().manual_seed(0), 1)[0]
    notes = _resolution(flat, lines, like)
    readings = Readings.of(objective, flat, tuple(lines), like, accuracy, held_out)
    fingerprint = "" if folder is None else readings.fingerprint()
    kept = PointsKept(folder, fingerprint, readings.names, map, size)
    shape = (size,) * len(lines)
    generator = np.random.default_rng(seed)
    filled = fill(
        lambda indices: kept.read(readings, indices)[:, 0],
        shape,
        tolerance=tolerance,
        logarithm=logarithm,
        exact=exact,
        generator=generator,
        progress=progress,
    )
    columns = kept.grid(shape, filled.seen)
    beside = {
        name: carried(filled, columns[..., place], *[SHARE] * name.endswith("accuracy"))
        for place, name in enumerate(readings.names)
        if place
    }
    origin = flat.origin.to(like)
    return Surface(
        flat,
        lines[0],
        lines[1] if len(lines) > 1 else None,
        filled,
        beside,
        logarithm,
        _value(objective, origin),
        None if walk is None else _walk(objective, flat, walk, like),
        tuple(notes),
        name,
    )


def _value(objective: Objective, point: Tensor) -> float:
    with torch.no_grad():
        return float(objective.loss(point))


def _walk(objective: Objective, flat: Flat, points: Mapping[int, Tensor], like: Tensor) -> Walk:
    rows = [point.detach().double().cpu() for point in points.values()]
    path = torch.stack(rows)
    losses = np.array([_value(objective, row.to(like)) for row in rows])
    return Walk(tuple(points), flat.coordinates(path).numpy(), losses, flat.share(path))


def _spans(span: Any, axes: int) -> list[tuple[float, float]]:
    spans = [(-span, span)] * axes if isinstance(span, int | float) else list(span)
    fit = len(spans) == axes and all(
        len(pair) == 2 and all(map(math.isfinite, pair)) and pair[0] < pair[1] for pair in spans
    )
    if not fit:
        raise UsageError(
            f"span must be a number above 0 or {axes} pairs of which the first is lower, not {span!r}"
        )
    return [(float(low), float(high)) for low, high in spans]


def _resolution(flat: Flat, lines: list[np.ndarray], like: Tensor) -> list[str]:
    """Whether the loss's own precision can tell neighbouring coordinates apart."""
    corner = flat.at(torch.tensor([line[-1] for line in lines]))
    off = float((corner.to(like.dtype).double() - corner).norm())
    steps = [float(np.ptp(x)) / (len(x) - 1) * length for x, length in zip(lines, flat.lengths)]
    share = off / min(steps)
    if share > 0.5:
        raise UsageError(
            f"span must be wider: {str(like.dtype).removeprefix('torch.')} cannot tell neighbouring "
            "coordinates apart at this point"
        )
    if share < 0.01:
        return []
    return [
        f"rounding moves points by up to {number(100 * share, 2)}% of the distance of neighbours"
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(row) for row in value]
    value = float(value)
    return value if math.isfinite(value) else None


def _filled(f: Filled) -> dict[str, Any]:
    return {
        "values": _plain(f.values),
        "evaluated": f.seen.astype(int).tolist(),
        "bound": f.bound,
        "largest_error_seen": _plain(f.largest),
        "range": f.range,
        "tolerance": f.tolerance,
        "evaluations": f.evaluations,
        "checks": int(f.checked.sum()),
        "saved": f.saved,
    }
