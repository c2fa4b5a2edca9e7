"""What theory promises of SGD on the function at hand, and what it does not."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from thalweg.errors import UsageError
from thalweg.objective.base import Objective
from thalweg.objective.mini_batch import MiniBatch
from thalweg.objective.noise import Noise, parse
from thalweg.theory.basins import Basin, basins, minima
from thalweg.theory.bounding import constants_of, widest_certificate
from thalweg.theory.bounds import OnePointBounds, PaperTheorem
from thalweg.theory.certificate import Certificate
from thalweg.theory.constants import Constants
from thalweg.theory.domain import read_domain, read_target
from thalweg.theory.hypotheses import Hypothesis, hypotheses
from thalweg.theory.mechanism import Mechanism, mechanism

__all__ = ["Guarantee", "guarantee"]


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """All that is known for one function, learning rate, noise, target and domain.

    Attributes:
        name: of the function.
        learning_rate: η.
        noise: of the gradient.
        asked: the target that was asked for; ``constants.target`` is the zero of ∇g next to it.
        constants: c, C, L, V on the domain asked for.
        bounds: (1) to (5) with these.
        paper: the paper's theorem, quoted.
        certificate: (6) and (7), on the domain or a larger one around it.
        hypotheses: which hold, which fail and where.
        basins: in one dimension, the noise that each wall takes.
        minima: of f in the domain.
        mechanism: smoothing or thermal activation; ``None`` above two variables, and for noise
            without a second moment.
    """

    name: str
    learning_rate: float
    noise: Noise
    asked: tuple[float, ...]
    constants: Constants
    bounds: OnePointBounds
    certificate: Certificate
    hypotheses: tuple[Hypothesis, ...]
    basins: tuple[Basin, ...]
    minima: tuple[tuple[float, ...], ...]
    mechanism: Mechanism | None

    @property
    def paper(self) -> PaperTheorem:
        """The paper's main theorem with these constants; no certificate of an escape."""
        return PaperTheorem(bounds=self.bounds)

    @property
    def radius(self) -> float:
        """ρ = ηr, how far one step's noise reaches; infinite for unbounded noise."""
        return self.learning_rate * self.bounds.radius

    @property
    def moved(self) -> float:
        """How far the target was moved to a zero of ∇g."""
        return math.dist(self.asked, self.constants.target)

    @property
    def one_point_convex(self) -> bool:
        """Whether Assumption 1 holds on the domain: c > 0."""
        return self.constants.settled and self.constants.convexity.value > 0

    @property
    def necessary_noise(self) -> float:
        """cD/(ηL): smaller r rules Assumption 1 out, D the distance of the farthest critical point.

        A condition of the assumption, not of an escape. 0 where the assumption fails anyway.
        """
        c, smooth = self.constants.convexity.value, self.constants.smoothness.value
        if not c > 0 or not self.minima or not 0 < smooth < math.inf:
            return 0.0
        far = max(math.dist(point, self.constants.target) for point in self.minima)
        if far < 1e-9 * self.constants.domain.size:
            return 0.0
        return c * far / (self.learning_rate * smooth)

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        shown = self.certificate
        if shown.says_something:
            sure = min(e.probability for e in shown.excluded)
            return (
                f"{len(shown.excluded)} of {len(shown.exclusions)} other minima are left behind, "
                f"each with probability at least {math.floor(sure * 1e4) / 1e4:g} ({shown.status})"
            )
        if not self.one_point_convex:
            return "no guarantee: the smoothed loss is not one-point convex around the target"
        if not shown.exclusions:
            return f"one-point convex ({shown.status}), and no other minimum in the domain"
        return f"one-point convex ({shown.status}), but the certificate excludes no other minimum"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; numbers that are not finite are ``None``."""
        k, paper = self.constants, self.paper
        return {
            "function": self.name,
            "sentence": self.sentence,
            "learning_rate": self.learning_rate,
            "noise": str(self.noise),
            "smoothing_radius": _finite(self.radius),
            "domain": [list(side) for side in k.domain.sides],
            "asked_target": list(self.asked),
            "target": list(k.target),
            "target_is_zero_of_smoothed_gradient": k.settled,
            "one_point_convex": self.one_point_convex,
            "c": k.convexity.to_dict(),
            "C": k.slope.to_dict(),
            "L": k.smoothness.to_dict(),
            "V": k.variance.to_dict(),
            "gap": k.gap,
            "excess": k.excess,
            "offset": k.offset,
            "r": _finite(self.bounds.radius),
            "second_moment": _finite(self.bounds.second_moment),
            "lambda": _finite(self.bounds.rate),
            "b": _finite(self.bounds.noise),
            "B": _finite(self.bounds.mean_noise),
            "hypotheses": [h.to_dict() for h in self.hypotheses],
            "paper": {
                "applies": paper.applies and self.one_point_convex,
                "rate_limit": _finite(paper.rate_limit),
                "T1": _finite(paper.steps(self.certificate.start)),
                "radius": _finite(paper.radius),
                "is_escape_certificate": False,
            },
            "necessary_noise": self.necessary_noise,
            "certificate": self.certificate.to_dict(),
            "basins": [dict(basin.__dict__) for basin in self.basins],
            "minima": [list(point) for point in self.minima],
            "mechanism": None if self.mechanism is None else self.mechanism.to_dict(),
        }

    def __str__(self) -> str:
        from thalweg.theory.text import plain

        return plain(self)


def guarantee(
    landscape: Objective,
    learning_rate: float,
    noise: Noise | str,
    target: Any,
    domain: Any,
    *,
    start: float | None = None,
    rigorous: bool | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Guarantee:
    """What is proved of SGD, x ← x − η(∇f(x) + ω), on a domain around a target.

    Args:
        landscape: f; constants are proved for a formula of one variable, and for one of polynomials
            and plane waves in two, and estimated for any other.
        learning_rate: η.
        noise: ω, whose distribution is the same everywhere: a Noise or a text such as ``uniform:25``.
        target: x*, a point inside the domain.
        domain: of y, the point after the deterministic half of a step: ``(low, high)`` for each
            coordinate, or a text such as ``-3:3``.
        start: the largest distance of y₀ from the target; the farthest point of the domain if left
            out.
        rigorous: ``True`` to refuse estimates, ``False`` to prove nothing.
        seed: of what is sampled.
        progress: called with a phrase as each part begins.

    Raises:
        UsageError: an argument that breaks a rule; a proof that was asked for and is not to be had.
    """
    eta = _rate(learning_rate)
    noise = _same_everywhere(noise)
    box = read_domain(domain, landscape.dim)
    asked = read_target(target, box)
    tell = progress or (lambda phrase: None)
    tell("bounding the constants")
    known = constants_of(landscape, eta, noise, asked, box, rigorous=rigorous, seed=seed)
    tell("looking for minima")
    found = minima(landscape, box)
    start = box.reach(known.target) if start is None else float(start)
    farthest = box.reach(known.target)
    if not 0 <= start <= farthest * (1 + 1e-9):
        raise UsageError(
            f"start must be a distance of 0 or more inside the domain, so at most {farthest:.6g}, "
            f"not {start!r}"
        )
    tell("looking for a domain that no step leaves")
    certificate = widest_certificate(landscape, eta, noise, known, start, found, seed)
    bounds = OnePointBounds(
        convexity=known.convexity.value,
        smoothness=known.smoothness.value,
        radius=noise.bound(landscape.dim),
        second_moment=noise.second_moment(landscape.dim),
        learning_rate=eta,
    )
    walls = basins(landscape, known.target[0], box) if landscape.dim == 1 else []
    made = Guarantee(
        name=getattr(landscape, "formula", "") or getattr(landscape, "name", "objective"),
        learning_rate=eta,
        noise=noise,
        asked=asked,
        constants=known,
        bounds=bounds,
        certificate=certificate,
        hypotheses=(),
        basins=tuple(walls),
        minima=tuple(found),
        mechanism=None,
    )
    told = _mechanism(landscape, made) if landscape.dim <= 2 else None
    return replace(made, hypotheses=hypotheses(made), mechanism=told)


def _mechanism(landscape: Objective, made: Guarantee) -> Mechanism | None:
    if not math.isfinite(made.noise.variance(landscape.dim)):
        return None
    return mechanism(
        landscape,
        made.learning_rate,
        made.noise,
        made.constants.target,
        made.constants.domain,
        one_point_convex=made.one_point_convex,
    )


def _same_everywhere(given: Noise | str) -> Noise:
    noise = parse(given)
    if isinstance(noise, MiniBatch):
        raise UsageError(
            "noise must have one distribution everywhere, which that of batches has not"
        )
    return noise


def _rate(value: Any) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
    if not good:
        raise UsageError(f"learning_rate must be a number above 0, not {value!r}")
    return float(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
