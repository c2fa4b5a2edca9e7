"""A curve through given points: the cubic spline, whose every critical point can be computed."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.landscape import CriticalPoint, Landscape
from thalweg.objective.landscapes.arguments import numbers
from thalweg.objective.landscapes.known import kind_of

__all__ = ["spline", "spline_from_file"]

LARGEST_FILE = 10_000_000
"""Bytes of a file of knots."""

VALUES = (9.4, 5.2, 4.9, 1.5, 2.6, 0.6, 1.3, 0.1, 1.6, 1.1, 4.6, 4.0, 9.1)


def spline(
    knots: Sequence[float] = tuple(range(-6, 7)),
    values: Sequence[float] = VALUES,
    end_slopes: Sequence[float] | None = None,
    *,
    name: str = "spline",
) -> Landscape:
    """The cubic spline through ``(knots, values)``: twice differentiable, f″ linear between knots.

    It is natural (f″ = 0 at both ends) unless its end slopes are given, and goes on straight
    outside. L = max |f″|, attained at a knot; all critical points are known.

    Raises:
        UsageError: fewer than three knots, knots that do not increase, or as many values as not.
    """
    from scipy.interpolate import CubicSpline

    x, y = np.array(numbers("knots", knots, 3)), np.array(numbers("values", values, 3))
    if len(x) != len(y):
        raise UsageError(f"values must be one for each of the {len(x)} knots, not {len(y)}")
    if not (np.diff(x) > 0).all():
        raise UsageError("knots must increase from one to the next")
    if end_slopes is None:
        ends = "natural"
    else:
        left, right, *more = numbers("end_slopes", end_slopes, 2)
        if more:
            raise UsageError(f"end_slopes must be two numbers, not {len(end_slopes)}")
        ends = ((1, left), (1, right))
    curve = CubicSpline(x, y, bc_type=ends)  # pyright: ignore[reportArgumentType]
    if not np.isfinite(curve.c).all():
        raise UsageError("knots must lie far enough apart that the spline through them is finite")
    roots = curve.derivative().roots(extrapolate=False)
    critical = []
    for root in sorted({float(root) for root in roots if math.isfinite(root)}):
        curvature = float(curve(root, 2))
        critical.append(CriticalPoint((root,), kind_of([curvature], 0.0), (curvature,)))
    slopes = float(curve(x[0], 1)), float(curve(x[-1], 1))
    rises = slopes[0] <= 0 <= slopes[1]
    lowest = min([*y, *(float(curve(known.point[0])) for known in critical)])
    return Landscape(
        _Curve(tuple(x.tolist()), tuple(map(tuple, curve.c.T.tolist())), slopes),
        1,
        name=name,
        critical=tuple(critical),
        smoothness=float(np.abs(curve(x, 2)).max()),
        domain=((float(x[0]), float(x[-1])),),
        infimum=float(lowest) if rises else -math.inf,
    )


def spline_from_file(path: str | PathLike[str]) -> Landscape:
    """The spline through the knots of a file.

    The file holds two columns, knot and value, apart by blanks, a comma or a semicolon (lines that
    begin with ``#`` and one line of names at the top are passed over), or the JSON
    ``{"knots": [...], "values": [...]}``, to which ``"end_slopes": [left, right]`` may be added.

    Raises:
        UsageError: a file that cannot be read, or holds something else.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{path} must hold at most {LARGEST_FILE // 10**6} million bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"{path} must be a readable file of knots: {reason}") from error
    if text.lstrip().startswith("{"):
        try:
            held = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} must hold JSON, but does not: {error}") from error
        if "knots" not in held or "values" not in held:
            raise UsageError(f"{path} must hold the entries knots and values")
        return spline(held["knots"], held["values"], held.get("end_slopes"), name=path.stem)
    return spline(*_columns(text, path), name=path.stem)


def _columns(text: str, path: Path) -> tuple[list[float], list[float]]:
    rows: list[list[float]] = []
    names = False
    for n, line in enumerate(text.splitlines(), 1):
        words = line.replace(",", " ").replace(";", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if not row and not rows and not names:
            names = True
            continue
        if len(row) != 2:
            raise UsageError(f"{path} must hold two numbers in line {n}, not {line[:60]!r}")
        rows.append(row)
    return [row[0] for row in rows], [row[1] for row in rows]


@dataclass(frozen=True)
class _Curve:
    """A piecewise cubic, straight outside its knots; the highest power first."""

    knots: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]
    end_slopes: tuple[float, float]

    def __call__(self, points: Tensor) -> Tensor:
        x = points.squeeze(-1)
        knots = torch.tensor(self.knots, dtype=torch.float64, device=x.device)
        # In double precision: near a knot a rounded one would choose the wrong piece.
        piece = torch.bucketize(x.detach().double(), knots[1:-1], right=True)
        inside = x.clamp(self.knots[0], self.knots[-1])
        rows = [(*row, knot) for row, knot in zip(self.coefficients, self.knots)]
        table = torch.tensor(rows, dtype=x.dtype, device=x.device)
        a, b, c, d, knot = torch.nn.functional.embedding(piece, table).unbind(-1)
        h = inside - knot
        left, right = self.end_slopes
        slope = torch.where(x < self.knots[0], left, right).to(x.dtype)
        return ((a * h + b) * h + c) * h + d + slope * (x - inside)
