"""What must hold where the cause lies in the ground: its slope, its curvature, what lies beyond."""

import math
from dataclasses import dataclass

import torch

from thalweg.clinic.entry import Case
from thalweg.clinic.hessian import dense_hessian
from thalweg.clinic.interventions import (
    decay,
    decay_of,
    fork,
    nothing,
    nudge,
    objective,
    rate,
    reinitialise,
)
from thalweg.clinic.truth.check import Check
from thalweg.clinic.truth.experiment import continued, fall, mean, settled, test_loss
from thalweg.task import Task

__all__ = ["cannot_fit", "local_minimum", "minimum", "plateau", "saddle"]


@dataclass(frozen=True)
class Ground:
    """Norm of the gradient and the Hessian's eigenvalues, smallest first, decay included."""

    slope: float
    eigenvalues: torch.Tensor

    @property
    def lowest(self) -> float:
        """The smallest eigenvalue."""
        return float(self.eigenvalues[0])

    @property
    def top(self) -> float:
        """The largest eigenvalue."""
        return float(self.eigenvalues[-1])

    @property
    def told(self) -> str:
        """The numbers in words."""
        return f"|gradient| {self.slope:.1e}, eigenvalues {self.lowest:.2e} to {self.top:.2e}"


def _ground(task: Task) -> Ground:
    assert task.loss is not None
    slope, hessian = dense_hessian(task.model, task.loss, task.train, decay=decay_of(task))
    return Ground(float(slope.norm()), torch.linalg.eigvalsh(hessian))


def _weight_size(task: Task) -> float:
    weights = torch.cat([p.detach().flatten() for p in task.model.parameters()])
    return float(weights.square().mean().sqrt())


def _scale(task: Task, seed: int) -> float:
    """The top eigenvalue at a fresh start: what counts as steep for this model and data."""
    return _ground(reinitialise.apply(fork(task), torch.Generator().manual_seed(seed))).top


def saddle(case: Case, task: Task, seed: int) -> list[Check]:
    """No way on by itself, negative curvature, and a nudge followed by descent that leaves."""
    ground = _ground(task)
    least = -max(1e-5 * ground.top, 1e-6 * _scale(task, seed))
    own = continued(task, steps=case.steps, seed=seed)
    other = continued(task, case.hurts_or_not, steps=case.steps, seed=seed)
    left = [continued(task, case.helps, steps=case.steps, seed=3 * seed + k) for k in range(3)]
    start = own.objectives[0]
    told = f"{start:.4g} -> {own.end:.4g}, nudged {[f'{run.end:.4g}' for run in left]}"
    checks = [
        Check("the curvature is negative", ground.lowest < least, ground.told),
        Check("it stands by itself", abs(fall(own)) < 0.02 * start, told),
        Check(f"{case.hurts_or_not} does not help", abs(fall(other)) < 0.02 * start, told),
        Check(f"{case.helps} leaves", all(run.end < 0.6 * start for run in left), told),
    ]
    if "3000" in case.summary:
        ratio = -ground.top / ground.lowest
        higher = continued(task, rate(5), steps=case.steps, seed=seed)
        checks += [
            Check("it is 3000 times below the top", 2000 < ratio < 4000, f"{ratio:.0f} times"),
            Check("a higher rate does not leave", abs(fall(higher)) < 0.02 * start, told),
        ]
    return checks


def plateau(case: Case, task: Task, seed: int) -> list[Check]:
    """Flat in nearly every direction and nowhere downwards; a fresh start ends far lower."""
    fresh = continued(task, reinitialise, steps=case.steps, seed=seed)
    scale = _scale(task, seed)
    ground = _ground(task)
    flat = float((ground.eigenvalues.abs() < 1e-6 * scale).double().mean())
    start = objective(task)
    checks = [
        Check("the slope is all but zero", ground.slope < 0.02, ground.told),
        Check("no curvature is negative", ground.lowest > -1e-5 * scale, ground.told),
        Check("nine directions of ten are flat", flat > 0.9, f"{flat:.3f} of them"),
        Check("a fresh start ends lower", fresh.end < 0.6 * start, f"{start:.4g}, {fresh.end:.4g}"),
    ]
    for change in (nothing, rate(0.1), nudge(0.01), case.hurts_or_not):
        run = continued(task, change, steps=case.steps, seed=seed)
        checks.append(Check(f"{change} does not", run.end > 0.98 * start, f"{run.end:.4g}"))
    return checks


