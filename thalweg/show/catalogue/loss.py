"""The loss as it stands, as it was, and against what can be known without a model."""

from thalweg.show.catalogue.vital import LOSS, OTHER, Scale, Vital

__all__ = ["SIGNS"]

SIGNS = (
    Vital("loss", "training loss", "f(θ)", "With the optimizer's weight decay.", LOSS, main=True),
    Vital("test_loss", "held-out loss", "", "On data the run does not train on.", LOSS, main=True),
    Vital("plain_loss", "loss without weight decay", "", "On the training examples.", LOSS),
    Vital(
        "constant_loss",
        "loss of a constant",
        "",
        "The best loss that can be had without looking at the inputs.",
        LOSS,
    ),
    Vital(
        "reachable_loss",
        "loss within reach",
        "",
        "What a predictor would have that is as good as a linear or a nearest-neighbour one.",
        LOSS,
    ),
    Vital(
        "explained",
        "explained",
        "1 − f / f(constant)",
        "Share of a constant predictor's loss that the model has taken away.",
        LOSS,
        cuts=("explained",),
        words=("hardly better than a constant", "better than a constant"),
        tones=("bad", "good"),
        scale=Scale("linear", 0.0, 1.0),
        share=True,
    ),
    Vital(
        "range",
        "range of the loss",
        "",
        "From the best constant, or the start, to the lowest loss known: falls are told in it.",
        LOSS,
    ),
    Vital(
        "test_gap",
        "held-out gap",
        "",
        "Held-out loss less training loss.",
        LOSS,
        unit="of the range",
        cuts=("gap",),
        words=("close to the training loss", "far above the training loss"),
        tones=("good", "watch"),
        scale=Scale("signed", -1.0, 10.0, width=0.02),
    ),
    Vital(
        "accuracy", "training accuracy", "", "Share of examples it gets right.", LOSS, share=True
    ),
    Vital("test_accuracy", "held-out accuracy", "", "Share of unseen examples.", LOSS, share=True),
    Vital("loss_spread", "spread of the loss", "", "Standard error over the examples.", OTHER),
    Vital("history_start", "loss at the start", "", "Of the history given.", OTHER),
    Vital("history_best", "lowest level so far", "", "Lowest mean over a twentieth of it.", OTHER),
    Vital("history_end", "last level", "", "Mean over the last twentieth of the history.", OTHER),
    Vital(
        "earlier_fall",
        "below, earlier in the run",
        "",
        "How far the history's lowest level lies below the loss now.",
        LOSS,
        unit="of the range",
        cuts=("better",),
        words=("the run was never clearly lower", "the run was lower before"),
        tones=("calm", "watch"),
        scale=Scale("signed", -1.0, 1.0, width=0.01),
    ),
)
