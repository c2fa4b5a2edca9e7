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

__all__ = [
    "Certificate",
    "Constant",
    "Constants",
    "EscapeBounds",
    "Exclusion",
    "Guarantee",
    "Hypothesis",
    "OnePointBounds",
    "PaperTheorem",
    "eyring_kramers",
    "first_passage_time",
    "guarantee",
    "saddle_exit_time",
    "step_limit",
    "thermal_diffusion",
]
