"""Cures that only a person can apply: they are told, not raced."""

import math

import torch
from torch import Tensor

from thalweg.diagnose.cures.cure import Cure
from thalweg.measure.layers import layers
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.task import Task

__all__ = [
    "batch_normalisation",
    "clean_data",
    "larger_model",
    "look_at_data",
    "look_at_examples",
    "mend_the_wiring",
    "scale_inputs",
]


def _advice(name: str, summary: str, code: str, costs: str, source: str, **beside: object) -> Cure:
    return Cure(name, summary, code, None, costs, source, "advice", **beside)  # type: ignore[arg-type]


def scale_inputs() -> Cure:
    """Advice: standardise the inputs."""
    return _advice(
        "scale_inputs",
        "Columns of unlike scale make the ravine itself: standardise them and it is gone.",
        "mean, std = x.mean(0), x.std(0).clamp_min(1e-12)\nx = (x - mean) / std",
        "A pass over the data; what was learnt on the old scales.",
        "LeCun, Bottou, Orr and Müller, Efficient backprop, 1998",
        evidence=_input_scales,
    )


def _input_scales(task: Task) -> str:
    """The spread of the columns, and the conditioning of their second moments, as they are and scaled."""
    examples = Examples.of(task.train)
    batch = examples.fetch(slice(0, min(examples.length, 4096)))
    x = batch[0] if isinstance(batch, tuple | list) else None
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2:
        return "The inputs are not columns of numbers, so there is no scale to compare."
    flat = x.flatten(1).double()
    spread = flat.std(0)
    used = spread > 1e-12 * spread.max()
    spread, flat = spread[used], flat[:, used]
    before = _condition(flat)
    after = _condition((flat - flat.mean(0)) / spread)
    ratio = float(spread.max() / spread.min())
    return (
        f"The standard deviations of the inputs' columns differ by a factor of {ratio:.3g}; "
        f"standardised, the condition number of their second moments goes from {before:.3g} to "
        f"{after:.3g}."
    )


def _condition(rows: Tensor) -> float:
    sizes = torch.linalg.svdvals(rows)
    sizes = sizes[sizes > 1e-10 * sizes.max()]
    return float((sizes.max() / sizes.min()) ** 2)


def batch_normalisation() -> Cure:
    """Advice: normalise between the layers."""
    return _advice(
        "batch_normalisation",
        "Keeps what goes into each layer at one scale: for dead or saturated units and gradients that "
        "vanish on their way.",
        "modules = []\n"
        "for module in model:  # an nn.Sequential; elsewhere after each layer but the last\n"
        "    modules.append(module)\n"
        "    if isinstance(module, torch.nn.Linear) and module is not model[-1]:\n"
        "        modules.append(torch.nn.BatchNorm1d(module.out_features))\n"
        "model = torch.nn.Sequential(*modules)\n"
        "# and make the optimizer anew on its parameters",
        "Another model: two numbers a unit, and batches of more than one example.",
        "Ioffe and Szegedy, Batch normalization, 2015",
        evidence=_layer_scales,
    )


def _layer_scales(task: Task) -> str:
    data = Examples.of(task.train).subsample(1024, torch.Generator().manual_seed(0))
    objective = Supervised(task.model, task.loss, data, batch_loss=task.batch_loss)
    found = layers(objective, objective.point())
    dead, stuck = found.dead_share.value, found.saturated_share.value
    decay = found.gradient_decay.value
    said = []
    if not math.isnan(dead):
        said.append(f"Of the worst layer's units {dead:.0%} are dead and {stuck:.0%} saturated.")
    if not math.isnan(decay):
        said.append(
            f"Beside the weights, the gradient of the first layers is {decay:.2g} times the last's."
        )
    return " ".join(said) or "Nothing was seen of the layers."


def mend_the_wiring() -> Cure:
    """Advice: the line that the mechanism names."""
    return _advice(
        "mend_the_wiring",
        "Nothing else helps before this: the line is given with the mechanism.",
        "# see the mechanisms",
        "Nothing.",
        "thalweg's own checks",
    )


def clean_data() -> Cure:
    """Advice: find what is not finite."""
    return _advice(
        "clean_data",
        "Find the examples or the operation that are not finite, before any other change.",
        "keep = torch.isfinite(x).flatten(1).all(1)\nx, y = x[keep], y[keep]\n"
        "torch.autograd.set_detect_anomaly(True)  # names the operation",
        "A look at the data.",
        "torch's notes on autograd: anomaly detection",
    )


def look_at_examples() -> Cure:
    """Advice: look at the examples that make the spikes."""
    return _advice(
        "look_at_examples",
        "Examples whose loss stands far above the others' are often wrong: look at them.",
        "found = tw.measure.per_example(tw.Supervised(model, loss, (x, y)))\n"
        "print(found.hardest(10), found.erratic_rows())",
        "2 gradient evaluations.",
        "Toneva and others, An empirical study of example forgetting, 2019",
    )


def look_at_data() -> Cure:
    """Advice: look at inputs and labels."""
    return _advice(
        "look_at_data",
        "Check that inputs and labels belong together: shuffled labels look like this.",
        "for i in range(10):\n    print(x[i], y[i])",
        "A look at the data.",
        "Zhang, Bengio, Hardt, Recht and Vinyals, Understanding deep learning requires rethinking "
        "generalization, 2017",
    )


def larger_model() -> Cure:
    """Advice: more capacity."""
    return _advice(
        "larger_model",
        "If the labels do follow from the inputs, this model cannot say how: make it larger.",
        "# more or wider layers, or features that make the relation simpler",
        "A training from the start.",
        "Belkin, Hsu, Ma and Mandal, Reconciling modern machine-learning practice, 2019",
    )
