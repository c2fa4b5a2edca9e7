"""What must hold where the cause lies in how the run moves: its rate, its noise, its wiring."""

import math

import torch

from thalweg.clinic.entry import Case
from thalweg.clinic.interventions import Intervention, full_batch, nudge, objective, rate
from thalweg.clinic.training import sharpness
from thalweg.clinic.truth.check import Check
from thalweg.clinic.truth.experiment import Run, continued, fall, mean
from thalweg.task import Task

__all__ = [
    "diverging",
    "edge_of_stability",
    "healthy",
    "miswired",
    "noise_floor",
    "not_finite",
    "overfitting",
    "ravine",
    "spikes",
    "stability",
    "step_too_small",
]


def stability(task: Task) -> float:
    """Learning rate times top curvature over the limit of gradient descent, 2."""
    assert task.loss is not None
    lr = task.optimizer.param_groups[0]["lr"]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return lr * sharpness(task.model, task.loss, task.train) / 2


def _told(**runs: Run) -> str:
    return ", ".join(f"{n} {r.objectives[0]:.4g} -> {r.end:.4g}" for n, r in runs.items())


def _gone(run: Run, factor: float = 10.0) -> bool:
    last = run.objectives[-1]
    return not math.isfinite(last) or last > factor * run.objectives[0]


def healthy(case: Case, task: Task, seed: int) -> list[Check]:
    """Unchanged it falls by a fifth or more; no rate and no nudge falls 1.5 times as far."""
    own = continued(task, steps=case.steps, seed=seed)
    checks = [Check("the unchanged run falls", own.end < 0.8 * own.objectives[0], _told(own=own))]
    rivals = (rate(0.1), rate(1 / 3), rate(3), rate(10), nudge(0.01), nudge(0.1))
    for change in rivals:
        run = continued(task, change, steps=case.steps, seed=seed)
        checks.append(
            Check(
                f"{change} does not beat it by much",
                fall(run, own.objectives[0]) < 1.5 * fall(own),
                _told(own=own, changed=run),
            )
        )
    return checks


def miswired(case: Case, task: Task, seed: int) -> list[Check]:
    """Mended it ends at six tenths or less; otherwise it stands, blows up or cannot be run."""
    mended = continued(task, case.helps, steps=case.steps, seed=seed)
    try:
        own = continued(task, steps=case.steps, seed=seed)
        other = continued(task, case.hurts_or_not, steps=case.steps, seed=seed)
    except (IndexError, RuntimeError) as error:
        return [
            Check("the loss cannot be evaluated", True, str(error)),
            Check(f"{case.helps} mends it", fall(mended) > 0.5, _told(mended=mended)),
        ]
    worst = own.end if math.isfinite(own.end) else math.inf
    told = _told(own=own, mended=mended, other=other)
    return [
        Check(f"{case.helps} mends it", mended.end < 0.6 * worst, told),
        Check(
            f"{case.hurts_or_not} does not",
            not math.isfinite(other.end) or other.end > 0.9 * own.end,
            told,
        ),
    ]


def not_finite(case: Case, task: Task, seed: int) -> list[Check]:
    """Evaluated once it is not finite, at any rate; mended it is finite and falls."""
    own = continued(task, steps=case.steps, seed=seed)
    other = continued(task, case.hurts_or_not, steps=case.steps, seed=seed)
    mended = continued(task, case.helps, steps=case.steps, seed=seed)
    told = _told(own=own, mended=mended, other=other)
    return [
        Check("it is not finite", not math.isfinite(own.objectives[0]), told),
        Check("it stays so", not math.isfinite(own.end + other.end), told),
        Check(f"{case.helps} falls", mended.end < 0.95 * mended.objectives[0], told),
    ]


def diverging(case: Case, task: Task, seed: int) -> list[Check]:
    """Unchanged or at a higher rate the loss grows tenfold; at the lower rate it falls."""
    own = continued(task, steps=case.steps, seed=seed)
    other = continued(task, case.hurts_or_not, steps=case.steps, seed=seed)
    lower = continued(task, case.helps, steps=case.steps, seed=seed)
    told = _told(own=own, lower=lower, other=other)
    return [
        Check("the loss is finite", math.isfinite(own.objectives[0]), told),
        Check("it grows", _gone(own) and _gone(other), told),
        Check(f"{case.helps} falls", lower.end < 0.5 * lower.objectives[0], told),
    ]


def edge_of_stability(case: Case, task: Task, seed: int) -> list[Check]:
    """At the limit along the run, bounded, standing, and lower at once at the lower rate."""
    own = continued(task, steps=case.steps, seed=seed)
    lower = continued(task, case.helps, steps=case.steps, seed=seed)
    along, state = [], task
    for _ in range(5):
        along.append(stability(state))
        state = continued(state, steps=7, seed=seed).task
    told = _told(own=own, lower=lower)
    first, second = (mean(half) for half in _halves(own.objectives))
    return [
        Check("stability is 1 or more", max(along) > 1 and mean(along) > 0.95, f"{along}"),
        Check("it does not blow up", max(own.objectives) < 3 * own.objectives[0], told),
        Check("it stands", second > 0.9 * first, told),
        Check(f"{case.helps} ends lower", lower.end < 0.97 * mean(own.objectives), told),
        Check("no batch differs from another", task.batch_size is None, "full batch"),
    ]


