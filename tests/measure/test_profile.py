"""Rises against distance: closed forms of quadratics, dense maxima, and a transformer unaided."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.problems import (
    Formula,
    Quadratic,
    classes,
    half_square,
    least_squares,
    symmetric,
    vectors,
)
from thalweg.errors import UsageError
from thalweg.measure import Profile, random_rise, smoothed_rise, worst_rise
from thalweg.measure.rises import Rises
from thalweg.objective.noise import Ball, Gaussian, Sphere, Uniform
from thalweg.objective.supervised import Supervised

SPECTRUM = np.array([5.0, 3.0, 1.0, 0.5, 0.1, 0.0])
MATRIX, BASIS = symmetric(SPECTRUM, seed=0)
ORIGIN = torch.zeros(6, dtype=torch.float64)
RADII = (0.1, 0.5, 2.0)
SEEDS = 200


def within(profile: Profile, expected: list[float], *, widths: float = 4.0) -> bool:
    pairs = zip(profile.rises, expected, strict=True)
    return all(abs(rise.value - value) <= widths * rise.error + 1e-12 for rise, value in pairs)


def test_a_quadratic_rises_by_half_the_mean_curvature_on_a_sphere() -> None:
    found = random_rise(Quadratic(MATRIX), ORIGIN, RADII, normalised="sphere", draws=200)
    expected = [r**2 * SPECTRUM.sum() / 12 for r in RADII]
    assert within(found, expected)
    for rise, low, high, value in zip(found.rises, found.low, found.high, expected, strict=True):
        assert rise.error < 0.06 * value and low < value < high
    assert found.cost == pytest.approx(3 * 400 / 3)


def test_what_is_odd_cancels() -> None:
    slope = vectors(6)
    found = random_rise(Formula(6, lambda x: x @ slope), ORIGIN, (1.0,), normalised="sphere")
    assert abs(found.rises[0].value) < 1e-14


@pytest.mark.parametrize(
    ("noise", "variance"),
    [
        (Uniform(1.0), 1 / 3),
        (Gaussian(1.0), 1.0),
        (Ball(1.0), 1 / 8),
        (Sphere(1.0), 1 / 6),
    ],
    ids=["uniform", "gaussian", "ball", "sphere"],
)
def test_a_smoothed_quadratic_gains_half_the_trace(noise: object, variance: float) -> None:
    expected = [0.5 * variance * r**2 * SPECTRUM.sum() for r in RADII]
    found = smoothed_rise(Quadratic(MATRIX), ORIGIN, RADII, noise=noise, samples=400)  # type: ignore[arg-type]
    assert within(found, expected)
    assert all(rise.error < 0.1 * value for rise, value in zip(found.rises, expected, strict=True))


def test_error_bars_of_means_over_draws_cover() -> None:
    """Student's widening makes 1.96 errors of eight draws a 95% interval."""
    quadratic, hits = Quadratic(MATRIX), {"random": 0, "smoothed": 0}
    for seed in range(SEEDS):
        mean = random_rise(quadratic, ORIGIN, (1.0,), normalised="sphere", draws=8, seed=seed)
        smooth = smoothed_rise(quadratic, ORIGIN, (1.0,), samples=16, seed=seed)
        for name, rise, part in (("random", mean.rises[0], 12), ("smoothed", smooth.rises[0], 16)):
            hits[name] += abs(rise.value - SPECTRUM.sum() / part) <= 1.96 * rise.error
    assert min(hits.values()) >= 0.9 * SEEDS, hits


def test_error_bars_of_a_sample_of_examples_cover() -> None:
    model, inputs, targets = least_squares(1000, 3)
    whole = Supervised(model, half_square, (inputs, targets))
    x = whole.point()
    there = x + vectors(3, seed=5)
    truth = Rises(whole, x).value(there)
    hits = 0
    for seed in range(SEEDS):
        some = whole.data.subsample(160, torch.Generator().manual_seed(seed))
        rises = Rises(whole.on(some), x)
        rise = rises.single(rises.at(there))
        hits += abs(rise.value - truth) <= 1.96 * rise.error
    assert 0.9 * SEEDS <= hits < SEEDS


def test_the_worst_rise_of_a_quadratic_is_its_largest_eigenvalue() -> None:
    top = torch.from_numpy(BASIS[:, 0])
    found = worst_rise(Quadratic(MATRIX), ORIGIN, RADII, starts=[top])
    for rise, radius in zip(found.rises, RADII, strict=True):
        assert rise.value == pytest.approx(0.5 * radius**2 * 5.0, rel=1e-9)
    alone = worst_rise(Quadratic(MATRIX), ORIGIN, RADII, steps=40)
    assert alone.rises[-1].value == pytest.approx(0.5 * RADII[-1] ** 2 * 5.0, rel=1e-3)


