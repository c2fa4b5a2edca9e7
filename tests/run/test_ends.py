"""Wilson's interval against SciPy's and against exact coverage; distances by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from thalweg.errors import UsageError
from thalweg.run.ends import Proportion, distances, rms_distance, within


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts: tuple[int, int]) -> None:
    found = Proportion(*counts).interval
    peer = stats.binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert found == pytest.approx((peer.low, peer.high), rel=1e-9, abs=1e-12)
    assert 0 <= found[0] <= Proportion(*counts).value <= found[1] <= 1


@pytest.mark.parametrize("trials", [40, 200])
def test_the_interval_covers_the_true_share_as_often_as_it_says(trials: int) -> None:
    ends = np.array([Proportion(k, trials).interval for k in range(trials + 1)])
    coverage = [
        stats.binom.pmf(np.arange(trials + 1), trials, p)[
            (ends[:, 0] <= p) & (p <= ends[:, 1])
        ].sum()
        for p in np.linspace(0.02, 0.98, 97)
    ]
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.01) and min(coverage) > 0.85


def test_distances_and_shares() -> None:
    points = np.array([[3.0, 4.0], [0.0, 0.5], [0.0, 0.0], [9.0, 0.0]])
    np.testing.assert_allclose(distances(points, (0, 0)), [5, 0.5, 0, 9])
    shares = within(points, (0, 0), (0.5, 5), diverged=np.array([False, False, True, False]))
    assert {r: s.successes for r, s in shares.items()} == {0.5: 1, 5: 2}
    assert shares[5].trials == 4
    with pytest.raises(UsageError, match="2 coordinates"):
        within(points, (0,), (1,))


def test_the_error_of_the_rms_is_its_spread_over_samples() -> None:
    generator = np.random.default_rng(0)
    values = [rms_distance(generator.normal(size=(400, 3)), (0, 0, 0)) for _ in range(500)]
    found, errors = np.array(values).T
    assert found.mean() == pytest.approx(np.sqrt(3), rel=0.005)
    assert errors.mean() == pytest.approx(found.std(), rel=0.1)
    assert np.isnan(rms_distance(np.zeros((0, 1)), (0,))[0])


@pytest.mark.parametrize("counts", [(1, 0), (-1, 3), (4, 3)])
def test_a_share_is_one(counts: tuple[int, int]) -> None:
    with pytest.raises(UsageError):
        Proportion(*counts)
