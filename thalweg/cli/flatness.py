"""``thalweg flatness``: how flat the ground is about where a training stands."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, SOURCE, Shared, number, whole
from thalweg.cli.source import check_writable, find, remark_unused_task, seeded
from thalweg.cli.table import show_table
from thalweg.cli.terminal import Terminal
from thalweg.errors import UsageError

if TYPE_CHECKING:
    from thalweg.measure.flatness import Flatness

__all__ = ["Options", "flatness"]

MOST = 10_000


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured, and in what form it is told."""

    checkpoint: Path | None = None
    """Measure at these weights (.safetensors, or .pt with a state dict), put into a copy."""

    task: str | None = None
    """The task that goes with a RUN; this runs its code."""

    own_task: Annotated[bool, FLAG] = False
    """Load the task that the RUN itself names; this runs its code."""

    examples: Annotated[int, whole("--examples", 20)] = 2048
    """Examples to measure on; of more a sample is drawn."""

    noise: str = "ball:1"
    """What the loss is averaged over at a radius of 1: ball:A, uniform:A, gaussian:S, sphere:A."""

    draws: Annotated[int, whole("--draws", 2, MOST)] = 16
    """Pairs of random directions at each radius."""

    probes: Annotated[int, whole("--probes", 2, MOST)] = 16
    """Hessian-vector products for each of the trace and its like."""

    epsilon: Annotated[float, number("--epsilon")] = 1e-3
    """Of ε-sharpness."""

    rho: Annotated[float, number("--rho")] = 0.05
    """Of SAM sharpness."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Of every draw."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    report: Path | None = None
    """Write the figures into this file: one HTML page that opens offline."""

    quiet: Annotated[bool, FLAG] = False
    """Print the last sentences only, without progress."""


DEFAULTS = Options()


def flatness(
    source: Annotated[str, SOURCE],
    /,
    *,
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """Say how flat the loss is about where a training stands.

    Largest eigenvalue, trace, ε-sharpness, SAM sharpness; relative flatness and the rise in
    filter-normalised directions, which no rescaling of layers can fake; the rise in random and in
    the worst directions and of the loss averaged over noise against distance; and, with held-out
    data, how far their minima lie from the training data's and what that costs. Without weight decay.

    Parameters
    ----------
    source
        TASK (file.py:callable or module:callable, which runs that code, or case:NAME) or RUN (the
        path of a run folder; with --task or --own-task).
    """
    check_writable(options.report)
    terminal = Terminal(json=options.json, quiet=options.quiet)
    found = _measured(source, options, terminal)
    if options.json:
        terminal.json(found.to_dict())
    else:
        _tell(found, options, terminal)
    if options.report is not None:
        from thalweg.show.ground_page import flatness_page

        page = flatness_page(found, options.report, command=f"thalweg flatness {source}")
        terminal.remark(f"Report: {page}")
    return 0


def _measured(source: str, options: Options, terminal: Terminal) -> "Flatness":
    from thalweg.objective.noise import parse

    noise = parse(options.noise, "--noise")
    with terminal.work(f"loading {source}") as tell, seeded(options.seed):
        found = find(source, task=options.task, own_task=options.own_task)
        from thalweg.diagnose.source import HistoryOnly, task_of
        from thalweg.measure.standing import flatness_of_task

        task = task_of(found.given, **found.beside, checkpoint=options.checkpoint)
        if isinstance(task, HistoryOnly):
            note = remark_unused_task(found) or ""
            raise UsageError(f"RUN must come with --task or --own-task to be measured; {note}")
        return flatness_of_task(
            task,
            examples=options.examples,
            noise=noise,
            draws=options.draws,
            probes=options.probes,
            epsilon=options.epsilon,
            rho=options.rho,
            seed=options.seed,
            progress=lambda what: tell(f"measuring: {what}"),
        )


def _tell(found: "Flatness", options: Options, terminal: Terminal) -> None:
    from thalweg.show.flatness_text import measure_rows, profile_rows, sentences, shift_rows

    if not options.quiet:
        terminal.line(f"{found.name}: flatness, without weight decay")
        show_table(terminal, ("measure", "value", "unit"), measure_rows(found), "lrl")
        terminal.line()
        show_table(terminal, ("rise of the loss", "radius", "rise"), profile_rows(found), "lrr")
        if found.lines:
            terminal.line()
            names = ("along", "minima apart", "costs", "curvature")
            show_table(terminal, names, shift_rows(found), "lrrr")
        terminal.line()
    for sentence in sentences(found):
        terminal.line(sentence)
    if not options.quiet:
        for note in found.notes:
            terminal.remark(note)
