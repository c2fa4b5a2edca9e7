"""The race: cures tried from one and the same state, judged at equal gradient evaluations."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import torch
from scipy.stats import t as student

from thalweg.diagnose.cures import CATALOGUE, Cure, Ground, cure_named, full_name
from thalweg.diagnose.examination import Examination, fan_in_scales
from thalweg.diagnose.race_result import UNCHANGED, Arm, Race
from thalweg.diagnose.source import task_of
from thalweg.diagnose.track import Ran, Track
from thalweg.diagnose.verdict import diagnose
from thalweg.errors import UsageError
from thalweg.estimate import Estimate, number, rounded
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.measure.steps import largest_drop
from thalweg.task import Task

__all__ = ["Arm", "Race", "race"]

MARKS = 20
"""Looks at the loss along each arm."""

LAST = 4
"""Looks whose mean is the level at which an arm ends."""

PASSES = 20
"""Gradient evaluations of an arm, unless that is fewer or more steps than STEPS."""

STEPS = (100, 600)
"""Fewest and most steps of the unchanged arm by default."""


def race(
    source: Task | Callable[[], Task] | str | Path,
    cures: Sequence[Cure | str] | None = None,
    *,
    task: Task | None = None,
    checkpoint: str | Path | None = None,
    budget: float | None = None,
    seeds: int = 3,
    judged_by: str | None = None,
    folder: Path | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Race:
    """Try cures from the state where the training stands, side by side with the unchanged run.

    Every arm starts from a fork of weights, buffers, optimizer state and random state; arms of one
    seed see the same order of the data. The unchanged arm of the first seed takes, bit for bit, the
    steps that the user's own plain loop would take. Arms are compared only where they have spent
    equally many gradient evaluations. Nothing of the user's is changed.

    Args:
        source, task, checkpoint: as for :func:`thalweg.diagnose`.
        cures: or their names; None for those of a diagnosis made first. Advice that only a person
            can follow is left out; an empty sequence, as a healthy run has it, makes the unchanged
            run alone.
        budget: gradient evaluations over the training data for each arm and seed.
        seeds: how many times each arm runs: data order, dropout and the noise of the cure differ.
        judged_by: ``train`` or ``test``; test where a cure is for held-out loss and there are data.
        folder: keeps each finished run of an arm; the same call goes on from there.
        progress: called with a phrase, the runs done and their number.

    Raises:
        UsageError: an unknown cure, no cure that can be raced, a number out of its range.
    """
    if not isinstance(seeds, int) or seeds < 1:
        raise UsageError(f"seeds must be a whole number of at least 1, not {seeds!r}")
    if budget is not None and not (
        isinstance(budget, int | float) and budget > 0 and math.isfinite(budget)
    ):
        raise UsageError(f"budget must be a number above 0, not {budget!r}")
    if judged_by not in (None, "train", "test"):
        raise UsageError(f"judged_by must be train or test, not {judged_by!r}")
    found = task_of(source, task=task, checkpoint=checkpoint)
    if not isinstance(found, Task):
        raise UsageError("a race needs the run's task: pass task= or --task")
    before = 0.0
    if cures is None:
        finding = diagnose(found, probe=True)
        cures, before = finding.cures, finding.cost
    arms = _raceable([cures] if isinstance(cures, str | Cure) else cures)
    if judged_by is None:
        held_out = any(cure.name.startswith("weight_decay") for cure in arms)
        judged_by = "test" if held_out and found.test is not None else "train"
    if judged_by == "test" and found.test is None:
        raise UsageError("judged_by test needs the task's test data, but it has none")
    examination = Examination.of(found, budget=math.inf)
    length = _length(examination) if budget is None else float(budget)
    track = Track(examination, length, MARKS, folder)
    negative, cost = None, before + track.cost
    if any(cure.name == "negative_curvature" for cure in arms):
        negative, spent = _escape_step(examination)
        cost += spent
    total = (len(arms) + 1) * seeds
    runs: dict[str, list[Ran]] = {}
    for cure in (None, *arms):
        name = UNCHANGED if cure is None else cure.name
        for seed in range(seeds):
            done = sum(map(len, runs.values()))
            if progress is not None:
                progress(f"{name}, seed {seed + 1} of {seeds}", done, total)
            fresh = torch.Generator().manual_seed(7919 * seed + 1)
            ground = Ground(fresh, negative, fan_in_scales(found.model), examination.objective)
            runs.setdefault(name, []).append(track.run(cure, seed, ground))
    if progress is not None:
        progress("done", total, total)
    outcome = _judged(runs, {c.name: c.code for c in arms}, track, judged_by, cost, found.name)
    if not arms:
        return replace(outcome, sentence="No cure was given: only the unchanged run was made.")
    return outcome


def _raceable(cures: Sequence[Cure | str]) -> list[Cure]:
    chosen: dict[str, Cure] = {}
    for each in cures:
        cure = cure_named(each) if isinstance(each, str) else each
        if not isinstance(cure, Cure):
            word = each.lower().split()[:1] if isinstance(each, str) else []
            near = get_close_matches("".join(word), CATALOGUE, n=1)
            hint = f"did you mean {full_name(near[0])!r}?" if near else None
            raise UsageError(
                f"cures must name known cures, not {each!r}: "
                f"{hint or 'there are ' + ', '.join(map(full_name, CATALOGUE))}"
            )
        if cure.change is not None:
            chosen[cure.name] = cure
    if not chosen and cures:
        advice = ", ".join(c if isinstance(c, str) else c.name for c in cures) or "none"
        raise UsageError(
            f"cures must hold one that can be raced, but only advice was given: {advice}"
        )
    return list(chosen.values())


def _length(e: Examination) -> float:
    """Gradient evaluations of an arm: PASSES, within STEPS of the unchanged run."""
    step = e.batch_size / e.population
    return min(max(PASSES, STEPS[0] * step), STEPS[1] * step)


def _escape_step(e: Examination) -> tuple[torch.Tensor | None, float]:
    """The step along the most negative curvature that lowers the loss most, and its cost."""
    start = e.objective.value(e.point)
    found = extreme_eigenvalues(
        e.objective, e.point, budget=40, rtol=0.05, generator=e.generator(1)
    )
    low = found.bottom[0].value
    if not low < 0:
        return None, found.top[0].cost * e.share
    reach = [math.sqrt(2 * max(abs(start), 1e-12) * f / -low) for f in (1e-4, 1e-2, 0.1, 1.0)]
    limit = 3 * float(fan_in_scales(e.task.model).norm())
    drop = largest_drop(
        e.objective,
        e.point,
        found.bottom_vector,
        scales=sorted({min(r, limit) for r in reach}),
        both=True,
        start=start,
    )
    return drop.step * found.bottom_vector, (found.top[0].cost + drop.drop.cost) * e.share


def _judged(
    runs: dict[str, list[Ran]],
    codes: dict[str, str],
    track: Track,
    judged_by: str,
    cost: float,
    name: str,
) -> Race:
    base = [_level(run, judged_by) for run in runs[UNCHANGED]]
    arms = [_arm(key, codes.get(key, ""), ran, base, track, judged_by) for key, ran in runs.items()]
    arms.sort(key=lambda arm: _rank(arm, judged_by))
    best = next((arm for arm in arms if arm.outcome == "helps"), None)
    seeds = len(base)
    spent = cost + sum(run.cost for ran in runs.values() for run in ran)
    return Race(
        tuple(arms),
        None if best is None else best.name,
        _sentence(best, base, seeds, track.length, judged_by),
        tuple(range(seeds)),
        spent,
        judged_by,
        name,
    )


def _arm(
    name: str, code: str, runs: list[Ran], base: list[float], track: Track, judged_by: str
) -> Arm:
    gains = torch.tensor(
        [start - _level(run, judged_by) for start, run in zip(base, runs, strict=True)],
        dtype=torch.float64,
    )
    diverged = not all(math.isfinite(_level(run, judged_by)) for run in runs)
    mean = float(gains.mean())
    error = float(gains.std() / math.sqrt(len(gains))) if len(gains) > 1 else math.inf
    return Arm(
        name,
        code,
        track.evaluations,
        tuple(run.losses for run in runs),
        tuple(run.test_losses for run in runs if run.test_losses),
        Estimate(mean, error, "loss", sum(run.cost for run in runs)),
        (float(gains.min()), float(gains.max())),
        _outcome(mean, error, len(gains), base, diverged),
    )


def _rank(arm: Arm, judged_by: str) -> tuple[bool, float]:
    """By gain; where the unchanged run diverged there is none, and the lowest end is best."""
    if math.isfinite(arm.gain.value):
        return False, -arm.gain.value
    rows = arm.test_losses if judged_by == "test" else arm.losses
    end = math.fsum(math.fsum(row[-LAST:]) for row in rows)
    return arm.outcome == "diverged", end if math.isfinite(end) else math.inf


def _outcome(mean: float, error: float, count: int, base: list[float], diverged: bool) -> str:
    """By the 95% interval of Student's t over the seeds; a rounding of the loss is no difference."""
    if diverged:
        return "diverged"
    if not math.isfinite(mean):  # the unchanged run diverged and this one did not
        return "helps" if mean > 0 or math.isnan(mean) else "harms"
    half = float(student.ppf(0.975, count - 1)) * error if count > 1 else math.inf
    least = max(half, 1e-5 * max(map(abs, base)))
    return "helps" if mean > least else "harms" if mean < -least else "no difference"


