"""Landscapes: what they state about themselves against derivatives, and the laws of shapes."""

import itertools
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective import landscapes
from thalweg.objective.formula import Formula
from thalweg.objective.landscape import CriticalPoint, Landscape


def hessians_of(landscape: Landscape, points: Tensor) -> Tensor:
    return torch.func.vmap(torch.func.jacrev(torch.func.jacrev(landscape.loss)))(points)


def gradients_of(landscape: Landscape, points: Tensor) -> Tensor:
    points = points.clone().requires_grad_()
    return torch.autograd.grad(landscape.loss(points).sum(), points)[0]


def tensor(*points: tuple[float, ...]) -> Tensor:
    return torch.tensor(points, dtype=torch.float64)


MEMBERS = [
    *((name, make()) for name, make in landscapes.CATALOGUE.items()),
    ("bowl", landscapes.quadratic((0.5, 2.0, 30.0))),
    ("ridge", landscapes.quadratic((-0.5, -2.0))),
    ("valley", landscapes.quadratic((1.0, 0.0))),
    ("one well", landscapes.double_well(tilt=0.5)),
    ("high barrier", landscapes.double_well(tilt=-0.2, barrier=2.0)),
    ("inverted spikes", landscapes.spiky(-0.2, 13.0)),
    ("smooth", landscapes.spiky(0.001, 20.0)),
    ("overlapping pits", landscapes.gaussian_spikes((0.1, 0.2, -1.0), 0.3, 0.07)),
    ("flat at 0", landscapes.modulated(-0.5, 9.0)),
    ("low triangles", landscapes.triangle_spikes(0.02, 15.0)),
    ("clamped spline", landscapes.spline((-1, 0, 2, 3), (1, 0, 2, 1), (3.0, -4.0))),
    ("rosenbrock 5", landscapes.rosenbrock(5)),
    ("rastrigin 1", landscapes.rastrigin(1, 2.0)),
    ("styblinski-tang 3", landscapes.styblinski_tang(3)),
    ("full factorization", landscapes.matrix_factorization((3.0, 2.0, 0.5), 2)),
    ("narrow", landscapes.bounded_saddle(3.0)),
    ("one example", landscapes.finite_sum().example(1)),
    ("one row", landscapes.least_squares().example(3)),
]
every_landscape = pytest.mark.parametrize(
    "landscape", [member for _, member in MEMBERS], ids=[name for name, _ in MEMBERS]
)


@every_landscape
def test_critical_points_are_critical_and_of_the_kind_stated(landscape: Landscape) -> None:
    smooth = [known for known in landscape.critical if known.smooth]
    if not smooth:
        assert landscape.critical or landscape.name.startswith("example")
        return
    points = tensor(*(known.point for known in smooth))
    hessians = hessians_of(landscape, points)
    scale = 1 + hessians.abs().amax()
    assert (gradients_of(landscape, points).norm(dim=-1) <= 1e-12 * scale).all()
    for known, eigenvalues in zip(smooth, torch.linalg.eigvalsh(hessians)):
        if (eigenvalues.abs() < 1e-9 * scale).any():
            kind = "degenerate"
        elif (eigenvalues > 0).all():
            kind = "minimum"
        else:
            kind = "maximum" if (eigenvalues < 0).all() else "saddle"
        assert known.kind == kind
        stated = torch.tensor(known.curvatures, dtype=torch.float64)
        torch.testing.assert_close(stated, eigenvalues, rtol=1e-9, atol=1e-9 * float(scale))


@every_landscape
def test_kinks_are_extremes_from_all_sides(landscape: Landscape) -> None:
    for known in landscape.critical:
        if not known.smooth:
            around = tensor(known.point) + 1e-6 * torch.randn(
                100, landscape.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
            )
            rise = landscape.loss(around) - landscape.loss(tensor(known.point))
            assert (rise > 0).all() if known.kind == "minimum" else (rise < 0).all()
            assert gradients_of(landscape, around).norm(dim=-1).min() > 1e-3


