"""The noise of a mini-batch against every mini-batch there is, and its error bars against the truth."""

import math
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import Dense, half_square, least_squares, network, redrawn, vectors
from thalweg.errors import UsageError
from thalweg.measure.gradient_noise import GradientNoise, gradient_noise
from thalweg.objective.derivatives import Hessian
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example_gradients(model: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
    """Of ½(xᵀθ − y)² for each example: (xᵀθ − y) x."""
    return (x @ model.weight.detach().T - y) * x


def enumerated(gradients: Tensor, batch: int, hessian: Tensor) -> tuple[float, float]:
    """tr Σ_B and tr(HΣ_B) as means over every batch of that size."""
    full = gradients.mean(0)
    off = torch.stack(
        [
            gradients[list(rows)].mean(0) - full
            for rows in combinations(range(len(gradients)), batch)
        ]
    )
    return float((off * off).sum(1).mean()), float(((off @ hessian) * off).sum(1).mean())


def within(found: GradientNoise, trace: float, curvature: float, errors: float = 4) -> None:
    assert abs(found.trace.value - trace) <= errors * found.trace.error
    assert abs(found.curvature.value - curvature) <= errors * found.curvature.error
    assert found.trace.error < 0.1 * trace


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 7])
def test_traces_equal_the_means_over_all_batches(batch: int) -> None:
    model, x, y = least_squares(8, 3)
    objective = Supervised(model, half_square, (x, y))
    hessian = Hessian(objective, objective.point())
    trace, curvature = enumerated(example_gradients(model, x, y), batch, x.T @ x / 8)
    found = gradient_noise(
        objective, objective.point(), batch, batches=600, hessian=hessian, products=600
    )
    within(found, trace, curvature)
    squared = float(example_gradients(model, x, y).mean(0).square().sum())
    assert abs(found.signal.value - squared / trace) <= 4 * found.signal.error
    assert found.signal.error < 0.1 * squared / trace


def test_the_whole_population_has_no_noise() -> None:
    model, x, y = least_squares(8, 3)
    objective = Supervised(model, half_square, (x, y))
    found = gradient_noise(objective, objective.point(), 8)
    assert found.trace.value == found.trace.error == found.curvature.value == 0
    assert math.isinf(found.signal.value) and len(found.deviations) == 0


def test_a_network_agrees_with_all_its_batches() -> None:
    model, x, y = network(), vectors(6, 5), vectors(6, 3, seed=5)
    objective = Supervised(model, F.mse_loss, (x, y), decay=0.3)
    point = objective.point()
    singles = torch.stack(
        [Supervised(model, F.mse_loss, (x[i : i + 1], y[i : i + 1])).value_and_gradient(point)[1]
         for i in range(6)]
    )  # fmt: skip
    hessian = Dense(Hessian(objective, point).dense())
    trace, curvature = enumerated(singles, 2, hessian.matrix)
    found = gradient_noise(objective, point, 2, batches=800, hessian=hessian, products=800)
    within(found, trace, curvature)


def test_a_sum_over_the_batch_is_the_noise_of_sums() -> None:
    """B times the mean has B² times the noise."""
    model, x, y = least_squares(8, 3)
    mean = Supervised(model, half_square, (x, y))
    total = Supervised(model, lambda o, t: 0.5 * ((o - t) ** 2).sum(), (x, y), unit=2)
    one = gradient_noise(mean, mean.point(), 2, batches=10)
    two = gradient_noise(total, total.point(), 2, batches=10)
    assert math.isclose(two.trace.value, 4 * one.trace.value, rel_tol=1e-9)
    assert math.isclose(two.signal.value, one.signal.value, rel_tol=1e-9)


def test_the_metric_moves_the_noise_but_not_its_trace() -> None:
    model, x, y = least_squares(8, 3)
    objective = Supervised(model, half_square, (x, y))
    metric = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    hessian = x.T @ x / 8
    found = gradient_noise(
        objective, objective.point(), 2, batches=600, hessian=Dense(hessian), products=600,
        metric=metric,
    )  # fmt: skip
    moved = metric.diag() @ hessian @ metric.diag()
    trace, curvature = enumerated(example_gradients(model, x, y), 2, moved)
    within(found, trace, curvature)


