"""Barriers and curves against closed forms: quadratics, wells, two-layer linear networks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.problems import Formula, Quadratic, half_square, redrawn, symmetric, vectors
from thalweg.errors import UsageError
from thalweg.measure import bezier_path, connect_points, interpolation
from thalweg.measure.connectivity import bezier
from thalweg.objective.supervised import Supervised


def wells(points: torch.Tensor) -> torch.Tensor:
    """(x² − 1)² + y²: minima at ±1, a barrier of 1 on the line."""
    return (points[..., 0] ** 2 - 1) ** 2 + points[..., 1] ** 2


def ring(points: torch.Tensor) -> torch.Tensor:
    """(‖x‖² − 1)²: every point of a circle is a minimum, and the line through the middle is not."""
    return (points.square().sum(-1) - 1) ** 2


LEFT = torch.tensor([-1.0, 0.0], dtype=torch.float64)
RIGHT = -LEFT


def test_the_barrier_between_wells() -> None:
    found = interpolation(Formula(2, wells), LEFT, RIGHT)
    assert found.barrier.value == pytest.approx(1.0, abs=1e-12)
    assert found.barrier_at == 0.5 and found.length == pytest.approx(2.0)
    assert found.at[0] == 0 and found.at[-1] == 1 and sorted(found.at) == list(found.at)
    assert found.losses[len(found.at) // 2] == pytest.approx(1.0)


def test_a_narrow_wall_is_told_with_its_error() -> None:
    def wall(points: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(((points[..., 0] - 0.41) / 0.05) ** 2))

    coarse = interpolation(Formula(2, wall), 0 * LEFT, RIGHT, count=11)
    assert coarse.barrier.value <= 1.0
    assert abs(coarse.barrier.value - 1.0) <= 3 * coarse.barrier.error + 0.02
    assert coarse.barrier.error > 0


@given(st.integers(0, 40))
def test_a_convex_loss_has_no_barrier(seed: int) -> None:
    matrix, _ = symmetric(vectors(4, seed=seed).abs().numpy(), seed)
    found = interpolation(Quadratic(matrix), vectors(4, seed=seed), vectors(4, seed=seed + 99))
    assert found.barrier.value == 0


def test_a_barrier_that_is_not_finite_stays_so() -> None:
    def wall(points: torch.Tensor) -> torch.Tensor:
        return torch.where(points[..., 0].abs() < 0.2, torch.inf, points[..., 0] ** 2)

    found = interpolation(Formula(2, wall), LEFT, RIGHT)
    assert found.barrier.value == math.inf
    assert None in found.to_dict()["losses"]


def test_a_curve_goes_around() -> None:
    """The circle cannot be left on one side; a parabola comes close to it."""
    valley = Formula(2, ring)
    straight = interpolation(valley, LEFT, RIGHT)
    bend = bezier_path(valley, LEFT, RIGHT, steps=600, rate=0.05)
    curved = interpolation(valley, LEFT, RIGHT, control=bend.control)
    assert straight.barrier.value == pytest.approx(1.0)
    assert curved.barrier.value < 0.25
    assert bend.control[0].abs() < 0.2 and bend.control[1].abs() > 1
    assert curved.length > straight.length and bend.cost == 600


def test_the_control_point_is_the_best_one() -> None:
    """E f(φ(t)) over t by a fine sum, over all heights of a control point above the middle."""
    valley = Formula(2, ring)
    t = (torch.arange(400, dtype=torch.float64)[:, None] + 0.5) / 400
    heights = torch.linspace(0.5, 3, 501, dtype=torch.float64)
    means = [
        float(valley.loss((1 - t) ** 2 * LEFT + 2 * t * (1 - t) * c + t**2 * RIGHT).mean())
        for c in (torch.tensor([0.0, float(h)], dtype=torch.float64) for h in heights)
    ]
    best = float(heights[torch.tensor(means).argmin()])
    bend = bezier_path(valley, LEFT, RIGHT, steps=800, rate=0.05)
    assert abs(float(bend.control[1])) == pytest.approx(best, abs=0.03)


@settings(max_examples=20)
@given(st.floats(0.0, 1.0), st.integers(0, 20))
def test_a_straight_curve_is_the_line(t: float, seed: int) -> None:
    a, b = vectors(3, seed=seed), vectors(3, seed=seed + 30)
    assert torch.allclose(bezier(a, (a + b) / 2, b, t), torch.lerp(a, b, t))


def deep_linear(inputs: torch.Tensor, targets: torch.Tensor) -> Supervised:
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False)).double()
    return Supervised(redrawn(model), half_square, (inputs, targets))


def test_two_minima_of_a_two_layer_linear_network() -> None:
    """(W, v) and (−W, −v) are one function; half way lies the zero network, whose loss is ½ E y²."""
    inputs = vectors(40, 3)
    wanted = vectors(3, 1, seed=9)
    loss = deep_linear(inputs, inputs @ wanted)
    first = torch.cat(
        [torch.stack([wanted[:, 0], 0 * wanted[:, 0]]).reshape(-1), wanted.new_tensor([1.0, 0])]
    )
    assert loss.value(first) == pytest.approx(0.0, abs=1e-20)
    found = interpolation(loss, first, -first)
    half = 0.5 * float((inputs @ wanted).square().mean())
    assert found.barrier.value == pytest.approx(half)
    for t, value in zip(found.at, found.losses, strict=True):
        assert value == pytest.approx(half * (1 - (1 - 2 * t) ** 2) ** 2, abs=1e-12)
    bend = bezier_path(loss, first, -first, steps=400, batch_size=None, seed=3)
    curved = interpolation(loss, first, -first, control=bend.control)
    assert curved.barrier.value < 0.2 * half


def test_held_out_losses_are_taken_beside() -> None:
    inputs = vectors(40, 3)
    loss = deep_linear(inputs, inputs @ vectors(3, 1, seed=9))
    test = vectors(10, 3, seed=4), vectors(10, 1, seed=5)
    a, b = loss.point(), -loss.point()
    found = interpolation(loss, a, b, test=test, count=3)
    assert len(found.test_losses) == len(found.at)
    expected = loss.on(test).value(torch.lerp(a, b, found.at[1]))
    assert found.test_losses[1] == pytest.approx(expected)


def test_the_same_seed_gives_the_same_curve() -> None:
    inputs = vectors(40, 3)
    loss = deep_linear(inputs, inputs @ vectors(3, 1, seed=9))
    a, b = loss.point(), -loss.point()
    one, other, third = (
        bezier_path(loss, a, b, steps=20, batch_size=8, seed=seed).control for seed in (1, 1, 2)
    )
    assert torch.equal(one, other) and not torch.equal(one, third)


def test_ends_of_another_precision_are_taken_in_that_of_the_network() -> None:
    inputs = vectors(40, 3)
    loss = deep_linear(inputs, inputs @ vectors(3, 1, seed=9))
    a, b = loss.point(), (-loss.point()).float()
    whole = interpolation(loss, a, b.double(), count=5).losses
    assert interpolation(loss, a, b, count=5).losses == whole
    back = interpolation(loss, b, a, count=5).losses
    assert (back[0], back[-1]) == pytest.approx((whole[-1], whole[0]), rel=1e-12)
    assert bezier_path(loss, b, a, steps=3).control.dtype == torch.float64
    plane = interpolation(Formula(2, wells), LEFT, RIGHT.float(), count=5)
    assert plane.losses == pytest.approx(
        interpolation(Formula(2, wells), LEFT, RIGHT, count=5).losses
    )
    assert connect_points(loss, a, b, steps=2, count=3).ways["line"].losses[0] == whole[0]


@pytest.mark.parametrize(
    ("how", "rule"),
    [
        ({"batch_size": -3}, "batch_size must be a whole number of 1 or more, not -3"),
        ({"batch_size": 0}, "batch_size must be a whole number of 1 or more, not 0"),
        ({"rate": -1.0}, r"rate must be a number above 0, not -1\.0"),
        ({"rate": "fast"}, "rate must be a number above 0, not 'fast'"),
    ],
    ids=["below 0", "none", "rate", "text"],
)
def test_a_curve_that_cannot_be_trained_is_refused(how: dict, rule: str) -> None:
    inputs = vectors(40, 3)
    loss = deep_linear(inputs, inputs @ vectors(3, 1, seed=9))
    with pytest.raises(UsageError, match=rule):
        bezier_path(loss, loss.point(), -loss.point(), steps=2, **how)


def test_mistakes_are_one_sentence() -> None:
    plane = Formula(2, wells)
    with pytest.raises(UsageError, match="count must be a whole number of 3 or more, not 2"):
        interpolation(plane, LEFT, RIGHT, count=2)
    with pytest.raises(UsageError, match="points must have shape"):
        interpolation(plane, LEFT, RIGHT[:1])
    with pytest.raises(UsageError, match="steps must be a whole number of 1 or more, not 0"):
        bezier_path(plane, LEFT, RIGHT, steps=0)
