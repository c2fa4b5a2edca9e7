"""Eigenvalues against dense ones, their bounds against the truth, and what the process cannot know."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from problems import SPECTRA, Dense, Formula, Quadratic, network, symmetric, vectors
from thalweg.errors import UsageError
from thalweg.measure.curvature import Accurate, extreme_eigenvalues
from thalweg.measure.lanczos import Lanczos
from thalweg.measure.operators import Scaled
from thalweg.objective.derivatives import Hessian
from thalweg.objective.supervised import Supervised


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def start(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, generator=seeded(seed), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", sorted(SPECTRA))
def test_both_ends_lie_within_their_bounds(kind: str, dtype: torch.dtype) -> None:
    missed, undecided, ends = [], 0, 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        eigenvalues = SPECTRA[kind](rng, int(rng.choice([1, 2, 3, 5, 20, 60, 150])))
        matrix = symmetric(eigenvalues, seed)[0].to(dtype)
        true = torch.linalg.eigvalsh(matrix.double())
        found = extreme_eigenvalues(
            Dense(matrix), torch.zeros(1, dtype=dtype), budget=200, generator=seeded(seed)
        )
        undecided += not found.decided
        for end, truth in ((found.top[0], true[-1]), (found.bottom[0], true[0])):
            ends += 1
            if abs(end.value - float(truth)) > end.error:
                missed.append((seed, end, float(truth)))
    assert len(missed) <= 0.01 * ends, missed
    assert undecided == 0


@pytest.mark.parametrize("size", [2, 4, 8, 16, 32])
def test_the_bounds_hold_at_every_stage_of_the_process(size: int) -> None:
    """Early on a Ritz value's residual says nothing of the eigenvalues that are still unseen."""
    missed = ends = 0
    for kind in SPECTRA:
        for seed in range(20):
            eigenvalues = np.sort(SPECTRA[kind](np.random.default_rng(seed), 150))
            lanczos = Lanczos(Dense(torch.from_numpy(eigenvalues).diag()), start(150, seed), size)
            while not lanczos.full:
                lanczos.extend()
            values, errors, _ = lanczos.ritz()
            ends += 2
            missed += abs(values[0] - eigenvalues[0]) > errors[0]
            missed += abs(values[-1] - eigenvalues[-1]) > errors[-1]
    assert missed <= 0.01 * ends


@settings(max_examples=60)
@given(
    st.lists(st.floats(-10, 10), min_size=1, max_size=3),
    st.integers(0, 10_000),
    st.booleans(),
)
def test_matrices_of_one_to_three_rows_are_exact(
    eigenvalues: list[float], seed: int, upside_down: bool
) -> None:
    matrix, _ = symmetric(np.array(eigenvalues), seed)
    matrix = -matrix if upside_down else matrix
    true = torch.linalg.eigvalsh(matrix)
    found = extreme_eigenvalues(
        Dense(matrix), torch.zeros(1, dtype=torch.float64), rtol=1e-13, generator=seeded(seed)
    )
    size = 1e-12 * max(1.0, float(true.abs().max()))
    assert found.decided
    assert abs(found.top[0].value - float(true[-1])) <= size
    assert abs(found.bottom[0].value - float(true[0])) <= size


@settings(max_examples=40)
@given(st.lists(st.integers(-20, 20), min_size=4, max_size=40, unique=True), st.integers(0, 10_000))
def test_separate_eigenvalues_are_found_in_order_with_their_vectors(
    eigenvalues: list[int], seed: int
) -> None:
    matrix, basis = symmetric(np.array(eigenvalues, dtype=float), seed)
    order = np.argsort(eigenvalues)
    found = extreme_eigenvalues(
        Dense(matrix),
        torch.zeros(1, dtype=torch.float64),
        top=2,
        bottom=2,
        rtol=1e-6,
        generator=seeded(seed),
    )
    assert found.decided
    for i in range(2):
        for end, truth in (
            (found.top[i], eigenvalues[order[-1 - i]]),
            (found.bottom[i], eigenvalues[order[i]]),
        ):
            assert abs(end.value - truth) <= end.error + 1e-12
    for vector, column in ((found.top_vector, order[-1]), (found.bottom_vector, order[0])):
        assert abs(float(vector.norm()) - 1) < 1e-10
        along = float(vector @ torch.from_numpy(basis[:, column].copy()))
        assert abs(along) > 1 - 1e-4


