"""A run's path from its folder alone: sketches of its parameters and mini-batch gradients."""

import math
from pathlib import Path

from torch import Tensor

from thalweg.errors import FolderError
from thalweg.estimate import Estimate
from thalweg.measure.kept_points import some_of
from thalweg.measure.waypoint import RunPath, Waypoint
from thalweg.record.folder import RunFolder
from thalweg.record.sketch import FoldSketch

__all__ = ["path_of_sketches"]


def path_of_sketches(run: RunFolder | Path | str, *, points: int | None = None) -> RunPath:
    """The path of a recorded run without its task: what its sketches tell.

    The gradients are those of the mini-batches that the run met, so that ``inner``, ``cosine`` and
    ``convexity`` scatter about their mean by the noise of a mini-batch, which no single one shows.
    Errors are those of the sketch; 0 where the parameters were kept whole. Rows whose gradient was
    not seen, such as the end, are NaN. Cost: none.

    Args:
        run: the folder that :func:`thalweg.watch` wrote.
        points: rows at most; ``None`` for all.

    Raises:
        FolderError: a run without two rows of sketches.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    kept = folder.sketches()
    if kept is None or len(kept) < 2:
        raise FolderError(
            f"run {folder.path} must have sketches of two steps at least to be a path without its task"
        )
    sketch, last = kept.sketch, kept.parameters[-1]
    every = int(folder.facts.get("steps_an_epoch", 0))
    rates = folder.metrics()["learning_rate"]
    rate_of = dict(zip(rates.steps.tolist(), rates.values.tolist()))
    waypoints = []
    wanted = set(some_of(kept.steps.tolist(), points))
    for row, step in enumerate(kept.steps.tolist()):
        if step not in wanted:
            continue
        x, slope = kept.parameters[row], kept.gradients[row]
        inner, cosine, convexity = _seen_from_end(sketch, slope, last - x)
        waypoints.append(
            Waypoint(
                step=step,
                epoch=step / every if every else math.nan,
                learning_rate=rate_of.get(step + 1, math.nan),
                loss=Estimate(float(kept.losses[row]), 0.0, "loss"),
                gradient_norm=_as("loss per unit", sketch.norm(slope)),
                inner=inner,
                cosine=cosine,
                convexity=convexity,
                from_start=sketch.distance(x, kept.parameters[0]),
                from_end=sketch.distance(x, last),
            )
        )
    size = "" if sketch.exact else f", sketched to {sketch.size} of {sketch.dim} numbers"
    note = (
        f"from what the run kept of parameters and gradients{size}: the gradients are those of single "
        "mini-batches, whose noise is in every number; with its task they are exact"
    )
    end = f"where it stood last, at step {int(kept.steps[-1])}"
    return RunPath(
        tuple(waypoints), end, waypoints[-1].gradient_norm, notes=(note,), name=folder.name
    )


def _seen_from_end(
    sketch: FoldSketch, slope: Tensor, onward: Tensor
) -> tuple[Estimate, Estimate, Estimate]:
    inner = sketch.inner(-slope, onward)
    far = sketch.norm(onward)
    if far.value == 0:
        unknown = Estimate(math.nan, math.nan)
        return _as("loss", Estimate(0.0)), unknown, _as("loss per unit²", unknown)
    constant = inner.value / far.value**2
    # ⟨s, d⟩ and ‖d‖² from one sketch err by Var = (‖s‖²‖d‖² + ⟨s,d⟩²)/k, 2‖d‖⁴/k, Cov = 2⟨s,d⟩‖d‖²/k.
    steep = sketch.norm(slope).value / far.value
    left = max(0.0, steep**2 - constant**2)
    error = 0.0 if sketch.exact else math.sqrt(left / sketch.size)
    return (
        _as("loss", inner),
        sketch.cosine(-slope, onward),
        Estimate(constant, error, "loss per unit²"),
    )


def _as(unit: str, estimate: Estimate) -> Estimate:
    return Estimate(estimate.value, estimate.error, unit)
