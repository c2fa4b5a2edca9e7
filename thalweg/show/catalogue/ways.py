"""Ways down from a point, and the curvature of the ground there."""

from thalweg.show.catalogue.vital import CURVATURE, DOWN, OTHER, Scale, Vital

__all__ = ["SIGNS"]

_SHARE = Scale("log", 1e-5, 1.0)


def _drop(
    name: str,
    label: str,
    meaning: str,
    cut: str,
    words: tuple[str, str] = ("no fall worth having", "a way down"),
    *,
    symbol: str = "",
    main: bool = False,
) -> Vital:
    return Vital(
        name,
        label,
        symbol,
        meaning,
        DOWN,
        unit="of the range",
        cuts=(cut,),
        words=words,
        tones=("calm", "good"),
        scale=_SHARE,
        main=main,
    )


SIGNS = (
    _drop(
        "gradient_drop",
        "drop along −g",
        "Largest fall found in one move against the gradient.",
        "worth",
        main=True,
    ),
    _drop(
        "curvature_drop",
        "drop along curvature",
        "Largest fall found along ± the most negative curvature.",
        "saddle_drop",
        main=True,
    ),
    Vital(
        "negative_curvature",
        "negative curvature",
        "λ_min / λ_max",
        "How strongly the ground curves down, against how strongly it curves up.",
        DOWN,
        cuts=("0",),
        words=("curves down: no minimum", "curves up on every side"),
        tones=("watch", "good"),
        scale=Scale("signed", -1.0, 1.0, width=1e-4),
        within="level within its error",
        main=True,
    ),
    Vital(
        "conditioning",
        "conditioning",
        "Krylov drop / gradient drop",
        "What a step that knows the curvature gains against the best gradient step.",
        DOWN,
        cuts=("several",),
        words=("no more than a few times the gradient's", "the gradient misleads"),
        tones=("good", "watch"),
        scale=Scale("log", 0.1, 1e5),
        main=True,
    ),
    _drop(
        "descent_fall",
        "descent from here",
        "Fall that some thirty steps of L-BFGS reach.",
        "still",
        ("leads nowhere", "leads down"),
    ),
    _drop("krylov_drop", "Krylov drop", "Fall of one step that ten products inform.", "worth"),
    _drop(
        "nudge_fall",
        "after a nudge",
        "Fall when pushed a little and then descended.",
        "saddle_drop",
        ("comes back to where it was", "leaves: a way out"),
    ),
    _drop(
        "escape_fall",
        "after an escape",
        "How much lower noise or fresh weights, then descent, end.",
        "better",
        ("nothing lower was found", "better is reachable"),
    ),
    Vital(
        "escape_return",
        "ended where they began",
        "",
        "Share of the escape probe's trials that came to the very same loss.",
        DOWN,
        unit="of the trials",
        cuts=("return",),
        words=("many ends: little is proved", "one basin takes them"),
        tones=("calm", "good"),
        scale=Scale("linear", 0.0, 1.0),
    ),
    Vital("escape_trials", "escape trials", "", "How often the escape probe tried.", OTHER),
    Vital(
        "escape_noise",
        "noise of the best escape",
        "",
        "From 1 on, every weight was drawn anew.",
        OTHER,
    ),
    Vital("nudge_length", "length of the better nudge", "", "Of two that were tried.", OTHER),
    _drop(
        "gradient_reach",
        "reach of the slope",
        "Change along the slope over a move as long as the whole initialisation.",
        "reach",
        ("flat ground", "a slope"),
        symbol="‖g‖ ‖fresh weights‖",
    ),
    Vital("gradient_norm", "gradient norm", "‖∇f‖", "Steepness of the ground.", OTHER),
    Vital("top_eigenvalue", "top eigenvalue", "λ_max", "The sharpest curvature.", CURVATURE),
    Vital("bottom_eigenvalue", "bottom eigenvalue", "λ_min", "The lowest curvature.", CURVATURE),
    Vital(
        "metric_eigenvalue",
        "top eigenvalue in the optimizer's metric",
        "λ_max(P⁻¹H)",
        "The sharpest curvature as the optimizer's own scaling sees it.",
        CURVATURE,
    ),
)