@every_landscape
def test_stated_smoothness_bounds_the_curvature_and_is_reached(landscape: Landscape) -> None:
    stated = landscape.smoothness or landscape.domain_smoothness
    if stated is None:
        return
    points = landscape.start(torch.Generator().manual_seed(0), 4_000)
    corners = tensor(*itertools.islice(itertools.product(*landscape.domain), 64))
    points = torch.cat([points, corners])
    if landscape.dim == 1:
        low, high = landscape.domain[0]
        points = torch.cat([points, torch.linspace(low, high, 40_001).double()[:, None]])
        points = points.clamp(low, high)
    largest = torch.linalg.eigvalsh(hessians_of(landscape, points)).abs().max()
    assert largest <= stated * (1 + 1e-12)
    assert largest >= stated * (1 - 1e-3)


@every_landscape
def test_gradients_differ_by_no_more_than_smoothness_allows(landscape: Landscape) -> None:
    stated = landscape.smoothness or landscape.domain_smoothness
    if stated is None:
        return
    reach = 3.0 if landscape.smoothness else 1.0
    first, second = (
        reach * landscape.start(torch.Generator().manual_seed(seed), 2_000) for seed in (5, 6)
    )
    second = torch.where(torch.arange(2_000)[:, None] < 1_000, second, first + 1e-3 * second)
    if reach == 1.0:
        low, high = torch.tensor(landscape.domain, dtype=torch.float64).T
        second = second.clamp(low, high)
    rise = gradients_of(landscape, first) - gradients_of(landscape, second)
    assert (rise.norm(dim=-1) <= stated * (first - second).norm(dim=-1) * (1 + 1e-9) + 1e-9).all()


@every_landscape
def test_the_infimum_is_a_bound_and_is_reached(landscape: Landscape) -> None:
    if landscape.infimum is None:
        return
    points = landscape.start(torch.Generator().manual_seed(2), 5_000)
    wide = torch.cat([points, 10 * points])
    if landscape.infimum == -math.inf:
        assert landscape.loss(300 * points).min() < -1e3
        return
    slack = 1e-9 * (1 + abs(landscape.infimum))
    assert landscape.loss(wide).nan_to_num(math.inf).min() >= landscape.infimum - slack
    if landscape.critical:
        ends = landscape.loss(tensor(*(known.point for known in landscape.critical)))
        assert abs(float(ends.min()) - landscape.infimum) <= slack


@every_landscape
def test_on_a_line_every_critical_point_is_listed(landscape: Landscape) -> None:
    if landscape.dim > 1:
        return
    low, high = landscape.domain[0]
    grid = torch.linspace(low, high, 200_003, dtype=torch.float64)[:, None]
    slope = gradients_of(landscape, grid)[:, 0]
    changes = int((slope[1:].sign() * slope[:-1].sign() < 0).sum())
    assert len(landscape.critical) == changes or changes == 0
    assert list(landscape.critical) == sorted(landscape.critical, key=lambda known: known.point)


@pytest.mark.parametrize("name", ["himmelblau", "styblinski_tang", "rastrigin", "double_well"])
def test_kinds_add_up(name: str) -> None:
    """Where the gradient points outwards all around: minima − saddles + maxima = 1, or 1 and 0."""
    landscape = landscapes.get(name)
    kinds = [known.kind for known in landscape.critical]
    maxima = kinds.count("maximum") * (-1) ** landscape.dim
    assert kinds.count("minimum") - kinds.count("saddle") + maxima == 1


@pytest.mark.parametrize("name", ["himmelblau", "mueller_brown", "beale"])
def test_no_other_critical_point_is_found_from_many_starts(name: str) -> None:
    landscape = landscapes.get(name)
    points = landscape.start(torch.Generator().manual_seed(8), 400)
    low, high = torch.tensor(landscape.domain, dtype=torch.float64).T
    for _ in range(60):
        step = torch.linalg.solve(
            hessians_of(landscape, points), gradients_of(landscape, points)[..., None]
        )[..., 0]
        length = step.norm(dim=-1, keepdim=True)
        points = points - step * (0.3 / length).clamp(max=1.0)
        points = points.clamp(low, high)
    settled = points[gradients_of(landscape, points).norm(dim=-1) < 1e-6]
    assert len(settled) > 100
    distance = torch.cdist(settled, tensor(*(known.point for known in landscape.critical)))
    assert distance.amin(dim=1).max() < 1e-5
    assert len(set(distance.argmin(dim=1).tolist())) == len(landscape.critical)


