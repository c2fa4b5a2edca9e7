"""``thalweg race``: the cures side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, SOURCE, Shared, names, number, whole
from thalweg.cli.source import Source, check_writable, find, seeded
from thalweg.cli.terminal import NOTHING, Terminal

if TYPE_CHECKING:
    from thalweg.diagnose.finding import Finding
    from thalweg.diagnose.race import Race

__all__ = ["Options", "race"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What is raced, for how long, and where the outcome goes."""

    cures: Annotated[tuple[str, ...] | None, names("--cures")] = None
    """Names of the cures, with commas between them, of two at once with +; those that a diagnosis
    advises by default."""

    task: str | None = None
    """The task that goes with a RUN; this runs its code."""

    own_task: Annotated[bool, FLAG] = False
    """Load the task that the RUN itself names; this runs its code."""

    checkpoint: Path | None = None
    """Race from these weights (.safetensors, or .pt with a state dict)."""

    seeds: Annotated[int, whole("--seeds", 1, 1000)] = 3
    """Data orders that every arm is run on."""

    budget: Annotated[float | None, number("--budget")] = None
    """Gradient evaluations over the training data for the longest run of each seed."""

    folder: Path | None = None
    """Keep the arms that are finished here; the same command goes on from them."""

    apply: Path | None = None
    """If a cure wins, go on training with it, on a copy, and save its weights as a run in this folder."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    report: Path | None = None
    """Write a report into this file: one HTML page that opens offline."""

    quiet: Annotated[bool, FLAG] = False
    """Print the outcome's one sentence, without progress."""


DEFAULTS = Options()


def race(
    source: Annotated[str, SOURCE], /, *, options: Options = DEFAULTS, shared: Shared = SHARED
) -> int:
    """Try the cures side by side, from the very state where the training stands.

    Each cure, and the run as it is, goes on from a copy with the same data; they are compared at
    equal numbers of gradient evaluations. Of more than three cures those that do worst are dropped
    on the way; the two best are also tried together. Without --cures the training is diagnosed
    first, and what the diagnosis advises is raced. Nothing of the training itself is touched.

    Exit status: 0 when the race was run, whoever won, 2 a mistake in what was asked for.

    Parameters
    ----------
    source
        TASK (file.py:callable or module:callable, which runs that code, or case:NAME) or RUN (the
        path of a run folder, with --task or --own-task).
    """
    check_writable(options.report)
    terminal = Terminal(json=options.json, quiet=options.quiet)
    with terminal.work(f"loading {source}"), seeded():
        found = find(source, task=options.task, own_task=options.own_task)
    finding, cures = None, options.cures
    if cures is None or options.report is not None:
        finding = _diagnosed(found, options, terminal)
    if cures is None and finding is not None:
        cures = [cure for cure in finding.cures if cure.change is not None]
        if not cures:
            return _no_race(finding, options, terminal)
    with terminal.work("racing", kept=lambda: _kept(options.folder)) as tell, seeded():
        from thalweg.diagnose.race import race as raced

        outcome = raced(
            found.given,
            cures,
            **found.beside,
            checkpoint=options.checkpoint,
            budget=options.budget,
            seeds=options.seeds,
            progress=tell,
            folder=options.folder,
            apply=options.apply,
            task_reference=_reference(source, options),
        )
    if options.json:
        of = None if finding is None else finding.to_dict()
        terminal.json({**outcome.to_dict(), "finding": of})
    elif options.quiet:
        terminal.line(outcome.sentence)
    else:
        from thalweg.show.text import plain_race, rich_race

        terminal.show(rich_race(outcome), plain_race(outcome))
    if finding is not None:
        _report(finding, outcome, options, terminal)
    return 0


def _reference(source: str, options: Options) -> str | None:
    """What leads to the task."""
    if options.own_task:
        from thalweg.record.folder import RunFolder

        return RunFolder.open(source).task_reference
    return options.task or source


def _kept(folder: Path | None) -> str:
    """What an interruption leaves behind."""
    if folder is None:
        return f"{NOTHING}; with --folder DIR the runs that are finished are kept"
    if not folder.is_dir() or not any(folder.iterdir()):
        return f"{NOTHING}, as no run of an arm was finished"
    return f"the runs that were finished are in {folder}, and the same command goes on from there"


def _diagnosed(found: Source, options: Options, terminal: Terminal) -> "Finding":
    """The Finding; said in a line before the race begins."""
    with terminal.work("diagnosing") as tell, seeded():
        from thalweg.diagnose.verdict import diagnose

        finding = diagnose(
            found.given, **found.beside, checkpoint=options.checkpoint, progress=tell
        )
    if not options.json and not options.quiet:
        from thalweg.show.wording import cause_label, confidence_text

        sure = confidence_text(finding.confidence, finding.cause)
        terminal.line(f"Verdict: {cause_label(finding.cause)}, {sure}")
        terminal.line(finding.sentence)
        terminal.line()
    return finding


def _no_race(finding: "Finding", options: Options, terminal: Terminal) -> int:
    if options.json:
        terminal.json({"arms": [], "winner": None, "finding": finding.to_dict()})
    else:
        terminal.line("There is no race: the diagnosis advises no change that could be tried.")
        for mechanism in finding.mechanisms:
            if mechanism.line:
                terminal.line(f"The mend of {mechanism.name}: {mechanism.line}")
    _report(finding, None, options, terminal)
    return 0


def _report(
    finding: "Finding", outcome: "Race | None", options: Options, terminal: Terminal
) -> None:
    if options.report is None:
        return
    from thalweg.show.report import report

    terminal.remark(f"Report: {report(finding, options.report, race=outcome)}")