def test_the_worst_rise_is_that_of_a_dense_search_in_the_plane() -> None:
    def wavy(points: torch.Tensor) -> torch.Tensor:
        x, y = points[..., 0], points[..., 1]
        return x**2 + 3 * y**2 + 0.4 * torch.sin(3 * x) + 0.2 * x * y

    angles = torch.linspace(0, 2 * math.pi, 20_001, dtype=torch.float64)
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    plane, origin = Formula(2, wavy), torch.zeros(2, dtype=torch.float64)
    found = worst_rise(plane, origin, (0.3, 1.5), steps=60)
    for rise, radius in zip(found.rises, found.radii, strict=True):
        truth = float((wavy(radius * circle) - wavy(origin)).max())
        assert rise.value <= truth * (1 + 1e-6)
        assert rise.value == pytest.approx(truth, rel=1e-3)


def test_the_worst_rise_within_a_radius_is_that_of_the_ball_and_not_of_its_sphere() -> None:
    """The highest place may lie inside, where ascent on the sphere turns about and about."""
    wave, start = Formula(1, lambda x: 1 - x[..., 0].cos()), torch.full((1,), 0.01).double()
    found = worst_rise(wave, start, (1.0, 3.14, 6.0))
    low = 1 - math.cos(0.01)
    for rise, truth in zip(found.rises, (1 - math.cos(1.01), 2.0, 2.0), strict=True):
        assert rise.value == pytest.approx(truth - low, abs=1e-3)
        assert rise.value <= truth - low + 1e-12
    alone = worst_rise(wave, start, (6.0,)).rises[0]  # 0.04 on the sphere
    assert alone.value == pytest.approx(2, abs=0.05)


def test_the_worst_rise_never_falls_with_the_radius_and_is_0_at_a_maximum() -> None:
    hills = Formula(2, lambda x: 2 - x.cos().sum(-1))
    rises = worst_rise(hills, ORIGIN[:2] + 0.01, (1.0, 2.0, 3.14, 4.4, 6.28, 10.0)).rises
    values = [rise.value for rise in rises]
    assert values == sorted(values) and values[-1] == pytest.approx(4, abs=0.01)
    top = worst_rise(Formula(2, lambda x: -(x**2).sum(-1)), ORIGIN[:2], (1.0, 2.0))
    assert [(rise.value, rise.error) for rise in top.rises] == [(0.0, 0.0)] * 2


def test_what_is_not_finite_stays_so() -> None:
    wall = Formula(2, lambda x: torch.where(x.norm(dim=-1) > 0.5, torch.inf, x.norm(dim=-1) ** 2))
    origin = torch.zeros(2, dtype=torch.float64)
    found = random_rise(wall, origin, (0.1, 1.0), normalised="sphere", draws=4)
    assert math.isfinite(found.rises[0].value) and not math.isfinite(found.rises[1].value)
    assert found.to_dict()["rise"][1] is None
    worst = worst_rise(wall, origin, (0.1, 1.0, 2.0)).rises
    assert [math.isfinite(rise.value) for rise in worst] == [True, False, False]


class Attention(nn.Module):
    """One block of a transformer on sequences of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.embedding(tokens)).mean(1))


def test_a_transformer_is_measured_without_help() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Attention()
    tokens = classes(24 * 5, 7).reshape(24, 5)
    loss = Supervised(model, F.cross_entropy, (tokens, classes(24)))
    x = loss.point()
    assert random_rise(loss, x, (0.5,), draws=3).rises[0].value != 0
    assert worst_rise(loss, x, (0.2,), steps=3).rises[0].value > 0
    assert smoothed_rise(loss, x, (0.5,), samples=4).rises[0].error > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_rise(Quadratic(MATRIX), ORIGIN, ()), "radii must be numbers above 0"),
        (lambda: random_rise(Quadratic(MATRIX), ORIGIN, (0.0,)), "radii must be numbers above 0"),
        (lambda: random_rise(Quadratic(MATRIX), ORIGIN, (1.0,)), "normalised must be whole"),
        (lambda: random_rise(Quadratic(MATRIX), ORIGIN, (1.0,), draws=1), "draws must be a whole"),
    ],
    ids=["none", "zero", "filters", "one draw"],
)
def test_mistakes_are_one_sentence(call: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()  # type: ignore[operator]
