"""An exhibit: a figure with the claim that it shows, checked in the data that it plots."""

from collections.abc import Callable
from dataclasses import dataclass

from thalweg.show.panels import Panel

__all__ = ["Claim", "Drawn", "Exhibit"]


@dataclass(frozen=True)
class Claim:
    """What an exhibit shows, with the numbers that were seen, and whether they bear it out."""

    sentence: str
    holds: bool


@dataclass(frozen=True)
class Drawn:
    """An exhibit made for one seed; the keys of its panels begin with its name."""

    panels: tuple[Panel, ...]
    claims: tuple[Claim, ...]

    @property
    def holds(self) -> bool:
        """Whether every claim does."""
        return all(claim.holds for claim in self.claims)


@dataclass(frozen=True)
class Exhibit:
    """One step of the lesson.

    Attributes:
        name: as the command line knows it, with dashes.
        title: its heading.
        lesson: a paragraph of plain text: what happens and why.
        question: for the student, with no answer beside it.
        build: makes it for a seed, in a few seconds on one core.
    """

    name: str
    title: str
    lesson: str
    question: str
    build: Callable[[int], Drawn]
