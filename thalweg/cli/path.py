"""``thalweg path``: a run seen from where it ended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, Shared, number, whole
from thalweg.cli.source import find, remark_unused_task, seeded
from thalweg.cli.table import show_table
from thalweg.cli.terminal import Terminal
from thalweg.errors import UsageError
from thalweg.estimate import Estimate, rounded
from thalweg.estimate import number as shown

if TYPE_CHECKING:
    from thalweg.measure.waypoint import Ball, RunPath, Spread, Waypoint

__all__ = ["Options", "path"]

MOST = 100_000


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured at each checkpoint, and in what form it is told."""

    task: str | None = None
    """The task that goes with the RUNs; this runs its code."""

    own_task: Annotated[bool, FLAG] = False
    """Load the task that each RUN itself names; this runs its code."""

    end: str = "last"
    """What it is seen from: its last point, the average of the second half, or the best by loss."""

    points: Annotated[int, whole("--points", 2, MOST)] = 25
    """How many points of the run to look at, at most."""

    examples: Annotated[int, whole("--examples", 1)] = 2048
    """Examples to measure on; of more a sample is drawn."""

    batches: Annotated[int, whole("--batches", 0, MOST)] = 16
    """Mini-batches drawn at each point."""

    smoothed: Annotated[int, whole("--smoothed", 0, MOST)] = 8
    """Of these, how many are stepped with for the smoothed gradient: one evaluation each."""

    neighbours: Annotated[int, whole("--neighbours", 0, MOST)] = 0
    """Points drawn from a ball around each point, one evaluation each; 100 is usual."""

    radius: Annotated[float, number("--radius")] = 0.5
    """Of that ball, in units of the parameters."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Of every draw."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    quiet: Annotated[bool, FLAG] = False
    """Print the last sentences only, without progress."""


DEFAULTS = Options()


def path(
    run: Annotated[str, Parameter(name="RUN")],
    /,
    *others: Annotated[str, Parameter(name="RUN")],
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """Say whether a run's gradients pointed to where it ended: one-point convexity along its path.

    For points of each RUN, by what it kept: the inner product of minus the gradient with the way to the end,
    its cosine, the constant c (the inner product over the squared distance), norms of the full
    and of mini-batch gradients, distances from start and end; then the noise ball that these
    constants predict beside the distance that the run kept. Of several RUNs, such as seeds, the
    least by epoch. Without a task the sketches of the RUN and the mini-batch gradients that it met
    have to do.

    Parameters
    ----------
    run
        The path of a run folder; with --task or --own-task its loss is evaluated.
    others
        More of them.
    """
    terminal = Terminal(json=options.json, quiet=options.quiet)
    found = [_measured(each, options, terminal) for each in (run, *others)]
    if options.json:
        terminal.json(_plain(found))
        return 0
    for each in found:
        _tell(each, options, terminal)
        terminal.line()
    if len(found) > 1:
        _tell_least(found, options, terminal)
    return 0


def _measured(run: str, options: Options, terminal: Terminal) -> "RunPath":
    with terminal.work(f"loading {run}") as tell, seeded(options.seed):
        found = find(run, task=options.task, own_task=options.own_task)
        if found.run is None:
            raise UsageError(f"RUN must be the path of a run folder, but {run} is a task")
        if found.task is None:
            from thalweg.measure.sketched import path_of_sketches

            if options.end != "last" or options.neighbours:
                raise UsageError(
                    "--end and --neighbours must be left out without a task, as its loss is not known: "
                    "--task or --own-task gives one"
                )
            if (note := remark_unused_task(found)) is not None:
                terminal.remark(note)
            return path_of_sketches(found.run, points=options.points)
        from thalweg.measure.recorded import path_of_run

        return path_of_run(
            found.run,
            found.task,
            end=options.end,
            points=options.points,
            examples=options.examples,
            batches=options.batches,
            smoothed=options.smoothed,
            neighbours=options.neighbours,
            radius=options.radius,
            seed=options.seed,
            progress=lambda done, most: tell(f"measuring along {run}", done, most),
        )


def _tell(found: "RunPath", options: Options, terminal: Terminal) -> None:
    if not options.quiet:
        terminal.line(f"{found.name}, seen from {found.end}")
        rows = [_row(waypoint) for waypoint in found.waypoints]
        names = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[row.get(name, "") for name in names] for row in rows]
        show_table(terminal, names, cells, "r" * len(names))
    for sentence in _sentences(found):
        terminal.line(sentence)
    if not options.quiet:
        for note in found.notes:
            terminal.remark(note)


def _row(w: "Waypoint") -> dict[str, str]:
    row = {
        "step": str(w.step),
        "epoch": _plain_text(w.epoch, 3),
        "loss": _plain_text(w.loss.value, 4),
        "‖∇f‖": _text(w.gradient_norm),
        "⟨−∇f, x_T−x⟩": _text(w.inner),
        "cosine": _text(w.cosine),
        "c": _text(w.convexity),
        "from start": _text(w.from_start),
        "from end": _text(w.from_end),
    }
    if w.stochastic is not None:
        row["‖∇f_B‖"] = _range(w.stochastic)
    if w.smoothed_convexity is not None:
        row["c smoothed"] = _text(w.smoothed_convexity)
    if w.neighbourhood is not None:
        row["neighbours"] = _range(w.neighbourhood)
    return row


def _text(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return ""
    value, error = rounded(estimate.value, estimate.error, 3)
    return f"{value} ± {error}" if error else value


def _plain_text(value: float, digits: int) -> str:
    return "" if math.isnan(value) else shown(value, digits)


def _range(spread: "Spread") -> str:
    return f"{shown(spread.mean.value, 3)} [{shown(spread.low, 2)}, {shown(spread.high, 2)}]"


def _sentences(found: "RunPath") -> list[str]:
    way = found.before_the_end
    if not way:
        return ["The run has no point away from its end."]
    since = found.positive_from()
    least = found.least()
    if since is None:
        sign = (
            f"At the last of them, step {way[-1].step}, minus the gradient points away from the end "
            f"(cosine {shown(way[-1].cosine.value, 2)})."
        )
    elif since == way[0].step:
        sign = f"Minus the gradient points towards the end at all {len(way)} points."
    else:
        sign = f"Minus the gradient points towards the end at all points from step {since} on."
    constant = f"The least c is {_text(least.convexity)}, at step {least.step}."
    return [f"{sign} {constant}", *([] if found.ball is None else [_ball_text(found.ball)])]


def _ball_text(ball: "Ball") -> str:
    b = ball.bounds
    used = (
        f"c = {shown(b.convexity, 3)}, L = {shown(b.smoothness, 3)}, r = {shown(b.radius, 3)} "
        f"(estimated over the second half) and a learning rate of {shown(b.learning_rate, 3)}"
    )
    kept = f"the run kept within {shown(ball.kept, 3)} of its end there (root mean square)"
    if b.rate > 0:
        return f"{used} predict a ball of √(b/λ) = {shown(ball.radius, 3)}; {kept}."
    limit = ball.rate_limit
    why = f"that needs a rate below 2c/L² = {shown(limit, 2)}" if limit else "c is not above 0"
    return f"{used} predict no ball, as λ ≤ 0: {why}; {kept}."


def _tell_least(found: "Sequence[RunPath]", options: Options, terminal: Terminal) -> None:
    from thalweg.measure.waypoint import least_convexity

    least = least_convexity(found)
    if least and not options.quiet:
        terminal.line(f"The least over {len(found)} runs")
        rows = [[str(t), _text(inner), _text(c)] for t, (inner, c) in least.items()]
        show_table(terminal, (_time(found), "⟨−∇f, x_T−x⟩", "c"), rows, "rrr")
    below = [t for t, (inner, _) in least.items() if not inner.value > 0]
    if not least:
        terminal.line(f"The runs share no {_time(found)} before their ends.")
    elif below:
        terminal.line(f"Not above 0 in every run at {len(below)} of {len(least)} of them.")
    else:
        terminal.line(f"Above 0 in all {len(found)} runs at all {len(least)} of them.")


def _time(found: "Sequence[RunPath]") -> str:
    known = all(not math.isnan(w.epoch) for path in found for w in path.waypoints)
    return "epoch" if known else "step"


def _plain(found: "Sequence[RunPath]") -> dict[str, Any]:
    from thalweg.measure.waypoint import least_convexity

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    least = [
        {_time(found): time, "inner": finite(inner.value), "convexity": finite(c.value)}
        for time, (inner, c) in least_convexity(found).items()
    ]
    return {"runs": [each.to_dict() for each in found], "least": least}
