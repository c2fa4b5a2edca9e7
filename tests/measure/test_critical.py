"""Critical points against those that are known, in closed form or by topology."""

import math

import pytest
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.measure.critical import Critical, critical_points
from thalweg.objective.landscapes import CATALOGUE, from_callable, rosenbrock, spiky

KINDS = ("minimum", "saddle", "maximum", "degenerate")


def counts(found: Critical) -> tuple[int, ...]:
    return tuple(len(found.of_kind(kind)) for kind in KINDS)


def himmelblau(points: Tensor) -> Tensor:
    x, y = points.unbind(-1)
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def test_himmelblau_has_four_minima_four_saddles_and_a_maximum() -> None:
    landscape = from_callable(himmelblau, 2, domain=((-6, 6), (-6, 6)))
    found = critical_points(landscape, starts=300)
    assert counts(found) == (4, 4, 1, 0)
    assert found.outside == found.nowhere == 0
    assert sum(point.starts for point in found.points) == 300
    best = min(found.points, key=lambda p: math.dist(p.point, (3, 2)))
    assert math.dist(best.point, (3, 2)) < 1e-12 and best.loss < 1e-20
    assert best.eigenvalues == pytest.approx(
        tuple(
            torch.linalg.eigvalsh(
                torch.tensor([[74.0, 20.0], [20.0, 34.0]], dtype=torch.float64)
            ).tolist()
        )
    )


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_what_the_catalogue_knows_is_found(name: str) -> None:
    landscape = CATALOGUE[name]()
    if landscape.dim > 4:
        pytest.skip("too many variables to find everything")
    found = critical_points(landscape, starts=600 if len(landscape.critical) < 100 else 2500)
    for known in landscape.critical:
        sides = zip(known.point, landscape.domain)
        if not known.smooth or not all(low < x < high for x, (low, high) in sides):
            continue
        near = [p for p in found.points if math.dist(p.point, known.point) < 1e-4]
        if known.kind == "degenerate" and not near:
            where = torch.tensor(known.point, dtype=torch.float64)
            near = [
                p
                for p in found.of_kind("degenerate")
                if not p.isolated
                and p.loss == pytest.approx(float(landscape.loss(where)), abs=1e-9)
            ]
        else:
            assert math.dist(near[0].point, known.point) < 1e-6 + near[0].error
        assert [p.kind for p in near] == [known.kind], f"{known} of {name}"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_of_a_spiky_function_every_minimum_is_found(seed: int) -> None:
    landscape = spiky(0.3, 20.0)
    found = critical_points(landscape, starts=1000, seed=seed)
    minima = [p for p in found.points if p.kind == "minimum"]
    assert sorted(p.point[0] for p in minima) == pytest.approx(
        sorted(x for (x,) in landscape.minima), abs=1e-12
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_minima_and_maxima_less_saddles_is_one_where_the_loss_grows_on_all_sides(seed: int) -> None:
    """Poincaré and Hopf: the gradient points outward on a large circle, so the indices add up to 1."""
    waves = torch.randn(6, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def function(points: Tensor) -> Tensor:
        return points.square().sum(-1) / 4 + torch.cos(points @ waves.T).sum(-1)

    found = critical_points(from_callable(function, 2, domain=((-20, 20), (-20, 20))), starts=1000)
    minima, saddles, maxima, degenerate = counts(found)
    assert degenerate == 0 and saddles > 1
    assert minima - saddles + maxima == 1


def test_index_counts_the_directions_down() -> None:
    signs = torch.tensor([-1.0, -1.0, 1.0, 3.0, -2.0])

    def function(points: Tensor) -> Tensor:
        return (points.square() * signs.to(points)).sum(-1)

    (point,) = critical_points(from_callable(function, 5), starts=20).points
    assert (point.kind, point.index) == ("saddle", 3)
    assert point.eigenvalues == pytest.approx((-4, -2, -2, 2, 6))


@pytest.mark.parametrize(
    ("function", "where", "index", "words"),
    [
        (lambda x, y: x**3 - 3 * x * y**2, (0.0, 0.0), 0, "rises and falls"),
        (lambda x, y: x**2 + (y - 0.7) ** 4, (0.0, 0.7), 0, "rises: a minimum"),
        (lambda x, y: -(x**2) + (y - 0.7) ** 4, (0.0, 0.7), 1, "rises and falls"),
        (lambda x, y: x**3 - 3 * x**2 + 3 * x + y**2, (1.0, 0.0), 0, "rises and falls"),
        (lambda x, y: -(x**4) - (y**2), (0.0, 0.0), 1, "falls: a maximum"),
    ],
    ids=["monkey saddle", "quartic", "quartic saddle", "inflection", "quartic maximum"],
)
def test_degenerate_points(function, where, index, words) -> None:
    landscape = from_callable(lambda p: function(*p.unbind(-1)), 2, domain=((-2, 3), (-2, 2)))
    (point,) = critical_points(landscape, starts=200).points
    assert point.kind == "degenerate" and point.isolated and words in point.decided
    assert math.dist(point.point, where) < max(1e-6, point.error) < 1e-4
    assert point.index == index


def test_a_nearly_degenerate_point_is_not_degenerate() -> None:
    landscape = from_callable(lambda p: p[..., 0] ** 2 + 1e-6 * p[..., 1] ** 2, 2)
    (point,) = critical_points(landscape, starts=50).points
    assert point.kind == "minimum" and point.eigenvalues == pytest.approx((2e-6, 2))


def test_a_continuum_is_told_once() -> None:
    ring = from_callable(lambda p: (p.square().sum(-1) - 1) ** 2, 2, domain=((-2, 2), (-2, 2)))
    found = critical_points(ring, starts=300)
    assert counts(found) == (0, 0, 1, 1)
    (valley,) = found.of_kind("degenerate")
    assert not valley.isolated and math.hypot(*valley.point) == pytest.approx(1)
    assert valley.starts + found.of_kind("maximum")[0].starts == 300


def test_starts_that_lead_nowhere_are_counted() -> None:
    found = critical_points(from_callable(lambda p: p.sum(-1), 2), starts=64)
    assert (found.points, found.nowhere, found.starts) == ((), 64, 64)
    away = from_callable(lambda p: ((p - 5) ** 2).sum(-1), 2)
    assert critical_points(away, starts=64).outside == 64
    assert critical_points(from_callable(lambda p: p.sum(-1).log(), 2), starts=64).points == ()


def test_same_seed_same_answer() -> None:
    found = [critical_points(rosenbrock(4), starts=100, seed=3) for _ in range(2)]
    assert found[0] == found[1] and found[0].cost > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"starts": 0}, "starts must be a whole number of 1 or more, not 0"),
        ({"seed": -1}, "seed must be"),
        ({"domain": [(0, 1)]}, "domain must be 2 pairs"),
        ({"domain": [(0, 1), (1, 1)]}, "domain must be 2 pairs"),
        ({"domain": [(0, 1), (0, math.inf)]}, "domain must be 2 pairs"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, message) -> None:
    with pytest.raises(UsageError, match=message):
        critical_points(rosenbrock(), **arguments)
