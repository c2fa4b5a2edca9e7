"""What a sample says of all the training data: unbiased, and covered by its error."""

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.examination import Examination
from thalweg.diagnose.sampling import gradient_norm, population_curvature, population_fall
from thalweg.diagnose.verdict import diagnose
from thalweg.estimate import Estimate
from thalweg.measure.gradient_noise import gradient_noise
from thalweg.objective.derivatives import Hessian, value_and_gradient
from thalweg.objective.examples import Examples
from thalweg.task import Task

EXAMPLES, INPUTS, DECAY = 4000, 20, 1e-2


def ridge(off: float, *, examples: int = EXAMPLES, inputs: int = INPUTS, batch: int = 64) -> Task:
    """Least squares with decay, ``off`` from its minimum over all the data, in closed form."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(examples, inputs, generator=draw, dtype=torch.float64)
    y = x[:, :1] + torch.randn(examples, 1, generator=draw, dtype=torch.float64)
    matrix = 2 * x.T @ x / examples + DECAY * torch.eye(inputs, dtype=torch.float64)
    best = torch.linalg.solve(matrix, 2 * x.T @ y / examples)
    model = nn.Linear(inputs, 1, bias=False).double()
    away = torch.randn(inputs, generator=draw, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(best.T + off * away / away.norm())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, weight_decay=DECAY)
    return Task(model=model, loss=F.mse_loss, train=(x, y), optimizer=optimizer, batch_size=batch)


def fall_of(e: Examination) -> tuple[Estimate, Tensor]:
    """To the minimum of the sample, by Newton's step."""
    value, slope = value_and_gradient(e.objective, e.point)
    x = e.objective.data.fetch(slice(None))[0]
    matrix = 2 * x.T @ x / len(x) + DECAY * torch.eye(x.shape[1], dtype=x.dtype)
    there = e.point - torch.linalg.solve(matrix, slope)
    return Estimate(float(value) - e.objective.value(there), 0.0, "loss"), there


@cache
def drawn(off: float, sample: int) -> tuple[dict[str, float], dict[str, list[Estimate]]]:
    task = ridge(off)
    whole = Examination.of(task, budget=math.inf, sample=EXAMPLES)
    truth = {
        "norm": float(value_and_gradient(whole.objective, whole.point)[1].norm()),
        "fall": fall_of(whole)[0].value,
    }
    found: dict[str, list[Estimate]] = {"norm": [], "fall": [], "plain": []}
    for seed in range(60):
        e = Examination.of(task, budget=math.inf, seed=seed, sample=sample)
        slope = value_and_gradient(e.objective, e.point)[1]
        noise = gradient_noise(
            e.objective, e.point, 64, full_gradient=slope, generator=e.generator(2)
        )
        found["norm"].append(gradient_norm(e, slope, noise)[0])
        plain, there = fall_of(e)
        found["plain"].append(plain)
        found["fall"].append(population_fall(e, plain, there))
    return truth, found


@pytest.mark.parametrize("what", ["norm", "fall"])
@pytest.mark.parametrize(("off", "sample"), [(0.0, 400), (0.1, 400), (0.5, 400), (0.1, 3000)])
def test_the_truth_over_all_the_data_is_covered(off: float, sample: int, what: str) -> None:
    truth, found = drawn(off, sample)
    within = [abs(e.value - truth[what]) <= 1.96 * e.error for e in found[what]]
    assert sum(within) >= 0.9 * len(within)


@pytest.mark.parametrize("off", [0.0, 0.1, 0.5])
def test_the_fall_is_that_of_all_the_data_on_average(off: float) -> None:
    truth, found = drawn(off, 400)
    falls = torch.tensor([e.value for e in found["fall"]])
    assert abs(float(falls.mean()) - truth["fall"]) < 4 * float(falls.std()) / math.sqrt(len(falls))
    # What the sample alone shows is too much, by half a parameter's worth for each example.
    plain = torch.tensor([e.value for e in found["plain"]]).mean() - truth["fall"]
    assert plain > 0.5 * INPUTS / (2 * 400)


def test_all_the_data_leave_nothing_open() -> None:
    e = Examination.of(ridge(0.1), budget=math.inf, sample=EXAMPLES)
    fall, there = fall_of(e)
    assert population_fall(e, fall, there) == fall and e.spent == 0
    slope = value_and_gradient(e.objective, e.point)[1]
    noise = gradient_noise(e.objective, e.point, 64, full_gradient=slope)
    norm = gradient_norm(e, slope, noise)[0]
    assert math.isclose(norm.value, float(slope.norm()), rel_tol=1e-12)
    assert norm.error == norm.cost == 0


def test_a_full_batch_training_has_an_error_of_its_gradient_too() -> None:
    e = Examination.of(ridge(0.0, batch=EXAMPLES), budget=math.inf, sample=500)
    e.objective = e.objective.on(e.objective.data.subsample(500, torch.Generator().manual_seed(0)))
    slope = value_and_gradient(e.objective, e.point)[1]
    noise = gradient_noise(e.objective, e.point, EXAMPLES, full_gradient=slope)
    norm = gradient_norm(e, slope, noise)[0]
    assert norm.value < 2 * norm.error and norm.cost == 8 * 0.5


def test_fresh_examples_are_none_of_the_sample() -> None:
    data = Examples.of((torch.arange(50), torch.arange(50)))

    def numbers(size: int, skip: int) -> Any:
        draw = torch.Generator().manual_seed(3)
        return data.subsample(size, draw, skip=skip).fetch(slice(None))[0].tolist()

    first, other = numbers(30, 0), numbers(30, 30)
    assert len(first) == 30 and sorted(first + other) == list(range(50))


def test_the_minimum_of_all_the_data_is_one_though_the_sample_has_a_lower_one() -> None:
    task = ridge(0.0, examples=6000, inputs=60)
    finding = diagnose(task, probe=False)
    assert finding.cause is Cause.MINIMUM
    for name in ("gradient_drop", "krylov_drop", "descent_fall"):
        fall = finding.evidence[name]
        assert abs(fall.value) < 2 * fall.error


def test_eigenvalues_of_a_sample_are_told_for_all_the_data() -> None:
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(1500, 12, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 3, (1500,), generator=draw)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = nn.Sequential(nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-3)
    task = Task(model=model, loss=F.cross_entropy, train=(x, y), optimizer=optimizer, batch_size=16)
    whole = Examination.of(task, budget=math.inf, sample=1500)
    truth = torch.linalg.eigvalsh(Hessian(whole.objective, whole.point).dense())[[0, -1]]
    alone, told = [], []
    for seed in range(10):
        e = Examination.of(task, budget=math.inf, seed=seed, sample=300)
        values, vectors = torch.linalg.eigh(Hessian(e.objective, e.point).dense())
        for i in (0, -1):
            found = population_curvature(e, Estimate(float(values[i])), vectors[:, i])
            assert abs(found.value - float(truth[i])) < 3 * found.error
            assert found.cost == 3.0
            alone.append(float(values[i] - truth[i]))
            told.append(found.value - float(truth[i]))
    assert abs(sum(told[::2])) < 0.5 * abs(sum(alone[::2]))  # of the smallest
