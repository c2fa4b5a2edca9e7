"""How flat the ground is about a point, by every measure at once, and the shift test."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST, Estimate
from thalweg.measure.asked import check_counts
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.measure.directions import random_directions
from thalweg.measure.plain import plain
from thalweg.measure.profile import Profile, random_rise, smoothed_rise, worst_rise
from thalweg.measure.relative import filter_curvature, relative_flatness
from thalweg.measure.rises import Rises, without_decay
from thalweg.measure.sharpness import epsilon_sharpness, sam_sharpness
from thalweg.measure.shift import ShiftLine, shift_test
from thalweg.measure.trace import trace
from thalweg.objective.base import Objective
from thalweg.objective.derivatives import gradient
from thalweg.objective.noise import Noise
from thalweg.objective.supervised import Supervised

__all__ = ["Flatness", "flatness"]

SHARES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Distances of a profile as shares of ‖θ‖."""

FILTERS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Distances in filter-normalised directions."""

REACH = 0.5
"""Filter-normalised length to either side of a random line of the shift test, at first."""


@dataclass(frozen=True, eq=False)
class Flatness:
    """The ground about a point.

    Attributes:
        measures: by name: ``loss``, ``test_loss``, ``gradient_norm``, ``lambda_max``, ``lambda_min``,
            ``trace``, ``epsilon_sharpness``, ``sam_sharpness``, and of networks
            ``relative_flatness`` and ``filter_curvature``.
        profiles: rises against radius: ``random`` and ``worst`` (a radius is a distance),
            ``smoothed``, and of networks ``filter``.
        layers: relative flatness by layer.
        lines: the shift test, where there are held-out data.
        name: of what was measured.
        notes: what a reader must know.
    """

    measures: Mapping[str, Estimate]
    profiles: Mapping[str, Profile]
    layers: Mapping[str, Estimate] = field(default_factory=dict)
    lines: Sequence[ShiftLine] = ()
    name: str = ""
    notes: Sequence[str] = ()

    @property
    def cost(self) -> float:
        """Gradient evaluations over the training data."""
        spent = [
            *(e.cost for e in self.measures.values()),
            *(p.cost for p in self.profiles.values()),
        ]
        return sum(spent) + sum(line.train_minimum.cost for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is None."""
        return plain(
            {
                "name": self.name,
                "measures": self.measures,
                "layers": self.layers,
                "profiles": {name: profile.to_dict() for name, profile in self.profiles.items()},
                "shift": [line.to_dict() for line in self.lines],
                "cost": self.cost,
                "notes": list(self.notes),
            }
        )


