"""Probes for a run that stands still, and what a whole diagnosis spends."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.diagnose.stuck import (
    dictionaries,
    everything,
    fresh,
    loader,
    momentum,
    normalised,
    own_penalty,
    same,
    small_start,
    solved,
)
from thalweg.clinic.catalogue import CASES
from thalweg.diagnose.examination import Examination, fan_in_scales
from thalweg.diagnose.probes import escape, nudge
from thalweg.diagnose.verdict import diagnose
from thalweg.estimate import LOSS_COST, PRODUCT_COST, Estimate
from thalweg.measure.steps import loss_and_error
from thalweg.objective.derivatives import Hessian
from thalweg.task import Task


def examined(task: Task, seed: int = 0) -> Examination:
    """An examination that knows the loss, of range 1, and nothing else."""
    e = Examination.of(task, budget=math.inf, seed=seed)
    e.add("loss", loss_and_error(e.objective, e.point))
    e.estimates["loss_spread"] = Estimate(1.0)
    return e


def exact_saddle() -> Task:
    task = small_start(dtype=torch.float64)
    with torch.no_grad():
        for p in task.model.parameters():
            p.zero_()
    return task


def double_well(at: float, *, depth: float = 0.3) -> Task:
    """(w² - 1)² + depth·w, whose well near 1 is higher than that near -1."""

    class Weight(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([[at]], dtype=torch.float64))

        def reset_parameters(self) -> None:
            nn.init.uniform_(self.w, -2.0, 2.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.w.expand(len(x), 1)

    def loss(w: Tensor, target: Tensor) -> Tensor:
        return ((w * w - 1) ** 2 + depth * w).mean()

    model = Weight()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    rows = torch.zeros(32, 1, dtype=torch.float64)
    return Task(model=model, loss=loss, train=(rows, rows), optimizer=optimizer)


def well(start: float) -> float:
    """The critical point of the double well that Newton's method finds from there."""
    for _ in range(50):
        start -= (4 * start**3 - 4 * start + 0.3) / (12 * start**2 - 4)
    return start


def height(w: float) -> float:
    return (w * w - 1) ** 2 + 0.3 * w


def test_a_nudge_leaves_a_saddle_and_returns_to_a_minimum() -> None:
    e = examined(exact_saddle())
    nudge(e)
    assert e.falls["nudge_fall"].value > 0.9 * e.estimates["loss"].value
    e = examined(solved(dtype=torch.float64))
    nudge(e)
    assert e.falls["nudge_fall"].value == pytest.approx(0.0, abs=1e-9)
    torch.testing.assert_close(e.directions["nudged"], e.point, atol=1e-4, rtol=0)


def test_a_nudge_stays_in_its_well_and_the_escape_probe_finds_the_lower_one() -> None:
    """Both wells are known in closed form."""
    high, low = well(1.0), well(-1.0)
    e = examined(double_well(high))
    nudge(e)
    assert e.falls["nudge_fall"].value == pytest.approx(0.0, abs=1e-9)
    escape(e, budget=1000.0, scale=1.0)
    assert e.falls["escape_fall"].value == pytest.approx(height(high) - height(low), abs=1e-6)
    assert float(e.directions["escaped"]) == pytest.approx(low, abs=1e-3)


def test_from_the_lower_well_the_escape_probe_finds_nothing_lower() -> None:
    low = well(-1.0)
    e = examined(double_well(low))
    escape(e, budget=600.0, scale=1.0)
    assert e.falls["escape_fall"].value == pytest.approx(0.0, abs=1e-6)
    assert 0 < e.estimates["escape_return"].value < 1  # some trials ended in the other well
    assert e.estimates["escape_trials"].value >= 10


def test_where_there_is_one_basin_every_trial_comes_back() -> None:
    e = examined(solved(dtype=torch.float64))
    escape(e, budget=600.0, scale=1.0)
    assert e.estimates["escape_return"].value == 1.0
    assert e.falls["escape_fall"].value == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("budget", [20.0, 100.0, 400.0])
def test_the_escape_probe_keeps_to_its_budget(budget: float) -> None:
    e = examined(solved(dtype=torch.float64))
    before = e.spent
    escape(e, budget=budget, scale=1.0)
    assert e.spent - before == pytest.approx(e.falls["escape_fall"].cost)
    assert e.spent - before <= budget
    if budget < 30:  # no trial fits
        assert e.estimates["escape_trials"].value == 0


def test_the_seed_fixes_the_probes_and_the_global_random_state_does_not() -> None:
    ends = []
    for seed, state in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(state)
        e = examined(momentum(), seed)
        before = torch.random.get_rng_state()
        nudge(e)
        escape(e, budget=100.0, scale=1e9)
        assert torch.equal(torch.random.get_rng_state(), before)
        ends.append(torch.cat([e.directions["nudged"], e.directions["escaped"]]))
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("make", [momentum, own_penalty, normalised])
def test_the_probes_leave_the_users_objects_alone(make: Callable[[], Task]) -> None:
    task = make()
    before = everything(task)
    e = examined(task)
    nudge(e, evaluations=5)
    escape(e, budget=60.0, scale=1.0)
    assert same(before, everything(task))


