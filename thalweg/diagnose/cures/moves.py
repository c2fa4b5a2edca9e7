"""Cures that move the weights once: a nudge, a step along negative curvature, a fresh start."""

import torch

from thalweg.diagnose.cures.cure import Cure, Ground, strength
from thalweg.objective.random_state import random_state
from thalweg.run.training import Training

__all__ = [
    "negative_curvature",
    "perturb",
    "restart",
]


def perturb(length: float = 0.1) -> Cure:
    """Gaussian noise of ``length`` times a fresh weight's size on every weight, once."""
    length = strength("length", length)

    def change(training: Training, ground: Ground) -> None:
        point = training.point()
        noise = torch.randn(point.shape, generator=ground.generator, dtype=point.dtype)
        training.place(point + length * ground.scales * noise.to(point.device))

    return Cure(
        f"perturb {length:g}",
        "A nudge leaves a saddle from any side, and a shallow basin if it is large enough.",
        "with torch.no_grad():\n"
        "    for p in filter(lambda p: p.requires_grad, model.parameters()):\n"
        "        size = max(0.1, float(p.norm()) / p.numel()**0.5)\n"
        "        if p.ndim > 1:\n"
        "            size = p.shape[1:].numel()**-0.5\n"
        f"        p.add_(torch.randn_like(p), alpha={length:g} * size)",
        change,
    )


def negative_curvature() -> Cure:
    """One step along the most negative curvature, as long as the line search found best."""

    def change(training: Training, ground: Ground) -> None:
        if ground.negative is not None:
            training.place(training.point() + ground.negative)

    return Cure(
        "negative_curvature",
        "Leaves a saddle by the steepest way out; costs some twenty Hessian-vector products.",
        "objective = tw.Supervised(model, loss, (x, y))\n"
        "point = objective.point()\n"
        "v = tw.measure.extreme_eigenvalues(objective, point).bottom_vector\n"
        "drop = tw.measure.largest_drop(objective, point, v, scales=[0.1, 0.3, 1, 3, 10], both=True)\n"
        "trained = [p for p in model.parameters() if p.requires_grad]\n"
        "torch.nn.utils.vector_to_parameters(point + drop.step * v, trained)",
        change,
    )


def restart() -> Cure:
    """Every module that knows how draws its parameters anew; the optimizer forgets its state.

    A module with a frozen parameter is left as it is.
    """

    def change(training: Training, ground: Ground) -> None:
        seed = int(torch.randint(2**31, (), generator=ground.generator))

        def renew(which: Training) -> None:
            if which.losses:
                return
            with random_state(seed):  # the order of the data and dropout stay those of all arms
                for module in which.model.modules():
                    reset = getattr(module, "reset_parameters", None)
                    if callable(reset) and all(p.requires_grad for p in module.parameters()):
                        reset()

        training.before_step.insert(0, renew)
        training.optimizer.state.clear()

    return Cure(
        "restart",
        "Gives up what was learnt for a new draw: for dead or saturated layers and poor minima.",
        "for module in model.modules():\n"
        "    learns = all(p.requires_grad for p in module.parameters())\n"
        '    if learns and hasattr(module, "reset_parameters"):\n'
        "        module.reset_parameters()\n"
        "optimizer.state.clear()",
        change,
    )