def flatness(
    objective: Objective,
    point: Tensor | None = None,
    *,
    test: Any = None,
    radii: Sequence[float] | None = None,
    noise: Noise | str = "ball:1",
    draws: int = 16,
    probes: int = 16,
    epsilon: float = 1e-3,
    rho: float = 0.05,
    lines: int = 2,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Flatness:
    """Every measure of flatness at a point, of the loss without weight decay.

    The plain ones (``lambda_max``, ``trace``, ``epsilon_sharpness``, ``sam_sharpness`` and the
    profiles by distance) depend on how a network's layers are scaled against each other;
    ``relative_flatness``, ``filter_curvature`` and the profile ``filter`` do not, where it is a ReLU
    network's. The formula, the source and the error of each is told by the function of its name.

    Args:
        objective: a network with its data, or a function of a few variables.
        point: θ; where the model of a network stands by default.
        test: held-out examples, for the shift test.
        radii: distances of the profiles; shares of ‖θ‖ from 0.3% to 30% by default.
        noise: that of the smoothed profile at a radius of 1.
        draws: pairs of random directions, and of draws of noise, a radius.
        probes: Hessian-vector products for each of relative flatness and filter curvature; twice as many
            at most for the trace.
        epsilon, rho: of ε-sharpness and of SAM.
        lines: random directions of the shift test, beside the sharpest direction and the one in
            which the held-out loss falls.
        seed: of every draw.
        progress: called with what is measured next.

    Raises:
        UsageError: an argument that breaks a rule; a point that must be given.
    """
    check_counts(0, lines=lines)
    tell = progress or (lambda _: None)
    plain_loss = without_decay(objective)
    network = plain_loss if isinstance(plain_loss, Supervised) else None
    x = _point(objective, point)
    rises = Rises(plain_loss, x)
    slope = gradient(plain_loss, x)
    measures = {
        "loss": rises.loss,
        "gradient_norm": Estimate(float(slope.double().norm()), 0.0, "loss per unit", 1.0),
    }
    if test is not None and network is not None:
        held_out = Rises(network.on(test), x).loss
        share = network.on(test).data.length / network.data.length
        measures["test_loss"] = replace(held_out, cost=LOSS_COST * share)
    tell("eigenvalues")
    generator = torch.Generator().manual_seed(seed)
    ends = extreme_eigenvalues(plain_loss, x, rtol=0.01, budget=60, generator=generator)
    if ends.top and ends.bottom:
        measures["lambda_max"], measures["lambda_min"] = ends.top[0], ends.bottom[0]
    tell("trace")
    measures["trace"] = trace(
        plain_loss, x, rtol=0.01, budget=2 * probes, generator=torch.Generator().manual_seed(seed)
    )
    tell("ε-sharpness and SAM sharpness")
    measures["epsilon_sharpness"] = epsilon_sharpness(plain_loss, x, epsilon=epsilon)
    measures["sam_sharpness"] = sam_sharpness(plain_loss, x, rho=rho)
    layers: dict[str, Estimate] = {}
    if network is not None and _has_layers(network):
        tell("relative flatness")
        relative = relative_flatness(network, x, probes=probes, seed=seed)
        measures["relative_flatness"], layers = relative.total, relative.layers
        measures["filter_curvature"] = filter_curvature(network, x, probes=probes, seed=seed)
    size = float(x.double().norm()) or 1.0
    distances = [share * size for share in SHARES] if radii is None else radii
    profiles: dict[str, Profile] = {}
    tell("rise in random directions")
    profiles["random"] = random_rise(
        plain_loss, x, distances, normalised="sphere", draws=draws, seed=seed
    )
    tell("rise in the worst direction")
    starts = [ends.top_vector] if bool(torch.isfinite(ends.top_vector).all()) else []
    profiles["worst"] = worst_rise(plain_loss, x, distances, starts=starts, seed=seed)
    tell("smoothed loss")
    profiles["smoothed"] = smoothed_rise(
        plain_loss, x, distances, noise=noise, samples=2 * draws, seed=seed
    )
    if network is not None and _has_layers(network):
        tell("rise in filter-normalised directions")
        profiles["filter"] = random_rise(network, x, FILTERS, draws=draws, seed=seed)
    found: list[ShiftLine] = []
    if test is not None and network is not None:
        tell("shift test")
        found = _shift(network, test, x, ends.top_vector, ends.top[0].value, lines, seed)
    return Flatness(measures, profiles, layers, found, notes=_notes(slope, measures))


def _point(objective: Objective, point: Tensor | None) -> Tensor:
    if point is None and not isinstance(objective, Supervised):
        raise UsageError("point must be given with an objective that is no network")
    x = objective.point() if point is None else point.detach()  # pyright: ignore[reportAttributeAccessIssue]
    objective.check_finite(x)
    return x


def _has_layers(network: Supervised) -> bool:
    return any(p.ndim > 1 for p in network.placed.parameters)


def _shift(
    network: Supervised,
    test: Any,
    x: Tensor,
    sharpest: Tensor,
    sharpness: float,
    lines: int,
    seed: int,
) -> list[ShiftLine]:
    size = float(x.double().norm()) or 1.0
    ways = {"sharpest direction": sharpest}
    # As far as the loss rises by a tenth of a nat in second order, at most to as far as ‖θ‖ reaches.
    reach = {"sharpest direction": min(size, math.sqrt(0.2 / sharpness)) if sharpness > 0 else size}
    downhill = -gradient(network.on(test), x)
    ways["held-out loss downhill"] = downhill
    reach["held-out loss downhill"] = reach["sharpest direction"]
    generator = torch.Generator().manual_seed(seed)
    for place in range(lines if _has_layers(network) else 0):
        way = random_directions(network, x, generator=generator, count=1).axes[0].to(x)
        ways[f"random direction {place + 1}"] = way
        reach[f"random direction {place + 1}"] = REACH * (float(way.double().norm()) or 1.0)
    known = {n: w for n, w in ways.items() if 0 < float(w.double().norm()) < math.inf}
    return shift_test(network, test, x, known, reach=reach)


def _notes(slope: Tensor, measures: Mapping[str, Estimate]) -> list[str]:
    notes = []
    sharp, rate = measures.get("lambda_max"), float(slope.double().norm())
    if sharp is not None and sharp.value > 0:
        # What one Newton step along the gradient would gain, against the loss itself.
        gain = 0.5 * rate**2 / sharp.value
        if gain > 0.01 * abs(measures["loss"].value):
            notes.append(
                "the gradient is not small here: this is no minimum, and flatness says little of "
                "one that lies further down"
            )
    return notes
