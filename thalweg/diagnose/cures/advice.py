"""Cures that only a person can apply: they are told, not raced."""

from thalweg.diagnose.cures.cure import Cure

__all__ = [
    "clean_data",
    "early_stopping",
    "larger_model",
    "look_at_data",
    "look_at_examples",
    "mend_the_wiring",
    "scale_inputs",
]


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
