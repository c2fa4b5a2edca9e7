"""The catalogue of landscapes: losses of a few variables whose critical points are known."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.landscape import CriticalPoint, Landscape, from_callable, from_formula

__all__ = [
    "CATALOGUE",
    "CriticalPoint",
    "Landscape",
    "bounded_saddle",
    "double_well",
    "from_callable",
    "from_formula",
    "monkey_saddle",
    "quadratic",
    "rosenbrock",
    "saddle",
    "spiky",
]


def quadratic(eigenvalues: Sequence[float] = (1.0, 10.0)) -> Landscape:
    """``½ Σ λᵢ xᵢ²``: a bowl, a ridge or a saddle by the signs of λ; L = max |λᵢ|."""
    values = tuple(float(value) for value in eigenvalues)
    if not values or not all(np.isfinite(values)):
        raise UsageError(f"eigenvalues must be at least one finite number, not {eigenvalues!r}")
    return Landscape(
        partial(_quadratic, values),
        len(values),
        name="quadratic",
        formula=" + ".join(f"{v / 2:g}*x{i}**2" for i, v in enumerate(values)),
        critical=(CriticalPoint((0.0,) * len(values), _kind(values)),),
        smoothness=max(abs(value) for value in values),
    )


def saddle() -> Landscape:
    """``x² − y²``: the strict saddle, unbounded below; curvatures 2 and −2."""
    return Landscape(
        partial(_quadratic, (2.0, -2.0)),
        2,
        name="saddle",
        formula="x**2 - y**2",
        critical=(CriticalPoint((0.0, 0.0), "saddle"),),
        smoothness=2.0,
    )


def bounded_saddle(wall: float = 0.5) -> Landscape:
    """``x² − y² + w y⁴``: the same saddle between two minima at y = ±1/√(2w), of loss −1/(4w)."""
    if not wall > 0:
        raise UsageError(f"wall must be above 0, not {wall!r}")
    bottom = (2 * wall) ** -0.5
    return Landscape(
        partial(_bounded_saddle, float(wall)),
        2,
        name="bounded saddle",
        formula=f"x**2 - y**2 + {wall:g}*y**4",
        critical=(
            CriticalPoint((0.0, 0.0), "saddle"),
            CriticalPoint((0.0, -bottom), "minimum"),
            CriticalPoint((0.0, bottom), "minimum"),
        ),
        domain=((-1.0, 1.0), (-1.5 * bottom, 1.5 * bottom)),
    )


def monkey_saddle() -> Landscape:
    """``x³ − 3xy²``: three ways down, and a Hessian that is zero at the critical point."""
    return Landscape(
        _monkey_saddle,
        2,
        name="monkey saddle",
        formula="x**3 - 3*x*y**2",
        critical=(CriticalPoint((0.0, 0.0), "degenerate"),),
    )


def double_well(tilt: float = 0.1, barrier: float = 0.25) -> Landscape:
    """``h (x² − 1)² + t x``: wells near ±1, the left one deeper by about 2t for t > 0.

    With t = 0 the barrier is h high and the curvatures are 8h in the wells and −4h on top. From
    \\|t\\| = 8h/√27 on there is only one well.
    """
    if not barrier > 0:
        raise UsageError(f"barrier must be above 0, not {barrier!r}")
    roots = np.roots([4 * barrier, 0.0, -4 * barrier, tilt])
    real = sorted(float(root.real) for root in roots if abs(root.imag) < 1e-9)
    return Landscape(
        partial(_double_well, float(tilt), float(barrier)),
        1,
        name="double well",
        formula=f"{barrier:g}*(x**2 - 1)**2 + {tilt:g}*x",
        critical=tuple(
            CriticalPoint((x,), _kind([barrier * (12 * x * x - 4)], 1e-6 * barrier)) for x in real
        ),
        domain=((-2.0, 2.0),),
    )


def spiky(amplitude: float = 0.3, frequency: float = 20.0, domain: float = 3.0) -> Landscape:
    """``x² + a cos(kx)``: a bowl full of spikes; L = 2 + |a| k².

    The function of Kleinberg, Li and Yuan's section 1. Its minima within ±domain are known to
    double precision: between neighbouring zeros of f″ the derivative is monotone.
    """
    if not (frequency > 0 and domain > 0):
        raise UsageError(f"frequency and domain must be above 0, not {frequency!r} and {domain!r}")
    from scipy.optimize import root_scalar

    def slope(x: float) -> float:
        return 2 * x - amplitude * frequency * np.sin(frequency * x)

    def curvature(x: float) -> float:
        return 2 - amplitude * frequency**2 * np.cos(frequency * x)

    def root(low: float, high: float) -> float:
        return root_scalar(slope, bracket=(low, high), xtol=1e-15).root

    cuts = [-domain, domain]
    if abs(amplitude) * frequency**2 > 2:
        angle = np.arccos(2 / (amplitude * frequency**2))
        most = int(domain * frequency / (2 * np.pi)) + 2
        turns = 2 * np.pi * np.arange(-most, most + 1)
        zeros = np.concatenate([turns - angle, turns + angle]) / frequency
        cuts += [float(zero) for zero in zeros if abs(zero) < domain]
    cuts.sort()
    found = [
        0.0 if low < 0 < high else root(low, high)  # f is even
        for low, high in itertools.pairwise(cuts)
        if slope(low) * slope(high) < 0
    ]
    return Landscape(
        partial(_spiky, float(amplitude), float(frequency)),
        1,
        name="spiky",
        formula=f"x**2 + {amplitude:g}*cos({frequency:g}*x)",
        critical=tuple(CriticalPoint((x,), _kind([curvature(x)])) for x in found),
        smoothness=2 + abs(amplitude) * frequency**2,
        domain=((-domain, domain),),
    )


def rosenbrock(dim: int = 2) -> Landscape:
    """``Σ 100 (xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)²``: a curved ravine; the minimum is at (1, …, 1).

    From four variables on there is a second, poorer minimum near (−1, 1, …, 1), not listed.
    """
    if dim < 2:
        raise UsageError(f"dim must be 2 or more, not {dim!r}")
    return Landscape(
        _rosenbrock,
        dim,
        name="rosenbrock",
        formula="100*(y - x**2)**2 + (1 - x)**2" if dim == 2 else "",
        critical=(CriticalPoint((1.0,) * dim, "minimum"),),
        domain=((-2.0, 2.0),) * dim,
    )


CATALOGUE: Mapping[str, Callable[[], Landscape]] = MappingProxyType(
    {
        "bounded_saddle": bounded_saddle,
        "double_well": double_well,
        "monkey_saddle": monkey_saddle,
        "quadratic": quadratic,
        "rosenbrock": rosenbrock,
        "saddle": saddle,
        "spiky": spiky,
    }
)
"""Every landscape that needs no argument, by name."""


# Module-level functions, so that a landscape can be pickled and sent to another process.


def _quadratic(eigenvalues: tuple[float, ...], points: Tensor) -> Tensor:
    return (points.square() * (0.5 * points.new_tensor(eigenvalues))).sum(-1)


def _bounded_saddle(wall: float, points: Tensor) -> Tensor:
    x, y = points.unbind(-1)
    return x.square() - y.square() + wall * y.square().square()


def _monkey_saddle(points: Tensor) -> Tensor:
    x, y = points.unbind(-1)
    return x * (x.square() - 3 * y.square())


def _double_well(tilt: float, barrier: float, points: Tensor) -> Tensor:
    x = points[..., 0]
    return barrier * (x.square() - 1).square() + tilt * x


def _spiky(amplitude: float, frequency: float, points: Tensor) -> Tensor:
    x = points[..., 0]
    return x.square() + amplitude * torch.cos(frequency * x)


def _rosenbrock(points: Tensor) -> Tensor:
    first, second = points[..., :-1], points[..., 1:]
    return (100 * (second - first.square()).square() + (1 - first).square()).sum(-1)


def _kind(eigenvalues: Sequence[float], zero: float = 0.0) -> str:
    if any(abs(value) <= zero for value in eigenvalues):
        return "degenerate"
    signs = {value > 0 for value in eigenvalues}
    return "saddle" if len(signs) == 2 else "minimum" if True in signs else "maximum"
