"""``thalweg escape``: whether noise about where a training stands leads out, and where to."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, SOURCE, Shared, whole
from thalweg.cli.source import find, remark_unused_task, seeded
from thalweg.cli.table import show_table
from thalweg.cli.terminal import Terminal
from thalweg.errors import UsageError

if TYPE_CHECKING:
    from thalweg.diagnose.escape_result import Escape

__all__ = ["Options", "escape"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """How much noise, how often, and in what form it is told."""

    trials: Annotated[int, whole("--trials", 1, 1000)] = 6
    """Trials in each round."""

    evaluations: Annotated[int, whole("--evaluations", 5, 100_000)] = 40
    """Gradient evaluations of the descent after the noise."""

    warm: Annotated[bool, Parameter(negative="--no-warm", show_default=False)] = True
    """Try warm restarts of the learning rate too."""

    restarts: Annotated[int, whole("--restarts", 0, 1000)] = 4
    """Descents from fresh weights."""

    task: str | None = None
    """The task that goes with a RUN; this runs its code."""

    own_task: Annotated[bool, FLAG] = False
    """Load the task that the RUN itself names; this runs its code."""

    checkpoint: Path | None = None
    """Begin at these weights (.safetensors, or .pt with a state dict)."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Of every draw."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    quiet: Annotated[bool, FLAG] = False
    """Print the one sentence, without progress."""


DEFAULTS = Options()


def escape(
    source: Annotated[str, SOURCE], /, *, options: Options = DEFAULTS, shared: Shared = SHARED
) -> int:
    """Say whether noise about where a training stands leads to a lower loss.

    Descent to the bottom of the basin; from there noise of growing length, each time followed by
    descent: the least that leads out, how often, how much lower, and how wide the basin is. The same
    with warm restarts of the learning rate, and from fresh weights: whether those end in other minima.

    Exit status: 0 no way out was found, 1 better is reachable, 2 a mistake in what was asked for.

    Parameters
    ----------
    source
        TASK (file.py:callable or module:callable, which runs that code, or case:NAME) or RUN (the
        path of a run folder, with --task or --own-task).
    """
    terminal = Terminal(json=options.json, quiet=options.quiet)
    found = _found(source, options, terminal)
    if options.json:
        terminal.json(found.to_dict())
    elif options.quiet:
        terminal.line(found.sentence)
    else:
        _tell(found, terminal)
    from thalweg.diagnose.cause import Cause

    return int(found.cause is not Cause.MINIMUM)


def _found(source: str, options: Options, terminal: Terminal) -> "Escape":
    with terminal.work(f"loading {source}") as tell, seeded(options.seed):
        given = find(source, task=options.task, own_task=options.own_task)
        if given.task is None:
            note = remark_unused_task(given) or ""
            raise UsageError(f"RUN must come with --task or --own-task to be left; {note}")
        from thalweg.diagnose.escape import escape as escaped

        return escaped(
            given.given,
            **given.beside,
            checkpoint=options.checkpoint,
            trials=options.trials,
            evaluations=options.evaluations,
            warm=options.warm,
            restarts=options.restarts,
            seed=options.seed,
            progress=tell,
        )


def _tell(found: "Escape", terminal: Terminal) -> None:
    from thalweg.show.escape_text import COLUMNS, escape_remarks, escape_rows

    terminal.line(f"{found.name}: {found.cause.value.replace('_', ' ')}")
    terminal.line(found.sentence)
    terminal.line()
    show_table(terminal, COLUMNS, escape_rows(found), "lrlllr")
    terminal.line()
    for line in escape_remarks(found):
        terminal.line(line)
