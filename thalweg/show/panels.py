"""The figures that a finding and a race have data for, each with a title and a sentence in words."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from thalweg.diagnose.finding import Finding
from thalweg.diagnose.race import Race
from thalweg.estimate import Curve
from thalweg.show.drops_figure import drops, in_fresh_lengths, ways
from thalweg.show.figure import continuations, loss_history
from thalweg.show.race_figure import gains, judged, race_losses
from thalweg.show.spectrum import eigenvalues, measured_eigenvalues
from thalweg.show.wording import clean, number

__all__ = ["Panel", "Section", "finding_sections", "race_panels"]


_ARMS = {
    "continuation_unchanged": "Unchanged, the loss",
    "continuation_lower_rate": "At a tenth of the rate it",
    "continuation_raised_rate": "At a raised rate it",
    "continuation_test": "The held-out loss of the unchanged run",
}


@dataclass(frozen=True)
class Panel:
    """A figure with its title and what it shows, said in words."""

    key: str
    title: str
    caption: str
    figure: go.Figure

    @property
    def height(self) -> int:
        """In pixels, so that a page can keep the place free."""
        return int(self.figure.to_dict()["layout"].get("height", 340))


@dataclass(frozen=True)
class Section:
    """Figures that belong under one heading."""

    key: str
    title: str
    panels: tuple[Panel, ...]


def finding_sections(finding: Finding) -> list[Section]:
    """The figures of the finding for which there is data, in the order to show them."""
    curves = finding.evidence.curves
    sections = []
    if "history" in curves:
        words = _spoken(curves["history"], "The training loss")
        sections.append(_single("history", "Loss so far", words, loss_history, finding))
    down = [curves[k] for k in ("along_gradient", "along_negative_curvature") if k in curves]
    if down:
        sections.append(_single("drops", "Ways down from here", _down(finding), drops, finding))
    ahead = [name for name in curves if name.startswith("continuation_")]
    if ahead:
        words = " ".join(
            _spoken(
                curves[name],
                _ARMS.get(name, name.removeprefix("continuation_")),
                spanned=name == "continuation_unchanged",
            )
            for name in (*_ARMS, *sorted(set(ahead) - set(_ARMS)))
            if name in ahead
        )
        sections.append(
            _single("ahead", "The run continued from here", words, continuations, finding)
        )
    measured = measured_eigenvalues(finding)
    if measured:
        negative = sum(e.value + e.error < 0 for _, e in measured)
        below = (
            f"{negative or 'none'} lies below 0 by more than its error."
            if negative < 2
            else f"{negative} lie below 0 by more than their errors."
        )
        count = "One eigenvalue" if len(measured) == 1 else f"{len(measured)} eigenvalues"
        words = f"{count} of the Hessian with {'its' if len(measured) == 1 else 'their'} error "
        words += f"bound{'' if len(measured) == 1 else 's'}; {below}"
        sections.append(_single("spectrum", "Eigenvalues", words, eigenvalues, finding))
    return sections


def race_panels(race: Race) -> list[Panel]:
    """The figures of a race: the loss that is judged, the other beside it, the gains; none where no
    arm has a loss."""
    if not any(arm.losses for arm in race.arms):
        return []
    words = (
        "Mean over the seeds in a band from the lowest to the highest. A cross ends an arm that was "
        "dropped, on seeds of its own; a line that ends early without one was no longer finite."
    )
    panels = [Panel("race", "Loss at equal cost", words, race_losses(race))]
    other = "train" if race.judged_by == "test" else "test"
    if other == "train" or any(arm.test_losses for arm in race.arms):
        title = "Training loss of the same runs" if other == "train" else "Held-out loss beside it"
        panels.append(Panel("race-beside", title, "", race_losses(race, other)))
    if any(math.isfinite(arm.gain.value) for arm in judged(race)):
        words = "Bars are means over the seeds, lines their 95% intervals, circles single seeds."
        panels.append(Panel("gains", "Lower than the unchanged run by", words, gains(race)))
    return panels


def _single(
    key: str, title: str, words: str, draw: Callable[[Finding], go.Figure], finding: Finding
) -> Section:
    return Section(key, title, (Panel(key, "", words, draw(finding)),))


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _spoken(curve: Curve, subject: str, *, spanned: bool = True) -> str:
    known = _finite(curve.y)
    if not known:
        return f"{subject}: nothing finite was seen."
    gaps = len(curve.y) - len(known)
    missing = f", with {gaps} of {len(curve.y)} values not finite" if gaps else ""
    span = (
        ""
        if not spanned
        else f" over {clean(curve.x_name)} {number(curve.x[0])} to {number(curve.x[-1])}"
    )
    least = number(min(known))
    lowest = "" if least in (number(known[0]), number(known[-1])) else f", lowest {least}"
    if number(known[0]) == number(known[-1]) and not lowest:
        return f"{subject} stayed at {number(known[0])}{span}{missing}."
    return f"{subject} went from {number(known[0])} to {number(known[-1])}{span}{lowest}{missing}."


def _down(finding: Finding) -> str:
    start, said, none = finding.evidence.value("loss"), [], []
    for way in ways(finding):
        title = way.title.replace("<br>", " ")
        if way.remark:
            none.append(
                f"The gradient is all but nothing, so no move {title} is worth drawing: it would be "
                "many times as long as the weights themselves."
            )
        elif math.isfinite(way.lowest):
            same = number(way.lowest) == number(start)
            said.append(f"{'no lower' if same else number(way.lowest)} {title}")
    words = f"The lowest loss found is {' and '.join(said)}." if said else ""
    unit = ""
    if said and in_fresh_lengths(finding):
        unit = "A move of 1 is as long as a freshly drawn weight vector."
    stands = f"The run stands at {number(start)}, the ring." if math.isfinite(start) else ""
    return " ".join(filter(None, [words, *none, stands, unit])) or "Nothing finite."