def _halves(values: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return values[: len(values) // 2], values[len(values) // 2 :]


def step_too_small(case: Case, task: Task, seed: int) -> list[Check]:
    """It falls by less than a hundredth; at the raised rate ten times as far or more."""
    own = continued(task, steps=case.steps, seed=seed)
    higher = continued(task, case.helps, steps=case.steps, seed=seed)
    other = continued(task, case.hurts_or_not, steps=case.steps, seed=seed)
    told = _told(own=own, higher=higher, other=other)
    return [
        Check("stability is far below 1", stability(task) < 0.01, f"{stability(task):.2g}"),
        Check("it hardly falls", abs(fall(own)) < 0.01 * own.objectives[0], told),
        Check(f"{case.helps} falls", fall(higher) > max(10 * fall(own), 0.3 * own.end), told),
        Check(f"{case.hurts_or_not} does not", abs(fall(other)) < 0.01 * own.end, told),
    ]


def noise_floor(case: Case, task: Task, seed: int) -> list[Check]:
    """Over three data orders it stands; the lower rate ends lower, and so do full batches."""
    seeds = range(3 * seed, 3 * seed + 3)

    def end(change: Intervention) -> float:
        return mean(
            [continued(task, change, steps=case.steps, seed=s, looks=64).end for s in seeds]
        )

    runs = [continued(task, steps=case.steps, seed=s, looks=64) for s in seeds]
    ends = mean([run.end for run in runs])
    first = mean([mean(_halves(r.objectives)[0]) for r in runs])
    second = mean([mean(_halves(r.objectives)[1]) for r in runs])
    lower, full, other = (end(c) for c in (case.helps, full_batch, case.hurts_or_not))
    told = f"halves {first:.4g}, {second:.4g}; lower {lower:.4g}, full {full:.4g}, {other:.4g}"
    return [
        Check("it stands", second > 0.9 * first, told),
        Check(f"{case.helps} ends lower", lower < 0.9 * min(first, second), told),
        Check("without the noise of batches it ends lower", full < 0.9 * min(first, second), told),
        Check(f"{case.hurts_or_not} does not", other > 0.8 * ends, told),
    ]


def spikes(case: Case, task: Task, seed: int) -> list[Check]:
    """Rare jumps in the history and in the continuation; the change takes their damage away."""
    history = torch.tensor([float(value) for value in task.history or ()])
    jumps = int((history > 8 * history.median()).sum())
    own = continued(task, steps=case.steps, seed=seed, looks=100, typical=True)
    mended = continued(task, case.helps, steps=case.steps, seed=seed, looks=100, typical=True)
    other = continued(task, case.hurts_or_not, steps=case.steps, seed=seed, looks=100, typical=True)
    losses = torch.tensor(own.losses)
    again = int((losses > 8 * losses.median()).sum())
    typical = [mean(run.typical) for run in (own, mended, other)]
    told = f"typical loss {typical[0]:.4g}, mended {typical[1]:.4g}, other {typical[2]:.4g}"
    return [
        Check(
            "the history jumps now and then",
            jumps >= 3 and jumps < 0.15 * len(history),
            f"{jumps} of {len(history)} losses above 8 medians",
        ),
        Check("it goes on jumping", again >= 2, f"{again} of {len(losses)}"),
        Check(f"{case.helps} takes the damage away", typical[1] < 0.7 * typical[0], told),
        Check(f"{case.hurts_or_not} does not", typical[2] > 0.8 * typical[0], told),
    ]


def ravine(case: Case, task: Task, seed: int) -> list[Check]:
    """The rate is near its limit; another way falls three times as far, a higher rate does not."""
    own = continued(task, steps=case.steps, seed=seed)
    better = continued(task, case.helps, steps=case.steps, seed=seed)
    other = continued(task, case.hurts_or_not, steps=case.steps, seed=seed)
    told = _told(own=own, better=better, other=other)
    near = stability(task)
    return [
        Check("the rate is near its limit", 0.2 < near < 1.05, f"stability {near:.2f}"),
        Check(f"{case.helps} falls far more", fall(better) > 3 * fall(own) > 0, told),
        Check(f"{case.hurts_or_not} does not", _gone(other, 1.0), told),
        Check("the floor still slopes", fall(own) > 1e-4 * objective(task), told),
    ]


def overfitting(case: Case, task: Task, seed: int) -> list[Check]:
    """The training loss falls, the held-out loss is far above it and rises; the change lowers it."""
    own = continued(task, steps=case.steps, seed=seed)
    held = continued(task, case.helps, steps=case.steps, seed=seed)
    other = continued(task, case.hurts_or_not, steps=case.steps, seed=seed)
    told = f"train {own.objectives[0]:.4g} -> {own.end:.4g}, held out " + ", ".join(
        f"{r.test_losses[0]:.4g} -> {r.test_losses[-1]:.4g}" for r in (own, held, other)
    )
    start, last = own.test_losses[0], own.test_losses[-1]
    return [
        Check("the training loss falls", own.end < 0.8 * own.objectives[0], told),
        Check("the held-out loss is far above", start > 2 * own.objectives[0], told),
        Check("the held-out loss rises", last > 1.05 * start, told),
        Check(f"{case.helps} lowers it", held.test_losses[-1] < 0.9 * last, told),
        Check(f"{case.hurts_or_not} does not", other.test_losses[-1] > 0.95 * last, told),
    ]
