"""The step x → y → x′, and why a basin smaller than the noise is left within one step."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch

from thalweg.measure.critical import critical_points
from thalweg.objective.dense import gradients_and_hessians
from thalweg.objective.landscape import Landscape
from thalweg.objective.landscapes import from_formula
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, animated, curve, dots, line, scene, surface
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

RATE, REACH = 0.05, 0.5
"""η and ηr, the farthest that the noise carries one step."""

SINGLE = 20_000
SHOWN, LEAP = 12, 4
"""Steps that are played, and the one that leads out."""

NEARBY = ((1.2, 4.2), (-1.5, 1.5))
"""What is drawn of the plane."""

X, Y, NEXT = PALETTE[0], PALETTE[1], PALETTE[2]

ONE = "sqrt(1 + x**2) - 0.3*exp(-((x - 3)/0.15)**2)"
TWO = "sqrt(1 + x**2 + y**2) - 0.35*exp(-((x - 3)**2 + y**2)/0.04)"


@dataclass(frozen=True)
class _Pit:
    """A landscape with a wide valley and a pit in its side, and where their bottoms are."""

    landscape: Landscape
    noise: str
    valley: tuple[float, ...]
    bottom: tuple[float, ...]
    rim: tuple[float, ...]

    @classmethod
    def of(cls, formula: str, domain: tuple[tuple[float, float], ...], noise: str) -> "_Pit":
        landscape = from_formula(formula, domain=domain)
        found = critical_points(landscape, starts=400)
        valley, bottom = sorted(found.of_kind("minimum"), key=lambda p: p.loss)
        (rim,) = (p for p in found.points if p.index == 1)
        return cls(landscape, noise, valley.point, bottom.point, rim.point)

    def plan(self, start: Any, **more: Any) -> Plan:
        return Plan(learning_rate=RATE, noise=self.noise, starts=start, **more)

    def drained(self, points: np.ndarray) -> np.ndarray:
        """Which points descent without noise leads to the pit's bottom."""
        plan = Plan(learning_rate=RATE, starts=points, trials=len(points), steps=400)
        ends = descend(self.landscape, plan).end["points"]
        return np.linalg.norm(ends - self.bottom, axis=1) < 0.05


def build(seed: int) -> Drawn:
    """A pit in the side of a valley, of one variable and of two."""
    line_pit = _Pit.of(ONE, ((-3.0, 4.5),), f"uniform:{REACH / RATE:g}")
    plane_pit = _Pit.of(TWO, ((-1.5, 4.5), (-2.2, 2.2)), f"ball:{REACH / RATE:g}")
    return Drawn(
        (
            Panel(
                "step-line",
                "Along a line",
                "From x the gradient leads to y, still in the pit. Then noise takes y to x′, anywhere on "
                "the bar. Where the bar is longer than the way to the rim, some steps are out at once.",
                _drawn_on_a_line(line_pit, seed),
            ),
            Panel(
                "step-plane",
                "Over a plane",
                "The same with two variables. The cloud is where x′ may be; turn the picture to see "
                "how much of it lies outside the pit.",
                _drawn_over_a_plane(plane_pit, seed),
            ),
        ),
        (
            _stays(line_pit),
            _leaves_exactly(line_pit, seed),
            _leaves(plane_pit, seed),
            _wide(line_pit, seed),
            _in_the_end(line_pit, seed),
        ),
    )


