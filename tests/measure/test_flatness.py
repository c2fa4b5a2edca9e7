"""All measures at once: against dense computations, on a task, on a function, on a transformer."""

import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.measure.test_profile import Attention
from tests.problems import Quadratic, classes, network, plain_derivatives, symmetric, vectors
from thalweg.errors import ModelError, UsageError
from thalweg.measure import Flatness, connect, flatness, flatness_of_task, restart
from thalweg.measure.restart import redraw
from thalweg.objective.supervised import Supervised
from thalweg.reference import load_task
from thalweg.task import Task

PLAIN = {
    "loss",
    "gradient_norm",
    "lambda_max",
    "lambda_min",
    "trace",
    "epsilon_sharpness",
    "sam_sharpness",
}


def small_task(seed: int = 0, count: int = 60) -> Task:
    model = network()
    rows = vectors(count, 5, seed=seed)
    targets = (rows[:, 0] > 0).long() + (rows[:, 1] > 0.5).long()
    test = vectors(40, 5, seed=seed + 7), classes(40)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.5, weight_decay=0.01)
    return Task(
        model=model,
        loss=F.cross_entropy,
        train=(rows, targets),
        test=test,
        optimizer=optimizer,
        batch_size=20,
        steps=60,
        name="small",
    )


@pytest.fixture(scope="module")
def found() -> Flatness:
    return flatness_of_task(small_task(), draws=4, probes=8)


def test_the_measures_of_a_task_are_those_of_its_dense_hessian(found: Flatness) -> None:
    task = small_task()
    rows, targets = task.train
    point = Supervised(task.model, task.loss, task.train).point()
    loss, slope, hessian = plain_derivatives(
        task.model, lambda m: F.cross_entropy(m(rows), targets), point
    )
    values = torch.linalg.eigvalsh(hessian)
    assert set(found.measures) == PLAIN | {"test_loss", "relative_flatness", "filter_curvature"}
    assert found.measures["loss"].value == pytest.approx(float(loss))
    assert found.measures["gradient_norm"].value == pytest.approx(float(slope.norm()))
    for name, value in (("lambda_max", values[-1]), ("lambda_min", values[0])):
        assert found.measures[name].value == pytest.approx(
            float(value), abs=0.01 * float(values[-1])
        )
    trace = found.measures["trace"]
    assert abs(trace.value - float(values.sum())) <= 4 * trace.error + 1e-9
    with torch.no_grad():
        test_loss = F.cross_entropy(task.model(task.test[0]), task.test[1])
    assert found.measures["test_loss"].value == pytest.approx(float(test_loss))


def test_every_profile_and_every_line_is_there(found: Flatness) -> None:
    assert set(found.profiles) == {"random", "worst", "smoothed", "filter"}
    assert [line.name for line in found.lines] == [
        "sharpest direction",
        "held-out loss downhill",
        "random direction 1",
        "random direction 2",
    ]
    worst, random = found.profiles["worst"], found.profiles["random"]
    assert all(w.value > r.value for w, r in zip(worst.rises, random.rises, strict=True))
    assert found.cost > 0 and found.name == "small"


def test_it_is_plain_data(found: Flatness) -> None:
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["measures"]["trace"]["value"] == found.measures["trace"].value
    assert len(told["shift"]) == 4 and told["profiles"]["worst"]["low"] == []