def test_zero_is_zero_and_cannot_be_told_from_it() -> None:
    found = extreme_eigenvalues(Dense(torch.zeros(5, 5)), top=2, bottom=1)
    assert [e.value for e in found.top] == [0.0]  # equal eigenvalues are seen once
    assert found.bottom[0].value == 0 and found.bottom_is_zero and found.decided
    assert found.products == 1


def test_a_bottom_inside_its_bound_is_said_to_be_none() -> None:
    semi, _ = symmetric(np.r_[np.linspace(1, 2, 40), np.zeros(40)], 0)
    clear, _ = symmetric(np.r_[np.linspace(1, 2, 79), -0.1], 0)
    like = torch.zeros(1, dtype=torch.float64)
    assert extreme_eigenvalues(Dense(semi), like).bottom_is_zero
    assert not extreme_eigenvalues(Dense(clear), like).bottom_is_zero


def test_a_saddle_is_known_to_one_per_cent() -> None:
    eigenvalues = np.r_[10.0, 4.0, np.linspace(0, 1, 300), -0.3]
    matrix, _ = symmetric(eigenvalues, 3)
    found = extreme_eigenvalues(Dense(matrix), torch.zeros(1, dtype=torch.float64))
    assert found.decided
    assert abs(found.bottom[0].value / -0.3 - 1) < 0.01
    assert abs(found.top[0].value / 10 - 1) < 1e-3


def test_a_spent_budget_is_said() -> None:
    matrix, _ = symmetric(np.linspace(-1, 1, 400), 0)
    operator = Dense(matrix)
    like = torch.zeros(1, dtype=torch.float64)
    found = extreme_eigenvalues(operator, like, budget=5)
    assert not found.decided and found.products == 5 and operator.cost == 10
    assert abs(found.top[0].value - 1) <= found.top[0].error
    assert found.top[0].cost == 10 and found.bottom[0].cost == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
def test_what_is_not_finite_stays_so(value: float) -> None:
    """3e38 in single precision: the product is not finite."""
    operator = Dense(torch.full((6, 6), value))
    found = extreme_eigenvalues(operator, top=2, bottom=1)
    every = [*found.top, *found.bottom]
    assert len(every) == 3 and all(math.isnan(e.value) and math.isnan(e.error) for e in every)
    assert not found.decided and not found.bottom_is_zero
    assert sum(e.cost for e in every) == operator.cost


def test_lengths_whose_square_single_precision_does_not_hold_are_found() -> None:
    (top,) = extreme_eigenvalues(Dense(torch.full((6, 6), 1e30)), top=1, bottom=0).top
    assert abs(top.value - 6e30) <= top.error < 1e-4 * 6e30


class Diagonal:
    """A diagonal matrix of many rows, to be multiplied without storing it."""

    def __init__(self, entries: torch.Tensor) -> None:
        self.entries, self.dim, self.cost = entries, len(entries), 0.0

    def __matmul__(self, vectors: torch.Tensor, /) -> torch.Tensor:
        return vectors * self.entries


def test_millions_of_rows_in_single_precision_keep_their_bounds() -> None:
    """``a @ b`` and ``norm()`` are off by 1e-4 to 1e-3 there, which a basis does not stand."""
    entries = torch.rand(1_000_001, generator=seeded(1))
    entries[:4] = torch.tensor([40.0, 25.0, 10.0, -10.0])
    found = extreme_eigenvalues(Diagonal(entries), top=3, bottom=1, generator=seeded(0))
    for end, true in zip([*found.top, *found.bottom], (40.0, 25.0, 10.0, -10.0)):
        assert abs(end.value - true) <= end.error < 1e-3 * abs(true)


