"""Cures that change the gradient between the backward pass and the step."""

import math
from dataclasses import replace

import torch

from thalweg.diagnose.cures.cure import Cure, Ground, strength
from thalweg.diagnose.cures.places import BETWEEN
from thalweg.errors import UsageError
from thalweg.run.training import Training

__all__ = [
    "clip",
    "gradient_noise",
    "perturbed_descent",
    "sharpness_aware",
    "weight_decay",
]


LIKE_OWN = 0.5
"""Relative difference of two gradients that dropout may cause."""


def _slopes(training: Training) -> list[torch.Tensor]:
    held = (p for group in training.optimizer.param_groups for p in group["params"])
    return [p.grad for p in held if p.grad is not None]


def clip(spreads: float = 1.0) -> Cure:
    """Gradients longer than ``spreads`` times the running median of their norms are cut to it."""
    spreads = strength("spreads", spreads)

    def change(training: Training, ground: Ground) -> None:
        norms: list[float] = []

        def cut(which: Training) -> None:
            parameters = [p for g in which.optimizer.param_groups for p in g["params"]]
            norm = float(torch.nn.utils.get_total_norm(_slopes(which)))
            if math.isfinite(norm):
                norms.append(norm)
                del norms[:-100]
                limit = spreads * sorted(norms)[len(norms) // 2]
                torch.nn.utils.clip_grad_norm_(parameters, limit)

        training.before_update.append(cut)

    return Cure(
        f"clip {spreads:g}",
        "Keeps a rare large gradient from throwing the run out.",
        "norms = []\n" + BETWEEN + "gradients = [p.grad for p in model.parameters() "
        "if p.grad is not None]\n"
        "norm = float(torch.nn.utils.get_total_norm(gradients))\n"
        'if norm < float("inf"):\n'
        "    norms = (norms + [norm])[-100:]\n"
        f"    limit = {spreads:g} * sorted(norms)[len(norms) // 2]\n"
        "    torch.nn.utils.clip_grad_norm_(model.parameters(), limit)",
        change,
        "One norm a step.",
        "Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013",
        "clip",
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
        "No evaluation.",
        "Krogh and Hertz, A simple weight decay can improve generalization, 1992",
        "weight_decay",
        lambda plan: replace(plan, options={**plan.options, "weight_decay": weight}),
    )


def gradient_noise(variance: float = 0.01) -> Cure:
    """Gaussian noise of variance ``variance / (1 + step)^0.55`` on every gradient."""
    variance = strength("variance", variance)

    def change(training: Training, ground: Ground) -> None:
        begun = len(training.losses)

        def disturb(which: Training) -> None:
            spread = (variance / (1 + len(which.losses) - begun) ** 0.55) ** 0.5
            for slope in _slopes(which):
                noise = torch.randn(slope.shape, generator=ground.generator, dtype=slope.dtype)
                slope.add_(noise.to(slope.device), alpha=spread)

        training.before_update.append(disturb)

    return Cure(
        f"gradient_noise {variance:g}",
        "Leaves saddles, flat ground and narrow minima without knowing where they are; the noise "
        "fades so that the run can settle.",
        "step = 0\n" + BETWEEN + f"spread = ({variance:g} / (1 + step) ** 0.55) ** 0.5\n"
        "for p in model.parameters():\n"
        "    if p.grad is not None:\n"
        "        p.grad.add_(torch.randn_like(p.grad), alpha=spread)\n"
        "step += 1",
        change,
        "One draw for every weight a step.",
        "Neelakantan and others, Adding gradient noise improves learning for very deep networks, 2015",
        "noise",
        lambda plan: replace(plan, noise=f"gaussian:{variance**0.5:g}"),
    )


PAUSE = 50
"""Steps between two nudges at least, in which a saddle can be left."""

STILL = 0.05
"""Share of the loss below which a move as long as fresh weights are, along the slope, counts as none."""


def perturbed_descent(length: float = 0.1) -> Cure:
    """Noise of ``length`` times a fresh weight's size wherever the slope has all but vanished.

    That is where the gradient times the norm of fresh weights is below a twentieth of the loss;
    50 steps then pass before it is looked at again.
    """
    length = strength("length", length)

    def change(training: Training, ground: Ground) -> None:
        reach = float(ground.scales.norm())
        nudged = [-PAUSE]

        def nudge(which: Training) -> None:
            step = len(which.losses)
            norm = float(torch.nn.utils.get_total_norm(_slopes(which)))
            if step - nudged[0] < PAUSE or not reach * norm < STILL * abs(float(which.loss)):
                return
            nudged[0] = step
            point = which.point()
            noise = torch.randn(point.shape, generator=ground.generator, dtype=point.dtype)
            which.place(point + length * ground.scales * noise.to(point.device))

        training.before_update.append(nudge)

    return Cure(
        f"perturbed_descent {length:g}",
        "A nudge wherever the slope vanishes: leaves one saddle after the other, and stays at work.",
        "weights = [p for p in model.parameters() if p.requires_grad]\n"
        "sizes = [p.shape[1:].numel() ** -0.5 if p.ndim > 1\n"
        "         else max(0.1, float(p.detach().norm()) / p.numel() ** 0.5) for p in weights]\n"
        "reach = sum(p.numel() * size ** 2 for p, size in zip(weights, sizes)) ** 0.5\n"
        f"step, nudged = 0, -{PAUSE}\n" + BETWEEN + "norm = float(torch.nn.utils.get_total_norm("
        "[p.grad for p in weights if p.grad is not None]))\n"
        f"if step - nudged >= {PAUSE} and reach * norm < {STILL:g} * abs(value.item()):\n"
        "    nudged = step\n"
        "    with torch.no_grad():\n"
        "        for p, size in zip(weights, sizes):\n"
        f"            p.add_(torch.randn_like(p), alpha={length:g} * size)\n"
        "step += 1",
        change,
        "One norm a step.",
        "Jin, Ge, Netrapalli, Kakade and Jordan, How to escape saddle points efficiently, 2017",
        "noise",
    )


def _check_own(which: Training) -> None:
    """Refuse a step of the user's own that descends something else than the task's loss.

    At other weights only the task's loss has a gradient: that of the step is not to be had without
    all else that the step does.
    """
    own = torch.cat([g.reshape(-1) for g in _slopes(which)])
    seen = which.examples_seen
    which.differentiate()
    which.examples_seen = seen  # once, for one batch: what is raced costs what it costs its user
    known = torch.cat([g.reshape(-1) for g in _slopes(which)])
    if own.shape != known.shape or not (own - known).norm() <= LIKE_OWN * own.norm():
        raise UsageError(
            "cures must fit the training: sharpness_aware needs the gradient elsewhere of what the step "
            "descends, which is not the task's loss"
        )


def sharpness_aware(radius: float = 0.05) -> Cure:
    """The gradient at ``radius`` up the slope, in the place of that where the weights are (SAM)."""
    radius = strength("radius", radius)

    def change(training: Training, ground: Ground) -> None:
        training.gradients_a_step += 1

        def ascend(which: Training) -> None:
            if which.task.step is not None and not which.losses:
                _check_own(which)
            held = [p for group in which.optimizer.param_groups for p in group["params"]]
            held = [p for p in held if p.grad is not None]
            before = [p.detach().clone() for p in held]
            scale = radius / (float(torch.nn.utils.get_total_norm(_slopes(which))) + 1e-12)
            with torch.no_grad():
                for p in held:
                    p.add_(p.grad, alpha=scale)
            which.model.zero_grad()  # what other optimizers step on too
            which.differentiate()
            with torch.no_grad():
                for p, old in zip(held, before, strict=True):
                    p.copy_(old)

        training.before_update.append(ascend)

    return Cure(
        f"sharpness_aware {radius:g}",
        "Keeps away from narrow minima, for a lower held-out loss; holds the training loss up a bit.",
        BETWEEN + "held = [p for p in model.parameters() if p.grad is not None]\n"
        "before = [p.detach().clone() for p in held]\n"
        "norm = float(torch.nn.utils.get_total_norm([p.grad for p in held]))\n"
        "with torch.no_grad():\n"
        "    for p in held:\n"
        f"        p.add_(p.grad, alpha={radius:g} / (norm + 1e-12))\n"
        "optimizer.zero_grad()\n"
        "loss(model(inputs), targets).backward()\n"
        "with torch.no_grad():\n"
        "    for p, old in zip(held, before):\n"
        "        p.copy_(old)",
        change,
        "Two gradient evaluations a step in place of one.",
        "Foret, Kleiner, Mobahi and Neyshabur, Sharpness-aware minimization, 2021",
        "sharpness_aware",
        decides=("gradient",),
    )
