"""Sketches: unbiased, off by what they say, the same for everybody, and small in memory."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.record.sketch import ROWS, FoldSketch

DIM, SIZE, DRAWS = 2000, 101, 1000


def vectors(count: int, dim: int = DIM) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    common = torch.randn(dim, generator=generator)
    scales = torch.linspace(0.1, 3, dim)  # layers of unlike size
    return scales * (0.7 * common + torch.randn(count, dim, generator=generator))


def draws(points: Tensor) -> list[tuple[FoldSketch, Tensor]]:
    sketches = [FoldSketch(points.shape[1], SIZE, seed) for seed in range(DRAWS)]
    return [(s, torch.stack([s.sketch(point) for point in points])) for s in sketches]


def test_numbers_agree_with_the_exact_ones_within_the_stated_error_over_a_thousand_draws() -> None:
    x, y = vectors(2)
    exact = {
        "inner": float(x @ y),
        "distance": float((x - y).norm()),
        "norm": float(x.norm()),
        "cosine": float(x @ y / x.norm() / y.norm()),
    }
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in exact}
    for sketch, (a, b) in draws(torch.stack([x, y])):
        for name in ("inner", "distance", "cosine"):
            estimate = getattr(sketch, name)(a, b)
            told[name].append((estimate.value, estimate.error))
        told["norm"].append((sketch.norm(a).value, sketch.norm(a).error))
    for name, pairs in told.items():
        values, errors = np.array(pairs).T
        z = (values - exact[name]) / errors
        # 3 standard errors of the mean and of a share of 0.954 over a thousand draws.
        assert abs(z.mean()) < 0.15, name
        assert 0.93 < (abs(z) < 2).mean() < 0.98, name
        assert 0.9 < values.std() / errors.mean() < 1.1, name


def path(dim: int = DIM) -> Tensor:
    """Twelve points whose principal components have variances of 16 : 4 : 1 and some noise."""
    generator = torch.Generator().manual_seed(8)
    time = torch.linspace(0, 2 * math.pi, 12)
    waves = torch.stack([4 * time.cos(), 2 * (2 * time).cos(), (3 * time).cos()], 1)
    basis = torch.linalg.qr(torch.randn(dim, 3, generator=generator))[0]
    return waves @ basis.T + 0.1 / math.sqrt(dim) * torch.randn(12, dim, generator=generator)


def test_the_pca_of_sketches_is_that_of_the_path_within_the_stated_error() -> None:
    points = path()
    exact = FoldSketch(DIM, DIM).pca(points, 2)
    centred = (points - points.mean(0)).double()
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(abs(exact.coordinates), abs(left[:, :2] * values[:2]), atol=1e-6)
    shares = (values**2 / (values**2).sum()).numpy()
    z, turns, angles = [], [], []
    for sketch, rows in draws(points):
        seen = sketch.pca(rows, 2)
        z.append([(s.value - shares[i]) / s.error for i, s in enumerate(seen.shares)])
        unit = seen.coordinates / np.linalg.norm(seen.coordinates, axis=0)
        turns.append(np.sqrt(1 - (unit * left[:, :2].numpy()).sum(0) ** 2))
        angles.append(seen.angles)
    assert ((abs(np.array(z)) < 2).mean(0) > 0.93).all()
    rms = np.sqrt((np.array(turns) ** 2).mean(0))
    np.testing.assert_allclose(rms, np.mean(angles, 0), rtol=0.15)
    assert exact.angles == (0.0, 0.0) and all(share.error == 0 for share in exact.shares)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**64 - 1))
def test_a_sketch_is_linear_and_knows_no_parts(dim: int, size: int, seed: int) -> None:
    x, y = torch.arange(dim) + 1.0, torch.ones(dim)
    sketch = FoldSketch(dim, size, seed)
    torch.testing.assert_close(
        sketch.sketch(2 * x - y), 2 * sketch.sketch(x) - sketch.sketch(y), rtol=1e-5, atol=1e-4
    )
    parts = [x[: dim // 3], x[dim // 3 :].reshape(1, -1)]
    assert torch.equal(sketch.sketch(parts), sketch.sketch(x))
    if dim <= size:
        assert sketch.exact and torch.equal(sketch.sketch(x), x)
        assert sketch.inner(x, y).error == sketch.distance(x, y).error == 0


@pytest.mark.parametrize("dim", [SIZE + 1, ROWS * SIZE, 3 * ROWS * SIZE + 50])
def test_signs_that_are_kept_and_signs_that_are_drawn_anew_are_the_same(dim: int) -> None:
    x = torch.randn(dim, generator=torch.Generator().manual_seed(0))
    kept, drawn = FoldSketch(dim, SIZE), FoldSketch(dim, SIZE, kept=0)
    assert torch.equal(kept.sketch(x), drawn.sketch(x))
    assert not torch.equal(kept.sketch(x), FoldSketch(dim, SIZE, seed=1).sketch(x))
    dense = torch.stack([kept.sketch(row) for row in torch.eye(dim)[:300]])
    assert (abs(dense).sum(1) == 1).all() and ((dense != 0).nonzero()[:, 1] % SIZE).tolist() == [
        i % SIZE for i in range(len(dense))
    ]
    assert 0.3 < (dense.sum(1) > 0).float().mean() < 0.7


def test_a_long_vector_is_sketched_in_chunks() -> None:
    """What is allocated is a chunk and the sketch, whatever the length."""
    dim = 10_000_000
    x = torch.ones(1).expand(dim)  # one number in memory
    sketch = FoldSketch(dim, kept=0)
    with torch.profiler.profile(profile_memory=True) as profile:
        sketch.sketch(list(x.split(1_234_567)))
    events = profile.events()
    assert events is not None
    largest = max((event.cpu_memory_usage for event in events), default=0)
    assert 0 < largest < 40e6 / 10


def test_precisions_are_sketched_in_single() -> None:
    x = vectors(1)[0]
    sketch = FoldSketch(DIM, SIZE)
    for kind in (torch.float64, torch.bfloat16):
        assert torch.equal(sketch.sketch(x.to(kind)), sketch.sketch(x.to(kind).float()))


def test_wrong_use_is_one_sentence() -> None:
    sketch = FoldSketch(DIM, SIZE)
    with pytest.raises(UsageError, match="must hold 2000 numbers, not 3"):
        sketch.sketch(torch.zeros(3))
    with pytest.raises(UsageError, match=r"must have 101 numbers, not shape \(3,\)"):
        sketch.inner(torch.zeros(3), torch.zeros(SIZE))
    with pytest.raises(UsageError, match="2 points or more"):
        sketch.pca(torch.zeros(1, SIZE))
    for dim, size, seed in ((0, 1, 0), (1, 0, 0), (1, 1, -1)):
        with pytest.raises(UsageError):
            FoldSketch(dim, size, seed)
