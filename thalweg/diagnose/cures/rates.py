"""Cures that change the learning rate once."""

import math
from dataclasses import replace

from thalweg.diagnose.cures.cure import Cure, Ground, strength, whole
from thalweg.diagnose.cures.schedules import ENDS
from thalweg.run.training import Training

__all__ = ["learning_rate", "range_test"]


def learning_rate(factor: float) -> Cure:
    """Every group's rate times ``factor``; the schedule ends there."""
    factor = strength("factor", factor, digits=2)

    def change(training: Training, ground: Ground) -> None:
        for group in training.optimizer.param_groups:
            group["lr"] *= factor
        training.schedule = None

    why = (
        "Lets the loss settle where steps overshoot or noise throws them about; slower on a slope."
        if factor < 1
        else "Moves faster where the curvature allows it; past the limit it diverges."
    )
    return Cure(
        f"learning_rate x{factor:g}",
        why,
        f'for group in optimizer.param_groups:\n    group["lr"] *= {factor:g}' + ENDS,
        change,
        "No evaluation.",
        "Robbins and Monro, A stochastic approximation method, 1951",
        "rate",
        lambda plan: replace(plan, learning_rate=factor * plan.learning_rate, schedule="constant"),
    )


BELOW, DECADES = 2, 7
"""Powers of ten from the present rate down to where a range test begins, and from there to its end."""


def range_test(steps: int = 100) -> Cure:
    """A tenth of the rate at which the loss is lowest while the rate is raised on a fork.

    Over ``steps`` steps from a hundredth of the rate to 100 000 times it, or until the smoothed loss
    is far above its lowest.
    """
    steps = whole("steps", steps, least=2)

    def change(training: Training, ground: Ground) -> None:
        fork = training.twin()
        rates = [group["lr"] for group in fork.optimizer.param_groups]
        smooth, lowest, best = 0.0, math.inf, 1.0
        for step in range(steps):
            factor = 10 ** (DECADES * step / (steps - 1) - BELOW)
            for group, rate in zip(fork.optimizer.param_groups, rates, strict=True):
                group["lr"] = factor * rate
            fork.advance(1)
            smooth = 0.8 * smooth + 0.2 * fork.losses[-1] if step else fork.losses[-1]
            if smooth < lowest:
                lowest, best = smooth, factor
            if not smooth <= lowest + 3 * abs(fork.losses[0]):
                break
        training.examples_seen += fork.examples_seen
        training.schedule = None
        for group, rate in zip(training.optimizer.param_groups, rates, strict=True):
            group["lr"] = 0.1 * best * rate

    return Cure(
        f"range_test {steps}",
        "Finds a rate where nobody knows one: rises on a copy until the loss does, and takes a tenth "
        "of the best.",
        "import copy\n"
        "import itertools\n"
        "twin, walker = copy.deepcopy((model, optimizer))\n"
        "drawn = torch.get_rng_state()\n"
        'rates = [group["lr"] for group in walker.param_groups]\n'
        'losses, smooth, lowest, best = [], 0.0, float("inf"), 1.0\n'
        "batches = (batch for _ in itertools.count() for batch in loader)\n"
        f"for step, (inputs, targets) in zip(range({steps}), batches):\n"
        f"    factor = 10 ** ({DECADES} * step / {steps - 1} - {BELOW})\n"
        "    for group, rate in zip(walker.param_groups, rates):\n"
        '        group["lr"] = factor * rate\n'
        "    walker.zero_grad()\n"
        "    value = loss(twin(inputs), targets)\n"
        "    value.backward()\n"
        "    walker.step()\n"
        "    losses.append(value.item())\n"
        "    smooth = 0.8 * smooth + 0.2 * losses[-1] if step else losses[-1]\n"
        "    if smooth < lowest:\n"
        "        lowest, best = smooth, factor\n"
        "    if not smooth <= lowest + 3 * abs(losses[0]):\n"
        "        break\n"
        "torch.set_rng_state(drawn)\n"
        "for group, rate in zip(optimizer.param_groups, rates):\n"
        '    group["lr"] = 0.1 * best * rate' + ENDS,
        change,
        f"{steps} steps on a copy, counted as the arm's own.",
        "Smith, Cyclical learning rates for training neural networks, 2017",
        "rate",
    )