def test_nothing_of_the_task_changes_and_the_same_seed_answers_the_same() -> None:
    task = small_task()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    state = torch.get_rng_state()
    first, second = (flatness_of_task(task, draws=2, probes=2, seed=5) for _ in range(2))
    assert first.to_dict() == second.to_dict()
    assert all(torch.equal(before[n], v) for n, v in task.model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_a_function_has_no_layers() -> None:
    matrix, _ = symmetric(torch.tensor([2.0, 1.0, 0.1]).numpy(), 0)
    found = flatness(Quadratic(matrix), torch.zeros(3, dtype=torch.float64), radii=(0.5,), draws=4)
    assert set(found.measures) == PLAIN and not found.lines and not found.layers
    assert found.measures["trace"].value == pytest.approx(3.1)
    assert found.profiles["worst"].rises[0].value == pytest.approx(0.25)
    with pytest.raises(UsageError, match="point must be given"):
        flatness(Quadratic(matrix))


def test_a_sample_of_the_examples_is_said_to_be_one() -> None:
    found = flatness_of_task(small_task(count=200), examples=64, draws=2, probes=2)
    assert any("64 of 200 examples" in note for note in found.notes)
    assert found.measures["loss"].error > 0


def test_a_point_on_a_slope_is_said_to_be_no_minimum(found: Flatness) -> None:
    assert any("no minimum" in note for note in found.notes)


def test_weights_that_are_not_finite_are_named() -> None:
    task = small_task()
    good = restart(task, 1, steps=1)
    bad = good.clone()
    bad[0] = math.nan
    with pytest.raises(UsageError, match=r"^there must be finite, but has NaN or infinity in 1 of"):
        connect(task, good, bad, ends=("here", "there"))
    with torch.no_grad():
        next(task.model.parameters()).view(-1)[0] = math.nan
    with pytest.raises(UsageError, match=r"^point must be finite, but has NaN or infinity in 1 of"):
        flatness_of_task(task)


def test_a_transformer_is_measured_and_connected_without_help() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Attention()
    tokens = classes(40 * 5, 7).reshape(40, 5)
    task = Task(
        model=model,
        loss=F.cross_entropy,
        train=(tokens, classes(40)),
        test=(tokens.flip(1), classes(40)),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        batch_size=20,
    )
    found = flatness_of_task(task, draws=2, probes=2)
    assert all(math.isfinite(e.value) for e in found.measures.values())
    ends = [restart(task, seed, steps=10) for seed in (1, 2)]
    between = connect(task, *ends, steps=10, count=3)
    assert set(between.ways) == {"line", "curve"}
    assert any(
        note.startswith("not aligned: model must be a plain chain") for note in between.notes
    )


def test_lines_below_none_are_refused() -> None:
    with pytest.raises(UsageError, match="lines must be a whole number of 0 or more, not -1"):
        flatness(Quadratic(torch.eye(3)), torch.ones(3), lines=-1)


def test_a_network_of_zeros_moves_no_filter_and_says_its_rises() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    for p in model.parameters():
        nn.init.zeros_(p)
    data = vectors(40, 4), classes(40, 2)
    found = flatness(Supervised(model, F.cross_entropy, data), test=data, draws=2, probes=2)
    assert found.measures["filter_curvature"].value == 0
    assert all(rise.value == 0 for rise in found.profiles["filter"].rises)
    assert found.profiles["worst"].rises[-1].value > 0
    assert "random direction 1" in [line.name for line in found.lines]


def test_a_restart_trains_from_other_weights() -> None:
    task = small_task()
    one, again, other = (restart(task, seed) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    loss = Supervised(task.model, task.loss, task.train)
    redrawn = [p.clone() for p in task.model.parameters()]
    assert loss.value(one) < 0.9 * math.log(3)
    assert all(torch.equal(a, b) for a, b in zip(redrawn, task.model.parameters(), strict=True))


def test_weights_that_nobody_can_draw_are_refused() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 3))

    with pytest.raises(ModelError, match="Own must have a method reset_parameters"):
        redraw(Own(), 0)


def test_two_restarts_of_a_case_are_connected() -> None:
    task = load_task("case:memorising_network")
    ends = [restart(task, seed, steps=40) for seed in (1, 2)]
    found = connect(task, *ends, steps=20, count=5, ends=("one", "two"))
    assert set(found.ways) == {"line", "aligned", "curve"}
    assert found.ways["aligned"].length < found.ways["line"].length < found.ways["curve"].length
    assert 0 < found.moved <= 1
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["between"] == ["one", "two"] and told["ways"]["line"]["barrier"]["value"] >= 0
