"""A loss over a line or a plane: values at true coordinates, from few evaluations or from all."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.estimate import LOSS_COST, Estimate
from thalweg.measure.adaptive import Filled, carried, fill
from thalweg.measure.coordinates import coordinates, resolution
from thalweg.measure.directions import Flat
from thalweg.measure.passes import Spot, spots
from thalweg.measure.points_kept import PointsKept
from thalweg.measure.readings import Readings
from thalweg.objective.base import Objective

__all__ = ["Surface", "Walk", "surface"]

LEAST = 2e-3
"""Share of the range by which a critical point must stand out, whatever the error."""

ROUNDING = 16
"""Times the precision of the loss: a range of a smaller share of the values is none."""

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
        """Coordinates of the lowest value; NaN where none is finite, or all are the same."""
        values = np.where(np.isfinite(self.values), self.values, np.inf)
        if self.loss.level or not np.isfinite(values).any():
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
        if self.y is None or self.loss.level:
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
        if f.level:
            where = "everywhere shown" if np.isfinite(f.values).all() else "wherever it is finite"
            rounding = ", but for rounding" if f.range > 0 else ""
            return (
                f"The loss is the same {where}{rounding}: {f.evaluations} of {f.seen.size} values "
                "were evaluated."
            )
        if f.seen.all():
            every = f"All {f.seen.size} values were evaluated"
            if not np.isfinite(f.values).any():
                return f"{every}: none is finite."
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
    held_out: Any = None,
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
        held_out: another objective at the same places: the loss on other examples; of a network also
            those examples in any form, whose loss is taken without weight decay.
        walk: points of a run by step, projected on it; their true losses are evaluated.
        folder: keeps each value as it comes, and is gone on from.
        map: of the values of a round, to do them in parallel.
        seed: of the places held back.
        progress: called with values evaluated, and the size of the grid.

    Raises:
        UsageError: a span of which single precision cannot tell the coordinates apart; a folder that
            holds another surface.
    """
    lines = coordinates(span, size, len(flat.axes))
    size = len(lines[0])
    like = objective.start(torch.Generator().manual_seed(0), 1)[0]
    notes = resolution(flat, lines, like)
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
        precision=ROUNDING * torch.finfo(like.dtype).eps,
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
