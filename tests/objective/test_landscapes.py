"""Landscapes: what they state about themselves against derivatives, and the laws of shapes."""

import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective import landscapes
from thalweg.objective.landscape import CriticalPoint, Landscape


def hessian_of(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return torch.func.jacrev(torch.func.jacrev(function))


MEMBERS = [
    *((name, make()) for name, make in landscapes.CATALOGUE.items()),
    ("bowl", landscapes.quadratic((0.5, 2.0, 30.0))),
    ("ridge", landscapes.quadratic((-0.5, -2.0))),
    ("valley", landscapes.quadratic((1.0, 0.0))),
    ("one well", landscapes.double_well(tilt=0.5)),
    ("high barrier", landscapes.double_well(tilt=-0.2, barrier=2.0)),
    ("inverted spikes", landscapes.spiky(-0.2, 13.0)),
    ("smooth", landscapes.spiky(0.001, 20.0)),
    ("rosenbrock 5", landscapes.rosenbrock(5)),
    ("narrow", landscapes.bounded_saddle(3.0)),
]
every_landscape = pytest.mark.parametrize(
    "landscape", [member for _, member in MEMBERS], ids=[name for name, _ in MEMBERS]
)


@every_landscape
def test_critical_points_are_critical_and_of_the_kind_stated(landscape: Landscape) -> None:
    assert landscape.critical
    for known in landscape.critical:
        point = torch.tensor(known.point, dtype=torch.float64)
        slope = torch.func.grad(landscape.loss)(point)
        hessian = hessian_of(landscape.loss)(point)
        scale = 1 + hessian.abs().max()
        assert slope.norm() <= 1e-12 * scale
        values = torch.linalg.eigvalsh(hessian)
        zero = 1e-9 * scale
        if (values.abs() < zero).any():
            kind = "degenerate"
        elif (values > 0).all():
            kind = "minimum"
        else:
            kind = "maximum" if (values < 0).all() else "saddle"
        assert known.kind == kind


@every_landscape
def test_stated_smoothness_bounds_the_curvature_and_is_reached(landscape: Landscape) -> None:
    if landscape.smoothness is None:
        return
    points = landscape.start(torch.Generator().manual_seed(0), 20_000)
    if landscape.dim > 1:  # quadratics: the same everywhere
        points = points[:2]
    else:
        points = torch.cat([points, torch.linspace(-0.5, 0.5, 20_001).double()[:, None]])
    hessians = torch.func.vmap(hessian_of(landscape.loss))(points)
    largest = torch.linalg.eigvalsh(hessians).abs().max()
    assert largest <= landscape.smoothness * (1 + 1e-12)
    assert largest >= landscape.smoothness * (1 - 1e-4)


@every_landscape
def test_leading_dimensions_are_trials(landscape: Landscape) -> None:
    points = landscape.start(torch.Generator().manual_seed(1), 12)
    losses = landscape.loss(points)
    assert losses.shape == (12,)
    single = torch.stack([landscape.loss(point) for point in points])
    torch.testing.assert_close(single, losses, rtol=1e-14, atol=1e-14)
    grid = landscape.loss(points.reshape(3, 4, landscape.dim))
    torch.testing.assert_close(grid, losses.reshape(3, 4), rtol=1e-14, atol=1e-14)
    assert landscape.loss(points.new_zeros(0, landscape.dim)).shape == (0,)


@every_landscape
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_dtype_is_that_of_the_points(landscape: Landscape, dtype: torch.dtype) -> None:
    assert landscape.loss(torch.ones(2, landscape.dim, dtype=dtype)).dtype == dtype


@every_landscape
def test_starts_are_seeded_and_inside_the_domain(landscape: Landscape) -> None:
    first, again = (landscape.start(torch.Generator().manual_seed(3), 50) for _ in range(2))
    assert torch.equal(first, again)
    for value, (low, high) in zip(first.T, landscape.domain):
        assert low <= value.min() and value.max() <= high


@every_landscape
def test_a_landscape_can_be_sent_to_another_process(landscape: Landscape) -> None:
    points = landscape.start(torch.Generator().manual_seed(4), 5)
    twin = pickle.loads(pickle.dumps(landscape))
    assert torch.equal(twin.loss(points), landscape.loss(points))


def test_spiky_lists_every_critical_point() -> None:
    landscape = landscapes.spiky()
    grid = torch.linspace(-3, 3, 600_002, dtype=torch.float64)
    slope = 2 * grid - 6 * torch.sin(20 * grid)
    changes = int((slope[1:].sign() * slope[:-1].sign() < 0).sum())
    assert len(landscape.critical) == changes
    assert len(landscape.minima) == len(landscape.critical) - len(landscape.minima) + 1


def test_values_that_are_known() -> None:
    def at(landscape: Landscape, *point: float) -> float:
        return float(landscape.loss(torch.tensor(point, dtype=torch.float64)))

    assert at(landscapes.saddle(), 2.0, 3.0) == -5.0
    assert at(landscapes.rosenbrock(), 0.0, 0.0) == 1.0
    assert at(landscapes.rosenbrock(), -1.0, 2.0) == 104.0
    assert at(landscapes.spiky(), 0.0) == 0.3
    assert at(landscapes.monkey_saddle(), 1.0, 2.0) == -11.0
    assert at(landscapes.bounded_saddle(0.5), 0.0, 1.0) == -0.5
    assert at(landscapes.quadratic((2.0, 4.0)), 1.0, 2.0) == 9.0
    left, right = landscapes.double_well(tilt=0.1).minima
    depth = at(landscapes.double_well(tilt=0.1), *right) - at(landscapes.double_well(0.1), *left)
    assert depth == pytest.approx(0.2, rel=0.02)


@given(
    st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=5),
    st.integers(0, 9),
)
def test_the_gradient_of_a_quadratic_is_its_eigenvalues_times_the_point(
    eigenvalues: list[float], seed: int
) -> None:
    landscape = landscapes.quadratic(eigenvalues)
    point = torch.randn(
        landscape.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    slope = torch.func.grad(landscape.loss)(point)
    torch.testing.assert_close(slope, torch.tensor(eigenvalues).double() * point)


def test_any_callable_serves() -> None:
    landscape = landscapes.from_callable(
        lambda x: x.abs().sum(-1), 2, critical=[CriticalPoint((0.0, 0.0), "minimum")]
    )
    assert landscape.loss(torch.tensor([[1.0, -2.0], [0.0, 0.0]])).tolist() == [3.0, 0.0]
    assert landscape.minima == ((0.0, 0.0),)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: landscapes.quadratic(()), "eigenvalues"),
        (lambda: landscapes.quadratic((1.0, float("nan"))), "eigenvalues"),
        (lambda: landscapes.rosenbrock(1), "dim must be 2"),
        (lambda: landscapes.bounded_saddle(0.0), "wall"),
        (lambda: landscapes.double_well(barrier=-1.0), "barrier"),
        (lambda: landscapes.spiky(frequency=0.0), "frequency"),
        (lambda: landscapes.from_callable(3, 1), "function must be callable"),
        (lambda: landscapes.from_callable(torch.sum, 0), "dim must be"),
        (lambda: landscapes.from_callable(torch.sum, 2, domain=[(1, 0)]), "domain"),
        (
            lambda: landscapes.from_callable(torch.sum, 2, critical=[CriticalPoint((0,), "x")]),
            "critical",
        ),
        (lambda: landscapes.saddle().loss(torch.zeros(3)), r"\(\.\.\., 2\)"),
        (lambda: landscapes.from_callable(torch.sum, 2).loss(torch.zeros(4, 2)), r"\(4,\)"),
    ],
)
def test_wrong_use_is_one_sentence(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        wrong()
