"""Flatness in words: rows of tables and the sentences at the end."""

import math

from thalweg.estimate import Estimate, number, rounded
from thalweg.measure.flatness import Flatness
from thalweg.measure.shift import ShiftLine

__all__ = ["LABELS", "SCALED", "measure_rows", "profile_rows", "sentences", "shift_rows"]

LABELS = {
    "loss": "training loss",
    "test_loss": "held-out loss",
    "gradient_norm": "norm of the gradient",
    "lambda_max": "largest eigenvalue",
    "lambda_min": "smallest eigenvalue",
    "trace": "trace of the Hessian",
    "epsilon_sharpness": "ε-sharpness",
    "sam_sharpness": "SAM sharpness",
    "relative_flatness": "relative flatness",
    "filter_curvature": "filter-normalised curvature",
}
"""In the order in which they are told."""

SCALED = ("relative_flatness", "filter_curvature")
"""Those that a rescaling of layers leaves alone."""


def measure_rows(found: Flatness) -> list[tuple[str, str, str]]:
    """Name, value with its error, unit."""
    return [
        (LABELS.get(name, name), _text(found.measures[name]), _unit(found.measures[name]))
        for name in LABELS
        if name in found.measures
    ]


def profile_rows(found: Flatness) -> list[tuple[str, str, str]]:
    """Profile, radius, rise."""
    rows = []
    for profile in found.profiles.values():
        name = profile.name
        for radius, rise in zip(profile.radii, profile.rises, strict=True):
            rows.append((name, f"{number(radius, 3)}{_suffix(profile.unit)}", _text(rise)))
            name = ""
    return rows


def shift_rows(found: Flatness) -> list[tuple[str, str, str, str]]:
    """Direction, distance of the minima, what it costs, curvature."""
    return [
        (
            line.name,
            ("at least " if line.at_edge else "") + _text(_size(line.gap)),
            _text(line.cost),
            _text(line.curvature),
        )
        for line in found.lines
    ]


def sentences(found: Flatness) -> list[str]:
    """What to take away."""
    said = []
    worst, random = found.profiles.get("worst"), found.profiles.get("random")
    if worst is not None and random is not None:
        place = len(worst.radii) // 2
        high, low = worst.rises[place], random.rises[place]
        ratio = _ratio(high.value, low.value)
        said.append(
            f"At a distance of {number(worst.radii[place], 3)} the loss rises by {_text(low)} in a random "
            f"direction and by {_text(high)} or more in the worst one{ratio}."
        )
    relative = [n for n in SCALED if n in found.measures]
    if relative:
        told = " and ".join(f"{LABELS[n]} {_text(found.measures[n])}" for n in relative)
        said.append(f"Of the measures that no rescaling of layers can fake: {told}.")
    if found.lines:
        said.append(_shift_sentence(found.lines[0], found.measures.get("loss")))
    return said


def _shift_sentence(line: ShiftLine, loss: Estimate | None) -> str:
    if not math.isfinite(line.gap.value):
        return "The shift test met losses that are not finite."
    apart = abs(line.gap.value)
    if not apart > 2 * line.gap.error:
        return (
            f"Along the {line.name} the held-out loss has its minimum where the training loss has it, "
            f"as far as the examples tell ({_text(_size(line.gap))} apart)."
        )
    least = "at least " if line.at_edge else ""
    return (
        f"Along the {line.name} the held-out loss has its minimum {least}{_text(_size(line.gap))} from "
        f"that of the training loss, which costs {_text(line.cost)} of held-out loss."
    )


def _ratio(high: float, low: float) -> str:
    return f", {number(high / low, 2)} times as much" if low > 0 and high > low else ""


def _size(estimate: Estimate) -> Estimate:
    return Estimate(abs(estimate.value), estimate.error, estimate.unit)


def _suffix(unit: str) -> str:
    return "" if unit == "unit" else f" {unit}"


def _text(estimate: Estimate) -> str:
    value, error = rounded(estimate.value, estimate.error, 3)
    return f"{value} ± {error}" if error else value


def _unit(estimate: Estimate) -> str:
    return "" if estimate.unit == "1" else estimate.unit
