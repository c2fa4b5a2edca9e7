"""The catalogue of landscapes: losses of a few variables whose critical points are known."""

from thalweg.objective.landscape import CriticalPoint, Landscape, from_callable, from_formula
from thalweg.objective.landscapes.catalogue import CATALOGUE, from_reference, get
from thalweg.objective.landscapes.classics import (
    ackley,
    beale,
    himmelblau,
    mueller_brown,
    rastrigin,
    rosenbrock,
    styblinski_tang,
)
from thalweg.objective.landscapes.curves import spline, spline_from_file
from thalweg.objective.landscapes.quadratics import ill_conditioned, quadratic, saddle
from thalweg.objective.landscapes.saddles import (
    bounded_saddle,
    matrix_factorization,
    monkey_saddle,
)
from thalweg.objective.landscapes.spikes import (
    gaussian_spikes,
    modulated,
    spiky,
    triangle_spikes,
)
from thalweg.objective.landscapes.sums import FiniteSum, finite_sum, least_squares
from thalweg.objective.landscapes.wells import double_well, flat_and_sharp, local_and_global

__all__ = [
    "CATALOGUE",
    "CriticalPoint",
    "FiniteSum",
    "Landscape",
    "ackley",
    "beale",
    "bounded_saddle",
    "double_well",
    "finite_sum",
    "flat_and_sharp",
    "from_callable",
    "from_formula",
    "from_reference",
    "gaussian_spikes",
    "get",
    "himmelblau",
    "ill_conditioned",
    "least_squares",
    "local_and_global",
    "matrix_factorization",
    "modulated",
    "monkey_saddle",
    "mueller_brown",
    "quadratic",
    "rastrigin",
    "rosenbrock",
    "saddle",
    "spiky",
    "spline",
    "spline_from_file",
    "styblinski_tang",
    "triangle_spikes",
]
