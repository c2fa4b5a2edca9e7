"""``thalweg surface``: the loss over a plane."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, SOURCE, Shared, number, whole
from thalweg.cli.source import check_writable, find, remark_unused_task, seeded
from thalweg.cli.table import show_table
from thalweg.cli.terminal import NOTHING, Terminal
from thalweg.errors import UsageError

if TYPE_CHECKING:
    from thalweg.measure.surface import Surface

__all__ = ["Options", "surface"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Which surface, how finely, and in what form it is told."""

    directions: str = "random"
    """The plane: random (filter-normalised), eigen (largest curvature), gradient, or path (of a RUN)."""

    line: Annotated[bool, FLAG] = False
    """Along the first direction only."""

    size: Annotated[int, whole("--size", 3, 1001)] = 51
    """Coordinates along each direction."""

    span: Annotated[float, number("--span")] = 1.0
    """The coordinates reach from minus this to this."""

    tolerance: Annotated[float, number("--tolerance", 0.5)] = 0.01
    """Largest error that a value may have, as a share of the range shown."""

    log: Annotated[bool, FLAG] = False
    """Show the logarithm of the loss; the tolerance is meant in it."""

    exact: Annotated[bool, FLAG] = False
    """Evaluate every value."""

    checkpoint: Path | None = None
    """Look around these weights (.safetensors, or .pt with a state dict)."""

    task: str | None = None
    """The task that goes with a RUN; this runs its code."""

    own_task: Annotated[bool, FLAG] = False
    """Load the task that the RUN itself names; this runs its code."""

    examples: Annotated[int, whole("--examples", 1)] = 2048
    """Examples to measure on; of more a sample is drawn."""

    folder: Path | None = None
    """Keep each value in this folder as it comes; if interrupted, go on from there."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Of the random directions, the sample and the checks."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    report: Path | None = None
    """Write pictures into this file: one HTML page that opens offline."""

    quiet: Annotated[bool, FLAG] = False
    """Print the last sentences only, without progress."""


DEFAULTS = Options()


def surface(
    source: Annotated[str, SOURCE],
    /,
    *,
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """Show the loss over a plane through a training's point, and how far off a value may be.

    Only as many values are evaluated as the surface asks for; the rest are interpolated, and some
    held back to check them. Beside it stand held-out loss and accuracy. The path of a RUN is
    projected on the plane.

    Parameters
    ----------
    source
        TASK (file.py:callable or module:callable, which runs that code, or case:NAME) or RUN (the
        path of a run folder, with --task or --own-task).
    """
    check_writable(options.report)
    terminal = Terminal(json=options.json, quiet=options.quiet)
    found = _surveyed(source, options, terminal)
    if options.json:
        terminal.json(found.to_dict())
    else:
        _tell(found, options, terminal)
    if options.report is not None:
        from thalweg.show.surface_page import surface_page

        terminal.remark(f"Report: {surface_page(found, options.report)}")
    return 0


def _surveyed(source: str, options: Options, terminal: Terminal) -> "Surface":
    kept = f"what was evaluated is in {options.folder}" if options.folder else NOTHING
    with (
        terminal.work(f"loading {source}", kept=lambda: kept) as tell,
        seeded(options.seed),
    ):
        from thalweg.diagnose.source import HistoryOnly, task_of
        from thalweg.measure.survey import survey

        found = find(source, task=options.task, own_task=options.own_task)
        if (note := remark_unused_task(found)) is not None:
            terminal.remark(note)
        task = task_of(found.given, **found.beside, checkpoint=options.checkpoint)
        if isinstance(task, HistoryOnly):
            raise UsageError(
                f"a surface must have its loss, but {source} is a run alone: give --task or --own-task"
            )
        return survey(
            task,
            found.run if options.checkpoint is None else None,
            directions=options.directions,
            line=options.line,
            examples=options.examples,
            seed=options.seed,
            size=options.size,
            span=options.span,
            tolerance=options.tolerance,
            logarithm=options.log,
            exact=options.exact,
            folder=options.folder,
            progress=lambda done, most: tell(f"evaluating {source}", done, most),
        )


def _tell(found: "Surface", options: Options, terminal: Terminal) -> None:
    from thalweg.show.surface_text import axes_sentence, rows, sentences

    if not options.quiet:
        terminal.line(f"{found.name}. {axes_sentence(found)}")
        show_table(
            terminal,
            ("", "lowest", "highest", "off by at most"),
            [row[:4] for row in rows(found)],
            "lrrr",
        )
    for sentence in sentences(found):
        terminal.line(sentence)
    if not options.quiet:
        for note in found.notes:
            terminal.remark(note)
