"""``thalweg diagnose``: the verdict."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, SOURCE, Shared, number, whole
from thalweg.cli.source import check_writable, find, remark_unused_task, save_finding, seeded
from thalweg.cli.terminal import Terminal
from thalweg.errors import UsageError

__all__ = ["Options", "diagnose"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """How it is diagnosed and where the verdict goes."""

    checkpoint: Path | None = None
    """Diagnose at these weights (.safetensors, or .pt with a state dict), put into a copy."""

    task: str | None = None
    """The task that goes with a RUN; this runs its code."""

    own_task: Annotated[bool, FLAG] = False
    """Load the task that the RUN itself names; this runs its code."""

    budget: Annotated[float | None, number("--budget")] = None
    """Gradient evaluations over the training data to spend at most (300 by default)."""

    share: Annotated[float | None, number("--share", 1)] = None
    """In place of a budget: the share of the run's own compute to spend at most."""

    probe: Annotated[bool, Parameter(negative="--no-probe", show_default=False)] = True
    """At an apparent minimum, try whether noise and descent lead lower: up to 1000 evaluations more."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Seed of subsamples, probes and random directions."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    report: Path | None = None
    """Write a report into this file: one HTML page that opens offline."""

    quiet: Annotated[bool, FLAG] = False
    """Print the verdict's one sentence, without progress."""


DEFAULTS = Options()


def diagnose(
    source: Annotated[str, SOURCE], /, *, options: Options = DEFAULTS, shared: Shared = SHARED
) -> int:
    """Say what holds a training back.

    The verdict comes with its evidence and error bars, and with what to change. Nothing of the
    training is touched. From a RUN without a task the verdict rests on its history alone, and says
    so; with a task it is taken where the run stands. It is saved in the RUN as finding.json.

    Exit status: 0 healthy or at its minimum, 1 another finding, 2 a mistake in what was asked for.

    Parameters
    ----------
    source
        TASK (file.py:callable or module:callable, which runs that code, or case:NAME) or RUN (the
        path of a run folder).
    """
    if options.budget is not None and options.share is not None:
        raise UsageError("--budget and --share must not both be given")
    check_writable(options.report)
    terminal = Terminal(json=options.json, quiet=options.quiet)
    with (
        terminal.work(f"loading {source}") as tell,
        seeded(options.seed),
    ):
        found = find(source, task=options.task, own_task=options.own_task)
        from thalweg.diagnose.cause import Cause
        from thalweg.diagnose.verdict import diagnose as diagnosed

        budget: dict[str, Any] = {} if options.budget is None else {"budget": options.budget}
        finding = diagnosed(
            found.given,
            **found.beside,
            **budget,
            checkpoint=options.checkpoint,
            share=options.share,
            probe=options.probe,
            seed=options.seed,
            progress=tell,
        )
    if options.json:
        terminal.json(finding.to_dict())
    elif options.quiet:
        decided = finding.cause is not Cause.UNDETERMINED
        sure = f" ({finding.confidence:.2f})" if decided else ""
        terminal.line(f"{finding.cause.value}{sure}: {finding.sentence}")
    else:
        from thalweg.show.text import plain_finding, rich_finding

        terminal.show(rich_finding(finding), plain_finding(finding))
    if (note := remark_unused_task(found)) is not None:
        terminal.remark(note)
    if found.run is not None and (note := save_finding(finding, found.run)) is not None:
        terminal.remark(note)
    if options.report is not None:
        from thalweg.show.report import report

        terminal.remark(f"Report: {report(finding, options.report)}")
    return 0 if finding.cause in (Cause.HEALTHY, Cause.MINIMUM) else 1
