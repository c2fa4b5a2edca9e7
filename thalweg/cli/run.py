"""``thalweg run``: many trials of descent on a function."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, Shared, number, whole
from thalweg.cli.plans import domain_of, method, numbers, point
from thalweg.cli.table import show_table
from thalweg.cli.terminal import NOTHING, Terminal
from thalweg.errors import UsageError

if TYPE_CHECKING:
    from thalweg.objective.landscape import Landscape
    from thalweg.run.outcome import Outcome
    from thalweg.run.plan import Plan
    from thalweg.trajectory import Trajectory

__all__ = ["Options", "run"]

HYPHEN = Parameter(allow_leading_hyphen=True)
SHOWN = 12
"""Basins that are listed at most; the others are summed up in a line."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """How the function is descended, and what is told of it."""

    optimizer: str = "sgd"
    """torch's, by name, with its arguments in brackets: "sgd(momentum=0.9, nesterov=True)"."""

    lr: Annotated[float, number("--lr")] = 0.01
    """Learning rate η."""

    schedule: str = "constant"
    """torch's learning-rate schedule, by name, with its arguments in brackets."""

    noise: str | None = None
    """Of the gradient: uniform:A, ball:A, sphere:A, gaussian:S or student-t:S:FREEDOM."""

    start: Annotated[str | None, HYPHEN] = None
    """uniform:LOW:HIGH, uniform:A, gaussian:S, or a point; uniform on the domain by default."""

    domain: Annotated[str | None, HYPHEN] = None
    """LOW:HIGH for every coordinate, or one for each with commas; the function's own by default."""

    trials: Annotated[int, whole("--trials", 1)] = 1000
    """Independent runs."""

    steps: Annotated[int, whole("--steps", 1)] = 1000
    """Updates of each."""

    batch: Annotated[int | None, whole("--batch", 1)] = None
    """Examples a step, for a function that is a mean over examples; all by default."""

    replacement: Annotated[bool, FLAG] = False
    """Draw the examples of a batch with replacement."""

    target: Annotated[str | None, HYPHEN] = None
    """A point whose distance is told: coordinates with commas between them."""

    within: Annotated[tuple[float, ...], numbers("--within")] = ()
    """Radii around the target, with commas between them: which share of the trials ended within."""

    exit_from: Annotated[str | None, HYPHEN] = None
    """A point: how many steps trials take to leave its basin, or the ball of --exit-radius."""

    exit_radius: Annotated[float | None, number("--exit-radius")] = None
    """Around the point of --exit-from."""

    float32: Annotated[bool, FLAG] = False
    """Compute in single precision."""

    compile: Annotated[bool, FLAG] = False
    """Compile the steps first, which takes seconds and makes each several times as fast."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Of every random number: the same seed gives the same trials."""

    save: Path | None = None
    """A new run folder for what was seen (metrics.jsonl, trajectory.json)."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    quiet: Annotated[bool, FLAG] = False
    """Print the outcome in a line or two, without progress."""


DEFAULTS = Options()


def run(
    function: Annotated[str, Parameter(name="FUNCTION", allow_leading_hyphen=True)],
    /,
    *,
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """Descend a function in many independent trials, and say where they end.

    A step is torch's own optimizer's, on the gradient plus the noise ω; for sgd it is
    x - η (∇f(x) + ω), so that the loss is smoothed over the radius η·|ω|, which is printed. The
    basin of an end point is that of the minimum that gradient descent without noise and with
    short steps reaches from there.

    Parameters
    ----------
    function
        A formula such as "x**2 + 0.3*cos(20*x)" (one that begins with a minus: after --), or a
        name of the catalogue.
    """
    terminal = Terminal(json=options.json, quiet=options.quiet)
    with terminal.work("reading the function"):
        landscape, plan, target = _asked(function, options)
        statistics = _statistics(landscape, options)
        folder = None if options.save is None else _folder(options, plan)
    phrase = f"descending {landscape.name}"
    with terminal.work(phrase, kept=lambda: NOTHING) as tell:
        from thalweg.run.descend import descend
        from thalweg.run.outcome import outcome

        began = time.perf_counter()
        trajectory = descend(
            landscape,
            plan,
            statistics=statistics,
            compile=options.compile,
            progress=lambda done, most: tell(phrase, done, most),
        )
        seconds = time.perf_counter() - began
        tell("following the flow to the minima")
        found = outcome(landscape, plan, trajectory, target=target, radii=options.within)
    if folder is not None:
        _save(folder, trajectory)
    for note in trajectory.notes:
        terminal.remark(note)
    cost = found.trials * found.steps
    if options.json:
        asked = {"function": landscape.formula or landscape.name, "seed": options.seed}
        spent = {"cost": cost, "seconds": seconds, "notes": list(trajectory.notes)}
        terminal.json({**asked, **found.to_dict(), **spent})
        return 0
    if found.basins and not options.quiet:
        _table(found, terminal)
    for line in _lines(found, target):
        terminal.line(line)
    if not options.quiet:
        terminal.line(f"{cost:g} gradient evaluations in {seconds:.1f} s")
    return 0


def _asked(function: str, options: Options) -> tuple["Landscape", "Plan", tuple[float, ...] | None]:
    from thalweg.objective import landscapes
    from thalweg.run.plan import Plan

    landscape = landscapes.from_reference(function)
    if options.domain is not None:
        landscape = landscape.with_domain(domain_of(options.domain, landscape.dim))
    target = None if options.target is None else point(options.target, landscape.dim, "--target")
    if target is not None and options.domain is not None:
        for at, (low, high) in zip(target, landscape.domain):
            if not low <= at <= high:
                raise UsageError(
                    f"--domain must hold the target, but {options.domain} leaves out "
                    f"{options.target}"
                )
    if options.within and target is None:
        raise UsageError("--within needs a --target")
    if options.exit_radius is not None and options.exit_from is None:
        raise UsageError("--exit-radius needs the point of --exit-from")
    optimizer, arguments = method(options.optimizer, "--optimizer")
    schedule, schedule_arguments = method(options.schedule, "--schedule")
    plan = Plan(
        optimizer=optimizer,
        options=arguments,
        learning_rate=options.lr,
        schedule=schedule,
        schedule_options=schedule_arguments,
        noise=options.noise,
        batch=options.batch,
        replacement=options.replacement,
        steps=options.steps,
        trials=options.trials,
        starts=_starts(options.start, landscape.dim),
        dtype="float32" if options.float32 else None,
        seed=options.seed,
    )
    return landscape, plan, target


def _starts(text: str | None, dim: int) -> str | tuple[float, ...] | None:
    if text is None or text.partition(":")[0].isalpha():
        return text
    return point(text, dim, "--start")


def _statistics(landscape: "Landscape", options: Options) -> list[Any]:
    if options.exit_from is None:
        return []
    from thalweg.run.basins import Basins
    from thalweg.run.statistics import ExitTime

    center = point(options.exit_from, landscape.dim, "--exit-from")
    if options.exit_radius is not None:
        return [ExitTime.of_ball(center, options.exit_radius)]
    return [ExitTime.of_basin_around(Basins.of(landscape), center)]


def _folder(options: Options, plan: "Plan") -> Any:
    from thalweg.record.folder import RunFolder

    assert options.save is not None
    facts = {"optimizer": plan.optimizer, "learning_rate": plan.learning_rate}
    return RunFolder.create(options.save, seed=options.seed, facts=facts)


def _save(folder: Any, trajectory: "Trajectory") -> None:
    for name, column in trajectory.columns.items():
        if column.values.ndim == 1 and len(column):
            folder.append_block(column.steps.tolist(), {name: column.values.tolist()})
    folder.close()
    folder.write("trajectory.json", trajectory.to_json())


def _table(found: "Outcome", terminal: Terminal) -> None:
    from thalweg.estimate import number as rounded

    head = ("minimum", "loss there", "trials", "share", "95% interval")
    rows = [
        (
            ", ".join(rounded(value, 5) for value in basin.minimum[:4])
            + (", ..." if len(basin.minimum) > 4 else ""),
            rounded(basin.loss, 5),
            str(basin.share.successes),
            f"{basin.share.value:.2%}",
            "{:.2%} to {:.2%}".format(*basin.share.interval),
        )
        for basin in found.basins[:SHOWN]
    ]
    show_table(terminal, head, rows, "r" * len(head))
    rest = found.basins[SHOWN:]
    if rest:
        together = sum(basin.share.successes for basin in rest)
        terminal.line(f"and {together} trials in {len(rest)} more basins")


def _lines(found: "Outcome", target: Sequence[float] | None) -> list[str]:
    lines = []
    if found.elsewhere > found.diverged:
        lines.append(f"{found.elsewhere - found.diverged} trials ended in no basin that is known")
    if found.diverged:
        lines.append(f"{found.diverged} of {found.trials} trials diverged")
    for radius, share in found.within.items():
        low, high = share.interval
        lines.append(
            f"within {radius:g} of the target: {share.value:.2%} ({low:.2%} to {high:.2%})"
        )
    if found.rms is not None:
        value, error = found.rms
        sure = f" ± {error:.2g}" if math.isfinite(error) else ""
        lines.append(f"rms distance to the target: {value:.4g}{sure}")
    if found.exit_time is not None:
        told = found.exit_time
        low, high = told.left.interval
        left = f"{told.left.value:.2%} of the trials ({low:.2%} to {high:.2%})"
        mean = f", after {told.mean:.4g} ± {told.error:.2g} steps" if told.left.successes else ""
        lines.append(f"exit: {left} left{mean}")
    if found.smoothing_deviation > 0:
        radius = found.smoothing_radius
        size = f"{radius:.4g}" if math.isfinite(radius) else "unbounded"
        lines.append(
            f"smoothing radius η·r: {size}; standard deviation η·s of a coordinate: "
            f"{found.smoothing_deviation:.4g}"
        )
    return lines
