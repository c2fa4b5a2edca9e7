"""What is proved of SGD on a function at hand: constants, bounds, certificates, escape times.

The theory is that of Kleinberg, Li and Yuan, *An Alternative View: When Does SGD Escape Local
Minima?* (ICML 2018, arXiv 1802.06175): stochastic gradient descent is gradient descent on the loss
smoothed by the noise of a step.
"""

from thalweg.theory.bounds import EscapeBounds, OnePointBounds, PaperTheorem, step_limit
from thalweg.theory.certificate import Certificate, Exclusion
from thalweg.theory.constants import Constant, Constants
from thalweg.theory.escape import (
    eyring_kramers,
    first_passage_time,
    saddle_exit_time,
    thermal_diffusion,
)
from thalweg.theory.guarantee import Guarantee, guarantee
from thalweg.theory.hypotheses import Hypothesis
from thalweg.theory.mechanism import Mechanism, mechanism
from thalweg.theory.montecarlo import check_bounds
from thalweg.theory.staged import Stage, run_stages, staged
from thalweg.theory.table import Place, certificates, placed

__all__ = [
    "Certificate",
    "Constant",
    "Constants",
    "EscapeBounds",
    "Exclusion",
    "Guarantee",
    "Hypothesis",
    "Mechanism",
    "OnePointBounds",
    "PaperTheorem",
    "Place",
    "Stage",
    "certificates",
    "check_bounds",
    "eyring_kramers",
    "first_passage_time",
    "guarantee",
    "mechanism",
    "placed",
    "run_stages",
    "saddle_exit_time",
    "staged",
    "step_limit",
    "thermal_diffusion",
]
