"""Cures: changes to a training that can be pasted, applied to a fork of it, and raced."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from thalweg.run.training import Training

__all__ = ["CATALOGUE", "Change", "Cure", "cure_named"]

Change = Callable[[Training, "Ground"], None]


@dataclass(frozen=True)
class Ground:
    """What a cure may need to know of the state it changes.

    Attributes:
        generator: of its random draws.
        negative: step to take along the most negative curvature, shape ``(dim,)``, or None.
        scales: usual size of a fresh weight at each coordinate.
    """

    generator: torch.Generator
    negative: Tensor | None
    scales: Tensor


@dataclass(frozen=True)
class Cure:
    """One change to a training.

    Attributes:
        name: unique and stable, such as ``learning_rate x0.1``; :func:`cure_named` reads it back.
        summary: when it helps and what it costs, in one sentence.
        code: the lines that a user pastes into a loop with ``model``, ``optimizer``, ``loader``.
        change: does it to a forked Training, in place; None where only a person can.
    """

    name: str
    summary: str
    code: str
    change: Change | None = field(default=None, compare=False, repr=False)


def learning_rate(factor: float) -> Cure:
    """Every group's rate times ``factor``; the schedule ends there."""
    factor = float(f"{factor:.2g}")

    def change(training: Training, ground: Ground) -> None:
        for group in training.optimizer.param_groups:
            group["lr"] *= factor
        training.schedule = None

    why = (
        "Lets the loss settle where steps overshoot or noise throws them about; slower on a slope."
        if factor < 1
        else "Moves faster where the curvature allows it; past the limit it diverges."
    )
    code = f'for group in optimizer.param_groups:\n    group["lr"] *= {factor:g}'
    return Cure(f"learning_rate x{factor:g}", why, code, change)


def decay_rate(steps: int = 100) -> Cure:
    """The rate falls by a factor of 100 in ``steps`` steps, exponentially, and stays there."""
    gamma = round(0.01 ** (1 / steps), 4)

    def change(training: Training, ground: Ground) -> None:
        training.schedule = None
        left = [steps]

        def lower(which: Training) -> None:
            if left[0] > 0:
                left[0] -= 1
                for group in which.optimizer.param_groups:
                    group["lr"] *= gamma

        training.before_step.append(lower)

    return Cure(
        f"decay_rate over {steps}",
        "Moves at the present rate first and settles later; the rate ends a hundred times lower.",
        f"scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma={gamma:g})\n"
        f"# for {steps} steps, after each optimizer.step():\nscheduler.step()",
        change,
    )


def momentum(beta: float = 0.9) -> Cure:
    """SGD with heavy-ball momentum at the present rate, the groups' weight decay kept."""

    def change(training: Training, ground: Ground) -> None:
        training.rebuild(lambda groups: torch.optim.SGD(groups, momentum=beta))

    return Cure(
        f"momentum {beta:g}",
        "Adds up steps along the floor of a ravine while those across cancel; one buffer more.",
        f'optimizer = torch.optim.SGD(model.parameters(), lr=optimizer.param_groups[0]["lr"],\n'
        f"                            momentum={beta:g}, "
        'weight_decay=optimizer.param_groups[0].get("weight_decay", 0))',
        change,
    )


def adam(rate: float = 1e-2) -> Cure:
    """Adam in place of the user's optimizer, the weight decay kept."""

    def change(training: Training, ground: Ground) -> None:
        training.rebuild(
            lambda groups: torch.optim.Adam([group | {"lr": rate} for group in groups])
        )

    return Cure(
        f"adam {rate:g}",
        "Scales each coordinate by its own gradient: evens out a ravine; two buffers more.",
        f"optimizer = torch.optim.Adam(model.parameters(), lr={rate:g}, "
        'weight_decay=optimizer.param_groups[0].get("weight_decay", 0))',
        change,
    )


def batch_size(factor: float = 8) -> Cure:
    """Batches ``factor`` times as large; each step costs as many times more."""

    def change(training: Training, ground: Ground) -> None:
        size = training.batch_size or getattr(training.task.train, "batch_size", None)
        if size:
            training.batch_size = min(int(size * factor), training.population)

    return Cure(
        f"batch_size x{factor:g}",
        f"Divides the variance of the gradient by {factor:g}; each step costs as many times more.",
        f"loader = DataLoader(dataset, batch_size=int({factor:g} * batch_size), shuffle=True)",
        change,
    )


def perturb(length: float = 0.1) -> Cure:
    """Gaussian noise of ``length`` times a fresh weight's size on every weight, once."""

    def change(training: Training, ground: Ground) -> None:
        point = training.point()
        noise = torch.randn(point.shape, generator=ground.generator, dtype=point.dtype)
        training.place(point + length * ground.scales * noise.to(point.device))

    return Cure(
        f"perturb {length:g}",
        "A nudge leaves a saddle from any side, and a shallow basin if it is large enough.",
        "with torch.no_grad():\n    for p in model.parameters():\n"
        f"        fan_in = p.shape[1:].numel() if p.ndim > 1 else 100\n"
        f"        p.add_(torch.randn_like(p), alpha={length:g} * fan_in**-0.5)",
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
        "step = tw.diagnose(task).escape_step   # flat, in the order of model.parameters()\n"
        "with torch.no_grad():\n"
        "    flat = torch.nn.utils.parameters_to_vector(model.parameters())\n"
        "    torch.nn.utils.vector_to_parameters(flat + step, model.parameters())",
        change,
    )


