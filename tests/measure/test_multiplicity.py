"""Equal eigenvalues against spectra in which each is known to come so many times."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.problems import Dense
from thalweg.measure import extreme_eigenvalues, spectrum
from thalweg.measure.lanczos import Lanczos
from thalweg.measure.multiplicity import Place, places, told
from thalweg.measure.spectra import spectra_by_layer
from thalweg.objective.supervised import Supervised

LIKE = torch.zeros(1, dtype=torch.float64)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def diagonal(*values: float | np.ndarray) -> Dense:
    return Dense(torch.from_numpy(np.sort(np.r_[values])).diag())


def shrunk(width: int, decay: float = 0.0) -> tuple[Supervised, np.ndarray]:
    """Two layers at their saddle, and all eigenvalues: ± each singular value of ``2 yᵀx/n``, as often
    as there are units."""
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(60, k, generator=generator, dtype=torch.float64) for k in (5, 3))
    model = nn.Sequential(
        nn.Linear(5, width, bias=False), nn.Tanh(), nn.Linear(width, 3, bias=False)
    ).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1e-6)
    values = torch.linalg.svdvals(2 * y.T @ x / y.numel()).numpy()
    every = np.r_[np.repeat(values, width), np.repeat(-values, width)]
    every = np.sort(np.r_[every, np.zeros(8 * width - len(every))])
    return Supervised(model, F.mse_loss, (x, y), decay=decay), every


@pytest.mark.parametrize("seed", range(3))
def test_of_many_equal_ones_the_weight_of_a_draw_tells(seed: int) -> None:
    for found in (
        spectrum(diagonal(np.ones(150), -np.ones(150)), LIKE, top=3, generator=seeded(seed)),
        extreme_eigenvalues(
            diagonal(np.ones(150), -np.ones(150)), LIKE, top=3, generator=seeded(seed)
        ),
    ):
        assert [e.value for e in found.top] == pytest.approx([1, 1, 1])
        assert found.bottom[0].value == pytest.approx(-1)


def test_at_a_saddle_of_two_layers_ends_and_shares_are_those_of_the_closed_form() -> None:
    objective, every = shrunk(40)
    negative = mean = rank = 0
    for seed in range(30):
        found = spectrum(objective, objective.point(), bottom=5, generator=seeded(seed))
        for end, truth in ((found.top, every[::-1]), (found.bottom, every)):
            assert all(abs(e.value - t) <= e.error + 1e-9 for e, t in zip(end, truth))
            assert len(end) == 5 or not found.decided
        size = np.abs(every)
        negative += abs(found.negative.value - 0.5) <= 2 * found.negative.error
        mean += abs(found.mean_size.value - size.mean()) <= 2 * found.mean_size.error
        true = size.sum() ** 2 / (size**2).sum()
        rank += abs(found.effective_rank.value - true) <= 2 * found.effective_rank.error
    assert min(negative, mean, rank) >= 27


@pytest.mark.parametrize("times", [2, 6, 10, 14, 20])
def test_no_end_is_wrong_and_the_density_holds_however_often_an_eigenvalue_comes(
    times: int,
) -> None:
    held = 0
    for seed in range(16):
        bulk = np.random.default_rng(seed).uniform(-0.1, 0.3, 200)
        values = np.sort(np.r_[bulk, np.ones(times), 0.8, -0.5])
        found = spectrum(diagonal(values), LIKE, top=times + 1, budget=600, generator=seeded(seed))
        told_right = [abs(e.value - v) <= e.error for e, v in zip(found.top, values[::-1])]
        assert all(told_right)
        held += abs(found.mean_size.value - np.abs(values).mean()) <= 2 * found.mean_size.error
    assert held >= 14


def test_a_second_that_rounding_brought_says_that_there_may_be_more() -> None:
    start = torch.randn(203, generator=seeded(0), dtype=torch.float64)
    space = Lanczos(diagonal(3.0, 3.0, 1.0, np.linspace(0, 0.3, 200)), start, 60)
    while not space.full:
        space.extend()
    last = places(space)[-1]
    assert len(last.values) == 2 and last.alone and last.more
    assert not places(space, checked=True)[-1].more
    ends, all_told = told(places(space), 3, "1", largest=True)
    assert [e.value for e in ends] == pytest.approx([3, 3]) and not all_told


def test_after_a_place_of_unknown_number_nothing_is_told() -> None:
    one = Place((1.0,), (1e-3,), 1, True, False)
    two = Place((2.0,), (1e-3,), 2, False, True)
    same = Place((1.999,), (1e-3,), 1, True, False)
    ends, all_told = told([one, same, two], 5, "1", largest=True)
    assert [e.value for e in ends] == [2, 2, 1.999] and not all_told
    ends, all_told = told([one, two], 1, "1", largest=False)
    assert [e.value for e in ends] == [1] and all_told


def test_weight_decay_beside_a_gauss_newton_matrix_of_low_rank_is_a_number() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(120, 6, generator=generator)
    model = nn.Sequential(nn.Linear(6, 14), nn.Tanh(), nn.Linear(14, 3))
    objective = Supervised(model, F.cross_entropy, (x, torch.arange(120) % 3), decay=0.01)
    for seed in range(4):
        for found in spectra_by_layer(
            objective, objective.point(), matrix="gauss-newton", generator=seeded(seed)
        ):
            assert found.mean_size.value >= 0.01 - 2 * found.mean_size.error
            assert found.effective_rank.value > 1


def test_a_space_that_gives_its_memory_back_knows_what_it_knew() -> None:
    start = torch.randn(203, generator=seeded(0), dtype=torch.float64)
    space = Lanczos(diagonal(3.0, 1.0, -1.0, np.linspace(0, 0.3, 200)), start, 60)
    for _ in range(20):
        space.extend()
    before = [part.copy() for part in space.ritz()]
    space.forget()
    assert space.full and not space.rows(space.size)
    for one, other in zip(before, space.ritz(), strict=True):
        np.testing.assert_array_equal(one, other)
