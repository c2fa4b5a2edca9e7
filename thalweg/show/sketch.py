"""A small drawing of the ground for each cause: where the run stands, as inline SVG."""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from thalweg.diagnose.cause import Cause

__all__ = ["sketch"]

_BOWL = "M8 8C26 74 94 74 112 8"


@dataclass(frozen=True)
class _Sketch:
    """The ground, a fainter line with it, and where the run stands or stood."""

    ground: str
    faint: str = ""
    dots: tuple[tuple[int, int], ...] = ()
    dashed: bool = False


_SKETCHES: Mapping[Cause, _Sketch] = {
    Cause.HEALTHY: _Sketch(
        "M6 10C40 14 62 50 114 54", "M52 21L68 36M68 36L59 34M68 36L66 27", ((44, 19),)
    ),
    Cause.MISWIRED: _Sketch(
        "M6 10C28 14 36 24 46 34M72 46C86 52 98 54 114 54", "M48 22L70 58", ((30, 14),)
    ),
    Cause.NOT_FINITE: _Sketch(
        "M6 14C30 18 44 30 56 42", "M62 48L74 60M74 48L62 60M92 48L104 60M104 48L92 60", ((46, 26),)
    ),
    Cause.DIVERGING: _Sketch(_BOWL, "M54 57L72 53L40 46L88 37L24 28L101 15", ((106, 14),)),
    Cause.EDGE_OF_STABILITY: _Sketch(
        _BOWL, "M27 34L93 35M93 41L27 42M27 47L91 48", ((27, 34), (94, 33))
    ),
    Cause.STEP_TOO_SMALL: _Sketch(
        "M6 12C44 12 56 54 114 56", "M14 4V8M18 4V8M22 4V8M26 4V8", ((26, 11),)
    ),
    Cause.NOISE_FLOOR: _Sketch(
        _BOWL, "", ((44, 42), (58, 50), (70, 40), (52, 34), (66, 52), (78, 46))
    ),
    Cause.SPIKES: _Sketch(
        "M6 30C14 44 22 48 32 50L36 12L40 50C52 53 60 53 68 54L72 8L76 54L114 56"
    ),
    Cause.SADDLE: _Sketch(
        "M8 58C30 20 46 14 60 14S90 20 112 58", "M30 2C44 16 52 20 60 20S76 16 90 2", ((60, 9),)
    ),
    Cause.PLATEAU: _Sketch("M6 18H86C98 18 98 56 114 56", "", ((34, 13),)),
    Cause.RAVINE: _Sketch(
        "M50 4C56 40 58 58 60 58S64 40 70 4", "M51 12L68 18M68 18L53 26L67 32L55 39", ((51, 11),)
    ),
    Cause.LOCAL_MINIMUM: _Sketch(
        "M6 8C14 44 34 44 44 30S62 18 76 44S100 66 114 10", "", ((28, 32),)
    ),
    Cause.MINIMUM: _Sketch(_BOWL, "", ((60, 52),)),
    Cause.OVERFITTING: _Sketch(
        "M6 8C30 46 60 54 114 58", "M6 8C28 38 44 40 60 34S92 18 114 12", ((114, 12), (114, 58))
    ),
    Cause.CANNOT_FIT: _Sketch(
        "M8 4C26 42 94 42 112 4",
        "M8 58H18M26 58H36M44 58H54M62 58H72M80 58H90M98 58H108",
        ((60, 27),),
    ),
    Cause.UNDETERMINED: _Sketch(
        "M6 16C30 60 50 10 66 34S96 56 114 20", "", ((60, 26),), dashed=True
    ),
}


def sketch(cause: Cause, *, width: int = 120) -> Markup:
    """The drawing for that cause; decoration, so hidden from a screen reader."""
    drawn = _SKETCHES[cause]
    dash = ' stroke-dasharray="3 6"' if drawn.dashed else ""
    faint = f'<path d="{drawn.faint}" stroke-width="1.5" opacity=".55"/>' if drawn.faint else ""
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="5"/>' for x, y in drawn.dots)
    return Markup(
        f'<svg class="sketch" viewBox="0 0 120 64" width="{width}" aria-hidden="true" '
        'focusable="false" style="overflow:visible">'
        '<g fill="none" stroke="currentColor" stroke-linecap="round" stroke-linejoin="round">'
        f'<path d="{drawn.ground}" stroke-width="2.5"{dash}/>{faint}</g>'
        f'<g style="fill:currentColor">{dots}</g></svg>'
    )
