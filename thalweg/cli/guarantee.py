"""``thalweg guarantee``: what theory promises of a function, and what it does not."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, Shared, number, whole
from thalweg.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.text import Text

    from thalweg.theory.guarantee import Guarantee

__all__ = ["Options", "guarantee"]

HYPHEN = Parameter(allow_leading_hyphen=True)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Of which descent, and in what form."""

    lr: Annotated[float, number("--lr")]
    """Learning rate η."""

    noise: str
    """Of the gradient: uniform:A, ball:A, sphere:A, gaussian:S or student-t:S:FREEDOM."""

    domain: Annotated[str | None, HYPHEN] = None
    """LOW:HIGH for each coordinate, with commas between them; that of the function by default."""

    target: Annotated[str | None, HYPHEN] = None
    """Coordinates with commas between them; 0 by default."""

    start: Annotated[float | None, number("--start")] = None
    """Largest distance of the start from the target; the farthest corner of the domain by default."""

    estimate: Annotated[bool, FLAG] = False
    """Estimate all constants, prove none."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Of what is sampled."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    quiet: Annotated[bool, FLAG] = False
    """Print one sentence, without progress."""


def guarantee(
    function: Annotated[str, Parameter(name="FUNCTION", allow_leading_hyphen=True)],
    /,
    *,
    options: Options,
    shared: Shared = SHARED,
) -> int:
    """Say what is proved of noisy gradient descent on a function.

    Which hypotheses of the theory of escaping local minima hold and which fail, where; the bounds
    they give; which minima are certified to be left behind, and with what probability. A constant
    is called rigorous where interval arithmetic proved it, and estimated elsewhere.

    The noise is that of the gradient: one step of it is η times as long.

    Parameters
    ----------
    function
        A formula such as "x**2 + 0.3*cos(20*x)" (one that begins with a minus: after --), or a
        name of the catalogue.
    """
    terminal = Terminal(json=options.json, quiet=options.quiet)
    with terminal.work("reading the function") as tell:
        from thalweg.objective.landscapes import from_reference
        from thalweg.theory.guarantee import guarantee as guaranteed

        landscape = from_reference(function)
        made = guaranteed(
            landscape,
            options.lr,
            options.noise,
            (0.0,) * landscape.dim if options.target is None else options.target,
            landscape.domain if options.domain is None else options.domain,
            start=options.start,
            rigorous=False if options.estimate else None,
            seed=options.seed,
            progress=tell,
        )
    if options.json:
        terminal.json(made.to_dict())
    elif options.quiet:
        terminal.line(made.sentence)
    else:
        terminal.show(_pretty(made), str(made))
    return 0


def _pretty(made: "Guarantee") -> "Text":
    from rich.text import Text

    from thalweg.theory.text import sections

    text = Text()
    for heading, lines in sections(made):
        if not lines:
            continue
        text.append(f"{heading}\n", style="bold")
        for line in lines:
            style = "red" if line.startswith("fails") else ""
            text.append(f"  {line}\n", style=style)
        text.append("\n")
    text.rstrip()
    return text
