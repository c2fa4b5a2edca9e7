"""Sums over long vectors of single precision, against the same in double precision."""

import pytest
import torch

from thalweg.objective.inner_product import inner_product, inner_products, length


@pytest.mark.parametrize("begin", [0, 1])
@pytest.mark.parametrize("size", [1, 1000, 26_122, 4_000_000])
def test_long_sums_are_right_to_single_precision(size: int, begin: int) -> None:
    """Aligned in memory or not: ``a @ b`` is off by 0.4% in the largest case."""
    drawn = torch.randn(4, size + begin, generator=torch.Generator().manual_seed(0))
    rows = drawn[:3, begin:]
    vector = drawn[3, begin:] + rows.sum(0)
    wide = rows.double() @ vector.double()
    assert inner_product(rows[1], vector) == pytest.approx(float(wide[1]), rel=1e-6)
    assert length(vector) == pytest.approx(float(vector.double().norm()), rel=1e-9)
    found = inner_products(rows, vector)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, wide, rtol=2e-6, atol=0)


def test_double_precision_and_nothing() -> None:
    rows = torch.randn(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(inner_products(rows, rows[0]), rows @ rows[0])
    assert inner_products(rows[:0], rows[0]).shape == (0,)
    assert inner_product(torch.empty(0), torch.empty(0)) == length(torch.empty(0)) == 0


def test_what_is_not_finite_stays_so() -> None:
    bad = torch.tensor([1.0, float("nan")])
    assert inner_product(bad, bad) != inner_product(bad, bad)
    assert length(torch.tensor([1e30, 1e30])) == pytest.approx(2**0.5 * 1e30, rel=1e-6)
