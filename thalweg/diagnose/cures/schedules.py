"""Cures that let the rate rise and fall over the next steps, by torch's own schedules."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from thalweg.diagnose.cures.cure import Cure, Ground, whole
from thalweg.diagnose.cures.places import AFTER, EPOCH, REPLACES
from thalweg.run.plan import Plan
from thalweg.run.training import Training

__all__ = [
    "ENDS",
    "Until",
    "begin",
    "cosine",
    "cyclic",
    "decay_on_plateau",
    "decay_rate",
    "one_cycle",
    "staged",
    "step_decay",
    "warm_restarts",
    "warmup",
]

ENDS = "\n# and leave out the step() of a schedule, if there is one"
"""What a cure's code says where the schedule ends with it."""

BEGIN = 'for group in optimizer.param_groups:\n    group.pop("initial_lr", None)\n'
"""A schedule starts from the rate that an earlier one began with, unless that is forgotten."""


class Until:
    """A schedule that ends after so many steps; the last rate stays."""

    def __init__(self, scheduler: Any, steps: int) -> None:
        self.scheduler, self.left = scheduler, steps

    def step(self) -> None:
        """As torch's."""
        if self.left > 0:
            self.left -= 1
            self.scheduler.step()


def begin(training: Training) -> Optimizer:
    """The optimizer, ready for a schedule that starts from the present rates."""
    training.schedule = None
    for group in training.optimizer.param_groups:
        group.pop("initial_lr", None)
    return training.optimizer


def _scheduled(
    name: str,
    steps: int,
    call: str,
    make: Callable[[Optimizer], Any],
    summary: str,
    source: str,
    name_of_plans: str,
    options: Callable[[Plan], Mapping[str, Any]],
) -> Cure:
    """A cure that steps torch's scheduler after each of ``steps`` steps."""

    def change(training: Training, ground: Ground) -> None:
        training.schedule = Until(make(begin(training)), steps)

    def plan(old: Plan) -> Plan:
        return replace(old, schedule=name_of_plans, schedule_options=options(old))

    place = AFTER.replace(":", f" of the next {steps}:")
    code = (
        f"{BEGIN}scheduler = torch.optim.lr_scheduler.{call}\n"
        f"{place.replace('# after', f'# {REPLACES}, after')}scheduler.step()"
    )
    costs = "No evaluation; it must be told its length beforehand."
    return Cure(name, summary, code, change, costs, source, "rate", plan, decides=("schedule",))


def decay_rate(steps: int = 100) -> Cure:
    """The rate falls by a factor of 100 in ``steps`` steps, exponentially, and stays there."""
    steps = whole("steps", steps)
    gamma = float(f"{0.01 ** (1 / steps):.8f}")
    return _scheduled(
        f"decay_rate over {steps}",
        steps,
        f"ExponentialLR(optimizer, gamma={gamma:.8g})",
        lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma=gamma),
        "Moves at the present rate first and settles later; the rate ends a hundred times lower.",
        "Robbins and Monro, A stochastic approximation method, 1951",
        "exponential",
        lambda plan: {"gamma": 0.01 ** (1 / plan.steps)},
    )


