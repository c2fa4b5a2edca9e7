"""A figure of a spectrum: the density of its bulk, and the eigenvalues that stand alone."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from thalweg.errors import UsageError
from thalweg.measure.spectrum import Spectrum
from thalweg.show.figure import PALETTE, finite, styled
from thalweg.show.wording import clean, number

__all__ = ["spectral_density"]

PLACES = 600
"""Places at which the density is drawn."""

WIDE = 40.0
"""How many times as far as the bulk the eigenvalues may reach on a linear axis."""

BLUR = 0.012
"""Standard deviation of the Gaussian that is drawn for an eigenvalue, as a share of the axis."""

FOOT = 0.03
"""Height of the marks of single eigenvalues, as a share of the axis."""


def spectral_density(
    spectra: Spectrum | Sequence[Spectrum], *, scale: str | None = None
) -> go.Figure:
    """Eigenvalues per unit of curvature, on a logarithmic axis, and the outliers one by one.

    Args:
        spectra: one, or several to compare; each keeps its colour.
        scale: of the horizontal axis: ``linear``, or ``symlog``, which is linear about 0 and
            logarithmic beyond, on both sides. None chooses by how far the outliers reach.

    Raises:
        UsageError: no spectrum, another scale, or nothing finite to draw.
    """
    every = [spectra] if isinstance(spectra, Spectrum) else list(spectra)
    if scale not in (None, "linear", "symlog"):
        raise UsageError(f"scale must be linear or symlog, not {scale!r}")
    if not every or not all(len(each.density.measure()[0]) for each in every):
        raise UsageError("spectra must hold a spectrum with finite eigenvalues")
    width = _linear_width(every) if scale != "linear" else math.inf
    if scale is None and _reach(every) < WIDE * width:
        width = math.inf
    places = _axis(every, width)
    heights = [each.dim * _density(each, places, width) for each in every]
    top = math.log10(max(1e-300, *(float(height.max()) for height in heights)))
    floor = math.log10(0.3 / (places[-1] - places[0]))
    low, high = min(floor, top - 2), top + 0.4
    figure = go.Figure()
    colours = PALETTE * (1 + len(every) // len(PALETTE))
    for each, height, colour in zip(every, heights, colours):
        title = clean(each.name) or each.matrix
        figure.add_trace(_bulk(places, height, width, title, colour))
        if len(each.density.outliers):
            foot = 10 ** (low + FOOT * (high - low))
            figure.add_trace(_alone(each, width, colour, foot, len(every) == 1))
    styled(figure, "eigenvalue (loss per unit²)", "eigenvalues per unit of curvature", height=380)
    figure.update_yaxes(type="log", range=[low, high])
    figure.update_yaxes(
        tickformat=None, exponentformat="power", dtick=max(1, round((top - floor) / 5))
    )
    figure.add_vline(x=0, line={"width": 1, "color": "#8a8f98"})
    if math.isfinite(width):
        ticks = _ticks(places, width)
        figure.update_xaxes(
            tickvals=[math.asinh(t / width) for t in ticks], ticktext=[number(t) for t in ticks]
        )
    return figure.update_layout(showlegend=len(every) > 1 or len(every[0].density.outliers) > 0)


def _bulk(
    places: np.ndarray, height: np.ndarray, width: float, name: str, colour: str
) -> go.Scatter:
    shown = np.where(height > 1e-12 * height.max(), height, math.nan)
    return go.Scatter(
        x=_warp(places, width).tolist(),
        y=finite(shown.tolist()),
        customdata=places.tolist(),
        name=name,
        mode="lines",
        line={"color": colour, "width": 2},
        hovertemplate="%{y:.3g} per unit at %{customdata:.3g}<extra></extra>",
    )


def _alone(spectrum: Spectrum, width: float, colour: str, foot: float, single: bool) -> go.Scatter:
    """Marks at the foot of the figure for the eigenvalues that are known one by one."""
    values = spectrum.density.outliers
    name = "known one by one" if single else f"{clean(spectrum.name)}, one by one"
    return go.Scatter(
        x=_warp(values, width).tolist(),
        y=[foot] * len(values),
        customdata=values.tolist(),
        name=name,
        mode="markers",
        showlegend=single,
        marker={"symbol": "line-ns-open", "size": 13, "color": colour, "line": {"width": 2}},
        hovertemplate="%{customdata:.4g}<extra></extra>",
    )


def _density(spectrum: Spectrum, places: np.ndarray, width: float) -> np.ndarray:
    """Per unit of the eigenvalue, blurred by the same width everywhere on the axis."""
    values, weights = spectrum.density.spread()
    warped, axis = _warp(values, width), _warp(places, width)
    blur = BLUR * (axis[-1] - axis[0])
    bells = np.exp(-0.5 * ((axis[:, None] - warped) / blur) ** 2) / (blur * math.sqrt(2 * math.pi))
    slope = 1.0 if math.isinf(width) else 1 / np.sqrt(places**2 + width**2)
    return (bells * weights).sum(1) * slope


def _warp(values: np.ndarray, width: float) -> np.ndarray:
    return np.arcsinh(values / width) if math.isfinite(width) else np.asarray(values, float)


def _linear_width(every: Sequence[Spectrum]) -> float:
    """The mean size of an eigenvalue of the bulk; where there is none, of all."""
    sizes = []
    for each in every:
        values, weights = each.density.measure()
        bulk = ~np.isin(values, each.density.outliers)
        sizes.append(float(weights[bulk] @ np.abs(values[bulk])) or each.mean_size.value)
    return max(min((s for s in sizes if s > 0), default=1.0), 1e-5 * _reach(every), 1e-300)


def _reach(every: Sequence[Spectrum]) -> float:
    return max(float(np.abs(each.density.measure()[0]).max()) for each in every)


def _axis(every: Sequence[Spectrum], width: float) -> np.ndarray:
    ends = np.concatenate([each.density.measure()[0][[0, -1]] for each in every])
    low, high = _warp(np.array([min(ends.min(), 0.0), max(ends.max(), 0.0)]), width)
    margin = 0.05 * (high - low) or 1.0
    axis = np.linspace(low - margin, high + margin, PLACES)
    return np.sinh(axis) * width if math.isfinite(width) else axis


def _ticks(places: np.ndarray, width: float) -> list[float]:
    largest = float(np.abs(places).max())
    top, bottom = math.floor(math.log10(largest)), math.ceil(math.log10(width))
    stride = max(1, math.ceil((top - bottom + 1) / 5))
    powers = [10.0**power for power in range(top, bottom - 1, -stride)]
    ticks = [*(-power for power in powers), 0.0, *reversed(powers)]
    return [tick for tick in ticks if places[0] <= tick <= places[-1]]
