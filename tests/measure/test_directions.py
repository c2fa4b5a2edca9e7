"""Directions against their definitions, computed another way."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.problems import Formula, Quadratic, classes, network, symmetric, vectors
from thalweg.errors import UsageError
from thalweg.measure.directions import (
    Flat,
    eigen_directions,
    gradient_directions,
    normalised_directions,
    path_directions,
    random_directions,
    through,
)
from thalweg.objective.supervised import Supervised


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def convolutional() -> Supervised:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)
        ).eval()
    return Supervised(model, cross_entropy, (vectors(8, 1, 3, 3).float(), classes(8)))


def pieces(objective: Supervised, vector: Tensor) -> list[Tensor]:
    return objective.placed.split(vector)


def test_each_filter_moves_by_its_own_norm_and_biases_and_batchnorm_stay() -> None:
    objective = convolutional()
    flat = random_directions(objective, objective.point(), generator=generator())
    for axis in flat.axes:
        for own, piece in zip(objective.placed.parameters, pieces(objective, axis)):
            if own.ndim == 1:
                assert not piece.any()
            else:
                expected = own.detach().double().flatten(1).norm(dim=1)
                assert torch.allclose(piece.flatten(1).norm(dim=1), expected)
    assert flat.lengths[0] == pytest.approx(flat.lengths[1])
    assert 45 < flat.angle < 135


def test_layers_and_the_whole_have_their_norms() -> None:
    objective = convolutional()
    point = objective.point()
    layered = random_directions(objective, point, generator=generator(), normalised="layer")
    first = pieces(objective, layered.axes[0])[0]
    assert float(first.norm()) == pytest.approx(
        float(objective.placed.parameters[0].detach().norm())
    )
    whole = random_directions(objective, point, generator=generator(), normalised="whole")
    assert whole.lengths == pytest.approx([float(point.norm())] * 2)


def test_rescaling_layers_moves_the_plane_with_them() -> None:
    """Of a ReLU network without biases: scaled up and down, it has the same surface."""
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))
    data = (vectors(10, 4), classes(10))
    objective = Supervised(model.double(), cross_entropy, data)
    one = objective.point()
    two = torch.cat([10 * one[:24], one[24:] / 10])
    coordinates = torch.tensor([[0.5, -0.3], [1.0, 1.0]])
    losses = [
        objective.loss(random_directions(objective, p, generator=generator()).at(coordinates))
        for p in (one, two)
    ]
    assert torch.allclose(losses[0], losses[1])


def test_eigenvectors_are_those_of_the_dense_matrix() -> None:
    matrix, _ = symmetric(np.array([9.0, 5.0, 2.0, 1.0, -6.0, 0.5]), seed=1)
    flat = eigen_directions(Quadratic(matrix), torch.zeros(6, dtype=torch.float64), rtol=1e-6)
    _, exact = np.linalg.eigh(matrix.numpy())
    for axis, expected in zip(flat.axes.numpy(), (exact[:, -1], exact[:, -2])):
        assert abs(axis @ expected) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "spectrum",
    [
        [5.0, 0, 0, 0, 0],
        [5.0, 5, 1, 1, 1],
        [5.0, -1, -2, -0.5, -0.4, 0, 0, 0, 0, 0],
        [-1.0, -2, -3, -4, -5],
        [2.0, -2],
    ],
    ids=["flat beside one", "two equal", "saddle", "maximum", "plane"],
)
def test_the_second_eigenvector_is_at_right_angles_and_has_the_next_curvature(
    spectrum: list[float],
) -> None:
    matrix = torch.diag(torch.tensor(spectrum).double())  # rounding parts no equal ones
    flat = eigen_directions(Quadratic(matrix), torch.zeros(len(spectrum)).double())
    assert flat.angle == pytest.approx(90, abs=1e-6) and flat.lengths == pytest.approx((1, 1))
    found = [float(axis @ matrix @ axis) for axis in flat.axes]
    assert found == pytest.approx(sorted(spectrum)[:-3:-1], abs=1e-6)


def test_the_eigenvectors_say_their_curvatures() -> None:
    flat = eigen_directions(Quadratic(torch.diag(torch.tensor([4.0, 0, 0]))), torch.zeros(3))
    assert flat.kind == "eigenvectors of the largest curvature, 4 and 0"


def silent(fill: float = 0.0) -> Supervised:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    for p in model.parameters():
        nn.init.constant_(p, 0.0 if p.ndim > 1 else fill)
    return Supervised(model, cross_entropy, (vectors(8, 4), classes(8, 2)))


def test_filters_that_all_are_0_give_directions_of_length_1_and_say_so() -> None:
    of = silent(0.5)
    flat = random_directions(of, of.point(), generator=generator())
    assert flat.lengths == pytest.approx((1, 1)) and 20 < flat.angle < 160
    assert flat.kind.startswith("random directions of length 1, as no filter has a norm above 0")
    for own, piece in zip(of.placed.parameters, pieces(of, flat.axes[0])):
        assert bool(piece.all()) == (own.ndim > 1)
    assert not normalised_directions(of, of.point(), generator=generator()).any()


def test_one_filter_of_0_stays() -> None:
    of = convolutional()
    point = of.point()
    point[:4] = 0
    flat = random_directions(of, point, generator=generator())
    assert not flat.axes[:, :4].any() and flat.axes[:, 4:12].all()
    assert flat.kind == "random directions, filter-normalised"


def test_along_the_gradient_the_loss_falls_and_the_other_axis_is_at_right_angles() -> None:
    objective = Formula(3, lambda p: (p**2).sum(-1))
    point = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    flat = gradient_directions(objective, point, generator=generator())
    assert torch.allclose(flat.axes[0], -point / point.norm())
    assert flat.angle == pytest.approx(90) and flat.lengths == pytest.approx((1, 1))
    with pytest.raises(UsageError, match="vanishes"):
        gradient_directions(objective, torch.zeros(3).double(), generator=generator())


def test_components_of_a_path_hold_a_path_in_a_plane_whole() -> None:
    corner = vectors(2, 30)
    weights = torch.tensor([[0.0, 3.0], [1, 1], [0.5, 0.2], [0, 0]], dtype=torch.float64)
    path = weights @ corner + vectors(1, 30, seed=3)
    flat = path_directions(path)
    assert flat.share(path) == pytest.approx(1)
    assert flat.angle == pytest.approx(90)
    at = flat.coordinates(path)
    assert torch.allclose(flat.at(at), path)
    assert float(at.abs().amax(0).max()) == pytest.approx(1 / 1.1)
    assert torch.allclose(at[-1], torch.zeros(2).double(), atol=1e-12)


def test_components_are_those_of_numpy_and_hold_what_they_hold() -> None:
    path = vectors(12, 40).cumsum(0)
    flat = path_directions(path)
    _, _, exact = np.linalg.svd((path - path[-1]).numpy(), full_matrices=False)
    for axis, expected in zip(flat.axes.numpy(), exact):
        assert abs(axis @ expected) == pytest.approx(np.linalg.norm(axis))
    moves = path.diff(dim=0).numpy()
    inside = moves @ exact[:2].T
    assert flat.share(path) == pytest.approx((inside**2).sum() / (moves**2).sum())


def test_three_points_have_barycentric_coordinates() -> None:
    points = list(vectors(3, 9))
    flat = through(points)
    assert torch.allclose(flat.coordinates(torch.stack(points)), torch.eye(3)[:, 1:].double())
    assert torch.allclose(
        flat.at(torch.tensor([0.25, 0.25])), 0.5 * points[0] + 0.25 * (points[1] + points[2])
    )
    line = through(points[:2])
    assert torch.allclose(line.at(torch.tensor([1.0])), points[1])


def test_a_point_off_the_plane_is_projected_at_right_angles() -> None:
    flat = through(list(vectors(3, 9)))
    point = vectors(1, 9, seed=7)[0]
    away = point - flat.at(flat.coordinates(point))
    assert float((flat.axes @ away).abs().max()) < 1e-12


def no_filters() -> Flat:
    return random_directions(Quadratic(torch.eye(3)), torch.ones(3), generator=generator())


def unknown() -> Flat:
    of = convolutional()
    return random_directions(of, of.point(), generator=generator(), normalised="unit")


def three_axes() -> Flat:
    return eigen_directions(Quadratic(torch.eye(3)), torch.ones(3), count=3)


def along(slope: float) -> Flat:
    of = Formula(3, lambda x: slope * x.sum(-1))
    return gradient_directions(of, torch.zeros(3), generator=generator())


lost = torch.tensor([0.0, torch.nan, 1.0])


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (no_filters, "must be whole for Quadratic"),
        (unknown, "must be one of filter"),
        (three_axes, "count must be 1"),
        (lambda: through([torch.ones(3)]), "two or three, not 1"),
        (lambda: through([k * torch.ones(3) for k in range(3)]), "vanish or be parallel"),
        (lambda: through([torch.ones(3)] * 2), "the axis to point 2 must not vanish$"),
        (lambda: through([torch.ones(3)] * 3), "must not vanish or be parallel"),
        (lambda: eigen_directions(Quadratic(torch.eye(1)), torch.ones(1)), "count must be 1"),
        (lambda: path_directions(torch.ones(2, 5)), "more than 2"),
        (lambda: eigen_directions(Quadratic(torch.eye(3)), lost), "NaN or infinity in 1 of 3"),
        (lambda: along(torch.nan), "gradient for a line along it, but it is not finite"),
        (lambda: along(0.0), "but it vanishes"),
        (lambda: path_directions(torch.arange(4.0)[:, None] * torch.ones(5)), "lie in fewer"),
        (lambda: Flat(torch.zeros(3), torch.full((1, 3), torch.nan), ("a",), ""), "be finite"),
    ],
    ids=[
        *(
            "no filters",
            "unknown",
            "three",
            "one point",
            "on a line",
            "no line",
            "no plane",
            "one",
            "short",
            "lost",
            "no slope",
        ),
        *("level", "straight", "nan"),
    ],
)
def test_what_makes_no_plane_is_refused(make: Callable[[], Flat], rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        make()


def test_the_network_is_left_alone() -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    objective = Supervised(model, cross_entropy, (vectors(6, 5), classes(6)))
    eigen_directions(objective, objective.point())
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before))
