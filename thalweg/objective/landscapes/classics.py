"""The functions on which optimizers are traditionally tried."""

import itertools
import math
from functools import partial

import torch
from torch import Tensor

from thalweg.objective.formula import Formula
from thalweg.objective.landscape import CriticalPoint, Landscape
from thalweg.objective.landscapes.arguments import number, whole
from thalweg.objective.landscapes.known import Derivatives, critical_points, kind_of, written

__all__ = [
    "ackley",
    "beale",
    "himmelblau",
    "mueller_brown",
    "rastrigin",
    "rosenbrock",
    "styblinski_tang",
]

WRITTEN = 20
"""Variables up to which a sum over the coordinates is written as a formula."""

LISTED = 2_000
"""Critical points that are listed at most."""


def himmelblau() -> Landscape:
    """``(x² + y − 11)² + (x + y² − 7)²``: four minima of loss 0, four saddles, a maximum."""
    text = "(x**2 + y - 11)**2 + (x + y**2 - 7)**2"
    near = [
        (3.0, 2.0),
        (3.58442834033, -1.848126526964),
        (-3.779310253378, -3.283185991286),
        (-2.805118086953, 3.131312518251),
        (3.385154183607, 0.073851879838),
        (0.086677504555, 2.884254701175),
        (-3.073025750764, -0.081353044288),
        (-0.127961346731, -1.953714980245),
        (-0.270844590667, -0.92303855648),
    ]
    return Landscape(
        Formula.parse(text),
        2,
        name="himmelblau",
        formula=text,
        critical=critical_points(text, near),
        domain=((-5.0, 5.0),) * 2,
        # There every entry of the Hessian is positive and larger than anywhere else in size.
        domain_smoothness=Derivatives(text).largest_curvature([(5.0, 5.0)]),
        infimum=0.0,
    )


def rosenbrock(dim: int = 2) -> Landscape:
    """``Σ 100 (xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)²``: a curved ravine; the minimum is at (1, …, 1).

    From four variables on there is a second, poorer minimum near (−1, 1, …, 1), not listed.
    """
    dim = whole("dim", dim, 2)
    names = ["x", "y"] if dim == 2 else [f"x{i}" for i in range(dim)]
    short = dim <= WRITTEN
    terms = [f"100*({b} - {a}**2)**2 + (1 - {a})**2" for a, b in itertools.pairwise(names)]
    text = " + ".join(terms) if short else ""
    curvatures = Derivatives(text) if short else None
    ones, corner = (1.0,) * dim, (-2.0,) * dim
    return Landscape(
        _rosenbrock,
        dim,
        name="rosenbrock",
        formula=text,
        critical=critical_points(text, [ones]) if short else (CriticalPoint(ones, "minimum"),),
        domain=((-2.0, 2.0),) * dim,
        # At that corner every entry of the Hessian is positive and largest in size.
        domain_smoothness=None if curvatures is None else curvatures.largest_curvature([corner]),
        infimum=0.0,
    )


def rastrigin(dim: int = 2, amplitude: float = 10.0) -> Landscape:
    """``Σ xᵢ² + A (1 − cos 2πxᵢ)``: a bowl with a minimum near every whole number; L = 2 + 4π²|A|."""
    from thalweg.objective.landscapes.spikes import cosine_bowl

    dim, amplitude = whole("dim", dim, 1), number("amplitude", amplitude)
    line = cosine_bowl(2.0, -amplitude, 2 * math.pi, 5.12)
    factor = written(2 * math.pi)
    terms = (
        f"x{i}**2 + {written(amplitude)}*(1 - cos({factor}*x{i}))" for i in range(min(dim, WRITTEN))
    )
    return Landscape(
        partial(_rastrigin, amplitude),
        dim,
        name="rastrigin",
        formula=" + ".join(terms) if dim <= WRITTEN else "",
        critical=_separable(line, dim),
        smoothness=2 + 4 * math.pi**2 * abs(amplitude),
        domain=((-5.12, 5.12),) * dim,
        infimum=0.0 if amplitude >= 0 else None,
    )


def ackley(dim: int = 2) -> Landscape:
    """``20 + e − 20 exp(−√(x̄²)/5) − exp(mean cos 2πxᵢ)``, x̄² the mean square: a funnel with pits.

    The minimum, at 0, is the tip of a cone: there is no gradient, and no L.
    """
    dim = whole("dim", dim, 1)
    names = [f"x{i}" for i in range(min(dim, WRITTEN))]
    squares = " + ".join(f"{name}**2" for name in names)
    cosines = " + ".join(f"cos({written(2 * math.pi)}*{name})" for name in names)
    text = f"20 + e - 20*exp(-0.2*sqrt(({squares})/{dim})) - exp(({cosines})/{dim})"
    return Landscape(
        _ackley,
        dim,
        name="ackley",
        formula=text if dim <= WRITTEN else "",
        critical=(CriticalPoint((0.0,) * dim, "minimum", smooth=False),),
        domain=((-5.0, 5.0),) * dim,
        infimum=0.0,
    )


