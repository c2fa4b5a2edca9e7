"""The race: cures tried from one and the same state, judged at equal gradient evaluations."""

import math
from builtins import map as in_turn
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from thalweg.diagnose.applied import applied, check_free
from thalweg.diagnose.combination import best_combination, named, parts, why_not
from thalweg.diagnose.cures import CATALOGUE, Cure, full_name
from thalweg.diagnose.examination import Examination, fan_in_scales
from thalweg.diagnose.fingerprint import of_training
from thalweg.diagnose.halving import LONGEST_RUNS, MARKS, rungs
from thalweg.diagnose.judging import Ended, arms_of, claim, going_on, ranked, sentence
from thalweg.diagnose.race_folder import RaceFolder
from thalweg.diagnose.race_result import UNCHANGED, Arm, Race
from thalweg.diagnose.source import task_of
from thalweg.diagnose.track import Leg, Ran, forked, look, run_leg
from thalweg.diagnose.verdict import diagnose
from thalweg.errors import UsageError
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.measure.steps import largest_drop
from thalweg.objective.random_state import RandomState
from thalweg.run.copies import hooks_left_out
from thalweg.task import Task

__all__ = ["Arm", "Race", "race"]

PASSES = 20
"""Gradient evaluations of an arm, unless that is fewer or more steps than STEPS."""

STEPS = (100, 600)
"""Fewest and most steps of the unchanged arm by default."""

HELD_OUT = ("weight_decay", "early_stopping", "decay_then_stop")
"""Cures that are for the held-out loss: with one of them the race is judged by it."""

Map = Callable[[Callable[[Leg], Ran], Iterable[Leg]], Iterable[Ran]]


def race(
    source: Task | Callable[[], Task] | str | Path,
    cures: Sequence[Cure | str] | None = None,
    *,
    task: Task | None = None,
    checkpoint: str | Path | None = None,
    step: Callable[..., Any] | None = None,
    budget: float | None = None,
    seeds: int = 3,
    judged_by: str | None = None,
    folder: Path | str | None = None,
    apply: Path | str | None = None,
    task_reference: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    map: Map = in_turn,
) -> Race:
    """Try cures from the state where the training stands, side by side with the unchanged run.

    Every arm starts from a fork of weights, buffers, optimizer state and random state; arms of one
    seed see the same order of the data. The unchanged arm of the first seed takes, bit for bit, the
    steps that the user's own loop would take. Of more than three cures the worst are dropped on the
    way (:func:`thalweg.diagnose.halving.rungs`), on seeds of their own; the two best are also tried
    together. Verdicts are only of arms that have spent as many gradient evaluations as the unchanged
    run. Nothing of the user's is changed: ``apply`` goes on with copies too.

    Args:
        source, task, checkpoint: as for :func:`thalweg.diagnose`.
        step: of the task, in place of its own: ``step(model, batch, optimizer, **parts) -> loss``.
        cures: or their names, such as ``adam 0.01`` or ``adam 0.01 + perturb 0.1``; None for those
            of a diagnosis made first. Advice that only a person can follow is left out; an empty
            sequence, as a healthy run has it, makes the unchanged run alone.
        budget: gradient evaluations over the training data for the longest run of each seed.
        seeds: how many times each arm runs: data order, dropout and the noise of the cure differ.
        judged_by: ``train`` or ``test``; test where a cure is for held-out loss and there are data.
        folder: keeps each finished run of an arm; the same call goes on from there.
        apply: a folder to make, if there is a winner: the training goes on with it for ``budget``
            evaluations, from the user's own state and order of the data, and its weights are saved
            there, in a run folder.
        task_reference: ``file.py:callable`` of the Task, noted in that folder.
        progress: called with a phrase, the runs done and how many there will be at most.
        map: in place of the built-in one, to make runs of an arm beside each other: that of a pool
            of processes, which needs a task that can be pickled. Threads would share one random
            state. The result is the same with any.

    Raises:
        UsageError: an unknown cure, no cure that can be raced, a number out of its range.
        FolderError: a folder that holds another race, or cannot be written.
    """
    _check(budget, seeds, judged_by)
    if apply is not None:
        check_free(Path(apply))
    found = task_of(source, task=task, checkpoint=checkpoint)
    if not isinstance(found, Task):
        raise UsageError("a race needs the run's task: pass task= or --task")
    found = found if step is None else replace(found, step=step)
    before = 0.0
    if cures is None:
        finding = diagnose(found, probe=True)
        cures, before = finding.cures, finding.cost
    entered = _raceable([cures] if isinstance(cures, str | Cure) else cures)
    judged_by = _judge(found, entered) if judged_by is None else judged_by
    if judged_by == "test" and found.test is None:
        raise UsageError("judged_by test needs the task's test data, but it has none")
    examination = Examination.of(found, budget=math.inf)
    length = _length(examination) if budget is None else float(budget)
    course = _Course(examination, entered, length, seeds, judged_by, folder, progress, map)
    ended = course.run()
    arms = arms_of(ended, judged_by)
    left_out = hooks_left_out(found, lent=examination.objective.placed.restore)
    best = next((arm for arm in arms if arm.outcome == "helps"), None)
    base = ended[UNCHANGED].levels(judged_by)
    result = Race(
        arms,
        None if best is None else best.name,
        sentence(best, arms, base, length, judged_by),
        tuple(range(seeds)),
        before + course.cost,
        judged_by,
        found.name,
        " ".join(filter(None, (claim(arms, seeds, length), *left_out))),
    )
    if apply is None or best is None:
        return result
    winning = replace(course.leg, cure=ended[best.name].cure)
    return applied(result, winning, Path(apply), task_reference)


