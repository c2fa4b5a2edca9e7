"""Two minima in one dimension: one better than the other, or one flatter."""

import numpy as np

from thalweg.errors import UsageError
from thalweg.objective.formula import Formula
from thalweg.objective.landscape import CriticalPoint, Landscape
from thalweg.objective.landscapes.arguments import number, positive
from thalweg.objective.landscapes.known import kind_of, lowest_of, on_a_line, written

__all__ = ["double_well", "flat_and_sharp", "local_and_global"]


def double_well(tilt: float = 0.1, barrier: float = 0.25) -> Landscape:
    """``h (x² − 1)² + t x``: wells near ±1, the left one deeper by about 2t for t > 0.

    With t = 0 the barrier is h high and the curvatures are 8h in the wells and −4h on top. From
    \\|t\\| = 8h/√27 on there is only one well.
    """
    barrier, tilt = positive("barrier", barrier), number("tilt", tilt)
    roots = np.roots([4 * barrier, 0.0, -4 * barrier, tilt])
    real = sorted(float(root.real) for root in roots if abs(root.imag) < 1e-9 * (1 + abs(root)))
    text = f"{written(barrier)}*(x**2 - 1)**2 + {written(tilt)}*x"
    critical = []
    for x in real:
        curvature = barrier * (12 * x * x - 4)
        kind = kind_of([curvature], 1e-6 * barrier)
        critical.append(CriticalPoint((x,), kind, (curvature,)))
    return Landscape(
        Formula.parse(text),
        1,
        name="double well",
        formula=text,
        critical=tuple(critical),
        domain=((-2.0, 2.0),),
        domain_smoothness=44 * barrier,
        infimum=min(barrier * (x * x - 1) ** 2 + tilt * x for x in real),
    )


def local_and_global() -> Landscape:
    """``(3x⁴ + 4x³ − 12x²)/12``: a local minimum at 1, loss −5/12, and the global one at −2, −8/3.

    f′ = x (x − 1) (x + 2), so that the maximum between them is at 0, of loss 0.
    """
    text = "(3*x**4 + 4*x**3 - 12*x**2)/12"
    return Landscape(
        Formula.parse(text),
        1,
        name="local and global minimum",
        formula=text,
        critical=(
            CriticalPoint((-2.0,), "minimum", (6.0,)),
            CriticalPoint((0.0,), "maximum", (-2.0,)),
            CriticalPoint((1.0,), "minimum", (3.0,)),
        ),
        domain=((-3.0, 2.0),),
        domain_smoothness=19.0,
        infimum=-8 / 3,
    )


def flat_and_sharp(
    flat: float = 0.6, sharp: float = 0.1, depth: float = 1.1, distance: float = 3.0
) -> Landscape:
    """Two pits side by side in ``x²/20``: a flat one on the left, a sharp one on the right.

    The pits are −exp(−(x + D/2)²/(2 w²)) with w = ``flat`` and −h exp(−(x − D/2)²/(2 w²)) with
    w = ``sharp`` and h = ``depth``; the sharp one is the deeper for h above 1.
    """
    flat, sharp = positive("flat", flat), positive("sharp", sharp)
    depth, distance = positive("depth", depth), positive("distance", distance)
    if not (sharp < flat and distance >= 4 * flat and distance <= 1000 * sharp):
        raise UsageError(
            "flat must be above sharp, and distance at least 4 flat and at most 1000 sharp, "
            f"not {flat:g}, {sharp:g} and {distance:g}"
        )
    half = written(distance / 2)
    text = (
        f"0.05*x**2 - exp({written(-0.5 / flat**2)}*(x + {half})**2)"
        f" - {written(depth)}*exp({written(-0.5 / sharp**2)}*(x - {half})**2)"
    )
    reach = distance / 2 + 8 * flat
    critical, steepest = on_a_line(text, -reach, reach, sharp / 8)
    return Landscape(
        Formula.parse(text),
        1,
        name="flat and sharp minimum",
        formula=text,
        critical=tuple(known for known in critical if abs(known.point[0]) <= distance),
        smoothness=max(0.1, steepest),  # further out the pits have died away and f″ is 1/10
        domain=((-distance, distance),),
        infimum=lowest_of(text, critical),
    )
