"""The path of a run: closed forms on quadratics, gradients by plain torch on a network."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.problems import (
    Quadratic,
    classes,
    half_square,
    least_squares,
    network,
    symmetric,
    vectors,
)
from thalweg.errors import UsageError
from thalweg.measure import least_convexity, path
from thalweg.objective.supervised import Supervised


def descent(matrix: Tensor, centre: Tensor, rate: float, steps: int) -> dict[int, Tensor]:
    x = vectors(1, len(matrix), seed=5)[0]
    points = {}
    for step in range(steps):
        points[step] = x
        x = x - rate * (x - centre) @ matrix
    return points


def convex(dim: int, seed: int) -> tuple[Tensor, Tensor]:
    values = np.random.default_rng(seed).uniform(0.2, 3, dim)
    return symmetric(values, seed)[0], vectors(1, dim, seed=seed + 1)[0]


@settings(max_examples=8, deadline=None)
@given(dim=st.integers(2, 12), seed=st.integers(0, 1000))
def test_a_quadratic_gives_its_closed_forms(dim: int, seed: int) -> None:
    matrix, centre = convex(dim, seed)
    points = descent(matrix, centre, 0.1, 6)
    found = path(Quadratic(matrix, centre), points, rates=0.1)
    last = points[5]
    for w in found.waypoints:
        x = points[w.step]
        slope, onward = matrix @ (x - centre), last - x
        assert w.inner.value == pytest.approx(float(-slope @ onward), rel=1e-12, abs=1e-12)
        assert w.gradient_norm.value == pytest.approx(float(slope.norm()))
        assert w.from_end.value == pytest.approx(float(onward.norm()))
        assert w.from_start.value == pytest.approx(float((x - points[0]).norm()))
        if w.step < 5:
            cosine = float(-slope @ onward / slope.norm() / onward.norm())
            assert w.cosine.value == pytest.approx(cosine)
            assert w.convexity.value == pytest.approx(float(-slope @ onward / (onward @ onward)))
        else:
            assert math.isnan(w.cosine.value) and math.isnan(w.convexity.value)
    assert found.curvature is not None
    assert found.curvature.value == pytest.approx(
        float(torch.linalg.eigvalsh(matrix)[-1]), rel=0.02
    )
    assert found.ball is None  # no noise was measured


def test_from_the_minimum_c_lies_between_the_ends_of_the_spectrum() -> None:
    matrix, centre = convex(8, 3)
    points = descent(matrix, centre, 0.2, 10)
    found = path(Quadratic(matrix, centre), points, end=centre, curvature=False)
    values = torch.linalg.eigvalsh(matrix)
    assert len(found.before_the_end) == 10 and found.end_gradient.value == 0
    for w in found.waypoints:
        assert values[0] - 1e-9 <= w.convexity.value <= values[-1] + 1e-9
    assert found.positive_from() == 0
    assert found.least().convexity.value == min(w.convexity.value for w in found.waypoints)


def test_a_path_that_leaves_a_maximum_points_back_to_it() -> None:
    matrix, centre = convex(3, 1)
    points = {0: centre + 1, 1: centre + 2, 2: centre + 4}
    found = path(Quadratic(matrix, centre), points, curvature=False)
    assert found.positive_from() is None and found.least().convexity.value < 0


@pytest.mark.parametrize("dim", [2, 30])
def test_the_neighbourhood_of_a_quadratic_has_the_mean_of_its_centre(dim: int) -> None:
    matrix, centre = convex(dim, 2)
    points = descent(matrix, centre, 0.1, 4)
    found = path(Quadratic(matrix, centre), points, neighbours=300, radius=0.5, curvature=False)
    for w in found.before_the_end:
        near = w.neighbourhood
        assert near is not None and near.draws == 300
        assert abs(near.mean.value - w.inner.value) < 4 * near.mean.error
        # w − x fills a ball: the product moves by (w − x)ᵀH(x_T − x), of variance r²‖Hd‖²/(d + 2).
        lever = float((matrix @ (points[3] - points[w.step])).norm())
        spread = near.mean.error * math.sqrt(300)
        assert spread == pytest.approx(0.5 * lever / math.sqrt(dim + 2), rel=0.15)
        assert w.inner.value - 0.5 * lever <= near.low < near.high <= w.inner.value + 0.5 * lever
    assert found.cost == 4 + 3 * 300


def test_noise_and_ball_of_least_squares_are_those_of_theory() -> None:
    model, x, y = least_squares(40, 6)
    objective = Supervised(model, half_square, (x, y))
    matrix = x.T @ x / 40
    best = torch.linalg.solve(matrix, x.T @ y / 40)[:, 0]
    rate = 0.02
    points = {
        step: best + vectors(1, 6, seed=step)[0] * size
        for step, size in enumerate((2.0, 1.0, 0.5, 0.4))
    }
    found = path(
        objective, points, end=best, batch_size=5, rates=rate, batches=250, smoothed=250, seed=1
    )
    for w in found.waypoints:
        theta = points[w.step]
        each = (x @ theta - y[:, 0])[:, None] * x
        centred = each - each.mean(0)
        variance = float(centred.square().sum()) / 39 * (1 / 5 - 1 / 40)
        assert w.noise_square is not None and w.noise is not None and w.stochastic is not None
        assert abs(w.noise_square.value - variance) < 4 * w.noise_square.error
        assert w.noise.low <= math.sqrt(w.noise_square.value) <= w.noise.high
        assert w.epoch == pytest.approx(w.step * 5 / 40)
        # The mean of ∇f(y − ηω) is ∇f(y) on a quadratic.
        after = theta - rate * each.mean(0)
        exact = float((matrix @ (after - best)) @ (after - best))
        assert w.smoothed is not None and w.smoothed_convexity is not None
        assert abs(w.smoothed.value - exact) < 4 * w.smoothed.error + 1e-9
        square = float((after - best).square().sum())
        assert w.smoothed_convexity.value == pytest.approx(w.smoothed.value / square)
    ball = found.ball
    assert ball is not None and ball.points == 2
    late = found.waypoints[2:]
    c, r = min(w.convexity.value for w in late), max(w.noise.high for w in late if w.noise)
    top = float(torch.linalg.eigvalsh(matrix)[-1])
    assert ball.bounds.smoothness == pytest.approx(top, rel=0.02)
    smooth = ball.bounds.smoothness
    shrink = 2 * rate * c - (rate * smooth) ** 2
    assert ball.radius == pytest.approx(rate * r * (1 + rate * smooth) / math.sqrt(shrink))
    assert ball.mean_radius < ball.radius
    distances = [float((points[step] - best).norm()) for step in (2, 3)]
    assert ball.kept == pytest.approx(math.sqrt(sum(d * d for d in distances) / 2))
    assert ball.rate_limit == pytest.approx(2 * c / smooth**2)


def test_a_rate_that_is_too_large_has_no_ball() -> None:
    model, x, y = least_squares(40, 3)
    points = {0: vectors(1, 3)[0], 1: vectors(1, 3)[0] / 2, 2: torch.zeros(3).double()}
    found = path(Supervised(model, half_square, (x, y)), points, batch_size=4, rates=50.0)
    assert found.ball is not None and math.isinf(found.ball.radius)
    told = found.ball.to_dict()
    assert told["radius"] is None and told["learning_rate"] == 50


def test_a_network_agrees_with_plain_torch() -> None:
    model, x, y = network(), vectors(30, 5), classes(30)
    weights = list(model.parameters())
    points: dict[int, Tensor] = {}
    slopes: dict[int, Tensor] = {}
    for step in range(12):
        slope = torch.autograd.grad(cross_entropy(model(x), y), weights)
        if step % 4 == 3:
            points[step] = torch.cat([p.detach().flatten() for p in weights])
            slopes[step] = torch.cat([s.flatten() for s in slope])
        with torch.no_grad():
            for p, s in zip(weights, slope):
                p -= 0.3 * s
    found = path(Supervised(model, cross_entropy, (x, y)), points, curvature=False)
    for w in found.waypoints:
        expected = float(-slopes[w.step] @ (points[11] - points[w.step]))
        assert w.inner.value == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_sample_of_the_data_states_an_error_that_covers_the_truth() -> None:
    model, x, y = network(), vectors(400, 5), classes(400)
    whole = Supervised(model, cross_entropy, (x, y))
    points = {0: whole.point(), 1: whole.point() + 0.3 * vectors(1, whole.dim)[0]}
    (truth, _) = path(whole, points, batch_size=10, smoothed=0, curvature=False).waypoints
    assert truth.inner.error == truth.loss.error == truth.gradient_norm.error == 0
    away: dict[str, list[float]] = {"inner": [], "loss": [], "gradient_norm": []}
    some = whole.data
    for seed in range(30):
        some = whole.data.subsample(100, torch.Generator().manual_seed(seed))
        sampled = path(
            whole.on(some), points, batch_size=10, smoothed=0, curvature=False, seed=seed
        )
        for name, found in away.items():
            seen, true = (getattr(w, name) for w in (sampled.waypoints[0], truth))
            found.append((seen.value - true.value) / seen.error)
    for name, found in away.items():
        assert 0.65 < float(np.sqrt(np.mean(np.square(found)))) < 1.45, name
    unknown = path(whole.on(some), points, batch_size=10, batches=0, curvature=False)
    assert math.isinf(unknown.waypoints[0].inner.error)


def test_points_are_asked_for_one_at_a_time_and_numbers_repeat() -> None:
    class Loaded(Mapping[int, Tensor]):
        def __getitem__(self, step: int) -> Tensor:
            return torch.full((2,), 1.0 / (step + 1), dtype=torch.float64)

        def __iter__(self) -> Iterator[int]:
            return iter((9, 0, 3))

        def __len__(self) -> int:
            return 3

    objective = Quadratic(torch.eye(2, dtype=torch.float64))
    one, other = (path(objective, Loaded(), neighbours=5, seed=4) for _ in range(2))
    assert one == other or one.to_dict() == other.to_dict()
    assert [w.step for w in one.waypoints] == [0, 3, 9]
    table = one.table()
    assert table["step"].tolist() == [0, 3, 9] and math.isnan(table["convexity"][-1])
    assert table["neighbourhood_low"][0] < table["neighbourhood_mean"][0]


def test_the_least_over_runs_is_by_step() -> None:
    matrix, centre = convex(4, 7)
    paths = [
        path(
            Quadratic(matrix, centre + seed),
            descent(matrix, centre, 0.1, 4 + seed),
            curvature=False,
        )
        for seed in range(3)
    ]
    least = least_convexity(paths)
    assert list(least) == [0, 1, 2]
    for step, (inner, constant) in least.items():
        ways = [next(w for w in each.waypoints if w.step == step) for each in paths]
        assert inner.value == min(w.inner.value for w in ways)
        assert constant.value == min(w.convexity.value for w in ways)


@pytest.mark.parametrize(
    ("given_points", "options", "message"),
    [
        ({}, {}, "points must hold a point"),
        ({0: torch.zeros(3).double()}, {}, "shape"),
        ({0: torch.zeros(2).double()}, {"batch_size": 3}, "batch_size must be left out"),
        ({0: torch.zeros(2).double()}, {"neighbours": -1}, "neighbours must be a whole number"),
        ({0: torch.zeros(2).double()}, {"radius": 0.0}, "radius must be a number above 0"),
    ],
)
def test_mistakes_are_said(given_points: dict, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        path(Quadratic(torch.eye(2, dtype=torch.float64)), given_points, **options)
    with pytest.raises(UsageError, match="paths must hold a run"):
        least_convexity([])