def _check(budget: Any, seeds: Any, judged_by: Any) -> None:
    if not isinstance(seeds, int) or seeds < 1:
        raise UsageError(f"seeds must be a whole number of at least 1, not {seeds!r}")
    if budget is not None and not (
        isinstance(budget, int | float) and budget > 0 and math.isfinite(budget)
    ):
        raise UsageError(f"budget must be a number above 0, not {budget!r}")
    if judged_by not in (None, "train", "test"):
        raise UsageError(f"judged_by must be train or test, not {judged_by!r}")


def _judge(task: Task, entered: Sequence[Cure]) -> str:
    held_out = any(cure.name.startswith(HELD_OUT) for cure in entered)
    return "test" if held_out and task.test is not None else "train"


def _raceable(cures: Sequence[Cure | str]) -> list[Cure]:
    chosen: dict[str, Cure] = {}
    for each in cures:
        cure = named(each) if isinstance(each, str) else each
        if not isinstance(cure, Cure):
            text = each if isinstance(each, str) else ""
            near = get_close_matches("".join(text.lower().split()[:1]), CATALOGUE, n=1)
            hint = f"did you mean {full_name(near[0])!r}?" if near else None
            why = why_not(text) or hint or f"there are {', '.join(in_turn(full_name, CATALOGUE))}"
            raise UsageError(f"cures must be known ones or pairs of them, not {each!r}: {why}")
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


