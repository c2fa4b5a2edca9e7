"""Which of the conditions behind the bounds hold, which fail, and where."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thalweg.theory.text import point

if TYPE_CHECKING:
    from thalweg.theory.guarantee import Guarantee

__all__ = ["Hypothesis", "hypotheses"]


@dataclass(frozen=True)
class Hypothesis:
    """One of the conditions that a bound needs.

    Attributes:
        name: in a few words.
        holds: whether it does.
        sentence: what it says here, with the numbers.
        where: a point where it fails, if it does at one.
    """

    name: str
    holds: bool
    sentence: str
    where: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**self.__dict__, "where": None if self.where is None else list(self.where)}


def hypotheses(made: "Guarantee") -> tuple[Hypothesis, ...]:
    """The conditions of the bounds (1) to (7) and of the paper's theorem, in that order."""
    return (
        _target(made),
        _one_point(made),
        _smooth(made),
        _bounded(made),
        _contracts(made),
        _inside(made),
        _paper_rate(made),
        _factor(made),
    )


def _target(made: "Guarantee") -> Hypothesis:
    name = "the smoothed gradient vanishes at the target"
    k, near = made.constants, made.moved
    if not k.settled:
        sentence = (
            f"no zero of it was found near the target: c and C are taken {k.gap:.3g} and more away"
        )
        return Hypothesis(name, False, sentence, k.target)
    how = "proved" if k.convexity.rigorous else "found"
    if near > 1e-9 * k.domain.size:
        return Hypothesis(
            name, True, f"{how} at {point(k.target)}: the target was moved by {near:.3g}"
        )
    return Hypothesis(name, True, f"{how} at {point(k.target)}")


def _one_point(made: "Guarantee") -> Hypothesis:
    k = made.constants
    c = k.convexity
    holds = c.value > 0
    status = "at least" if c.rigorous else "estimated"
    if holds:
        return Hypothesis("one-point convexity", True, f"c is {status} {c.value:.4g}")
    sure = "for certain " if c.rigorous and c.attained < 0 else ""
    sentence = f"it {sure}fails at y = {point(c.where)}, where the ratio is {c.attained:.4g}"
    return Hypothesis("one-point convexity", False, sentence, c.where)


def _smooth(made: "Guarantee") -> Hypothesis:
    smooth = made.constants.smoothness
    if math.isinf(smooth.value):
        sentence = "no bound on L: the gradient jumps or grows without limit"
        return Hypothesis("a Lipschitz gradient", False, sentence, smooth.where)
    status = "at most" if smooth.rigorous else "estimated"
    return Hypothesis("a Lipschitz gradient", True, f"L is {status} {smooth.value:.4g}")


def _bounded(made: "Guarantee") -> Hypothesis:
    r = made.bounds.radius
    if math.isinf(r):
        moment = made.bounds.second_moment
        finite = math.isfinite(moment)
        rest = f"E‖ω‖² is {moment:.4g}" if finite else "and has no second moment"
        return Hypothesis("bounded noise", False, f"{made.noise} noise has no bound r; {rest}")
    return Hypothesis("bounded noise", True, f"r = {r:.4g}, so ρ = ηr = {made.radius:.4g}")


def _contracts(made: "Guarantee") -> Hypothesis:
    rate, eta = made.bounds.rate, made.learning_rate
    smooth, c = made.bounds.smoothness, made.bounds.convexity
    if rate > 0:
        return Hypothesis("λ = 2ηc − η²L² above 0", True, f"λ = {rate:.4g}")
    if not c > 0 or math.isinf(smooth):
        return Hypothesis("λ = 2ηc − η²L² above 0", False, "there is no such c and L")
    limit = 2 * c / smooth**2
    sentence = f"λ = {rate:.4g}: η = {eta:.4g} would have to be below 2c/L² = {limit:.3g}"
    return Hypothesis("λ = 2ηc − η²L² above 0", False, sentence)


def _inside(made: "Guarantee") -> Hypothesis:
    name = "the iterates stay in the domain"
    k = made.certificate.constants
    if k.closed:
        sure = "no step leaves" if k.rigorous else "no step was seen to leave"
        return Hypothesis(name, True, f"{sure} {k.domain.text}")
    sentence = f"they may leave {k.domain.text}: bound (7) says with what probability"
    return Hypothesis(name, False, sentence)


def _paper_rate(made: "Guarantee") -> Hypothesis:
    limit, eta = made.paper.rate_limit, made.learning_rate
    name = "the paper's η < min{1/(2L), c/L², 1/(2c)}"
    if limit == 0:
        return Hypothesis(name, False, "there is no such rate without c > 0 and a finite L")
    holds = eta < limit
    return Hypothesis(
        name, holds, f"η = {eta:.4g} is {'below' if holds else 'not below'} {limit:.3g}"
    )


def _factor(made: "Guarantee") -> Hypothesis:
    q = made.certificate.bounds.factor
    if math.isinf(q):
        return Hypothesis("q below 1", False, "there is no q without c > 0")
    return Hypothesis("q below 1", q < 1, f"q = {q:.6g}")
