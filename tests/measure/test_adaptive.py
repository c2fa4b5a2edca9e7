"""Grids filled from few values: the bound holds, every value counts, gaps stay gaps."""

from collections.abc import Callable

import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.measure.adaptive import Filled, carried, fill

N = 31
LINE = np.linspace(-1, 1, N)
X, Y = np.meshgrid(LINE, LINE)

Grid = np.ndarray


def waves(seed: int, octaves: int = 4) -> Grid:
    """A bowl with waves of shorter and shorter length, on one side more than on the other."""
    rng = np.random.default_rng(seed)
    grid = 3 * (X - rng.uniform(-0.3, 0.3)) ** 2 + rng.uniform(0.5, 2) * Y**2
    for octave in range(octaves):
        a, b, phase = rng.normal(size=3) * [2**octave, 2**octave, 3]
        grid = grid + 2.0 ** (-1.7 * octave) * np.sin(a * X + b * Y + phase) * (1.5 + X)
    return grid - grid.min() + 0.05


def kinked(seed: int) -> Grid:
    """A mean of many kinks, as a loss of a ReLU network is."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, 200))
    kinks = np.maximum(0, a * X[..., None] + b * Y[..., None] + c)
    return kinks.mean(-1) + X**2


def steep(seed: int, size: int = 41, units: int = 24) -> Grid:
    """Kinks of every size that grow with the loss, as a deep ReLU network's along a plane."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, size)])
    hidden = np.stack([x, y, np.ones_like(x)], -1)
    for _ in range(6):
        width = hidden.shape[-1]
        fixed, moved = rng.normal(size=(2, width, units)) * np.sqrt(2 / width)
        hidden = np.maximum(0, hidden @ fixed + x[..., None] * (hidden @ moved))
    return np.asarray(hidden.mean(-1) ** 2 + 0.01)


def filled(grid: Grid, seed: int = 0, **how: object) -> tuple[Filled, int]:
    """With the number of times that a value was evaluated."""
    asked: list[tuple[int, ...]] = []

    def evaluate(indices: np.ndarray) -> np.ndarray:
        asked.extend(map(tuple, indices.tolist()))
        return grid[tuple(indices.T)]

    rng = np.random.default_rng(seed)
    found = fill(evaluate, grid.shape, generator=rng, **how)  # type: ignore[arg-type]
    assert len(asked) == len(set(asked)), "a place was evaluated twice"
    return found, len(asked)


SURFACES: list[Callable[[int], Grid]] = [waves, kinked]


@pytest.mark.parametrize(
    ("logarithm", "seeds"), [(False, 10), (True, 4)], ids=["linear", "logarithmic"]
)
def test_no_value_is_farther_off_than_the_bound_and_the_bound_is_not_idle(
    logarithm: bool, seeds: int
) -> None:
    held, ratios = 0, []
    surfaces = [make(seed) for make in SURFACES for seed in range(seeds)]
    for seed, grid in enumerate(surfaces):
        found, _ = filled(grid, seed, logarithm=logarithm)
        shown = np.log if logarithm else np.asarray
        off = np.abs(shown(found.values) - shown(grid)).max()
        assert found.bound <= found.tolerance * found.range
        assert found.evaluations < 0.5 * grid.size
        held += off <= found.bound
        ratios.append(found.bound / off)
    assert held >= 0.95 * len(surfaces) - 1e-9
    assert np.median(ratios) <= 3


def test_what_was_evaluated_is_shown_as_it_is_and_checks_are_counted() -> None:
    grid = waves(0)
    found, asked = filled(grid)
    assert found.evaluations == asked == found.seen.sum()
    assert found.saved == grid.size / asked
    assert (found.values[found.seen] == grid[found.seen]).all()
    assert 16 <= found.checked.sum() <= max(16, asked / 5) and (found.seen | ~found.checked).all()
    assert found.largest <= found.bound


@pytest.mark.parametrize("seed", [9, 11])
def test_a_kink_in_a_steep_corner_is_found(seed: int) -> None:
    """Where the loss is many times that of the middle the spline is too sure: its error there was
    1.2 and 1.5 times the bound before places were taken where two splines disagree."""
    grid = steep(seed)
    found, _ = filled(grid, seed)
    assert np.abs(found.values - grid).max() <= found.bound


def test_noise_is_noticed_and_evaluated_whole() -> None:
    grid = np.random.default_rng(0).normal(size=(21, 21))
    found, asked = filled(grid)
    assert asked == grid.size and found.rough
    assert found.bound == 0 and (found.values == grid).all()


