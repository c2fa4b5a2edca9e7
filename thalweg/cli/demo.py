"""``thalweg demo``: the main job on a training that comes along."""

import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from thalweg.cli.options import SHARED, Shared, whole
from thalweg.cli.source import check_writable, seeded
from thalweg.cli.terminal import Terminal
from thalweg.errors import FolderError
from thalweg.estimate import Evidence

if TYPE_CHECKING:
    from thalweg.diagnose.finding import Finding
    from thalweg.task import Task

__all__ = ["Options", "demo"]

CASE = "tiny_start"
"""Digits at the saddle where all weights vanish: the loss stands at ln 10 and looks hopeless, a
lower or higher rate is no help, and one nudge sets it free."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Which training, and where the report goes."""

    case: str = CASE
    """The case of the clinic to show: thalweg cases --list names them."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Instance of the case."""

    seeds: Annotated[int, whole("--seeds", 1, 1000)] = 3
    """Data orders that every arm of the race is run on."""

    folder: Path = Path(".")
    """Where report.html is written."""


DEFAULTS = Options()


def demo(*, options: Options = DEFAULTS, shared: Shared = SHARED) -> int:
    """The main job on a training that comes along: diagnose, race the cures, report.

    A small network is trained until it is stuck, in a way that is known. Then the two commands
    that you would use on your own training are run on it, diagnose and race, and what they find is
    written to report.html. It takes less than a minute, and needs no network.
    """
    terminal = Terminal()
    path = _report_path(options.folder)
    with terminal.work(f"training case:{options.case}"):
        from thalweg.clinic import CASES, case

        task = case(options.case, options.seed)
        from thalweg.diagnose.race import race
        from thalweg.diagnose.verdict import diagnose
        from thalweg.show.report import report
        from thalweg.show.text import plain_finding, plain_race, rich_finding, rich_race

    terminal.line("Nothing is downloaded, and this takes less than a minute.")
    _say(terminal, "1. A training", _described(task))

    reference = f"case:{options.case}:{options.seed}"
    _say(terminal, "2. The diagnosis", f"$ thalweg diagnose {reference}")
    with terminal.work("diagnosing") as tell, seeded(threads=1):
        finding = diagnose(task, progress=tell)
    shown = _what_decided(finding)
    terminal.line()
    terminal.show(rich_finding(shown), plain_finding(shown))
    truth = CASES[options.case]
    right = "Right" if truth.cause is finding.cause else f"Wrong, it is {truth.cause.value}"
    _say(terminal, "", f"{right}: this case was made so that its cause is known. {truth.summary}")

    outcome = None
    cures = [cure for cure in finding.cures if cure.change is not None]
    if cures:
        who = "The cure goes" if len(cures) == 1 else f"The {len(cures)} cures go"
        seeds = "one seed" if options.seeds == 1 else f"{options.seeds} seeds each"
        text = (
            f"{who} on from this very state, beside the unchanged run, on copies and with {seeds}."
        )
        _say(terminal, "3. The race", f"$ thalweg race {reference}", text)
        with terminal.work("racing") as tell, seeded(threads=1):
            outcome = race(task, cures, seeds=options.seeds, progress=tell)
        terminal.line()
        terminal.show(rich_race(outcome), plain_race(outcome))
    else:
        _say(terminal, "3. The race", _nothing_to_race(finding))

    with terminal.work("writing the report"):
        report(finding, path, race=outcome)
    _say(terminal, "4. The report", f"{path} holds all of it, with pictures: open it in a browser.")
    _say(
        terminal,
        "Your own training",
        "Write a function task() that returns tw.Task(model=..., loss=..., train=(x, y), "
        "optimizer=..., batch_size=...) into a file. Then:",
        "$ thalweg diagnose file.py:task",
    )
    return 0


def _report_path(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"--folder {folder} cannot be made: {error.strerror}") from error
    path = folder.resolve() / "report.html"
    check_writable(path, option="--folder")
    return path


def _say(terminal: Terminal, heading: str, *paragraphs: str) -> None:
    terminal.line()
    if heading:
        terminal.line(heading)
        terminal.line("-" * len(heading))
    for text in paragraphs:
        terminal.line(textwrap.fill(text, 96, break_long_words=False, break_on_hyphens=False))


def _what_decided(finding: "Finding") -> "Finding":
    """The finding with the evidence that it rests on; the report has the rest."""
    decided = {name: e for name, e in finding.evidence.items() if name in finding.relied_on}
    note = "This is the evidence that decided; the command above and the report show all of it."
    return replace(
        finding,
        evidence=Evidence(decided),
        mechanisms=tuple(m for m in finding.mechanisms if m.explains is finding.cause),
        findings=(),
        notes=(note, *finding.notes),
    )


def _described(task: "Task") -> str:
    """The training in words: what is trained on what, how, and where its loss stands."""
    weights = sum(p.numel() for p in task.model.parameters())
    examples = len(task.train[0])
    rate = task.optimizer.param_groups[0]["lr"]
    batch = "all of them at once" if task.batch_size is None else f"{task.batch_size} at a time"
    text = (
        f"A network of {weights} weights has been trained on {examples} examples, {batch}, by "
        f"{type(task.optimizer).__name__} with learning rate {rate:.3g}."
    )
    history = task.history
    if isinstance(history, list) and len(history) > 1:
        text += (
            f" In {len(history)} steps its loss went from {history[0]:.4g} to {history[-1]:.4g}. "
            "Is it stuck, and why?"
        )
    return text


def _nothing_to_race(finding: "Finding") -> str:
    lines = [m.line for m in finding.mechanisms if m.line]
    return (
        f"Nothing to race: the mend is a line of code, {lines[0]}"
        if lines
        else "Nothing to race: the diagnosis advises no change."
    )