def test_noise_of_the_products_is_measured() -> None:
    """What is told stays true where products are off by 1e-3, which rounding alone does not explain."""
    rng = np.random.default_rng(0)
    matrix, _ = symmetric(np.r_[5.0, 3.0, 2.0, rng.uniform(-0.5, 0.5, 197)], 0)
    like, missed = torch.zeros(1, dtype=torch.float64), 0
    for seed in range(30):
        off = 1e-3 * torch.from_numpy(rng.normal(size=(200, 200))) / math.sqrt(200)
        found = extreme_eigenvalues(
            Dense(matrix + off), like, top=3, bottom=0, budget=60, generator=seeded(seed)
        )
        assert found.decided
        missed += sum(abs(e.value - true) > e.error for e, true in zip(found.top, (5.0, 3.0, 2.0)))
    assert missed <= 1  # of 90


def test_memory_bounds_the_basis() -> None:
    matrix, _ = symmetric(np.linspace(-1, 1, 200), 0)
    like = torch.zeros(1, dtype=torch.float64)
    found = extreme_eigenvalues(Dense(matrix), like, memory=11 * 200 * 8)
    assert found.products == 10 and not found.decided
    lanczos = Lanczos(Dense(matrix), start(200), 40)
    for size in range(1, 41):
        lanczos.extend()
        assert sum(len(block) for block in lanczos._blocks) < size + 16


def test_the_basis_is_orthonormal_though_the_arithmetic_is_not() -> None:
    matrix = symmetric(np.r_[1e4, np.logspace(-6, 0, 199)], 0)[0].float()
    lanczos = Lanczos(Dense(matrix), start(200).float(), 60)
    while not lanczos.full:
        lanczos.extend()
    basis = torch.stack([lanczos.combine(row) for row in np.eye(lanczos.size)]).double()
    assert float((basis @ basis.T - torch.eye(lanczos.size)).abs().max()) < 1e-5


def test_neighbours_at_the_edge_of_a_bulk_are_not_told_before_they_are_parted() -> None:
    """Where first-order bounds were taken, a tenth of these missed an eigenvalue between two others."""
    missed = 0
    for seed in range(40):
        bulk = np.random.default_rng(seed).uniform(-0.1, 0.3, 300)
        values = np.sort(np.r_[bulk, 1.0, 0.8, -0.5])
        found = extreme_eigenvalues(
            Dense(torch.from_numpy(values).diag()),
            torch.zeros(1, dtype=torch.float64),
            top=5,
            budget=300,
            generator=seeded(seed),
        )
        pairs = zip(found.top, values[::-1])
        missed += sum(abs(end.value - truth) > end.error + 1e-12 for end, truth in pairs)
    assert missed <= 4  # of 200


def test_equal_eigenvalues_are_seen_once() -> None:
    """The error of the second says nothing of that: rounding alone shows it, in the long run."""
    matrix = torch.from_numpy(np.r_[3.0, 3.0, 1.0, np.linspace(0, 0.3, 200)]).diag()
    like = torch.zeros(1, dtype=torch.float64)
    found = extreme_eigenvalues(Dense(matrix), like, top=2, bottom=0, rtol=0.01)
    assert abs(found.top[0].value - 3) < 1e-3 and abs(found.top[1].value - 1) < 1e-3


def test_a_rule_of_ones_own_stops_the_process() -> None:
    matrix, _ = symmetric(np.linspace(-1, 1, 100), 0)
    like = torch.zeros(1, dtype=torch.float64)
    found = extreme_eigenvalues(Dense(matrix), like, decided=lambda process: process.size == 7)
    assert found.products == 7 and found.decided


@pytest.mark.parametrize("outliers", [5, 10, 30])
def test_what_is_decided_is_seen_so_before_an_eighth_more_is_spent(outliers: int) -> None:
    """Few products part the neighbours of a few outliers, and their bounds fall at once."""

    def always(process: Lanczos) -> bool:
        return process.size >= 5 and Accurate(5, 0, 1e-3)(process)

    like = torch.zeros(1, dtype=torch.float64)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = np.r_[1 + 30 * rng.uniform(size=outliers) ** 2, 0.3 * rng.uniform(size=600) ** 4]
        matrix = torch.from_numpy(values).diag()
        told, least = (
            extreme_eigenvalues(
                Dense(matrix), like, top=5, bottom=0, decided=rule, generator=seeded(seed)
            ).products
            for rule in (None, always)
        )
        assert least <= told <= least * 9 / 8