def _stationary(task: Task, ground: Ground) -> list[Check]:
    """Where a Newton step promises nothing and no eigenvalue is negative beyond rounding."""
    promise = ground.slope**2 / max(ground.top * 1e-3, 1e-12) / 2
    value = objective(task)
    return [
        Check("the slope promises nothing", promise < 1e-3 * value, ground.told),
        Check("no curvature is negative", ground.lowest > -1e-7 * ground.top, ground.told),
    ]


def minimum(case: Case, task: Task, seed: int) -> list[Check]:
    """Stationary, positive, and neither noise followed by descent nor a restart ends lower."""
    ground = _ground(task)
    checks = _stationary(task, ground)
    if decay_of(task):
        alone = _ground(decay(0.0).apply(fork(task), torch.Generator())).slope
        told = f"|gradient| {alone:.1e} alone, {ground.slope:.1e} with its decay"
        checks.append(Check("the loss alone still slopes", alone > 1e3 * ground.slope, told))
    here, size = objective(task), _weight_size(task)
    ends = [settled(task, nudge(k * size), seed=seed) for k in (0.1, 0.3, 1.0, 3.0)]
    ends += [settled(task, reinitialise, seed=10 * seed + k) for k in range(6)]
    told = f"here {here:.6g}, best of noise and restarts {min(ends):.6g}"
    return [
        *checks,
        Check("nothing ends lower", min(ends) > here - 0.01 * abs(here), told),
        Check(
            f"{case.hurts_or_not} comes back no lower",
            continued(task, case.hurts_or_not, steps=case.steps, seed=seed).end > 0.99 * here,
            told,
        ),
    ]


def local_minimum(case: Case, task: Task, seed: int) -> list[Check]:
    """Stationary, positive, a small nudge comes back; noise or restarts end far lower."""
    checks = _stationary(task, _ground(task))
    here, size = objective(task), _weight_size(task)
    back = continued(task, case.hurts_or_not, steps=case.steps, seed=seed)
    restart = objective(case.helps.apply(fork(task), torch.Generator().manual_seed(seed)))
    out = [
        settled(task, nudge(k * size), seed=10 * seed + n)
        for k in (0.3, 1.0, 3.0)
        for n in range(8)
    ]
    lower = sum(value < 0.8 * here for value in out if math.isfinite(value))
    told = f"here {here:.4g}, restarts {restart:.4g}, noise {lower} of {len(out)} lower"
    checks += [
        Check(
            f"{case.hurts_or_not} comes back", abs(back.end / here - 1) < 0.03, f"{back.end:.4g}"
        ),
        Check(f"{case.helps} ends far lower", restart < 0.6 * here, told),
        Check("noise followed by descent can leave", lower > 0, told),
    ]
    if case.name == "thrown_out":
        lowest = min(float(value) for value in task.history or (math.inf,))
        checks.append(Check("the history was lower", lowest < 0.7 * here, f"{lowest:.4g}"))
    return checks


def _constant_loss(task: Task) -> float:
    counts = torch.bincount(task.train[1]).double()
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * shares.log()).sum())


def cannot_fit(case: Case, task: Task, seed: int) -> list[Check]:
    """Converged, and no optimisation from anywhere does much better than the constant answer."""
    constant = _constant_loss(task)
    here = objective(task)
    own = continued(task, steps=case.steps, seed=seed)
    ends = [settled(task, nothing, seed=seed)]
    ends += [settled(task, reinitialise, seed=10 * seed + k) for k in range(3)]
    told = f"constant {constant:.4g}, here {here:.4g}, best {min(ends):.4g}"
    better = continued(task, case.helps, steps=case.steps, seed=seed)
    other = continued(task, case.hurts_or_not, steps=case.steps, seed=seed)
    return [
        Check("it has converged", abs(fall(own)) < 0.003 * here, told),
        Check("nor is better reachable", min(ends) > 0.93 * constant, told),
        Check("held out it is no better", test_loss(task) > 0.97 * constant, told),
        Check(f"{case.helps} learns", better.end < 0.6 * constant, f"{better.end:.4g}"),
        Check(
            f"{case.hurts_or_not} does not",
            mean(other.objectives) > 0.93 * constant,
            f"{other.end:.4g}",
        ),
    ]
