"""The run continued from here: as it is, at a lower rate and at a raised one."""

from thalweg.show.catalogue.vital import AHEAD, OTHER, Scale, Tone, Vital

__all__ = ["SIGNS"]

_BOTH_WAYS = Scale("signed", -10.0, 1.0, width=0.005)


def _fall(
    name: str,
    label: str,
    meaning: str,
    cuts: tuple[str, ...] = ("-still", "still"),
    *,
    main: bool = False,
) -> Vital:
    words: tuple[str, ...] = ("rises", "stands still", "falls")
    tones: tuple[Tone, ...] = ("watch", "calm", "good")
    if len(cuts) == 3:
        words, tones = ("blows up", *words), ("bad", *tones)
    return Vital(
        name,
        label,
        "",
        meaning,
        AHEAD,
        unit="of the range",
        cuts=cuts,
        words=words,
        tones=tones,
        scale=_BOTH_WAYS,
        main=main,
    )


def _above(name: str, label: str, meaning: str) -> Vital:
    return Vital(name, label, "", meaning, OTHER, unit="of the range")


SIGNS = (
    _fall(
        "unchanged_fall",
        "fall of the run as it is",
        "Continued for a while with nothing changed.",
        ("-rise", "-still", "still"),
        main=True,
    ),
    _fall("lower_rate_fall", "fall at a tenth of the rate", "The same steps, a lower rate."),
    _fall("raised_rate_fall", "fall at a raised rate", "The same steps, a higher rate."),
    Vital("raised_by", "rate raised by", "", "Factor that the stability allows.", OTHER),
    Vital(
        "unchanged_rise",
        "highest rise on the way",
        "",
        "How far above its start the continued run came.",
        AHEAD,
        unit="of the range",
        cuts=("rise",),
        words=("stays within the range", "leaves the range of the loss"),
        tones=("calm", "bad"),
        scale=Scale("log", 1e-4, 1e4),
    ),
    _fall("late_fall", "fall of the last quarter", "Whether the continued run came to rest."),
    Vital(
        "bounce",
        "bounce of a single step",
        "",
        "How far the loss rose in one step late in the continuation.",
        AHEAD,
        unit="of the range",
        cuts=("bounce",),
        words=("steps do not bounce", "steps bounce"),
        tones=("good", "watch"),
        scale=Scale("log", 1e-5, 10.0),
    ),
    Vital(
        "test_rise",
        "rise of the held-out loss",
        "",
        "Over the continuation as it is.",
        AHEAD,
        unit="of the range",
        cuts=("-test_rise", "test_rise"),
        words=("falls", "stands still", "rises"),
        tones=("good", "calm", "bad"),
        scale=Scale("signed", -1.0, 10.0, width=0.002),
    ),
    _above("above_constant", "height above a constant predictor", "Of the loss at the start."),
    _above(
        "unchanged_above", "height after the run as it is", "Above a constant predictor's loss."
    ),
    _above("lower_rate_above", "height after a tenth of the rate", "The same."),
    _above("raised_rate_above", "height after a raised rate", "The same."),
    Vital(
        "blown_up",
        "orders of the data that blow up",
        "",
        "Of those that the run was continued in.",
        OTHER,
        unit="of the orders",
    ),
    Vital("continuation_steps", "steps of the continuation", "", "Of the run as it is.", OTHER),
)
