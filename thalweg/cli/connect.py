"""``thalweg connect``: whether two trained networks lie in one valley."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, SOURCE, Shared, whole
from thalweg.cli.source import Source, check_writable, find, remark_unused_task, seeded
from thalweg.cli.table import show_table
from thalweg.cli.terminal import Terminal
from thalweg.errors import FolderError, ModelError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.measure.connection import Connection
    from thalweg.task import Task

__all__ = ["Options", "connect"]

MOST = 100_000


def _two(_: Any, tokens: Any) -> tuple[str, str]:
    return tokens[0].value, tokens[1].value


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Between what, how, and in what form it is told."""

    between: Annotated[tuple[str, str], Parameter(converter=_two, n_tokens=2, negative=())] = (
        "seed:1",
        "seed:2",
    )
    """A and B, each a checkpoint (a file of weights), a run folder, step:N of the RUN, here (as the
    task stands), or seed:N (the task trained once more from weights drawn by that seed)."""

    task: str | None = None
    """The task that goes with a RUN; this runs its code."""

    own_task: Annotated[bool, FLAG] = False
    """Load the task that the RUN itself names; this runs its code."""

    steps: Annotated[int | None, whole("--steps", 1)] = None
    """Steps of a training from seed:N; those of the task, or 1000, by default."""

    curve: Annotated[int, whole("--curve", 0, MOST)] = 300
    """Steps of training the curve of low loss; 0 for no curve."""

    batch: Annotated[int, whole("--batch", 1)] = 128
    """Examples a step of it."""

    align: Annotated[bool, Parameter(negative="--no-align", show_default=False)] = True
    """Align the units of a plain network before going straight."""

    points: Annotated[int, whole("--points", 3, MOST)] = 25
    """Places on each way at which the loss is taken."""

    examples: Annotated[int, whole("--examples", 20)] = 2048
    """Examples to measure on; of more a sample is drawn."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Of every draw but those of seed:N."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    report: Path | None = None
    """Write the figures into this file: one HTML page that opens offline."""

    quiet: Annotated[bool, FLAG] = False
    """Print the last sentences only, without progress."""


DEFAULTS = Options()


def connect(
    source: Annotated[str, SOURCE],
    /,
    *,
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """Say whether two trained networks lie in one valley.

    The loss on the straight line between their weights and its barrier; the same with the units of
    a plain network put into one order; a Bézier curve trained to keep the loss low; and the two
    compared: loss, predictions, margins, distance. Without weight decay.

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
        from thalweg.show.ground_page import connection_page

        page = connection_page(
            found,
            options.report,
            command=f"thalweg connect {source} --between {' '.join(options.between)}",
        )
        terminal.remark(f"Report: {page}")
    return 0


def _measured(source: str, options: Options, terminal: Terminal) -> "Connection":
    with terminal.work(f"loading {source}") as tell, seeded(options.seed):
        found = find(source, task=options.task, own_task=options.own_task)
        if found.task is None:
            note = remark_unused_task(found) or ""
            raise UsageError(f"RUN must come with --task or --own-task to be measured; {note}")
        from thalweg.measure.connection import connect as connected

        if not any(p.requires_grad for p in found.task.model.parameters()):
            raise ModelError("model must have a parameter that requires a gradient, but has none")
        ends = []
        for text in options.between:
            tell(f"going to {text}")
            ends.append(_end(text, found, options, tell))
        return connected(
            found.task,
            *ends,
            ends=options.between,
            aligned=options.align,
            steps=options.curve,
            batch_size=options.batch,
            count=options.points,
            examples=options.examples,
            seed=options.seed,
            progress=lambda what: tell(f"measuring: {what}"),
        )


def _end(text: str, found: Source, options: Options, tell: Any) -> "Tensor":
    """The trainable parameters that a text means."""
    task = found.task
    assert task is not None
    kind, colon, rest = text.partition(":")
    if kind in ("seed", "step") and colon:
        if not (rest.isascii() and rest.isdecimal()):
            raise UsageError(f"--between {text} must have a whole number after {kind}:")
        if kind == "seed":
            from thalweg.measure.restart import restart

            def progress(done: int, most: int) -> None:
                tell(f"training from {text}", done, most)

            return restart(task, int(rest), steps=options.steps, progress=progress)
        return _of_run(found.run, task, int(rest))
    if text == "here":
        return _point_of(task) if found.run is None else _of_run(found.run, task, None)
    path = Path(text)
    if path.is_dir():
        from thalweg.record.folder import RunFolder

        if RunFolder.is_run(path):
            return _of_run(path, task, None)
    if not path.exists():
        raise UsageError(
            "--between must name a file of weights, a run folder, step:N, seed:N or here, but there "
            f"is no file {text}"
        )
    from thalweg.diagnose.source import task_of

    return _point_of(task_of(task, checkpoint=path))


def _of_run(run: Path | None, task: "Task", step: int | None) -> "Tensor":
    from thalweg.measure.kept_points import points_of
    from thalweg.record.folder import RunFolder

    if run is None:
        raise UsageError("--between step:N must go with a RUN, not with a task alone")
    points = points_of(RunFolder.open(run), task.model)
    known = list(points)
    if not known:
        raise FolderError(f"run {run} must have a checkpoint, but has none")
    if step is not None and step not in points:
        near = min(known, key=lambda each: abs(each - step))
        raise FolderError(f"run {run} has no checkpoint at step {step}; the nearest is {near}")
    return points[known[-1] if step is None else step]


def _point_of(task: Any) -> "Tensor":
    import torch

    from thalweg.objective.placed import unwrapped

    own = [p for p in unwrapped(task.model).parameters() if p.requires_grad]
    return torch.cat([p.detach().reshape(-1) for p in own])


def _tell(found: "Connection", options: Options, terminal: Terminal) -> None:
    from thalweg.show.connectivity_text import end_rows, sentences, way_rows

    if not options.quiet:
        terminal.line(f"{found.name}: between {' and '.join(found.ends)}, without weight decay")
        show_table(terminal, ("", *found.ends), end_rows(found), "lrr")
        terminal.line()
        names = ("way", "barrier", "at", "highest loss", "length")
        show_table(terminal, names, way_rows(found), "lrrrr")
        terminal.line()
    for sentence in sentences(found):
        terminal.line(sentence)
    if not options.quiet:
        for note in found.notes:
            terminal.remark(note)