def _level(run: Ran, judged_by: str) -> float:
    """Where a run ended: the mean of its last looks; NaN where it diverged."""
    losses = run.test_losses if judged_by == "test" else run.losses
    return math.fsum(losses[-LAST:]) / LAST if len(losses) >= LAST else math.nan


def _sentence(
    best: Arm | None, base: list[float], seeds: int, length: float, judged_by: str
) -> str:
    kind = "held-out loss" if judged_by == "test" else "loss"
    after = f"after {number(length, 3)} gradient evaluation{'' if length == 1 else 's'} each"
    if best is None and seeds == 1:
        return f"One seed names no winner, {after}: what a cure gains is judged by its spread."
    if best is None:
        return f"No cure beats the unchanged run beyond the spread over {seeds} seeds, {after}."
    if not all(map(math.isfinite, base)):
        return f"{best.name} wins: {after} its {kind} is finite while the unchanged run diverged."
    better = sum(
        start > math.fsum(row[-LAST:]) / LAST
        for start, row in zip(
            base, best.test_losses if judged_by == "test" else best.losses, strict=True
        )
    )
    gain, error = rounded(best.gain.value, best.gain.error)
    scatter = f" ± {error}" if error else ""
    alike = best.spread[0] == best.spread[1]
    every = "both" if seeds == 2 else f"all {seeds}"
    inside = every if better == seeds else f"{better} of {seeds}"
    where = f"the same in {every}" if alike else f"and lower in {inside}"
    return (
        f"{best.name} wins: {after} its {kind} is {gain}{scatter} below the unchanged run's "
        f"{number(math.fsum(base) / seeds, 3)}, {where} seeds."
    )