def styblinski_tang(dim: int = 2) -> Landscape:
    """``½ Σ xᵢ⁴ − 16xᵢ² + 5xᵢ``: 2^dim minima, the best where every coordinate is −2.9035."""
    dim = whole("dim", dim, 1)
    line = critical_points("0.5*(x**4 - 16*x**2 + 5*x)", [(-2.903534,), (0.156731,), (2.746803,)])
    terms = (f"x{i}**4 - 16*x{i}**2 + 5*x{i}" for i in range(min(dim, WRITTEN)))
    (x,) = line[0].point
    return Landscape(
        _styblinski_tang,
        dim,
        name="styblinski-tang",
        formula=f"0.5*({' + '.join(terms)})" if dim <= WRITTEN else "",
        critical=_separable(line, dim),
        domain=((-5.0, 5.0),) * dim,
        domain_smoothness=134.0,
        infimum=dim * 0.5 * (x**4 - 16 * x**2 + 5 * x),
    )


def mueller_brown() -> Landscape:
    """Müller and Brown's potential: three minima along a bent valley, and two saddles between them.

    K. Müller, L. D. Brown, Theoretica Chimica Acta 53 (1979) 75-93.
    """
    text = (
        "-200*exp(-(x - 1)**2 - 10*y**2) - 100*exp(-x**2 - 10*(y - 0.5)**2)"
        " - 170*exp(-6.5*(x + 0.5)**2 + 11*(x + 0.5)*(y - 1.5) - 6.5*(y - 1.5)**2)"
        " + 15*exp(0.7*(x + 1)**2 + 0.6*(x + 1)*(y - 1) + 0.7*(y - 1)**2)"
    )
    near = [
        (-0.558223634633, 1.441725841805),
        (0.623499404931, 0.028037758529),
        (-0.050010822998, 0.466694104872),
        (0.212486582001, 0.292988325107),
        (-0.822001558733, 0.624312802815),
    ]
    critical = critical_points(text, near)
    return Landscape(
        Formula.parse(text),
        2,
        name="müller-brown",
        formula=text,
        critical=critical,
        domain=((-1.5, 1.2), (-0.5, 2.0)),
        # In that corner the one term that grows is largest.
        domain_smoothness=Derivatives(text).largest_curvature([(1.2, 2.0)]),
        infimum=float(Formula.parse(text).evaluate(critical[0].point)),
    )


def beale() -> Landscape:
    """``(3/2 − x + xy)² + (9/4 − x + xy²)² + (21/8 − x + xy³)²``: steep walls, a minimum at (3, ½)."""
    text = "(1.5 - x + x*y)**2 + (2.25 - x + x*y**2)**2 + (2.625 - x + x*y**3)**2"
    near = [(3.0, 0.5), (0.0, 1.0), (0.100537937324, -2.644513585023)]
    return Landscape(
        Formula.parse(text),
        2,
        name="beale",
        formula=text,
        critical=critical_points(text, near),
        domain=((-4.5, 4.5),) * 2,
        domain_smoothness=Derivatives(text).largest_curvature([(-4.5, -4.5)]),
        infimum=0.0,
    )


def _separable(line: tuple[CriticalPoint, ...], dim: int) -> tuple[CriticalPoint, ...]:
    """Critical points of Σ f(xᵢ) from those of f: all of them, or the minima along the diagonal."""
    if len(line) ** min(dim, 12) > LISTED:
        choices = [(known,) * dim for known in line]
    else:
        choices = list(itertools.product(line, repeat=dim))
    found = []
    for chosen in choices:
        curvatures = tuple(sorted(known.curvatures[0] for known in chosen))
        point = tuple(known.point[0] for known in chosen)
        found.append(CriticalPoint(point, kind_of(curvatures, 0.0), curvatures))
    return tuple(found)


# Module-level functions, so that a landscape can be pickled and sent to another process.


def _rosenbrock(points: Tensor) -> Tensor:
    first, second = points[..., :-1], points[..., 1:]
    return (100 * (second - first.square()).square() + (1 - first).square()).sum(-1)


def _rastrigin(amplitude: float, points: Tensor) -> Tensor:
    return (points.square() + amplitude * (1 - torch.cos(2 * math.pi * points))).sum(-1)


def _ackley(points: Tensor) -> Tensor:
    # Of the norm torch takes the gradient 0 at 0; of a square root it would be no number.
    distance = torch.linalg.vector_norm(points, dim=-1) / math.sqrt(points.shape[-1])
    waves = torch.cos(2 * math.pi * points).mean(-1)
    return 20 + math.e - 20 * torch.exp(-0.2 * distance) - torch.exp(waves)


def _styblinski_tang(points: Tensor) -> Tensor:
    squares = points.square()
    return 0.5 * (squares.square() - 16 * squares + 5 * points).sum(-1)