def test_exact_is_the_whole_grid_and_not_called_rough() -> None:
    found, asked = filled(waves(1), exact=True)
    assert asked == N * N and found.bound == 0 and not found.rough


def test_a_line_is_filled_too() -> None:
    line = np.cos(4 * np.linspace(-1, 1, 201)) + 2
    found, asked = filled(line)
    assert asked < 60
    assert np.abs(found.values - line).max() <= found.bound <= 0.01 * found.range


def test_what_is_not_finite_stays_so_and_is_never_filled_in() -> None:
    grid = waves(2)
    grid[X + Y > 1.1] = np.inf
    grid[(X < -0.6) & (Y < -0.6)] = np.nan
    found, asked = filled(grid)
    gaps = ~np.isfinite(found.values)
    assert asked < 0.6 * grid.size
    assert (np.isfinite(found.values[np.isfinite(grid)])).all()
    assert gaps[~np.isfinite(grid)].all()
    both = np.isfinite(grid)
    assert np.abs(found.values[both] - grid[both]).max() <= found.bound
    seen = found.seen & np.isinf(grid)
    assert np.isinf(found.values[seen]).all()


def test_a_gap_that_swallows_the_first_places_costs_no_whole_grid() -> None:
    """Of the first 49 places nine are finite here: too few for a spline."""
    grid = waves(2)
    grid[X**2 + Y**2 > 0.49] = np.nan
    found, asked = filled(grid)
    assert asked < 0.8 * grid.size and not found.rough
    assert (np.isfinite(found.values) == np.isfinite(grid)).all()
    both = np.isfinite(grid)
    assert np.abs(found.values[both] - grid[both]).max() <= found.bound


def test_ground_that_seemed_level_at_first_is_not_taken_for_it() -> None:
    """All first values are the same, and none of the others: what was expected was no error at all."""
    grid = np.full((N, N), 1.0)
    grid[(np.abs(X) < 0.3) & (np.abs(X) > 0.05) & (Y > 0.1)] = 3.0
    found, _ = filled(grid)
    assert not found.level and np.abs(found.values - grid).max() <= found.bound
    first, _ = filled(np.full((N, N), 1.0))
    told = carried(first, np.where(first.seen & ~first.checked, 1.0, np.where(first.seen, 3.0, 0)))
    assert told.bound >= told.largest == 2


def test_where_nothing_is_finite_all_is_evaluated() -> None:
    found, asked = filled(np.full((21, 21), np.nan))
    assert asked == 441 and np.isnan(found.values).all() and found.range == 0
    assert np.isnan(found.ends).all()


def test_a_flat_grid_is_told_at_once() -> None:
    found, asked = filled(np.full((N, N), 2.5))
    assert asked < 100 and found.bound <= 1e-9
    assert found.values == pytest.approx(2.5)


def test_the_logarithm_of_a_loss_of_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="losses above 0, but one is 0"):
        filled(np.maximum(0, X), logarithm=True)


def test_the_same_seed_asks_for_the_same_places() -> None:
    first, second, other = (filled(kinked(3), seed)[0] for seed in (0, 0, 1))
    assert (first.seen == second.seen).all()
    assert not (first.checked == other.checked).all()


def test_another_quantity_is_carried_with_a_bound_of_its_own() -> None:
    found, _ = filled(waves(4))
    other = np.exp(0.5 * X) + 0.1 * Y
    told = carried(found, np.where(found.seen, other, np.nan))
    assert np.abs(told.values - other).max() <= told.bound < 0.01 * told.range
    steps = np.round(3 * other) / 3
    rough = carried(found, np.where(found.seen, steps, np.nan))
    assert rough.bound > 0.02 * rough.range


def test_a_share_that_is_carried_stays_one() -> None:
    found, _ = filled(waves(4))
    cliff = (X + 0.3 * Y > 0.1).astype(float)
    known = np.where(found.seen, cliff, np.nan)
    free, told = carried(found, known), carried(found, known, (0.0, 1.0))
    assert free.values.max() > 1.01 and free.values.min() < -0.01
    assert told.values.max() == 1 and told.values.min() == 0 and told.range == 1
    assert np.abs(told.values - cliff).max() <= told.bound <= 1


@pytest.mark.parametrize("tolerance", [0.0, 1.0, float("nan")])
def test_a_tolerance_that_is_no_share_is_refused(tolerance: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        filled(waves(0), tolerance=tolerance)
