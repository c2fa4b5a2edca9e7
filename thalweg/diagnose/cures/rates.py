"""Cures that change how far and how a step goes: rate, schedule, optimizer, batch, clipping."""

import math

import torch

from thalweg.diagnose.cures.cure import Cure, Ground, strength
from thalweg.run.training import Training

__all__ = [
    "adam",
    "batch_size",
    "clip",
    "decay_rate",
    "learning_rate",
    "momentum",
    "weight_decay",
]

ENDS = "\n# and leave out the step() of a schedule, if there is one"
"""What a cure's code says where the schedule ends with it."""


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
    code = f'for group in optimizer.param_groups:\n    group["lr"] *= {factor:g}' + ENDS
    return Cure(f"learning_rate x{factor:g}", why, code, change)


def decay_rate(steps: int = 100) -> Cure:
    """The rate falls by a factor of 100 in ``steps`` steps, exponentially, and stays there."""
    steps = int(strength("steps", steps))
    gamma = float(f"{0.01 ** (1 / steps):.8f}")

    def change(training: Training, ground: Ground) -> None:
        training.schedule = None
        begun = len(training.losses)

        def lower(which: Training) -> None:
            if 0 < len(which.losses) - begun <= steps:
                for group in which.optimizer.param_groups:
                    group["lr"] *= gamma

        training.before_step.append(lower)

    return Cure(
        f"decay_rate over {steps}",
        "Moves at the present rate first and settles later; the rate ends a hundred times lower.",
        f"scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma={gamma:.8g})\n"
        f"# in place of any other schedule, after each optimizer.step() of the next {steps}:\n"
        "scheduler.step()",
        change,
    )


def momentum(beta: float = 0.9) -> Cure:
    """SGD with heavy-ball momentum at the present rates, the groups' weight decay kept."""
    beta = strength("beta", beta, most=1.0)

    def change(training: Training, ground: Ground) -> None:
        training.rebuild(lambda groups: torch.optim.SGD(groups, momentum=beta))

    return Cure(
        f"momentum {beta:g}",
        "Adds up steps along the floor of a ravine while those across cancel; one buffer more.",
        'kept = ("params", "lr", "weight_decay")\n'
        "groups = [{k: g[k] for k in kept if k in g} for g in optimizer.param_groups]\n"
        f"optimizer = torch.optim.SGD(groups, momentum={beta:g})" + ENDS,
        change,
    )


def adam(rate: float = 1e-2) -> Cure:
    """Adam in place of the user's optimizer, the groups' weight decay kept."""
    rate = strength("rate", rate)

    def change(training: Training, ground: Ground) -> None:
        training.rebuild(
            lambda groups: torch.optim.Adam([group | {"lr": rate} for group in groups])
        )

    return Cure(
        f"adam {rate:g}",
        "Scales each coordinate by its own gradient: evens out a ravine; two buffers more.",
        'kept = ("params", "weight_decay")\n'
        "groups = [{k: g[k] for k in kept if k in g} for g in optimizer.param_groups]\n"
        f"optimizer = torch.optim.Adam(groups, lr={rate:g})" + ENDS,
        change,
    )


def batch_size(factor: float = 8) -> Cure:
    """Batches ``factor`` times as large; each step costs as many times more."""
    factor = strength("factor", factor)

    def change(training: Training, ground: Ground) -> None:
        size = training.batch_size or getattr(training.task.train, "batch_size", None)
        if size:
            training.batch_size = max(1, min(int(size * factor), training.population))

    return Cure(
        f"batch_size x{factor:g}",
        f"Divides the variance of the gradient by {factor:g}; each step costs as many times more.",
        f"loader = DataLoader(dataset, batch_size=int({factor:g} * batch_size), shuffle=True)",
        change,
    )


def clip(spreads: float = 1.0) -> Cure:
    """Gradients longer than ``spreads`` times the running median of their norms are cut to it."""
    spreads = strength("spreads", spreads)

    def change(training: Training, ground: Ground) -> None:
        norms: list[float] = []

        def cut(which: Training) -> None:
            parameters = [p for g in which.optimizer.param_groups for p in g["params"]]
            norm = float(
                torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            )
            if math.isfinite(norm):
                norms.append(norm)
                limit = spreads * sorted(norms[-100:])[len(norms[-100:]) // 2]
                torch.nn.utils.clip_grad_norm_(parameters, limit)

        training.before_update.append(cut)

    return Cure(
        f"clip {spreads:g}",
        "Keeps a rare large gradient from throwing the run out; costs one norm a step.",
        "norms = []\n"
        "# between loss.backward() and optimizer.step():\n"
        "gradients = [p.grad for p in model.parameters() if p.grad is not None]\n"
        "norm = float(torch.nn.utils.get_total_norm(gradients))\n"
        'if norm < float("inf"):\n'
        "    norms = (norms + [norm])[-100:]\n"
        f"    limit = {spreads:g} * sorted(norms)[len(norms) // 2]\n"
        "    torch.nn.utils.clip_grad_norm_(model.parameters(), limit)",
        change,
    )


def weight_decay(weight: float = 1e-2) -> Cure:
    """Weight decay in every group."""
    weight = strength("weight", weight)

    def change(training: Training, ground: Ground) -> None:
        for group in training.optimizer.param_groups:
            group["weight_decay"] = weight

    return Cure(
        f"weight_decay {weight:g}",
        "Keeps weights small, which holds the held-out loss down; raises the training loss.",
        f'for group in optimizer.param_groups:\n    group["weight_decay"] = {weight:g}',
        change,
    )