def test_subsamples_of_a_population_are_unbiased() -> None:
    """The mean over many subsamples of 4 of 40 is the population's own."""
    model, x, y = least_squares(40, 3)
    gradients = example_gradients(model, x, y)
    spread = float((gradients - gradients.mean(0)).square().sum(1).mean())
    true = (40 - 5) / (40 - 1) / 5 * spread
    squared = float(gradients.mean(0).square().sum())
    everything = Examples.of((x, y))
    whole = Supervised(model, half_square, everything)
    traces, clean = [], []
    for seed in range(300):
        some = everything.subsample(4, seeded(seed))
        objective = whole.on(some)
        found = gradient_noise(objective, objective.point(), 5, batches=3, generator=seeded(seed))
        traces.append(found.trace.value)
        full = float(objective.value_and_gradient(objective.point())[1].square().sum())
        clean.append(full - found.trace.value * (1 / 4 - 1 / 40) / (1 / 5 - 1 / 40))
    for seen, truth in ((traces, true), (clean, squared)):
        mean, error = float(torch.tensor(seen).mean()), float(torch.tensor(seen).std()) / 300**0.5
        assert abs(mean - truth) < 3 * error
    assert float(torch.tensor(traces).std()) / 300**0.5 < 0.1 * true


@pytest.mark.parametrize(("batch", "sample"), [(2, 60), (50, 60), (8, 40)])
def test_error_bars_cover_the_truth(batch: int, sample: int) -> None:
    """Within 1.96 standard errors in at least 90% of 200 seeds: of draws, and of subsamples."""
    model, x, y = least_squares(60, 12)
    gradients = example_gradients(model, x, y)
    spread = float((gradients - gradients.mean(0)).square().sum(1).mean())
    true = (60 - batch) / (60 - 1) / batch * spread
    signal = float(gradients.mean(0).square().sum()) / true
    everything = Examples.of((x, y))
    whole = Supervised(model, half_square, everything)
    covered = told = 0
    for seed in range(200):
        some = everything.subsample(sample, seeded(seed))
        found = gradient_noise(whole.on(some), whole.point(), batch, generator=seeded(seed + 999))
        covered += abs(found.trace.value - true) <= 1.96 * found.trace.error
        told += abs(found.signal.value - signal) <= 1.96 * found.signal.error
    assert covered >= 180
    assert told >= 180


def test_one_example_of_many_tells_nothing() -> None:
    model, x, y = least_squares(20, 3)
    some = Examples.of((x, y)).subsample(1, seeded(0))
    objective = Supervised(model, half_square, some)
    found = gradient_noise(objective, objective.point(), 4)
    assert math.isnan(found.trace.value) and math.isnan(found.signal.value)


def test_what_is_not_finite_stays_so() -> None:
    model, x, y = least_squares(8, 3)
    x[0, 0] = math.nan
    objective = Supervised(model, half_square, (x, y))
    found = gradient_noise(objective, objective.point(), 2, hessian=Dense(torch.eye(3).double()))
    numbers = (found.trace.value, found.signal.value, found.curvature.value)
    assert all(map(math.isnan, numbers))


def test_no_gradient_and_no_noise_have_no_ratio() -> None:
    model, x, _ = least_squares(8, 3)
    objective = Supervised(model, half_square, (x, model(x).detach()))
    found = gradient_noise(objective, objective.point(), 2)
    assert found.trace.value < 1e-25
    flat = Supervised(redrawn(nn.Linear(3, 1).double(), size=0.0), half_square, (x, 0 * x[:, :1]))
    assert math.isnan(gradient_noise(flat, flat.point(), 2).signal.value)


def test_its_cost_is_what_was_evaluated() -> None:
    model, x, y = least_squares(40, 3)
    objective = Supervised(model, half_square, (x, y))
    hessian = Dense(torch.eye(3).double())
    found = gradient_noise(objective, objective.point(), 4, batches=10, hessian=hessian, products=5)
    assert found.trace.cost == pytest.approx(1 + 10 * 4 / 40)
    assert found.curvature.cost == hessian.cost == 10
    known = objective.value_and_gradient(objective.point())[1]
    again = gradient_noise(objective, objective.point(), 4, full_gradient=known, batches=10)
    assert again.trace.cost == pytest.approx(1)
    assert again.trace.value == found.trace.value


def test_a_batch_of_none_is_refused() -> None:
    model, x, y = least_squares(8, 3)
    objective = Supervised(model, half_square, (x, y))
    with pytest.raises(UsageError, match="batch_size must be at least 1"):
        gradient_noise(objective, objective.point(), 0)
