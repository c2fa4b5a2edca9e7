"""Bowls full of spikes, in one dimension: many poor minima around a good one."""

import itertools
import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.formula import Formula
from thalweg.objective.landscape import CriticalPoint, Landscape
from thalweg.objective.landscapes.arguments import number, numbers, positive
from thalweg.objective.landscapes.known import kind_of, lowest_of, on_a_line, written

__all__ = ["cosine_bowl", "gaussian_spikes", "modulated", "spiky", "triangle_spikes"]

MOST_SPIKES = 100_000


def spiky(amplitude: float = 0.3, frequency: float = 20.0, domain: float = 3.0) -> Landscape:
    """``x² + a cos(kx)``: a bowl full of spikes; L = 2 + |a| k².

    The function of Kleinberg, Li and Yuan's section 1. Its critical points within ±domain are known
    to double precision: between neighbouring zeros of f″ the derivative is monotone.
    """
    amplitude, frequency, domain = _wave(amplitude, frequency, domain)
    critical = cosine_bowl(2.0, amplitude, frequency, domain)
    text = f"x**2 + {written(amplitude)}*cos({written(frequency)}*x)"
    return Landscape(
        partial(_spiky, amplitude, frequency),
        1,
        name="spiky",
        formula=text,
        critical=critical,
        smoothness=2 + abs(amplitude) * frequency**2,
        domain=((-domain, domain),),
        infimum=lowest_of(text, critical) if frequency * domain > math.pi else None,
    )


def triangle_spikes(
    amplitude: float = 0.3, frequency: float = 20.0, domain: float = 3.0
) -> Landscape:
    """``x² + a tri(kx)``, tri the triangle wave in step with the cosine: spikes with kinks, no L.

    The slope of the wave is ±s, s = 2ak/π. Its kinks at kx = (2m + 1)π are minima and those at
    kx = 2mπ maxima while |2x| < s; on a falling (rising) side there is a minimum at s/2 (−s/2).
    """
    amplitude, frequency, domain = _wave(amplitude, frequency, domain)
    amplitude = positive("amplitude", amplitude)
    steep = 2 * amplitude * frequency / math.pi
    critical = []
    for m in range(-int(domain * frequency / math.pi), int(domain * frequency / math.pi) + 1):
        x = m * math.pi / frequency
        if abs(2 * x) < steep:
            kind = "minimum" if m % 2 else "maximum"
            critical.append(CriticalPoint((x,), kind, smooth=False))
    turn = (frequency * steep / 2) % (2 * math.pi)
    if steep / 2 < domain and 0 < turn < math.pi:
        critical += [CriticalPoint((x,), "minimum", (2.0,)) for x in (-steep / 2, steep / 2)]
    function = partial(_triangle_spikes, amplitude, frequency)
    ends = torch.tensor([known.point for known in critical], dtype=torch.float64).reshape(-1, 1)
    return Landscape(
        function,
        1,
        name="triangle spikes",
        critical=tuple(sorted(critical, key=lambda known: known.point)),
        domain=((-domain, domain),),
        infimum=float(function(ends).min()) if frequency * domain > math.pi else None,
    )


def gaussian_spikes(
    centres: Sequence[float] = (-2.0, -1.2, -0.5, 0.8, 1.5, 2.2),
    depth: float = 0.5,
    width: float = 0.05,
    domain: float = 3.0,
) -> Landscape:
    """``x² − h Σⱼ exp(−(x − cⱼ)²/(2w²))``: pits of one width in a smooth bowl."""
    centres = numbers("centres", centres)
    depth, width = positive("depth", depth), positive("width", width)
    domain = positive("domain", domain)
    reach = max(domain, max(map(abs, centres)) + 8 * width)
    if len(centres) > 60 or reach > 10_000 * width:
        raise UsageError(
            "centres must be at most 60 numbers, and they and the domain at most 10000 widths from 0, "
            f"not {len(centres)} of up to {reach:g} with width {width:g}"
        )
    pits = " + ".join(
        f"exp({written(-0.5 / width**2)}*(x - {written(centre)})**2)" for centre in centres
    )
    text = f"x**2 - {written(depth)}*({pits})"
    critical, steepest = on_a_line(text, -reach, reach, width / 8)
    inside = tuple(known for known in critical if abs(known.point[0]) <= domain)
    return Landscape(
        Formula.parse(text),
        1,
        name="gaussian spikes",
        formula=text,
        critical=inside,
        smoothness=max(2.0, steepest),  # further out the pits have died away and f″ is 2
        domain=((-domain, domain),),
        infimum=lowest_of(text, critical),
    )