def test_the_metric_of_a_preconditioned_descent() -> None:
    rng = np.random.default_rng(0)
    matrix, _ = symmetric(rng.normal(size=30), 0)
    metric = torch.from_numpy(rng.uniform(0, 4, 30))
    metric[:3] = 0  # coordinates that are never stepped
    scaled = Scaled(Dense(matrix), metric)
    block = vectors(4, 30)
    dense = metric.sqrt().diag() @ matrix @ metric.sqrt().diag()
    torch.testing.assert_close(scaled @ block, block @ dense)
    found = extreme_eigenvalues(scaled, torch.zeros(1, dtype=torch.float64), rtol=1e-8)
    true = torch.linalg.eigvals(metric.diag() @ matrix).real
    assert math.isclose(found.top[0].value, float(true.max()), rel_tol=1e-6)
    assert math.isclose(found.bottom[0].value, float(true.min()), rel_tol=1e-6)
    assert scaled.cost == scaled.operator.cost > 0


def test_an_objective_is_taken_by_its_hessian() -> None:
    matrix, _ = symmetric(np.linspace(-2, 5, 12), 0)
    point = start(12)
    found = extreme_eigenvalues(Quadratic(matrix), point, rtol=1e-9)
    assert math.isclose(found.top[0].value, 5, rel_tol=1e-8)
    assert math.isclose(found.bottom[0].value, -2, rel_tol=1e-8)
    assert found.top[0].cost == 2 * found.products + 1


def test_a_network_in_single_precision_keeps_its_bounds() -> None:
    x, y = vectors(64, 5), vectors(64, 3)
    exact = Supervised(network(), F.mse_loss, (x, y))
    single = Supervised(network().float(), F.mse_loss, (x.float(), y.float()))
    true = torch.linalg.eigvalsh(Hessian(exact, exact.point()).dense())
    found = extreme_eigenvalues(single, single.point(), top=3, bottom=1, rtol=1e-3)
    assert found.decided
    for end, truth in zip(found.top, true.flip(0)[:3]):
        assert abs(end.value - float(truth)) <= end.error
    assert abs(found.bottom[0].value - float(true[0])) <= found.bottom[0].error


@pytest.mark.parametrize("seed", range(3))
def test_a_network_that_fits_its_data_keeps_its_bounds_in_single_precision(seed: int) -> None:
    """1 − p of a class that is sure has lost most of its digits there, and the products with it."""
    model, x = network(seed=seed).float(), vectors(64, 5).float()
    y = x[:, :3].argmax(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(1000):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    exact = Supervised(copy.deepcopy(model).double(), F.cross_entropy, (x.double(), y))
    true = torch.linalg.eigvalsh(Hessian(exact, exact.point()).dense()).flip(0)
    single = Supervised(model, F.cross_entropy, (x, y))
    found = extreme_eigenvalues(single, single.point(), top=5, bottom=1, rtol=1e-6)
    assert exact.value(exact.point()) < 1e-3
    for end, truth in zip([*found.top, *found.bottom], [*true[:5], true[-1]]):
        assert abs(end.value - float(truth)) <= end.error < 1e-2 * float(true[0])


def test_same_seed_same_numbers() -> None:
    objective = Formula(6, lambda x: (x**4).sum(-1) + x.prod(-1))
    point = start(6)
    twice = [extreme_eigenvalues(objective, point, generator=seeded(3)) for _ in range(2)]
    assert twice[0].top == twice[1].top and twice[0].bottom == twice[1].bottom


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"budget": 0}, "budget must be a whole number of 1 or more, not 0"),
        ({"rtol": "a"}, "rtol must be a number above 0, not 'a'"),
        ({"rtol": 0}, "rtol must be a number above 0, not 0"),
        ({"point": [0.0]}, r"point must be a tensor of shape \(dim,\), not list"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        extreme_eigenvalues(Dense(torch.eye(2)), **asked)


@pytest.mark.parametrize("ends", [{"top": -1}, {"top": 1.5}, {"top": 0, "bottom": 0}])
def test_nothing_to_find_is_refused(ends: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="at least 0 and not both 0"):
        extreme_eigenvalues(Dense(torch.eye(2)), **ends)


def test_an_objective_needs_a_point() -> None:
    with pytest.raises(UsageError, match="point must be given"):
        extreme_eigenvalues(Quadratic(torch.eye(2)))