def _path(pit: _Pit, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The points x ``(n, dim)`` and y ``(n − 1, dim)`` of a trial that leaves the pit in step LEAP."""
    plan = pit.plan(pit.bottom, trials=1000, steps=SHOWN, points_every=1, seed=seed)
    paths = descend(pit.landscape, plan)["points"].values
    below = pit.rim[0] - paths[:, :, 0]
    lies = np.linalg.norm(paths[:LEAP] - pit.bottom, axis=-1).max(0)
    away = below[LEAP:].min(0)  # by how far it stays out from then on
    x = paths[:, int(np.argmax(away - 3 * lies))]
    slopes, _ = gradients_and_hessians(pit.landscape, torch.tensor(x[:-1]))
    return x, x[:-1] - RATE * slopes.numpy()


def _loss(pit: _Pit, points: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return pit.landscape.loss(torch.tensor(points)).numpy()


def _drawn_on_a_line(pit: _Pit, seed: int) -> go.Figure:
    x, f = curve(pit.landscape, *pit.landscape.domain[0])
    figure = go.Figure(line(x, f, "loss", INK, showlegend=False))
    path, middle = _path(pit, seed)
    heights, middle_heights = _loss(pit, path), _loss(pit, middle)

    def traces(k: int, half: bool) -> list[go.Scatter]:
        """Step k: at y if half, else arrived at x′."""
        at, f_at = float(middle[k, 0]), float(middle_heights[k])
        arrived = [] if half else [path[k + 1, 0]]
        return [
            line(
                [at - REACH, at + REACH], [f_at, f_at], "where noise may lead", NEXT, width=7
            ).update(opacity=0.35),
            dots(path[: k + 1, 0], heights[: k + 1], "x", X, size=9),
            dots([at], [f_at], "y, after the gradient", Y, size=11),
            dots(
                arrived,
                heights[k + 1 : k + 2] if arrived else [],
                "x′, after the noise",
                NEXT,
                size=12,
            ),
        ]

    figure.add_traces(traces(LEAP - 1, False))
    frames = [
        (f"{k + 1}{'y' if h else ''}", traces(k, h)) for k in range(SHOWN) for h in (True, False)
    ]
    styled(figure, "x", "loss", height=400)
    figure.update_xaxes(range=[1.3, 3.9]).update_yaxes(range=[1.6, 4.0])
    return animated(figure, frames, milliseconds=450, rest=2 * LEAP - 1)


def _drawn_over_a_plane(pit: _Pit, seed: int) -> go.Figure:
    figure = go.Figure(surface(pit.landscape, NEARBY, count=91, opacity=0.9))
    path, middle = _path(pit, seed)
    heights = _loss(pit, path)
    plan = pit.plan(middle[0], trials=150, steps=1, seed=seed)

    def marks(
        points: np.ndarray, z: np.ndarray, name: str, colour: str, size: int, **more: Any
    ) -> Any:
        lifted = np.round(z + 0.03, 4).tolist()
        return go.Scatter3d(
            x=np.round(points[:, 0], 4).tolist(),
            y=np.round(points[:, 1], 4).tolist(),
            z=lifted,
            name=name,
            mode=more.pop("mode", "markers"),
            marker={"size": size, "color": colour},
            line={"color": colour, "width": 4},
            **more,
        )

    def traces(k: int) -> list[Any]:
        cloud = descend(pit.landscape, _from(plan, path[k])).end["points"]
        return [
            marks(cloud, _loss(pit, cloud), "x′ may be here", NEXT, 3),
            marks(path[: k + 1], heights[: k + 1], "x", X, 4, mode="lines+markers"),
            marks(middle[k : k + 1], _loss(pit, middle[k : k + 1]), "y, after the gradient", Y, 6),
            marks(
                path[k + 1 : k + 2], heights[k + 1 : k + 2], "x′, after the noise", PALETTE[3], 6
            ),
        ]

    frames = [(str(k + 1), traces(k)) for k in range(SHOWN)]
    figure.add_traces(traces(LEAP - 1))
    scene(figure, eye=(-1.35, -1.05, 1.25))
    return animated(figure, frames, milliseconds=500, rest=LEAP - 1)


def _from(plan: Plan, start: np.ndarray) -> Plan:
    return Plan(**{**plan.to_dict(), "starts": start})


def _stays(pit: _Pit) -> Claim:
    plan = Plan(learning_rate=RATE, starts=np.array(pit.bottom) + 0.1, steps=2000)
    away = float(abs(descend(pit.landscape, plan).end["points"][0] - pit.bottom)[0])
    return Claim(
        f"Without noise, descent from beside the pit's bottom ends {max(away, 1e-12):.0e} or less from "
        f"it, at {pit.bottom[0]:.3f}, and stays.",
        away < 1e-6,
    )


def _single_steps(pit: _Pit, start: tuple[float, ...], seed: int) -> np.ndarray:
    return descend(pit.landscape, pit.plan(start, trials=SINGLE, steps=1, seed=seed)).end["points"]


def _leaves_exactly(pit: _Pit, seed: int) -> Claim:
    way = pit.bottom[0] - pit.rim[0]
    expected = (REACH - way) / (2 * REACH)
    share = float((_single_steps(pit, pit.bottom, seed)[:, 0] < pit.rim[0]).mean())
    error = math.sqrt(expected * (1 - expected) / SINGLE)
    return Claim(
        f"On the line, noise carries a step up to {REACH:g} and the rim is {way:.3f} away: of "
        f"{SINGLE} single steps from the very bottom {100 * share:.1f}% ± {100 * error:.1f}% leave "
        f"the basin; the lengths say {100 * expected:.1f}%.",
        abs(share - expected) < 5 * error and share > 0.1,
    )


def _leaves(pit: _Pit, seed: int) -> Claim:
    ends = _single_steps(pit, pit.bottom, seed)[:4000]
    share = float((~pit.drained(ends)).mean())
    error = math.sqrt(share * (1 - share) / len(ends))
    return Claim(
        f"Over the plane {100 * share:.1f}% ± {100 * error:.1f}% of single steps from the bottom leave.",
        share - 5 * error > 0.1,
    )


def _wide(pit: _Pit, seed: int) -> Claim:
    points = _single_steps(pit, pit.valley, seed)
    left = int((points[:, 0] > pit.rim[0]).sum())
    return Claim(
        f"The valley, whose rim is {pit.rim[0] - pit.valley[0]:.2f} from its bottom, is left by "
        f"{left or 'none'} of as many.",
        left == 0,
    )


def _in_the_end(pit: _Pit, seed: int) -> Claim:
    plan = pit.plan(pit.bottom, trials=4000, steps=600, seed=seed)
    points = descend(pit.landscape, plan).end["points"][:, 0]
    share = float((points < pit.rim[0]).mean())
    error = math.sqrt(share * (1 - share) / len(points))
    return Claim(
        f"After 600 steps from the pit's bottom {100 * share:.1f}% ± {100 * error:.1f}% of 4000 trials "
        "are in the valley.",
        share - 5 * error > 0.9,
    )


EXHIBIT = Exhibit(
    "step",
    "One step of noisy descent",
    "A step of SGD has two halves. The gradient takes x to y = x − η∇f(x), as gradient descent would. "
    "Then the noise ω in the gradient takes y to x′ = y − ηω. Descent alone keeps x in the pit it "
    "fell into, since every step leads to lower ground. But the noise asks for no way down: it jumps, "
    "up to ηr far where r bounds the noise. If the pit is smaller than that, a single step can "
    "land outside, and the next gradient leads on, away from it. A valley wider than ηr is not left "
    "like this. So the noise sorts minima by their width: it does not see what is smaller than it.",
    "The pit drains whatever lies uphill of it, so only jumps to one side leave. How large can the "
    "share of leaving steps become, however strong the noise?",
    build,
)
