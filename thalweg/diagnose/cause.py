"""The verdicts: what can hold a training back."""

from enum import StrEnum

__all__ = ["Cause"]


class Cause(StrEnum):
    """Why descent is where it is. Each member says what it means, what tells it, what cures it."""

    meaning: str
    tells: str
    cured_by: str

    def __new__(cls, value: str, meaning: str, tells: str, cured_by: str) -> "Cause":
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.tells = tells
        member.cured_by = cured_by
        return member

    HEALTHY = (
        "healthy",
        "The loss falls, and none of the changes tried makes it fall much faster.",
        "The unchanged run, continued for a while, falls clearly.",
        "Nothing: train on.",
    )
    MISWIRED = (
        "miswired",
        "The training step does not do what it was meant to do.",
        "A check of the wiring fails: parameters the optimizer does not hold, softmax before "
        "cross-entropy, gradients never zeroed, a model in the wrong mode.",
        "The line that the mechanism names.",
    )
    NOT_FINITE = (
        "not_finite",
        "The loss, a gradient, a weight or the data is NaN or infinite.",
        "Evaluating the loss and its gradient once.",
        "Clean the data; go back to the last finite checkpoint with a lower learning rate.",
    )
    DIVERGING = (
        "diverging",
        "The steps overshoot so far that the loss grows, or is kept above a constant predictor's.",
        "Continued unchanged the loss rises far above where it was, or stays above what a constant "
        "predictor has; a tenth of the rate lets it fall.",
        "A lower learning rate, gradient clipping, warmup.",
    )
    EDGE_OF_STABILITY = (
        "edge_of_stability",
        "The learning rate is at the limit of the sharpest direction: steps bounce along it.",
        "Stability (rate times top eigenvalue over the limit) is about 1 or more while the noise "
        "of the mini-batches is a small part, and the loss does not blow up.",
        "A lower learning rate, or one that decays.",
    )
    STEP_TOO_SMALL = (
        "step_too_small",
        "The learning rate is far below what the curvature allows.",
        "Stability is far below 1 and a raised rate falls several times faster.",
        "A higher learning rate, a range test, Adam.",
    )
    NOISE_FLOOR = (
        "noise_floor",
        "The noise of the mini-batches throws the run about as far as the gradient pulls it.",
        "Continued unchanged the loss stands still; at a tenth of the rate it ends lower.",
        "A lower or decaying learning rate, larger batches, averaging of weights.",
    )
    SPIKES = (
        "spikes",
        "Rare steps throw the loss far up, and it has to come back.",
        "Jumps of the loss far outside its usual spread, while a few examples have most of the "
        "squared gradients.",
        "Gradient clipping, cleaning the examples that do it, a lower rate.",
    )
    SADDLE = (
        "saddle",
        "The gradient is tiny, but there is a way down along negative curvature.",
        "The loss falls further along the most negative curvature than along the gradient, or a "
        "nudge followed by descent leaves.",
        "A nudge (perturbation), a step along negative curvature, a larger initialisation.",
    )
    PLATEAU = (
        "plateau",
        "The ground is nearly flat in every direction, far above what can be reached.",
        "Neither gradient nor curvature promises a fall, with saturated, dead or vanishing layers.",
        "Re-initialise, another activation, normalisation, a much larger rate for a while.",
    )
    RAVINE = (
        "ravine",
        "Steep walls keep the rate small while the floor of the valley barely slopes.",
        "Stability is near its limit, and a few Krylov steps promise many times the fall of the "
        "best gradient step.",
        "Momentum, Adam, scaling of the inputs, normalisation.",
    )
    LOCAL_MINIMUM = (
        "local_minimum",
        "A minimum from which nothing near leads down, although better is reachable.",
        "No fall along gradient or curvature; an earlier loss was lower, or noise followed by "
        "descent ends lower.",
        "Noise, a restart, warm restarts, a larger learning rate for a while.",
    )
    MINIMUM = (
        "minimum",
        "A minimum, and nothing better was found: the training is done.",
        "No fall along gradient or curvature, no nudge that leaves, no better loss known.",
        "Nothing for the training loss; another model or more data, if it is not good enough.",
    )
    OVERFITTING = (
        "overfitting",
        "The training loss goes on falling while the held-out loss rises.",
        "Held-out loss stands above training loss and, continued, rises, beyond its error.",
        "Early stopping, weight decay, more data, a smaller model.",
    )
    CANNOT_FIT = (
        "cannot_fit",
        "The data or the model do not allow a better fit.",
        "Descent has converged no better than a constant predictor, or at a poor fit from which "
        "nothing leads down, though one batch can be learnt or the labels carry no signal.",
        "Labels and inputs to be looked at; a larger model.",
    )
    UNDETERMINED = (
        "undetermined",
        "The evidence does not decide.",
        "Error bars straddle the thresholds, or the budget was too small.",
        "A larger budget.",
    )
