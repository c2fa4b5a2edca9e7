"""``thalweg diagnose``: the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, SOURCE, Shared, number, whole
from thalweg.cli.source import (
    Source,
    check_writable,
    find,
    remark_unused_task,
    save_finding,
    seeded,
)
from thalweg.cli.table import show_table
from thalweg.cli.terminal import Terminal
from thalweg.errors import UsageError
from thalweg.estimate import number as shown

if TYPE_CHECKING:
    from thalweg.diagnose.finding import Finding

__all__ = ["Options", "diagnose"]

COLUMNS = ("run", "verdict", "steps", "rate", "first loss", "best", "last", "seen")


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
    source: Annotated[str, SOURCE],
    /,
    *others: Annotated[str, Parameter(name="RUN")],
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """Say what holds a training back.

    The verdict comes with its evidence and error bars, and with what to change. Nothing of the
    training is touched. From a RUN without a task the verdict rests on its history alone, and says
    so; with a task it is taken where the run stands. It is saved in the RUN as finding.json. A RUN
    may still go on. Several are told side by side.

    Exit status: 0 healthy or at its minimum, 1 another finding, 2 a mistake in what was asked for.

    Parameters
    ----------
    source
        TASK (file.py:callable or module:callable, which runs that code, or case:NAME) or RUN (the
        path of a run folder).
    others
        More of them, for a table of all.
    """
    if options.budget is not None and options.share is not None:
        raise UsageError("--budget and --share must not both be given")
    check_writable(options.report)
    terminal = Terminal(json=options.json, quiet=options.quiet)
    if others:
        return _side_by_side((source, *others), options, terminal)
    found, finding = _diagnosed(source, options, terminal)
    from thalweg.diagnose.cause import Cause

    if options.json:
        terminal.json(finding.to_dict())
    elif options.quiet:
        decided = finding.cause is not Cause.UNDETERMINED
        sure = f" ({finding.confidence:.2f})" if decided else ""
        terminal.line(f"{finding.cause.value}{sure}: {finding.sentence}")
    else:
        from thalweg.show.text import plain_finding, rich_finding

        terminal.show(rich_finding(finding), plain_finding(finding))
    _keep(found, finding, terminal)
    if options.report is not None:
        from thalweg.show.report import report

        terminal.remark(f"Report: {report(finding, options.report)}")
    return 0 if finding.cause in (Cause.HEALTHY, Cause.MINIMUM) else 1


def _diagnosed(source: str, options: Options, terminal: Terminal) -> "tuple[Source, Finding]":
    with (
        terminal.work(f"loading {source}") as tell,
        seeded(options.seed),
    ):
        found = find(source, task=options.task, own_task=options.own_task)
        from thalweg.diagnose.verdict import diagnose as diagnosed

        budget: dict[str, Any] = {} if options.budget is None else {"budget": options.budget}
        return found, diagnosed(
            found.given,
            **found.beside,
            **budget,
            checkpoint=options.checkpoint,
            share=options.share,
            probe=options.probe,
            seed=options.seed,
            progress=tell,
        )


def _keep(found: Source, finding: "Finding", terminal: Terminal) -> None:
    if (note := remark_unused_task(found)) is not None:
        terminal.remark(note)
    if found.run is not None and (note := save_finding(finding, found.run)) is not None:
        terminal.remark(note)


def _side_by_side(sources: Sequence[str], options: Options, terminal: Terminal) -> int:
    """Several runs in a table."""
    for name, value in (("--report", options.report), ("--checkpoint", options.checkpoint)):
        if value is not None:
            raise UsageError(f"{name} must go with one TASK or RUN, not with {len(sources)}")
    both = [_diagnosed(source, options, terminal) for source in sources]
    from thalweg.diagnose.cause import Cause

    if options.json:
        terminal.json({"runs": [finding.to_dict() for _, finding in both]})
    elif options.quiet:
        for source, (_, finding) in zip(sources, both):
            terminal.line(f"{source}: {finding.cause.value}: {finding.sentence}")
    else:
        rows = [_row(source, *each) for source, each in zip(sources, both)]
        show_table(terminal, COLUMNS, rows, "llrrrrrl")
    for each in both:
        _keep(*each, terminal)
    fine = all(finding.cause in (Cause.HEALTHY, Cause.MINIMUM) for _, finding in both)
    return 0 if fine else 1


def _row(source: str, found: Source, finding: "Finding") -> tuple[str, ...]:
    """A run's cells; of a task only those that it has."""
    from thalweg.diagnose.live import what_is_seen
    from thalweg.show.wording import cause_label, estimate_text

    def told(name: str) -> str:
        estimate = finding.evidence.measured(name)
        return "" if math.isnan(estimate.value) else estimate_text(estimate)

    steps, rate, events = "", "", ""
    if found.run is not None:
        from thalweg.record.folder import RunFolder

        history = RunFolder.open(found.run).metrics()
        steps, rates = str(history.steps), history["learning_rate"].values
        rate = shown(float(rates[-1]), 3) if len(rates) else ""
        events = ", ".join(event.name.replace("_", " ") for event in what_is_seen(history))
    verdict = f"{cause_label(finding.cause)} ({finding.confidence:.2f})"
    losses = (told("history_start"), told("history_best"), told("history_end"))
    return source, verdict, steps, rate, *losses, events