def step_decay(steps: int = 100) -> Cure:
    """The rate falls to a tenth after a third of ``steps`` steps, and to a hundredth after two."""
    steps = whole("steps", steps)
    third = max(1, steps // 3)
    return _scheduled(
        f"step_decay over {steps}",
        steps,
        f"StepLR(optimizer, step_size={third}, gamma=0.1)",
        lambda optimizer: lr_scheduler.StepLR(optimizer, step_size=third, gamma=0.1),
        "Settles in stages below a noise floor: each tenth of the rate lowers the floor tenfold.",
        "He, Zhang, Ren and Sun, Deep residual learning for image recognition, 2016",
        "step",
        lambda plan: {"step_size": max(1, plan.steps // 3), "gamma": 0.1},
    )


def cosine(steps: int = 100) -> Cure:
    """The rate falls to 0 along half a cosine in ``steps`` steps."""
    steps = whole("steps", steps)
    return _scheduled(
        f"cosine over {steps}",
        steps,
        f"CosineAnnealingLR(optimizer, T_max={steps})",
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps),
        "Keeps the present rate for longer than an exponential and settles at the very end.",
        "Loshchilov and Hutter, SGDR, 2017",
        "cosine",
        lambda plan: {"T_max": plan.steps},
    )


def cyclic(steps: int = 100) -> Cure:
    """Four triangles between a tenth of the rate and the rate itself."""
    steps = whole("steps", steps)
    up = max(1, steps // 8)
    return _scheduled(
        f"cyclic over {steps}",
        8 * up,
        "CyclicLR(\n"
        '    optimizer, [0.1 * g["lr"] for g in optimizer.param_groups],\n'
        f'    [g["lr"] for g in optimizer.param_groups], step_size_up={up}, cycle_momentum=False)',
        lambda optimizer: lr_scheduler.CyclicLR(
            optimizer,
            [0.1 * group["lr"] for group in optimizer.param_groups],
            [group["lr"] for group in optimizer.param_groups],
            step_size_up=up,
            cycle_momentum=False,
        ),
        "Low rates settle and high ones move on, in turn: for a rate that nobody wants to tune.",
        "Smith, Cyclical learning rates for training neural networks, 2017",
        "cyclic",
        lambda plan: {
            "base_lr": 0.1 * plan.learning_rate,
            "max_lr": plan.learning_rate,
            "step_size_up": max(1, plan.steps // 8),
            "cycle_momentum": False,
        },
    )


def one_cycle(steps: int = 100) -> Cure:
    """Up to three times the rate and down to nearly 0, in one cycle of ``steps`` steps."""
    steps = whole("steps", steps)
    return _scheduled(
        f"one_cycle over {steps}",
        steps,
        'OneCycleLR(\n    optimizer, [3 * g["lr"] for g in optimizer.param_groups],\n'
        f"    total_steps={steps + 1}, cycle_momentum=False)",
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer,
            [3 * group["lr"] for group in optimizer.param_groups],
            total_steps=steps + 1,
            cycle_momentum=False,
        ),
        "Crosses flat ground and leaves sharp minima at a high rate, then settles; past the limit "
        "of the rate it diverges.",
        "Smith and Topin, Super-convergence, 2018",
        "one-cycle",
        lambda plan: {
            "max_lr": 3 * plan.learning_rate,
            "total_steps": plan.steps + 1,
            "cycle_momentum": False,
        },
    )


def warm_restarts(steps: int = 100) -> Cure:
    """Four times down half a cosine to 0, each begun at the present rate (SGDR)."""
    steps = whole("steps", steps)
    cycle = max(1, steps // 4)
    return _scheduled(
        f"warm_restarts over {steps}",
        4 * cycle - 1,  # one more would begin a fifth time
        f"CosineAnnealingWarmRestarts(optimizer, T_0={cycle})",
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=cycle),
        "Settles, is thrown out again and settles elsewhere: for shallow minima one after another.",
        "Loshchilov and Hutter, SGDR, 2017",
        "warm-restarts",
        lambda plan: {"T_0": max(1, plan.steps // 4)},
    )


def warmup(steps: int = 50) -> Cure:
    """From a hundredth of the rate up to the rate in ``steps`` steps, linearly."""
    steps = whole("steps", steps)
    return _scheduled(
        f"warmup over {steps}",
        steps,
        f"LinearLR(optimizer, start_factor=0.01, total_iters={steps})",
        lambda optimizer: lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=steps),
        "Lets a sharp start, or Adam's first poor scales, pass at a low rate before the full one.",
        "Goyal and others, Accurate, large minibatch SGD, 2017",
        "linear",
        lambda plan: {"start_factor": 0.01, "total_iters": min(steps, plan.steps)},
    )


def staged(steps: int = 20) -> Cure:
    """Half the rate after ``steps`` steps, and again after twice, four times, eight times as many.

    The stages of :func:`thalweg.theory.staged`: at half the rate the ball in which the noise holds
    the iterate is smaller, and it takes twice as many steps to contract into it.
    """
    steps = whole("steps", steps)
    milestones = [steps, 3 * steps, 7 * steps, 15 * steps]
    return _scheduled(
        f"staged over {steps}",
        15 * steps,
        f"MultiStepLR(\n    optimizer, milestones={milestones}, gamma=0.5)",
        lambda optimizer: lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.5),
        "Large noise smooths the narrow minima away, and each smaller rate begins where the last "
        "one has brought it.",
        "Kleinberg, Li and Yuan, An alternative view: when does SGD escape local minima?, 2018",
        "multistep",
        lambda plan: {
            "milestones": [k * max(1, plan.steps // 15) for k in (1, 3, 7, 15)],
            "gamma": 0.5,
        },
    )


def decay_on_plateau(patience: int = 2) -> Cure:
    """A tenth of the rate after ``patience`` epochs in which the mean training loss fell no more."""
    patience = whole("patience", patience)

    def change(training: Training, ground: Ground) -> None:
        scheduler = lr_scheduler.ReduceLROnPlateau(
            begin(training), patience=patience, threshold=1e-3
        )

        def after_epoch(which: Training) -> None:
            losses = which.losses[which.epoch_from :]
            scheduler.step(sum(losses) / len(losses))

        training.after_epoch.append(after_epoch)

    return Cure(
        f"decay_on_plateau {patience}",
        "Lowers the rate only where the loss has ceased to fall, so that no length must be known.",
        f"{BEGIN}scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(\n"
        f"    optimizer, patience={patience}, threshold=1e-3)\n"
        f"seen = []\n{AFTER}seen.append(value.item())\n"
        f"{EPOCH}scheduler.step(sum(seen) / len(seen))\nseen = []" + ENDS,
        change,
        "No evaluation; some epochs at a rate that no longer helps.",
        "Bengio, Practical recommendations for gradient-based training, 2012",
        "rate",
        lambda plan: replace(
            plan, schedule="plateau", schedule_options={"patience": max(1, plan.steps // 10)}
        ),
        decides=("schedule",),
    )
