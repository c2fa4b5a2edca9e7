"""Cures that move the weights once: a nudge, a step along negative curvature, a fresh start."""

import copy

import torch
from torch import Tensor, nn

from thalweg.diagnose.cures.cure import Cure, Ground, strength
from thalweg.objective.derivatives import gradient
from thalweg.objective.random_state import random_state
from thalweg.run.training import Training

__all__ = [
    "negative_curvature",
    "perturb",
    "restart",
    "revive",
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
        "No evaluation; some loss, which the descent has to win back.",
        "Ge, Huang, Jin and Yuan, Escaping from saddle points, 2015",
        "move",
    )


def negative_curvature() -> Cure:
    """One step along the most negative curvature, as long as the line search found best."""

    def change(training: Training, ground: Ground) -> None:
        if ground.negative is not None:
            training.place(training.point() + ground.negative)

    return Cure(
        "negative_curvature",
        "Leaves a saddle by the steepest way out.",
        "objective = tw.Supervised(model, loss, (x, y))\n"
        "point = objective.point()\n"
        "v = tw.measure.extreme_eigenvalues(objective, point).bottom_vector\n"
        "drop = tw.measure.largest_drop(objective, point, v, scales=[0.1, 0.3, 1, 3, 10], both=True)\n"
        "trained = [p for p in model.parameters() if p.requires_grad]\n"
        "torch.nn.utils.vector_to_parameters(point + drop.step * v, trained)",
        change,
        "Some twenty Hessian-vector products, 2 gradient evaluations each.",
        "Goldfarb, Mu, Wright and Zhou, Using negative curvature in solving nonlinear programs, 2017",
        "move",
    )


def restart() -> Cure:
    """Every module that knows how draws its parameters anew; the optimizer forgets its state.

    A module with a frozen parameter is left as it is.
    """

    def change(training: Training, ground: Ground) -> None:
        seed = int(torch.randint(2**31, (), generator=ground.generator))
        with training.at_home(), random_state(seed):  # data and dropout stay those of all arms
            for module in training.model.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset) and all(p.requires_grad for p in module.parameters()):
                    reset()
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
        "All that was learnt.",
        "Glorot and Bengio, Understanding the difficulty of training deep networks, 2010",
        "move",
    )


SILENT = 1e-6
"""Share of the largest row's gradient below which a row counts as one that learns nothing."""


def revive() -> Cure:
    """The rows of weights whose gradient is nought over all the data are drawn anew.

    They are what leads into units that are dead, or whose output leads nowhere; of a Linear or a
    convolution, with their biases.
    """

    def change(training: Training, ground: Ground) -> None:
        seed = int(torch.randint(2**31, (), generator=ground.generator))
        training.examples_seen += len(ground.objective.data)
        point = training.point()
        flat = gradient(ground.objective, point) - ground.objective.decay * point
        trained = [p for p in training.model.parameters() if p.requires_grad]
        pieces = flat.split([p.numel() for p in trained])
        slopes: dict[Tensor, Tensor] = {
            p: piece.view(p.shape) for p, piece in zip(trained, pieces, strict=True)
        }
        with training.at_home(), random_state(seed), torch.no_grad():
            for module in training.model.modules():
                if isinstance(module, LAYERS) and module.weight in slopes:
                    _redraw(module, slopes[module.weight])

    return Cure(
        "revive",
        "Gives dead units a new start and leaves the others what they have learnt.",
        "import copy\n"
        "model.zero_grad()\n"
        "loss(model(x), y).backward()\n"
        "layers = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)\n"
        "with torch.no_grad():\n"
        "    for module in model.modules():\n"
        "        if isinstance(module, layers) and module.weight.grad is not None:\n"
        "            sizes = module.weight.grad.flatten(1).norm(dim=1)\n"
        f"            dead = sizes <= {SILENT:g} * sizes.max()\n"
        "            fresh = copy.deepcopy(module)\n"
        "            fresh.reset_parameters()\n"
        "            module.weight[dead] = fresh.weight[dead]\n"
        "            if module.bias is not None:\n"
        "                module.bias[dead] = fresh.bias[dead]",
        change,
        "One gradient evaluation.",
        "Sokar, Agarwal, Castro and Evci, The dormant neuron phenomenon, 2023",
        "move",
    )


LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Modules of which a row of the weights leads into one unit."""


def _redraw(module: nn.Module, slope: Tensor) -> None:
    sizes = slope.flatten(1).norm(dim=1)
    dead = sizes <= SILENT * sizes.max()
    fresh = copy.deepcopy(module)
    fresh.reset_parameters()  # pyright: ignore[reportCallIssue]
    for name in ("weight", "bias"):
        mine, other = getattr(module, name), getattr(fresh, name)
        if mine is not None and mine.requires_grad:
            mine[dead] = other[dead]
