"""Gauges: a vital sign on its scale, with its zones, its thresholds and its error bar, as SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from thalweg.diagnose.finding import Finding
from thalweg.estimate import Estimate
from thalweg.show.catalogue import Vital
from thalweg.show.content import reading_text
from thalweg.show.vitals import THRESHOLDS, Scale, in_order, read, vital
from thalweg.show.wording import clean, estimate_text, precise

__all__ = ["COLOURS", "Gauge", "Gauges", "gauge_svg", "gauges"]

HEIGHT = 46
COLOURS = {
    "good": "var(--tw-good, #2f8f7b)",
    "watch": "var(--tw-watch, #a87420)",
    "bad": "var(--tw-bad, #b8503f)",
    "calm": "var(--tw-calm, #7c818a)",
}


@dataclass(frozen=True)
class Gauge:
    """One gauge and the words that stand with it; ``precise`` has every digit."""

    name: str
    label: str
    symbol: str
    meaning: str
    value: str
    precise: str
    reads: str
    tone: str
    svg: Markup


@dataclass(frozen=True)
class Gauges:
    """Gauges under a heading; ``folded`` ones are for who looks for them."""

    title: str
    members: tuple[Gauge, ...]
    folded: bool = False


def gauges(finding: Finding, thresholds: Mapping[str, float] = THRESHOLDS) -> list[Gauges]:
    """A gauge for every vital sign of the finding that has zones and was measured.

    First what the verdict rests on, then the vital signs, then the others.
    """
    drawn = [
        Gauges(
            group.title,
            tuple(
                _gauge(name, finding.evidence[name], thresholds)
                for name in group.names
                if _has_gauge(name, finding.evidence[name], thresholds)
            ),
            group.folded,
        )
        for group in in_order(finding.evidence, finding.relied_on)
    ]
    return [group for group in drawn if group.members]


def _has_gauge(name: str, estimate: Estimate, thresholds: Mapping[str, float]) -> bool:
    sign = vital(name)
    known = math.isfinite(estimate.value) and read(sign, estimate, thresholds) is not None
    return sign.scale is not None and known


def _gauge(name: str, estimate: Estimate, thresholds: Mapping[str, float]) -> Gauge:
    sign = vital(name)
    reading = read(sign, estimate, thresholds)
    return Gauge(
        name,
        sign.label,
        sign.symbol,
        sign.meaning,
        estimate_text(estimate, share=sign.share),
        precise(estimate),
        reading_text(sign, reading),
        "calm" if reading is None else reading.tone,
        gauge_svg(sign, estimate, thresholds),
    )


def gauge_svg(
    sign: Vital, estimate: Estimate, thresholds: Mapping[str, float] = THRESHOLDS
) -> Markup:
    """The gauge as inline SVG that stretches to its container; its text keeps its size.

    A value beyond an end of the scale is drawn as an arrow at that end. ``sign`` must have a scale.
    """
    scale = sign.scale
    if scale is None:
        raise ValueError(f"sign must have a scale to be drawn on; {sign.name!r} has none")
    cuts = sign.cuts_at(thresholds)
    edges = [scale.low, *cuts, scale.high]
    parts = [
        _zone(scale, low, high, tone)
        for low, high, tone in zip(edges[:-1], edges[1:], sign.tones, strict=True)
    ]
    parts += _ticks(sign, scale, cuts)
    parts += [_end(sign, scale.low, "start"), _end(sign, scale.high, "end")]
    parts.append(_error_bar(scale, estimate))
    parts.append(_marker(scale, estimate.value))
    spoken = (
        f"{clean(sign.label)} {estimate_text(estimate, share=sign.share)}, "
        f"{reading_text(sign, read(sign, estimate, thresholds))}; "
        f"{'thresholds' if len(cuts) > 1 else 'threshold'} "
        f"{', '.join(sign.cut_text(c) for c in cuts)}"
    )
    # Every fragment below is made of numbers and fixed words; only the spoken text needs escaping.
    return Markup(
        '<svg class="gauge" role="img" aria-label="{label}" width="100%" height="{height}" '
        'style="display:block;overflow:visible;font:11px system-ui,sans-serif">{parts}</svg>'
    ).format(label=spoken, height=HEIGHT, parts=Markup("".join(parts)))


def _percent(scale: Scale, value: float) -> float:
    return 100 * scale.position(value)


def _zone(scale: Scale, low: float, high: float, tone: str) -> str:
    start, end = _percent(scale, low), _percent(scale, high)
    return (
        f'<rect x="{start:.2f}%" y="12" width="{end - start:.2f}%" height="10" '
        f'style="fill:{COLOURS[tone]};opacity:.32"/>'
    )


def _ticks(sign: Vital, scale: Scale, cuts: Sequence[float]) -> list[str]:
    """A line at every threshold, and its number where there is room beside those before it."""
    lines, texts = [], []
    free = 9.0
    for cut in cuts:
        at = _percent(scale, cut)
        lines.append(
            f'<line x1="{at:.2f}%" x2="{at:.2f}%" y1="9" y2="26" '
            'style="stroke:currentColor;stroke-width:1;opacity:.75"/>'
        )
        if free < at < 91:
            texts.append(
                f'<text x="{at:.2f}%" y="39" text-anchor="middle" '
                f'style="fill:currentColor;opacity:.9">{escape(sign.cut_text(cut))}</text>'
            )
            free = at + 8
    return [*lines, *texts]


def _end(sign: Vital, value: float, anchor: str) -> str:
    at = 0 if anchor == "start" else 100
    return (
        f'<text x="{at}%" y="39" text-anchor="{anchor}" style="fill:currentColor;opacity:.55">'
        f"{escape(sign.cut_text(value))}</text>"
    )


def _error_bar(scale: Scale, estimate: Estimate) -> str:
    if not math.isfinite(estimate.error) or estimate.error <= 0:
        return ""
    low = _percent(scale, estimate.value - estimate.error)
    high = _percent(scale, estimate.value + estimate.error)
    caps = "".join(
        f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="13" y2="21"/>' for x in (low, high) if 0 < x < 100
    )
    return (
        '<g style="stroke:currentColor;stroke-width:2">'
        f'<line x1="{low:.2f}%" x2="{high:.2f}%" y1="17" y2="17"/>{caps}</g>'
    )


def _marker(scale: Scale, value: float) -> str:
    at = _percent(scale, value)
    if scale.low <= value <= scale.high:
        return (
            f'<circle cx="{at:.2f}%" cy="17" r="5" '
            'style="fill:currentColor;stroke:var(--tw-paper, transparent);stroke-width:1.5"/>'
        )
    points = "0,17 9,11.5 9,22.5" if value < scale.low else "0,17 -9,11.5 -9,22.5"
    return (
        f'<svg x="{at:.0f}%" style="overflow:visible"><polygon points="{points}" '
        'style="fill:currentColor;stroke:var(--tw-paper, transparent);stroke-width:1.5"/></svg>'
    )
