"""``thalweg spectrum``: the eigenvalues of the Hessian, how many and where."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, SOURCE, Shared, number, whole
from thalweg.cli.source import Source, check_writable, find, remark_unused_task, seeded
from thalweg.cli.table import show_table
from thalweg.cli.terminal import Tell, Terminal
from thalweg.errors import UsageError

if TYPE_CHECKING:
    from thalweg.measure.spectrum import Spectrum

__all__ = ["Options", "spectrum"]

MOST = 100_000


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured, how well, and where it goes."""

    checkpoint: Path | None = None
    """Measure at these weights (.safetensors, or .pt with a state dict), put into a copy."""

    task: str | None = None
    """The task that goes with a RUN; this runs its code."""

    own_task: Annotated[bool, FLAG] = False
    """Load the task that the RUN itself names; this runs its code."""

    matrix: str = "hessian"
    """Of second derivatives: hessian, or gauss-newton, without the curvature of the network."""

    by_layer: Annotated[bool, FLAG] = False
    """A spectrum for each layer's own block."""

    points: Annotated[int, whole("--points", 1, MOST)] = 1
    """Checkpoints of a RUN to measure at, at most; the last is among them."""

    top: Annotated[int, whole("--top", 1, MOST)] = 5
    """How many of the largest eigenvalues."""

    bottom: Annotated[int, whole("--bottom", 0, MOST)] = 1
    """How many of the smallest."""

    accuracy: Annotated[float, number("--accuracy", 1)] = 0.02
    """Standard error of the trace, as a share of it."""

    probes: Annotated[int, whole("--probes", 1, MOST)] = 4
    """Random vectors for the density."""

    budget: Annotated[int, whole("--budget", 2)] = 400
    """Products with the matrix to spend at most, on each spectrum; one costs two gradients."""

    examples: Annotated[int, whole("--examples", 1)] = 2048
    """Examples to measure on; of more a sample is drawn."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Of every draw."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    csv: Path | None = None
    """Write eigenvalues and weights into this file: CSV, or NumPy's form where it ends in .npz."""

    report: Path | None = None
    """Write a page into this file: HTML that opens offline."""

    quiet: Annotated[bool, FLAG] = False
    """Print the sentences only, without progress."""


DEFAULTS = Options()


def spectrum(
    source: Annotated[str, SOURCE],
    /,
    *,
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """Say how the loss curves: its extreme eigenvalues, their sum and where all of them lie.

    The largest and smallest eigenvalues of the Hessian, its trace, its effective rank, the share of
    negative curvature and the density of its spectrum, each with its error; or those of the
    Gauss-Newton matrix. The loss is the one that the optimizer descends, its weight decay included.

    Parameters
    ----------
    source
        TASK (file.py:callable or module:callable, which runs that code, or case:NAME) or RUN (the
        path of a run folder, with --task or --own-task).
    """
    check_writable(options.report)
    check_writable(options.csv, "--csv")
    terminal = Terminal(json=options.json, quiet=options.quiet)
    with terminal.work(f"loading {source}") as tell, seeded(options.seed):
        found = find(source, task=options.task, own_task=options.own_task)
        spectra = _measured(source, found, options, tell)
    if options.json:
        terminal.json({"spectra": [each.to_dict() for each in spectra]})
    else:
        _tell(spectra, options, terminal)
    if options.csv is not None:
        from thalweg.measure.spectra import save_spectra

        terminal.remark(f"Numbers: {save_spectra(spectra, options.csv)}")
    if options.report is not None:
        from thalweg.show.spectrum_page import spectrum_page

        terminal.remark(f"Report: {spectrum_page(spectra, options.report, source=source)}")
    return 0


def _measured(text: str, found: Source, options: Options, tell: Tell) -> "tuple[Spectrum, ...]":
    import torch

    from thalweg.measure.spectra import objective_of_task, spectra_by_layer, spectra_of_run
    from thalweg.measure.spectrum import spectrum as measured

    if found.task is None:
        unused = remark_unused_task(found)
        raise UsageError(unused or f"{text} must have its task: pass --task")
    chosen: dict[str, Any] = {
        "matrix": options.matrix,
        "top": options.top,
        "bottom": options.bottom,
        "rtol": options.accuracy,
        "probes": options.probes,
        "budget": options.budget,
        "progress": lambda phrase: tell(f"measuring {text}: {phrase}"),
    }
    if found.run is not None and options.checkpoint is None and not options.by_layer:
        return spectra_of_run(
            found.run,
            found.task,
            points=options.points,
            examples=options.examples,
            seed=options.seed,
            **chosen,
        )
    if options.points != 1:
        raise UsageError("--points must go with a RUN, without --checkpoint and --by-layer")
    from thalweg.diagnose.source import task_of

    task: Any = task_of(found.given, **found.beside, checkpoint=options.checkpoint)
    objective = objective_of_task(task, examples=options.examples, seed=options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    chosen["generator"] = generator
    if options.by_layer:
        return spectra_by_layer(objective, objective.point(), **chosen)
    return (measured(objective, objective.point(), **chosen),)


def _tell(spectra: "Sequence[Spectrum]", options: Options, terminal: Terminal) -> None:
    from thalweg.show.spectrum_text import COLUMNS, row, rows, sentence

    for each in spectra:
        if len(spectra) == 1 and not options.quiet:
            show_table(terminal, ("", "value", "95% within"), rows(each), "lrr")
    if len(spectra) > 1 and not options.quiet:
        show_table(terminal, COLUMNS, [row(each) for each in spectra], "l" + "r" * 6)
    for each in spectra:
        terminal.line(sentence(each))
    short = [each for each in spectra if not each.decided and math.isfinite(each.trace.value)]
    left = [each.name or each.matrix for each in short]
    if left and not options.quiet:
        terminal.remark(
            f"The budget of {options.budget} products ended before the accuracy that was asked for "
            f"({', '.join(left)}): the errors say by how much; --budget takes more."
        )
