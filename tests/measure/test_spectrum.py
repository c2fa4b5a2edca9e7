"""The whole spectrum: against dense matrices, at saddles, in chunks, with attention, by its intervals."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import Dense, Formula, Quadratic, classes, network, redrawn, symmetric, vectors
from thalweg.errors import UsageError
from thalweg.measure.spectrum import Spectrum, spectrum
from thalweg.objective.derivatives import Hessian
from thalweg.objective.gauss_newton import GaussNewton
from thalweg.objective.supervised import Supervised

LIKE = torch.zeros(1, dtype=torch.float64)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small() -> tuple[Supervised, Tensor]:
    model = redrawn(nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 6)).double())
    objective = Supervised(model, F.cross_entropy, (vectors(40, 5), classes(40, 6)))
    return objective, objective.point()


@pytest.mark.parametrize("matrix", ["hessian", "gauss-newton"])
def test_of_a_network_it_is_that_of_the_dense_matrix(matrix: str) -> None:
    objective, point = small()
    kind = Hessian if matrix == "hessian" else GaussNewton
    true = torch.linalg.eigvalsh(kind(objective, point) @ torch.eye(objective.dim).double())
    found = spectrum(objective, point, matrix=matrix, top=4, bottom=2, rtol=0.5)
    assert found.matrix == matrix and found.dim == objective.dim == 150
    for i, end in enumerate(found.top):
        assert abs(end.value - float(true[-1 - i])) <= end.error <= 2e-3 * float(true[-1])
    for i, end in enumerate(found.bottom):
        assert abs(end.value - float(true[i])) <= end.error <= 2e-3 * float(true[-1])
    size = true.abs()
    for estimate, truth in (
        (found.trace, true.sum()),
        (found.negative, size[true < 0].sum() / size.sum()),
        (found.effective_rank, size.sum() ** 2 / (true**2).sum()),
        (found.mean_size, size.mean()),
    ):
        assert abs(estimate.value - float(truth)) <= 3 * estimate.error + 1e-9
    assert found.products <= 400 and found.cost >= 2 * found.products


def test_a_small_matrix_is_known_whole() -> None:
    eigenvalues = np.r_[-1.5, np.linspace(0, 2, 19)]
    objective = Quadratic(symmetric(eigenvalues, 0)[0])
    found = spectrum(objective, torch.zeros(20).double(), top=3, bottom=2)
    assert [e.value for e in found.top] == pytest.approx(np.sort(eigenvalues)[::-1][:3].tolist())
    assert [e.value for e in found.bottom] == pytest.approx(np.sort(eigenvalues)[:2].tolist())
    assert found.trace.value == pytest.approx(eigenvalues.sum())
    assert found.negative.value == pytest.approx(1.5 / np.abs(eigenvalues).sum())
    assert found.negative.error == 0 and found.decided and found.products == 20
    assert found.density.error.value == 0


def test_an_eigenvalue_that_comes_many_times_counts_many_times() -> None:
    eigenvalues = np.r_[np.full(30, 2.0), np.zeros(170)]
    found = spectrum(Dense(symmetric(eigenvalues, 0)[0]), LIKE)
    assert found.trace.value == pytest.approx(60, abs=3 * found.trace.error + 1e-6)
    assert found.effective_rank.value == pytest.approx(30, abs=2 * found.effective_rank.error)
    assert found.negative.value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("times", [1, 2, 4])
def test_equal_eigenvalues_at_the_ends_are_told_as_often_as_they_are_there(times: int) -> None:
    bulk = np.random.default_rng(times).uniform(-0.1, 0.3, 300)
    values = np.sort(np.concatenate([[-1.0] * times, [-0.5, -0.45], bulk, [1.0] * times, [0.8]]))
    operator = Dense(torch.diag(torch.from_numpy(values)))
    found = spectrum(operator, LIKE, top=4, bottom=4, budget=600, generator=seeded(times))
    for ends, truth in ((found.top, values[::-1]), (found.bottom, values)):
        for end, value in zip(ends, truth[:4], strict=True):
            assert abs(end.value - value) <= end.error + 1e-9 <= 1e-2


def test_the_smallest_eigenvalue_at_a_saddle_is_right_to_one_percent() -> None:
    """A network shrunk towards the saddle at 0: its positive curvature is large beside it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 10), nn.Tanh(), nn.Linear(10, 4)).double()
    x, y = 3 + vectors(60, 8), classes(60, 4)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.05)
    objective = Supervised(model, F.cross_entropy, (x, y))
    point = objective.point()
    true = torch.linalg.eigvalsh(Hessian(objective, point).dense())
    found = spectrum(objective, point, rtol=0.2)
    assert float(true[0]) < -0.01 < 0.1 < float(true[-1])
    assert found.bottom[0].value == pytest.approx(float(true[0]), rel=0.01)
    assert found.negative.value - 2 * found.negative.error > 0