def restart() -> Cure:
    """Every module that knows how draws its parameters anew; the optimizer forgets its state."""

    def change(training: Training, ground: Ground) -> None:
        def renew(which: Training) -> None:
            if which.losses:
                return
            for module in which.model.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset) and any(p.requires_grad for p in module.parameters(False)):
                    reset()

        training.before_step.insert(0, renew)
        training.optimizer.state.clear()

    return Cure(
        "restart",
        "Gives up what was learnt for a new draw: for dead or saturated layers and poor minima.",
        "for module in model.modules():\n"
        '    if hasattr(module, "reset_parameters"):\n        module.reset_parameters()',
        change,
    )


def clip(spreads: float = 1.0) -> Cure:
    """Gradients longer than ``spreads`` times the running median of their norms are cut to it."""

    def change(training: Training, ground: Ground) -> None:
        norms: list[float] = []

        def cut(which: Training) -> None:
            parameters = [p for g in which.optimizer.param_groups for p in g["params"]]
            norm = float(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
            if math.isfinite(norm):
                norms.append(norm)
            if norms:
                limit = spreads * sorted(norms[-100:])[len(norms[-100:]) // 2]
                torch.nn.utils.clip_grad_norm_(parameters, limit)

        training.before_update.append(cut)

    return Cure(
        f"clip {spreads:g}",
        "Keeps a rare large gradient from throwing the run out; costs one norm a step.",
        "# between loss.backward() and optimizer.step(), with the median of past norms as limit:\n"
        "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=limit)",
        change,
    )


def weight_decay(weight: float = 1e-2) -> Cure:
    """Weight decay in every group."""

    def change(training: Training, ground: Ground) -> None:
        for group in training.optimizer.param_groups:
            group["weight_decay"] = weight

    return Cure(
        f"weight_decay {weight:g}",
        "Keeps weights small, which holds the held-out loss down; raises the training loss.",
        f'for group in optimizer.param_groups:\n    group["weight_decay"] = {weight:g}',
        change,
    )


def scale_inputs() -> Cure:
    """Advice: standardise the inputs."""
    return Cure(
        "scale_inputs",
        "Columns of unlike scale make the ravine itself: standardise them and it is gone.",
        "mean, std = x.mean(0), x.std(0).clamp_min(1e-12)\nx = (x - mean) / std",
    )


def mend_the_wiring() -> Cure:
    """Advice: the line that the mechanism names."""
    return Cure(
        "mend_the_wiring",
        "Nothing else helps before this: the line is given with the mechanism.",
        "# see the mechanisms",
    )


def clean_data() -> Cure:
    """Advice: find what is not finite."""
    return Cure(
        "clean_data",
        "Find the examples or the operation that are not finite, before any other change.",
        "keep = torch.isfinite(x).flatten(1).all(1)\nx, y = x[keep], y[keep]\n"
        "torch.autograd.set_detect_anomaly(True)  # names the operation",
    )


def look_at_examples() -> Cure:
    """Advice: look at the examples that make the spikes."""
    return Cure(
        "look_at_examples",
        "Examples whose loss stands far above the others' are often wrong: look at them.",
        "losses = loss_of_each_example(model, x, y)\nprint(losses.topk(10))",
    )


def look_at_data() -> Cure:
    """Advice: look at inputs and labels."""
    return Cure(
        "look_at_data",
        "Check that inputs and labels belong together: shuffled labels look like this.",
        "for i in range(10):\n    print(x[i], y[i])",
    )


def larger_model() -> Cure:
    """Advice: more capacity."""
    return Cure(
        "larger_model",
        "If the labels do follow from the inputs, this model cannot say how: make it larger.",
        "# more or wider layers, or features that make the relation simpler",
    )


def early_stopping() -> Cure:
    """Advice: keep the weights at the lowest held-out loss."""
    return Cure(
        "early_stopping",
        "Keeps the weights of the lowest held-out loss; costs one look at it an epoch.",
        "if held_out < best:\n    best, kept = held_out, copy.deepcopy(model.state_dict())",
    )


CATALOGUE: dict[str, Callable[..., Cure]] = {
    "learning_rate": learning_rate,
    "decay_rate": decay_rate,
    "momentum": momentum,
    "adam": adam,
    "batch_size": batch_size,
    "perturb": perturb,
    "negative_curvature": negative_curvature,
    "restart": restart,
    "clip": clip,
    "weight_decay": weight_decay,
    "scale_inputs": scale_inputs,
    "mend_the_wiring": mend_the_wiring,
    "clean_data": clean_data,
    "look_at_examples": look_at_examples,
    "look_at_data": look_at_data,
    "larger_model": larger_model,
    "early_stopping": early_stopping,
}
"""Every kind of cure by the first word of its name."""


def cure_named(name: str) -> Cure | None:
    """The cure of that name, such as ``learning_rate x0.1`` or ``perturb``; None if there is none."""
    kind, _, rest = name.strip().partition(" ")
    if kind not in CATALOGUE:
        return None
    number = re.fullmatch(r"(?:x|over )?([0-9.eE+-]+)", rest.strip())
    try:
        if number:
            value = float(number[1])
            return CATALOGUE[kind](int(value) if kind == "decay_rate" else value)
        return None if rest else CATALOGUE[kind]()
    except (TypeError, ValueError):
        return None