@every_landscape
def test_the_formula_is_the_function(landscape: Landscape) -> None:
    if not landscape.formula:
        assert landscape.expression is None
        return
    formula = Formula.parse(landscape.formula)
    points = landscape.start(torch.Generator().manual_seed(9), 200)
    assert formula.dim == landscape.dim and formula == landscape.expression
    torch.testing.assert_close(formula(points), landscape.loss(points), rtol=1e-12, atol=1e-12)


@every_landscape
def test_leading_dimensions_are_trials(landscape: Landscape) -> None:
    points = landscape.start(torch.Generator().manual_seed(1), 12)
    losses = landscape.loss(points)
    assert losses.shape == (12,)
    single = torch.stack([landscape.loss(point) for point in points])
    torch.testing.assert_close(single, losses, rtol=1e-13, atol=1e-13)
    grid = landscape.loss(points.reshape(3, 4, landscape.dim))
    torch.testing.assert_close(grid, losses.reshape(3, 4), rtol=1e-13, atol=1e-13)
    assert landscape.loss(points.new_zeros(0, landscape.dim)).shape == (0,)


@every_landscape
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_dtype_is_that_of_the_points(landscape: Landscape, dtype: torch.dtype) -> None:
    assert landscape.loss(torch.ones(2, landscape.dim, dtype=dtype)).dtype == dtype


@every_landscape
def test_single_precision_is_as_good_as_it_can_be(landscape: Landscape) -> None:
    points = landscape.start(torch.Generator().manual_seed(4), 50).float()
    exact = landscape.loss(points.double())
    error = (landscape.loss(points).double() - exact).abs()
    assert (error <= 1e-4 * (1 + exact.abs().max())).all()


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
    assert len(landscape.minima) == 20 and len(landscape.critical) == 39
    assert len(landscape.minima) == len(landscape.critical) - len(landscape.minima) + 1


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [
        ("saddle", (2.0, 3.0), -5.0),
        ("rosenbrock", (0.0, 0.0), 1.0),
        ("rosenbrock", (-1.0, 2.0), 104.0),
        ("spiky", (0.0,), 0.3),
        ("monkey_saddle", (1.0, 2.0), -11.0),
        ("bounded_saddle", (0.0, 1.0), -0.5),
        ("quadratic", (1.0, 1.0), 5.5),
        ("himmelblau", (0.0, 0.0), 170.0),
        ("beale", (0.0, 0.0), 14.203125),
        ("rastrigin", (1.0, -2.0), 5.0),
        ("rastrigin", (0.5, 0.5), 40.5),
        ("ackley", (0.0, 0.0), 0.0),
        ("ackley", (1.0, 1.0), 3.6253849384403627),
        ("styblinski_tang", (-2.903534018185960, -2.903534018185960), -78.33233140754282),
        ("mueller_brown", (-0.5582236346, 1.4417258418), -146.6995172100),
        ("mueller_brown", (0.6234994049, 0.0280377585), -108.1667241169),
        ("mueller_brown", (-0.0500108230, 0.4666941049), -80.7678181297),
        ("mueller_brown", (-0.8220015587, 0.6243128028), -40.6648435087),
        ("local_and_global", (1.0,), -5 / 12),
        ("local_and_global", (-2.0,), -8 / 3),
        ("triangle_spikes", (0.0,), 0.3),
        ("triangle_spikes", (math.pi / 40,), (math.pi / 40) ** 2),
        ("triangle_spikes", (-math.pi / 20,), (math.pi / 20) ** 2 - 0.3),
        ("modulated", (math.pi / 20,), 0.2 * (math.pi / 20) ** 2),
        ("matrix_factorization", (math.sqrt(2), 0.0, math.sqrt(2), 0.0), 0.5),
        ("matrix_factorization", (0.0, 0.0, 0.0, 0.0), 2.5),
    ],
)
def test_values_that_are_known(name: str, point: tuple[float, ...], value: float) -> None:
    found = landscapes.get(name).loss(torch.tensor(point, dtype=torch.float64))
    assert float(found) == pytest.approx(value, rel=1e-11, abs=1e-11)


def test_the_local_minimum_is_truly_higher() -> None:
    for name in ("double_well", "local_and_global", "flat_and_sharp"):
        landscape = landscapes.get(name)
        losses = landscape.loss(tensor(*landscape.minima))
        assert len(losses) == 2 and (losses[0] - losses[1]).abs() > 0.05
        assert losses.min() == pytest.approx(landscape.infimum)