@pytest.mark.parametrize("matrix", ["hessian", "gauss-newton"])
def test_in_chunks_without_a_kept_graph_it_is_the_same(matrix: str) -> None:
    model, data = network(), (vectors(90, 5), classes(90))
    whole = Supervised(model, F.cross_entropy, data)
    parts = Supervised(model, F.cross_entropy, data, memory=8_000)
    assert parts.chunk <= 30 and not Hessian(parts, parts.point()).kept
    one, other = (
        spectrum(o, o.point(), matrix=matrix, rtol=0.5, generator=seeded(0)) for o in (whole, parts)
    )
    for a, b in zip((*one.top, *one.bottom), (*other.top, *other.bottom), strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-6, abs=1e-9)
    if matrix == "gauss-newton":
        assert one.trace.value == pytest.approx(other.trace.value, rel=1e-6)
    assert one.mean_size.value == pytest.approx(other.mean_size.value, rel=1e-6)


class Transformer(nn.Module):
    """One block whose attention is torch's fused kernel, which has no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.last = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in self.mix(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.last((x + mixed.transpose(1, 2).flatten(2)).mean(1))


def test_a_transformer_needs_nothing_special() -> None:
    model = redrawn(Transformer())
    data = (vectors(12, 5, 8).float(), classes(12))
    objective = Supervised(model, F.cross_entropy, data)
    found = spectrum(objective, objective.point(), rtol=0.2)
    double = Supervised(
        redrawn(Transformer().double()), F.cross_entropy, (vectors(12, 5, 8), data[1])
    )
    true = torch.linalg.eigvalsh(Hessian(double, double.point()).dense())
    assert Hessian(objective, objective.point()).exact
    assert found.top[0].value == pytest.approx(float(true[-1]), rel=2e-3)
    assert found.bottom[0].value == pytest.approx(float(true[0]), rel=1e-2)
    assert abs(found.trace.value - float(true.sum())) <= 3 * found.trace.error


def test_intervals_hold_in_nine_of_ten_of_two_hundred_draws() -> None:
    eigenvalues = np.sort(np.r_[np.linspace(-0.2, 0.3, 95), 5, 3, 2, -1, 8])
    operator = Dense(symmetric(eigenvalues, 0)[0])
    size = np.abs(eigenvalues)
    truth = {
        "trace": eigenvalues.sum(),
        "negative": size[eigenvalues < 0].sum() / size.sum(),
        "effective_rank": size.sum() ** 2 / (size**2).sum(),
        "mean_size": size.mean(),
    }
    held = dict.fromkeys([*truth, "top", "bottom"], 0)
    for seed in range(200):
        found = spectrum(operator, LIKE, top=2, budget=60, probes=3, generator=seeded(seed))
        for name, value in truth.items():
            estimate = getattr(found, name)
            held[name] += abs(estimate.value - value) <= 1.96 * estimate.error
        held["top"] += abs(found.top[1].value - eigenvalues[-2]) <= found.top[1].error
        held["bottom"] += abs(found.bottom[0].value - eigenvalues[0]) <= found.bottom[0].error
    assert min(held.values()) >= 180, held


def test_the_same_seed_gives_the_same_numbers() -> None:
    objective, point = small()
    first, second = (
        spectrum(objective, point, budget=60, generator=seeded(3)).to_dict() for _ in range(2)
    )
    assert first == second
    assert json.loads(json.dumps(first, allow_nan=False)) == first


def test_what_is_not_finite_stays_so() -> None:
    for dim in (3, 100):
        broken = Formula(dim, lambda x: (x * x).sum(-1) * math.nan)
        found = spectrum(broken, torch.zeros(dim).double())
        assert math.isnan(found.trace.value) and math.isnan(found.top[0].value)
        assert not found.decided
        assert json.dumps(found.to_dict(), allow_nan=False)


def test_where_the_point_is_not_finite_nothing_is_known() -> None:
    found = spectrum(Quadratic(torch.eye(3).double()), torch.tensor([0, math.nan, 0]).double())
    assert math.isnan(found.trace.value) and not found.decided
    assert found.to_dict()["density"]["error"] is None


def test_without_curvature_all_is_zero() -> None:
    found = spectrum(Formula(80, lambda x: x.sum(-1)), torch.zeros(80).double())
    assert found.top[0].value == found.trace.value == found.negative.value == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0, "bottom": 0}, "top and bottom must be at least 0 and not both 0"),
        ({"probes": 0}, "probes must be a whole number of 1 or more, not 0"),
        ({"budget": 1.5}, "budget must be a whole number of 2 or more, not 1.5"),
        ({"rtol": 0.0}, "rtol must be a number above 0"),
        ({"matrix": "fisher"}, "matrix must be one of hessian, gauss-newton, not 'fisher'"),
    ],
)
def test_mistakes_are_one_sentence(options: dict[str, Any], message: str) -> None:
    objective, point = small()
    with pytest.raises(UsageError, match=message):
        spectrum(objective, point, **options)


def test_progress_is_told() -> None:
    told: list[str] = []
    objective, point = small()
    assert isinstance(spectrum(objective, point, budget=40, progress=told.append), Spectrum)
    assert told == ["extreme eigenvalues", "density", "trace"]
