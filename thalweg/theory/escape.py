"""Escape times: off a strict saddle, and out of a one-dimensional well."""

import math
from collections.abc import Callable

import numpy as np

from thalweg.errors import UsageError

__all__ = ["eyring_kramers", "first_passage_time", "saddle_exit_time", "thermal_diffusion"]

NODES = 16
"""Gauss-Legendre nodes of a panel."""

DEEP = 50.0
"""Where f is this many D above its lowest point, e^{−f/D} adds nothing."""

Function = Callable[[np.ndarray], np.ndarray]


def thermal_diffusion(learning_rate: float, variance: float) -> float:
    """D = ηs²/2 for gradient noise of variance s² per coordinate: the law of x is near e^{−f/D}.

    Time t of the diffusion is t/η steps.
    """
    if not learning_rate > 0:
        raise UsageError(f"learning_rate must be a number above 0, not {learning_rate!r}")
    return learning_rate * variance / 2


def saddle_exit_time(curvature: float, learning_rate: float, noise: float, exit_at: float) -> float:
    """Expected steps to leave a saddle: y ← (1 + ηγ)y + ηsξ from y = 0 until \\|y\\| ≥ Y.

    [log(Y/s∞) + (γ_E + log 2)/2]/log(1+ηγ) + 1/2 with s∞ = ηs/√((1+ηγ)² − 1), for Y ≫ s∞: the noise
    grows geometrically, and the last half step is the overshoot on average.

    Args:
        curvature: γ > 0, of the downhill direction (the eigenvalue is −γ).
        noise: s, standard deviation of the gradient noise along it.
        exit_at: Y.

    Raises:
        UsageError: a number that is not above 0; an exit within the noise, Y ≤ 3s∞.
    """
    given = (curvature, learning_rate, noise, exit_at)
    names = ("curvature", "learning_rate", "noise", "exit_at")
    for name, value in zip(names, given, strict=True):
        if not value > 0:
            raise UsageError(f"{name} must be a number above 0, not {value!r}")
    growth = 1 + learning_rate * curvature
    spread = learning_rate * noise / math.sqrt(growth**2 - 1)
    if exit_at <= 3 * spread:
        raise UsageError(
            f"exit_at must be well above the noise, which spreads {spread:.3g} wide, not {exit_at!r}"
        )
    early = math.log(exit_at / spread) + (np.euler_gamma + math.log(2)) / 2
    return early / math.log(growth) + 0.5


def first_passage_time(
    function: Function,
    start: float,
    exit_at: float,
    diffusion: float,
    *,
    wall: float | None = None,
    panels: int = 400,
) -> float:
    """Mean time of dx = −f′(x)dt + √(2D)dW from ``start`` to ``exit_at``, an exact integral.

    (1/D) ∫ dy e^{f(y)/D} ∫ dz e^{−f(z)/D}, y from start to exit, z from the wall behind the start to
    y. In units of time: steps = time/η. Discrete steps overshoot a barrier's top, so take the far
    well for the exit where simulations are compared.

    Args:
        function: f of an array, elementwise.
        diffusion: D > 0.
        wall: a reflecting wall behind the start; by default where f has risen by 50 D above its
            lowest point on the way.
        panels: of 16 Gauss-Legendre nodes each.

    Raises:
        UsageError: D not above 0; an f that does not rise behind the start and no wall.
    """
    if not diffusion > 0:
        raise UsageError(f"diffusion must be a number above 0, not {diffusion!r}")
    if start == exit_at:
        return 0.0
    sign = 1.0 if exit_at > start else -1.0

    def along(s: np.ndarray) -> np.ndarray:
        return np.asarray(function(start + sign * s), dtype=float) / diffusion

    length = abs(exit_at - start)
    behind = _behind(along, length) if wall is None else sign * (wall - start)
    if behind > 0:
        raise UsageError(f"wall must lie behind the start {start!r}, not at {wall!r}")
    before, logs_before, _ = _inner(along, np.linspace(behind, 0.0, panels + 1), -math.inf)
    inner = logs_before[-1] if behind < 0 else -math.inf
    nodes, _, cumulative = _inner(along, np.linspace(0.0, length, panels + 1), inner)
    del before
    weights = np.tile(np.polynomial.legendre.leggauss(NODES)[1], panels) * length / panels / 2
    logs = along(nodes.ravel()) + cumulative.ravel() + np.log(weights)
    top = float(logs.max())
    return math.exp(top + math.log(float(np.exp(logs - top).sum())) - math.log(diffusion))


def eyring_kramers(
    well_curvature: float, barrier_curvature: float, barrier: float, diffusion: float
) -> float:
    """2π/√(f″(a)\\|f″(b)\\|) · e^{ΔF/D}: the first-passage time as D becomes small.

    From the well a over the barrier b of height ΔF to the next well; half of it to the barrier's
    top. At ΔF/D = 2.5 the integral is 22% above it for (x² − 1)²/4.
    """
    if not (well_curvature > 0 and barrier_curvature and diffusion > 0):
        raise UsageError(
            "well_curvature and diffusion must be above 0 and barrier_curvature not 0, not "
            f"{well_curvature!r}, {diffusion!r} and {barrier_curvature!r}"
        )
    prefactor = 2 * math.pi / math.sqrt(well_curvature * abs(barrier_curvature))
    return prefactor * math.exp(barrier / diffusion)


def _behind(along: Function, length: float) -> float:
    """How far behind the start f/D has risen by DEEP above its lowest value up to there."""
    lowest = float(along(np.linspace(0.0, length, 2001)).min())
    reach = length
    for _ in range(60):
        places = np.linspace(0.0, -reach, 2001)
        values = along(places)
        floor = np.minimum.accumulate(np.minimum(values, lowest))
        high = np.nonzero(values - floor > DEEP)[0]
        if high.size:
            return float(places[high[0]])
        reach *= 2
    raise UsageError("wall must be given where the function does not rise behind the start")


def _inner(
    along: Function, edges: np.ndarray, before: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log ∫ e^{−f/D} up to each node of each panel and to each panel's end, from ``before`` on."""
    unit, weights = np.polynomial.legendre.leggauss(NODES)
    half = np.diff(edges) / 2
    nodes = edges[:-1, None] + half[:, None] * (1 + unit)
    logs = -along(nodes.ravel()).reshape(nodes.shape)
    top = logs.max(axis=1, keepdims=True)
    scaled = np.exp(logs - top)
    with np.errstate(divide="ignore"):
        whole = np.log(scaled @ weights * half) + top[:, 0]
        ends = np.logaddexp.accumulate(np.concatenate([[before], whole]))
        parts = np.maximum(scaled @ _integration(unit).T, 0.0) * half[:, None]
        cumulative = np.logaddexp(ends[:-1, None], np.log(parts) + top)
    return nodes, ends, cumulative


def _integration(unit: np.ndarray) -> np.ndarray:
    """Row j integrates the interpolating polynomial from −1 to node j."""
    size = len(unit)
    vandermonde = np.polynomial.legendre.legvander(unit, size - 1)
    integrals = np.stack(
        [
            np.polynomial.legendre.legval(unit, np.polynomial.legendre.legint(row, lbnd=-1))
            for row in np.eye(size)
        ],
        axis=1,
    )
    return integrals @ np.linalg.inv(vandermonde)