def test_the_flat_minimum_is_flatter_than_the_sharp_one() -> None:
    flat, _, sharp = landscapes.flat_and_sharp().critical
    assert 20 * flat.curvatures[0] < sharp.curvatures[0]


def test_condition_is_the_ratio_of_the_curvatures() -> None:
    curvatures = landscapes.ill_conditioned(7, 50.0).critical[0].curvatures
    assert curvatures[-1] / curvatures[0] == pytest.approx(50.0)
    assert len(curvatures) == 7


@settings(max_examples=20, deadline=None)
@given(st.floats(-2, 2), st.floats(0.5, 40), st.floats(0.5, 6))
def test_spiky_bowls_of_any_size_list_their_critical_points(
    amplitude: float, frequency: float, domain: float
) -> None:
    landscape = landscapes.spiky(amplitude, frequency, domain)
    grid = torch.linspace(-domain, domain, 50_002, dtype=torch.float64)[:, None]
    slope = gradients_of(landscape, grid)[:, 0]
    changes = int((slope[1:].sign() * slope[:-1].sign() < 0).sum())
    narrow = [b.point[0] - a.point[0] for a, b in itertools.pairwise(landscape.critical)]
    assert len(landscape.critical) == changes or min(narrow) < 1e-3
    if narrow and min(narrow) > 1e-3:
        assert landscape.loss(grid).min() >= (landscape.infimum or -math.inf) - 1e-12


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
        lambda x: x.abs().sum(-1), 2, critical=[CriticalPoint((0.0, 0.0), "minimum", smooth=False)]
    )
    assert landscape.loss(torch.tensor([[1.0, -2.0], [0.0, 0.0]])).tolist() == [3.0, 0.0]
    assert landscape.minima == ((0.0, 0.0),)


def test_any_formula_serves() -> None:
    landscape = landscapes.from_formula(" x**2\n- y**2 ")
    assert landscape.name == "x**2 - y**2" and landscape.domain == ((-3.0, 3.0),) * 2
    assert landscape.expression == Formula.parse("x**2 - y**2")
    points = torch.tensor([[2.0, 1.0]], requires_grad=True)
    landscape.loss(points).sum().backward()
    assert points.grad is not None and points.grad.tolist() == [[4.0, -2.0]]
    named = landscapes.from_formula("x", domain=[(0, 1)], name="line")
    assert (named.name, named.domain) == ("line", ((0, 1),))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: landscapes.quadratic(()), "eigenvalues"),
        (lambda: landscapes.quadratic((1.0, float("nan"))), "eigenvalues"),
        (lambda: landscapes.ill_conditioned(condition=0.5), "condition must be 1"),
        (lambda: landscapes.rosenbrock(1), "dim must be 2"),
        (lambda: landscapes.rosenbrock(2.5), "dim must be 2"),  # pyright: ignore[reportArgumentType]
        (lambda: landscapes.rastrigin(10**9), "dim must be 1"),
        (lambda: landscapes.rastrigin(10**5000), "thousands of digits"),
        (lambda: landscapes.bounded_saddle(0.0), "wall"),
        (lambda: landscapes.double_well(barrier=-1.0), "barrier"),
        (lambda: landscapes.spiky(frequency=0.0), "frequency"),
        (lambda: landscapes.spiky(frequency=1e9), "frequency times domain"),
        (lambda: landscapes.spiky(amplitude=math.inf), "amplitude must be a finite"),
        (lambda: landscapes.triangle_spikes(-1.0), "amplitude must be above 0"),
        (lambda: landscapes.gaussian_spikes(()), "centres"),
        (lambda: landscapes.gaussian_spikes(width=1e-9), "10000 widths"),
        (lambda: landscapes.flat_and_sharp(0.1, 0.6), "flat must be above sharp"),
        (lambda: landscapes.matrix_factorization((1.0, 2.0)), "singular_values"),
        (lambda: landscapes.matrix_factorization((1.0,), 2), "no fewer than rank"),
        (lambda: landscapes.from_callable(3, 1), "function must be callable"),  # pyright: ignore[reportArgumentType]
        (lambda: landscapes.from_callable(torch.sum, 0), "dim must be"),
        (lambda: landscapes.from_callable(torch.sum, 2, domain=[(1, 0)]), "domain"),
        (lambda: landscapes.from_formula("x*y", domain=[(0, 1)]), "domain must be 2 pairs"),
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