def modulated(beta: float = 0.3, frequency: float = 20.0, domain: float = 3.0) -> Landscape:
    """``x² (½ + β cos kx)``: spikes that grow outwards; f″(0) = 1 + 2β, no L on the whole line.

    Above \\|β\\| = ½ it is unbounded below.
    """
    beta = number("beta", beta)
    _, frequency, domain = _wave(beta, frequency, domain)
    text = f"x**2*(0.5 + {written(beta)}*cos({written(frequency)}*x))"
    critical, steepest = on_a_line(text, -domain, domain, math.pi / frequency / 16)
    return Landscape(
        Formula.parse(text),
        1,
        name="modulated",
        formula=text,
        critical=critical,
        domain=((-domain, domain),),
        domain_smoothness=steepest,
        infimum=0.0 if abs(beta) <= 0.5 else -math.inf,
    )


def cosine_bowl(
    curvature: float, amplitude: float, frequency: float, domain: float
) -> tuple[CriticalPoint, ...]:
    """All critical points of ``½ q x² + a cos(kx)`` within ±domain."""
    from scipy.optimize import root_scalar

    def slope(x: float) -> float:
        return curvature * x - amplitude * frequency * math.sin(frequency * x)

    def second(x: float) -> float:
        return curvature - amplitude * frequency**2 * math.cos(frequency * x)

    cuts = [-domain, domain]
    if abs(amplitude) * frequency**2 > curvature:
        angle = math.acos(curvature / (amplitude * frequency**2))
        most = int(domain * frequency / (2 * math.pi)) + 2
        turns = 2 * math.pi * np.arange(-most, most + 1)
        zeros = np.concatenate([turns - angle, turns + angle]) / frequency
        cuts += [float(zero) for zero in zeros if abs(zero) < domain]
    cuts.sort()
    found = [
        0.0 if low < 0 < high else float(root_scalar(slope, bracket=(low, high), xtol=1e-15).root)
        for low, high in itertools.pairwise(cuts)
        if slope(low) * slope(high) < 0  # f is even, so that the middle one is 0
    ]
    return tuple(CriticalPoint((x,), kind_of([second(x)], 0.0), (second(x),)) for x in found)


def _wave(amplitude: float, frequency: float, domain: float) -> tuple[float, float, float]:
    amplitude = number("amplitude", amplitude)
    if not (number("frequency", frequency) > 0 and number("domain", domain) > 0):
        raise UsageError(f"frequency and domain must be above 0, not {frequency!r} and {domain!r}")
    if frequency * domain > MOST_SPIKES:
        raise UsageError(
            f"frequency times domain must be at most {MOST_SPIKES}, not {frequency * domain:g}"
        )
    return amplitude, float(frequency), float(domain)


# Module-level functions, so that a landscape can be pickled and sent to another process.


def _spiky(amplitude: float, frequency: float, points: Tensor) -> Tensor:
    x = points.squeeze(-1)
    return x.square() + amplitude * torch.cos(frequency * x)


def _triangle_spikes(amplitude: float, frequency: float, points: Tensor) -> Tensor:
    x = points.squeeze(-1)
    turn = torch.remainder(x * (frequency / math.pi), 2)
    return x.square() + amplitude * (2 * (1 - turn).abs() - 1)
