"""How the constants are bounded: by proof where there is one, by estimates elsewhere."""

from thalweg.errors import UsageError
from thalweg.objective.base import Objective
from thalweg.objective.formula import Formula
from thalweg.objective.noise import Noise
from thalweg.theory.certificate import Certificate, certify
from thalweg.theory.constants import Constants
from thalweg.theory.domain import Domain
from thalweg.theory.line import Line, prove_line
from thalweg.theory.plane import prove_waves
from thalweg.theory.sampled import estimate_constants

__all__ = ["constants_of", "formula_of", "widest_certificate"]

LARGEST = 1024.0
"""How many times as large a domain is tried for one that no step leaves, by proofs."""

LARGE = 8.0
"""The same by estimates, which see the less the larger it is."""


def constants_of(
    landscape: Objective,
    learning_rate: float,
    noise: Noise,
    target: tuple[float, ...],
    domain: Domain,
    *,
    rigorous: bool | None = None,
    seed: int = 0,
) -> Constants:
    """The constants on a domain, proved where that is possible unless ``rigorous`` is ``False``."""
    formula = None if rigorous is False else formula_of(landscape)
    if formula is not None:
        proved = prove_waves(formula, learning_rate, noise, target, domain)
        if proved is None and Line.takes(formula, noise):
            proved = prove_line(formula, learning_rate, noise, target[0], domain)
        if proved is not None:
            return proved
    if rigorous:
        raise UsageError(
            "rigorous must be left out here: proofs need a formula in one variable and uniform, "
            "ball or sphere noise, or one of polynomials and plane waves in one or two variables"
        )
    return estimate_constants(landscape, learning_rate, noise, target, domain, seed=seed)


def formula_of(landscape: Objective) -> Formula | None:
    """The formula of a landscape that has one."""
    formula = getattr(landscape, "expression", None)
    if isinstance(formula, Formula):
        return formula
    text = getattr(landscape, "formula", "")
    if not isinstance(text, str) or not text:
        return None
    try:
        formula = Formula.parse(text)
    except UsageError:
        return None
    return formula if formula.dim == landscape.dim else None


def widest_certificate(
    landscape: Objective,
    eta: float,
    noise: Noise,
    known: Constants,
    start: float,
    found: list[tuple[float, ...]],
    seed: int,
) -> Certificate:
    """On the domain itself, or on a larger one that no step leaves if there is such."""
    best = certify(known, eta, start, found)
    if known.closed or not known.settled or not known.convexity.value > 0:
        return best
    factor = 2.0
    while factor <= (LARGEST if known.rigorous else LARGE):
        domain = known.domain.stretched(known.target, factor)
        try:
            wider = constants_of(
                landscape,
                eta,
                noise,
                known.target,
                domain,
                rigorous=None if known.rigorous else False,
                seed=seed,
            )
        except UsageError:
            return best
        if not (wider.settled and wider.convexity.value > 0):
            return best
        larger = certify(wider, eta, start, found)
        if _says_more(larger, best):
            best = larger
        if wider.closed:
            return best
        factor *= 2
    return best


def _says_more(first: Certificate, second: Certificate) -> bool:
    return sum(e.probability for e in first.exclusions) > sum(
        e.probability for e in second.exclusions
    )