def test_frozen_parts_stay_frozen_in_a_fresh_draw() -> None:
    model = fresh(lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)))
    model.get_parameter("0.bias").requires_grad_(False)
    task = momentum()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    e = examined(Task(model=model, loss=F.cross_entropy, train=task.train, optimizer=optimizer))
    escape(e, budget=100.0, scale=1e9)
    assert e.directions["escaped"].shape == e.point.shape == (5 * 6 + 3 * 5 + 3,)


def test_the_usual_size_of_a_fresh_weight() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 5), nn.Linear(7, 2), nn.LayerNorm(6))
    with torch.no_grad():
        model[0].bias.fill_(0.02)
        model[2].weight.fill_(2.0)
    scales = fan_in_scales(model).split([4 * 75, 4, 14, 2, 6, 6])
    assert bool((scales[0] == 75**-0.5).all()) and bool((scales[2] == 7**-0.5).all())
    assert scales[1].unique().tolist() == pytest.approx([0.1])  # at least that for a vector
    assert scales[4].unique().tolist() == pytest.approx([2.0])


# What it costs ---------------------------------------------------------------------------------


class Counter(nn.Module):
    """Passes its input on and counts the examples, with and without gradients."""

    counts: ClassVar[dict[bool, int]] = {True: 0, False: 0}

    def forward(self, x: Tensor) -> Tensor:
        Counter.counts[torch.is_grad_enabled()] += len(x)
        return x


@pytest.mark.parametrize("make", [momentum, normalised, dictionaries, loader, small_start])
def test_the_cost_said_is_what_was_spent(
    make: Callable[[], Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forward pass is a third, a gradient one, a Hessian-vector product two evaluations."""
    task = make()
    model = task.model
    assert isinstance(model, nn.Sequential)
    model.insert(0, Counter())
    monkeypatch.setattr(Counter, "counts", {True: 0, False: 0})
    products = [0]
    product = Hessian.__matmul__

    def counted(self: Hessian, vectors: Tensor) -> Tensor:
        products[0] += vectors.shape[:-1].numel()
        return product(self, vectors)

    monkeypatch.setattr(Hessian, "__matmul__", counted)
    finding = diagnose(task, probe=False)
    spent = LOSS_COST * Counter.counts[False] / 96 + Counter.counts[True] / 96
    spent += PRODUCT_COST * products[0]
    assert finding.cost == pytest.approx(spent, rel=0.04, abs=2)
    assert finding.cost <= 300


FAST = [
    "held_twice",
    "diverging_regression",
    "diverging_network",
    "tiny_start",
    "factorisation",
    "shallow_saddle",
    "saturated_output",
    "unscaled_columns",
    "uncentred_columns",
    "wrong_frequency",
    "ridge_softmax",
    "least_squares",
    "noise_inputs",
    "line_on_rings",
]


@pytest.mark.parametrize("name", FAST)
def test_a_diagnosis_of_small_data_keeps_to_its_budget_and_says_what_it_cost(name: str) -> None:
    finding = diagnose(CASES[name].make(3), probe=False)
    assert 0 < finding.cost <= 300
    bought = sum(estimate.cost for estimate in finding.evidence.values())
    assert bought <= finding.cost <= bought + 45  # the rest: wiring, one batch, adaptive metrics
    assert not {"escape_fall", "escape_trials", "escape_return"} & set(finding.evidence)


@pytest.mark.parametrize("name", ["wrong_frequency", "line_on_rings"])
def test_the_escape_probe_is_bought_at_an_apparent_minimum_alone_and_costs_at_most_1000(
    name: str,
) -> None:
    finding = diagnose(CASES[name].make(3))
    assert finding.cost <= 1300
    assert finding.evidence["escape_fall"].cost <= 1000


@pytest.mark.parametrize("name", ["diverging_regression", "unscaled_columns", "tiny_start"])
def test_no_escape_probe_is_bought_where_the_run_or_a_nudge_moves(name: str) -> None:
    finding = diagnose(CASES[name].make(3))
    assert "escape_fall" not in finding.evidence and finding.cost <= 300


def test_progress_says_what_is_done_and_changes_nothing() -> None:
    said: list[Any] = []
    finding = diagnose(momentum(), budget=60, probe=False, progress=said.append)
    assert len(said) > 5 and all(isinstance(words, str) and words for words in said)
    assert finding.to_dict() == diagnose(momentum(), budget=60, probe=False).to_dict()
