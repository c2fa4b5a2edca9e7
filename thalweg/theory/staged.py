"""Shrinking learning rates: each stage's certified ball is the next stage's domain."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from thalweg.errors import UsageError
from thalweg.objective.base import Objective
from thalweg.objective.noise import Noise, parse
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.theory.domain import Domain
from thalweg.theory.guarantee import Guarantee, guarantee

__all__ = ["Outcome", "Stage", "run_stages", "staged"]


@dataclass(frozen=True)
class Stage:
    """One learning rate for so many steps.

    Attributes:
        learning_rate: η.
        steps: until (6) has settled.
        start: distance of y from the target that it begins within.
        radius: that it ends within, with ``probability``.
        probability: at least, over all stages up to this one.
        guarantee: that says so.
    """

    learning_rate: float
    steps: int
    start: float
    radius: float
    probability: float
    guarantee: Guarantee


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: the share of trials within its radius, and its standard error."""

    stage: Stage
    share: float
    error: float

    @property
    def holds(self) -> bool:
        """Whether the share is what was promised, to within four standard errors."""
        return self.share + 4 * self.error >= self.stage.probability


def staged(
    landscape: Objective,
    rates: Sequence[float],
    noise: Noise | str,
    target: Any,
    domain: Any,
    *,
    failure: float = 0.2,
) -> tuple[Stage, ...]:
    """The stages that can be certified, in the order of the rates.

    A rate is left out where it does not lead nearer than the stage before. Each stage may fail with
    probability ``failure``, by Markov's inequality on (6). Between two stages one step is taken
    without noise, and the next begins with its noise, so that y goes on from where it was.

    Args:
        rates: learning rates, falling.

    Raises:
        UsageError: rates that do not fall; a failure that is not between 0 and 1.
    """
    if not rates or any(not later < earlier for earlier, later in itertools.pairwise(rates)):
        raise UsageError(f"rates must fall from one to the next, not {list(rates)!r}")
    if not 0 < failure < 1:
        raise UsageError(f"failure must be between 0 and 1, not {failure!r}")
    stages: list[Stage] = []
    probability, start = 1.0, None
    for rate in rates:
        made = guarantee(landscape, rate, noise, target, domain, start=start)
        bounds = made.certificate.bounds
        here = made.certificate.start
        if not (made.one_point_convex and bounds.factor < 1 and made.certificate.constants.closed):
            continue
        steps = max(1, made.certificate.steps)
        radius = math.sqrt(bounds.expected_square(steps, here) / failure)
        if radius >= here:
            continue
        probability -= failure
        stages.append(Stage(rate, steps, here, radius, max(0.0, probability), made))
        start = radius
        target = made.constants.target
        domain = Domain(tuple((p - radius, p + radius) for p in target))
    return tuple(stages)


def run_stages(
    landscape: Objective,
    stages: Sequence[Stage],
    noise: Noise | str,
    *,
    trials: int = 1000,
    seed: int = 0,
) -> tuple[Outcome, ...]:
    """Run the stages one after the other, and hold each against its promise.

    The first begins anywhere in the domain of its guarantee.
    """
    noise = parse(noise)
    generator = torch.Generator().manual_seed(seed)
    found = []
    first = stages[0].guarantee.constants.domain if stages else Domain(((0.0, 1.0),))
    y = torch.from_numpy(first.sample(trials, seed))
    for number, stage in enumerate(stages):
        draws = noise.draw((trials, landscape.dim), generator)
        starts = y - stage.learning_rate * draws
        plan = Plan(
            learning_rate=stage.learning_rate,
            noise=noise,
            steps=stage.steps,
            trials=trials,
            starts=starts.numpy(),
            seed=seed + number,
        )
        ends = torch.tensor(descend(landscape, plan).end["points"], dtype=torch.float64)
        at = ends.requires_grad_(True)
        (slopes,) = torch.autograd.grad(landscape.loss(at).sum(), at)
        y = (ends - stage.learning_rate * slopes).detach()
        centre = torch.tensor(stage.guarantee.constants.target, dtype=torch.float64)
        inside = ((y - centre).norm(dim=-1) <= stage.radius).double().numpy()
        share = float(inside.mean())
        found.append(Outcome(stage, share, math.sqrt(max(share * (1 - share), 1e-4) / trials)))
    return tuple(found)
