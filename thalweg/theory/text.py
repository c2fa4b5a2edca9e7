"""A guarantee in words: what holds, what is proved, what is only quoted."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thalweg.theory.guarantee import Guarantee

__all__ = ["plain", "sections"]

LIST = 8
"""Minima that are told one by one."""


def plain(made: "Guarantee") -> str:
    """All of it as text."""
    blocks = [
        "\n".join([heading, *(f"  {line}" for line in lines)])
        for heading, lines in sections(made)
        if lines
    ]
    return "\n\n".join(blocks)


def sections(made: "Guarantee") -> list[tuple[str, list[str]]]:
    """Headings, each with its lines."""
    return [
        (made.name, _setting(made)),
        ("Hypotheses", _hypotheses(made)),
        (f"Escape certificate, {made.certificate.status}", _certificate(made)),
        ("Distance bounds (1) to (5)", _bounds(made)),
        ("Quoted from the paper: no certificate of an escape", _paper(made)),
        ("Smoothing or thermal activation", _mechanism(made)),
        ("Noise that a wall takes", _walls(made)),
    ]


def _setting(made: "Guarantee") -> list[str]:
    k = made.constants
    constants = [
        f"{name} {sign} {constant.value:.4g} ({constant.status})"
        for name, sign, constant in (
            ("c", "≥" if k.convexity.rigorous else "≈", k.convexity),
            ("C", "≤" if k.slope.rigorous else "≈", k.slope),
            ("L", "≤" if k.smoothness.rigorous else "≈", k.smoothness),
            ("V", "≤" if k.variance.rigorous else "≈", k.variance),
        )
    ]
    radius = "has no radius" if math.isinf(made.radius) else f"radius ρ = ηr = {made.radius:.4g}"
    return [
        f"learning rate {made.learning_rate:.4g}, noise {made.noise}: the smoothing {radius}",
        f"domain {k.domain.text}, target {point(k.target)}",
        ", ".join(constants),
    ]


def _hypotheses(made: "Guarantee") -> list[str]:
    return [f"{'holds' if h.holds else 'fails'}  {h.name}: {h.sentence}" for h in made.hypotheses]


def _certificate(made: "Guarantee") -> list[str]:
    shown = made.certificate
    if not shown.bounds.factor < 1:
        return ["It says nothing here: c > 0 and q < 1 are needed."]
    lines = [
        f"from any start on {shown.constants.domain.text} within {shown.start:.4g} of the target, "
        f"the root mean square distance of y ends below {shown.radius:.4g},",
        f"within 1% after {shown.steps} steps; the iterates are followed on that domain",
    ]
    if not shown.exclusions:
        return [*lines, "there is no other minimum in the domain to exclude"]
    excluded = shown.excluded
    if not excluded:
        return [
            *lines,
            "It says nothing of the other minima: each is nearer to the target than that.",
        ]
    lines.append(f"{len(excluded)} of {len(shown.exclusions)} other minima are left behind:")
    for e in sorted(excluded, key=lambda e: -e.probability)[:LIST]:
        lines.append(
            f"minimum {point(e.point)}: after {e.steps} steps y is nearer to the target with "
            f"probability ≥ {math.floor(e.probability * 1e4) / 1e4:.4g}"
        )
    if len(excluded) > LIST:
        lines.append(f"and {len(excluded) - LIST} more, with less")
    return lines


def _bounds(made: "Guarantee") -> list[str]:
    bounds, start = made.bounds, made.certificate.start
    if not bounds.rate > 0 or not made.one_point_convex:
        return ["None: they need one-point convexity and λ > 0."]
    steps = math.ceil(made.paper.steps(start)) if math.isfinite(made.paper.steps(start)) else 0
    lines = [
        f"λ = {bounds.rate:.4g}, b = {bounds.noise:.4g}, B = {bounds.mean_noise:.4g}, "
        f"K = {bounds.gain:.4g}; while the iterates stay in the domain:",
        f"(1) after {steps} steps E‖y − x*‖² ≤ {bounds.expected_square(steps, start):.4g}",
        "(2) and P(‖y − x*‖ ≥ R) ≤ that over R²",
    ]
    square = bounds.quantile(steps, start, 0.05)
    if math.isfinite(square):
        lines += [
            f"(3) and ‖y − x*‖ ≤ {math.sqrt(square):.4g} with probability 0.95 at that step",
            f"(5) and x is at most {made.radius:.4g} farther than y",
        ]
        if not made.constants.closed:
            ball = made.constants.domain.margin(made.constants.target) - made.radius
            holds = ball > 0 and bounds.stays(steps, start, 0.05, ball)
            lines.insert(-1, f"(4) {_stays(holds)}")
    return lines


def _stays(holds: bool) -> str:
    if holds:
        return "with probability 0.95 they do stay in it up to that step"
    return "it does not follow from (3) that they stay in it"


def _paper(made: "Guarantee") -> list[str]:
    paper = made.paper
    if not (paper.applies and made.one_point_convex):
        return (
            [f"Its conditions fail: η would have to be below {paper.rate_limit:.3g}."]
            if (made.one_point_convex and paper.rate_limit)
            else ["Its conditions fail."]
        )
    steps = paper.steps(made.certificate.start)
    lines = [
        f"after T₁ = {steps:.4g} steps ‖y − x*‖ ≤ √(20b/λ) = {paper.radius:.4g} with probability "
        "≥ 1/2;",
        "its hypotheses alone put every critical point of f inside that ball",
    ]
    if made.necessary_noise:
        lines.append(
            f"the assumption itself needs noise of r ≥ {made.necessary_noise:.4g} for the farthest "
            "minimum; leaving a basin does not"
        )
    return lines


def _mechanism(made: "Guarantee") -> list[str]:
    told = made.mechanism
    if told is None:
        return []
    return [told.sentence, f"D = ηs²/2 = {told.diffusion:.4g}"]


def _walls(made: "Guarantee") -> list[str]:
    if not made.basins:
        return []
    r = made.bounds.radius
    small = made.learning_rate * made.bounds.smoothness <= 1
    lines = []
    for basin in sorted(made.basins, key=lambda b: b.noise)[-LIST:]:
        line = f"minimum {point((basin.minimum,))}: the wall up to {point((basin.top,))} takes "
        line += f"r > {basin.noise:.4g}"
        if small:
            line += f"; r = {r:.4g} {'can climb it' if r > basin.noise else 'never climbs it'}"
        lines.append(line)
    if not small:
        lines.append("ηL is above 1: steps may also jump over a wall, with less noise or none")
    if len(made.basins) > LIST:
        lines.append(f"and {len(made.basins) - LIST} more with lower walls")
    return lines


def point(place: tuple[float, ...]) -> str:
    """Rounded, and what is rounding error as 0."""
    return ", ".join(f"{0.0 if abs(p) < 1e-12 else p:.6g}" for p in place)