class _Course:
    """Runs the stages of one race; ``cost`` is what they spent, ``looked`` what a look takes."""

    def __init__(
        self,
        e: Examination,
        entered: Sequence[Cure],
        length: float,
        seeds: int,
        judged_by: str,
        folder: Path | str | None,
        progress: Callable[[str, int, int], None] | None,
        map: Map,
    ) -> None:
        self.e, self.entered, self.seeds, self.judged_by = e, entered, seeds, judged_by
        self.evaluations = tuple(length * k / MARKS for k in range(MARKS + 1))
        self.map, self.progress = map, progress
        self.folder = RaceFolder(folder, "" if folder is None else of_training(e), length)
        leg = Leg(e.task, None, 0, self.evaluations, (0.0, None), RandomState.now(), examination=e)
        loss, test, self.cost = look(forked(leg, e), e)
        self.leg, self.looked = replace(leg, start=(loss, test)), self.cost
        if any("negative_curvature" in cure.name for cure in entered):
            negative, spent = _escape_step(e)
            self.leg, self.cost = replace(self.leg, negative=negative), self.cost + spent
        self.stages = rungs(len(entered))
        standing = [len(entered) + (len(entered) > 1), *(rung.keep for rung in self.stages)]
        self.done, self.total = 0, (sum(standing) + 1) * seeds

    def run(self) -> dict[str, Ended]:
        """Every arm as far as it came, by name."""
        standing, ended = list(self.entered), {}
        trials = range(self.seeds, 2 * self.seeds)
        for rung in self.stages:
            first = rung is self.stages[0]
            if not (first or self._affords(len(standing), rung.marks)):
                standing = standing[: rung.keep]
                break
            ran = self._stage(standing, trials, rung.marks, dropped=True)
            if first and self._affords(1, rung.marks):
                ran += self._stage(self._together(ran), trials, rung.marks, dropped=True)
            ended |= {each.name: each for each in ran}
            chosen = going_on(ran, rung.keep, self.judged_by)
            standing = [each.cure for each in chosen if each.cure]
        final = self._stage([None, *standing], range(self.seeds), MARKS)
        if not self.stages:
            better = self._ranked(final)
            unchanged = next((i for i, each in enumerate(better) if each.cure is None), None)
            final += self._stage(self._together(better[:unchanged]), range(self.seeds), MARKS)
        if self.progress is not None:
            self.progress("done", self.done, self.done)
        return ended | {each.name: each for each in final}

    def _affords(self, arms: int, marks: int) -> bool:
        """Whether so many arms may run so far, two to the end then, for LONGEST_RUNS of those in all.

        What a cure spends before its first step, or in one that is longer than its trial, is not known
        before.
        """
        longest = self.looked * MARKS + self.evaluations[-1]
        ahead = (2 + arms * marks / MARKS) * longest * self.seeds
        return self.cost - self.looked + ahead <= LONGEST_RUNS * longest * self.seeds

    def _ranked(self, ran: Sequence[Ended]) -> list[Ended]:
        return ranked(ran, self.judged_by)

    def _together(self, ran: Sequence[Ended]) -> list[Cure]:
        """The combination of the two best that lowered the loss, unless it was entered by name."""
        loss, test = self.leg.start
        start = loss if self.judged_by == "train" or test is None else test
        lower = [
            each.cure
            for each in self._ranked(ran)
            if each.cure and math.fsum(each.levels(self.judged_by)) < start * self.seeds
        ]
        both = best_combination(lower)
        known = {parts(cure.name) for cure in self.entered}
        return [] if both is None or parts(both.name) in known else [both]

    def _stage(
        self, arms: Sequence[Cure | None], seeds: range, marks: int, *, dropped: bool = False
    ) -> list[Ended]:
        """Every arm from the user's state on every seed, for as many marks."""
        at = self.evaluations[: marks + 1]
        legs = [
            replace(self.leg, cure=cure, seed=seed, evaluations=at)
            for cure in arms
            for seed in seeds
        ]
        runs = self._runs(legs, seeds)
        self.cost += math.fsum(run.cost for run in runs)
        each = len(seeds)
        return [
            Ended(cure, tuple(runs[k * each : (k + 1) * each]), at, tuple(seeds), dropped)
            for k, cure in enumerate(arms)
        ]

    def _runs(self, legs: Sequence[Leg], seeds: range) -> list[Ran]:
        kept = [self.folder.get(leg) for leg in legs]
        fresh = iter(
            self.map(run_leg, [leg for leg, ran in zip(legs, kept, strict=True) if not ran])
        )
        runs = []
        for leg, ran in zip(legs, kept, strict=True):
            self._tell(leg, seeds)
            if ran is None:
                ran = next(fresh)
                self.folder.keep(leg, ran)
            runs.append(ran)
            self.done += 1
        return runs

    def _tell(self, leg: Leg, seeds: range) -> None:
        if self.progress is not None:
            stage = "" if len(leg.evaluations) > MARKS else "trial of "
            phrase = f"{stage}{leg.name}, seed {leg.seed - seeds.start + 1} of {len(seeds)}"
            self.progress(phrase, self.done, self.total)


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
