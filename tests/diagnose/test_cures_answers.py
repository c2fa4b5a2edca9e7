"""What each cure does, held against an answer of its own: by hand, closed form, torch, a dense matrix."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

import thalweg as tw
from tests.diagnose.stuck import data, everything, fresh, momentum, normalised, numbers, same
from tests.diagnose.test_cures import ground, pasted, with_test
from thalweg.diagnose import cures
from thalweg.diagnose.cures import CATALOGUE, Cure, cure_named, full_name, in_loop
from thalweg.errors import UsageError
from thalweg.measure.steps import newton_step
from thalweg.run.answers import average
from thalweg.run.training import Training
from thalweg.task import Task

ALL = [cure_named(full_name(kind)) for kind in CATALOGUE]
RACED = [cure for cure in ALL if cure is not None and cure.change is not None]


def begun(task: Task, cure: Cure) -> Training:
    """A fork with the cure, no step taken."""
    training = Training.of(task)
    assert cure.change is not None
    cure.change(training, ground(task))
    return training


def linear(dtype: torch.dtype = torch.float64, *, rate: float = 0.1) -> Task:
    """Least squares in four columns, all at once: a quadratic."""
    model = fresh(lambda: nn.Linear(4, 1, bias=False)).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    return Task(model=model, loss=F.mse_loss, train=numbers(dtype=dtype), optimizer=optimizer)


def slope(task: Task, point: Tensor) -> Tensor:
    """The gradient of least squares in closed form."""
    x, y = task.train
    return 2 / len(x) * x.T @ (x @ point - y[:, 0])


# Rates -----------------------------------------------------------------------------------------

STEPS = 24

SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    f"decay_rate over {STEPS}": lambda o: lr_scheduler.ExponentialLR(o, 0.01 ** (1 / STEPS)),
    f"step_decay over {STEPS}": lambda o: lr_scheduler.StepLR(o, STEPS // 3),
    f"cosine over {STEPS}": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS),
    f"cyclic over {STEPS}": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, STEPS // 8),
    f"one_cycle over {STEPS}": lambda o: lr_scheduler.OneCycleLR(o, 0.3, STEPS + 1),
    f"warm_restarts over {STEPS}": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(
        o, STEPS // 4
    ),
    f"warmup over {STEPS}": lambda o: lr_scheduler.LinearLR(o, 0.01, total_iters=STEPS),
    "staged over 2": lambda o: lr_scheduler.MultiStepLR(o, [2, 6, 14, 30], 0.5),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rates_are_those_of_torchs_own_schedule(name: str) -> None:
    cure = cure_named(name)
    assert cure is not None
    training = begun(linear(), cure)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1, momentum=0.9)
    scheduler = SCHEDULES[name](optimizer)
    rates, expected = [], []
    for _ in range(STEPS):
        rates.append(training.optimizer.param_groups[0]["lr"])
        expected.append(optimizer.param_groups[0]["lr"])
        training.advance(1)
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx(expected, rel=1e-6)
    assert training.optimizer.param_groups[0]["momentum"] == 0


@pytest.mark.parametrize(
    ("name", "share"), [("warm_restarts over 20", 0.1), ("cyclic over 20", 0.1)]
)
def test_cycles_end_at_a_low_rate_and_stay_there(name: str, share: float) -> None:
    cure = cure_named(name)
    assert cure is not None
    training = begun(linear(), cure)
    first = 0.1
    rates = []
    for _ in range(30):
        training.advance(1)
        rates.append(training.optimizer.param_groups[0]["lr"])
    assert max(rates[18:]) <= share * first * (1 + 1e-9) and len(set(rates[18:])) == 1
    assert max(rates[:18]) == pytest.approx(first)


@pytest.mark.parametrize(
    "kind", ["decay_rate", "step_decay", "cosine", "cyclic", "one_cycle", "warm_restarts"]
)
def test_a_plan_has_the_rates_that_a_fork_has(kind: str) -> None:
    cure = CATALOGUE[kind](STEPS)
    plan = tw.Plan(learning_rate=0.1, steps=STEPS, starts=(1.0, 1.0))
    assert cure.plan is not None
    run = tw.run(tw.landscapes.from_formula("x**2 + y**2"), cure.plan(plan))
    training, rates = begun(linear(), cure), []
    for _ in range(STEPS):
        rates.append(training.optimizer.param_groups[0]["lr"])
        training.advance(1)
    assert run["learning_rate"].values.tolist() == pytest.approx(rates, rel=1e-5)


def test_a_schedule_starts_from_the_present_rate_and_not_from_that_of_an_earlier_one() -> None:
    task = normalised()  # whose exponential schedule has brought the rate down
    now = task.optimizer.param_groups[0]["lr"]
    assert now < task.optimizer.param_groups[0]["initial_lr"]
    for name in ("cosine over 10", "staged over 3", "snapshots over 12", "decay_rate over 5"):
        cure = cure_named(name)
        assert cure is not None
        training = begun(task, cure)
        assert training.optimizer.param_groups[0]["lr"] == now
        training.advance(2)
        assert training.optimizer.param_groups[0]["lr"] <= now


PLANS: dict[str, dict[str, Any]] = {
    "learning_rate x2": {"learning_rate": 0.2},
    "momentum 0.9": {"optimizer": "sgd", "options": {"weight_decay": 0.2, "momentum": 0.9}},
    "adam 0.02": {"optimizer": "adam", "options": {"weight_decay": 0.2}, "learning_rate": 0.02},
    "batch_size x4": {"batch": 20},
    "without_replacement": {"replacement": False},
    "weight_decay 0.5": {"options": {"weight_decay": 0.5}},
    "gradient_noise 0.25": {"noise": "gaussian:0.5"},
}


@pytest.mark.parametrize("name", PLANS)
def test_a_cure_of_a_plan_changes_what_it_says_and_nothing_else(name: str) -> None:
    plan = tw.Plan(learning_rate=0.1, options={"weight_decay": 0.2}, batch=5, replacement=True)
    cure = cure_named(name)
    assert cure is not None and cure.plan is not None
    assert cure.plan(plan) == replace(plan, **PLANS[name])


@pytest.mark.parametrize("cure", [c for c in RACED if c.plan], ids=lambda c: c.name)
def test_every_plan_that_a_cure_makes_runs(cure: Cure) -> None:
    plan = tw.Plan(learning_rate=0.1, steps=30, starts=(1.0, 1.0))
    assert cure.plan is not None
    end = tw.run(tw.landscapes.from_formula("x**2 + 3*y**2"), cure.plan(plan)).end
    assert end["losses"][0] < 4


def test_a_range_test_finds_a_rate_below_the_limit_of_a_quadratic_and_near_it() -> None:
    for rate in (1e-4, 0.05, 3.0):
        task = linear(rate=rate)
        x = task.train[0]
        limit = 2 / float(torch.linalg.eigvalsh(2 / len(x) * x.T @ x)[-1])
        training = begun(task, cures.range_test())
        found = training.optimizer.param_groups[0]["lr"]
        assert 0.01 * limit < found < limit
        assert 0 < training.examples_seen <= 100 * len(x)
        torch.manual_seed(0)
        names = pasted(task, cures.range_test(), epochs=0)
        assert names["optimizer"].param_groups[0]["lr"] == found


def test_the_rate_decays_where_the_held_out_loss_has_ceased_to_fall() -> None:
    """As a plateau schedule of torch's own says of the very losses."""
    task = with_test(momentum)
    training = begun(task, cures.decay_then_stop(1))
    plain = Training.of(task)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.05)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=1 / 3, patience=1, min_lr=5e-4)
    best = math.inf
    for _ in range(60):
        training.advance(7 if len(training.losses) == 0 else 6)  # the epoch's end is seen after
        for group in plain.optimizer.param_groups:
            group["lr"] = optimizer.param_groups[0]["lr"]
        plain.advance(6)
        held = plain.evaluate(tw_examples(task.test))
        scheduler.step(held)
        best = min(best, held)
        rate = training.optimizer.param_groups[0]["lr"]
        if rate == 0:
            break
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        assert training.evaluate(tw_examples(task.test)) == best
    else:
        raise AssertionError("it must stop")
    assert optimizer.param_groups[0]["lr"] == pytest.approx(5e-4)


def tw_examples(pair: Any) -> Any:
    from thalweg.objective.examples import Examples

    return Examples.of(pair)


@pytest.mark.parametrize("name", ["early_stopping 2", "decay_then_stop 1"])
def test_where_the_run_stands_may_be_the_best_that_it_comes_to(name: str) -> None:
    """At the held-out data's own minimum, which other training data lead away from."""
    task = linear(rate=0.01)
    x, y = task.train
    task = replace(task, test=(x, y), train=(x, y + 10 * x[:, :1]))
    with torch.no_grad():
        task.model.get_parameter("weight").copy_(torch.linalg.lstsq(x, y).solution.T)
    cure = cure_named(name)
    assert cure is not None
    training = begun(task, cure)
    assert training.cost == pytest.approx(1 / 3)
    here = training.state()
    training.advance(4)
    assert training.answers is not None and training.cost > 4
    assert same(dict(training.answers()[0]), dict(here))
    assert not torch.equal(training.point(), here["weight"].flatten())


def test_early_stopping_answers_with_the_epoch_of_the_lowest_held_out_loss() -> None:
    task = with_test(momentum)
    plain, states, points = Training.of(task), [], []
    for _ in range(30):
        plain.advance(6)
        points.append(plain.point())
        states.append((plain.evaluate(tw_examples(task.test)), plain.state()))
    falls = [loss for loss, _ in states]
    stop = next(
        k for k in range(2, 30) if min(falls[: k - 1]) <= min(falls[k - 1 : k + 1])
    )  # two epochs without a lower one
    training = begun(task, cures.early_stopping(2))
    training.advance(6 * (stop + 1) + 1)
    assert training.answers is not None
    (answer,) = training.answers()
    best = min(range(stop + 1), key=lambda k: falls[k])
    assert same(dict(answer), dict(states[best][1]))
    assert torch.equal(training.point(), points[stop])  # and no step is taken after it
    training.advance(13)
    point = training.point()
    training.advance(6)
    assert torch.equal(point, training.point())
    with pytest.raises(UsageError, match="needs the task's test data"):
        begun(momentum(), cures.early_stopping())


# Gradients -------------------------------------------------------------------------------------


def test_a_sharpness_aware_step_is_that_of_the_closed_form() -> None:
    task = linear()
    w = torch.cat([p.detach().reshape(-1) for p in task.model.parameters()])
    training = begun(task, cures.sharpness_aware(0.3))
    for _ in range(5):
        g = slope(task, w)
        w = w - 0.1 * slope(task, w + 0.3 * g / g.norm())
        training.advance(1)
        torch.testing.assert_close(training.point(), w)
    assert training.cost == pytest.approx(10)  # two gradients a step
    assert training.gradients_a_step == 2


def test_gradient_noise_has_its_variance_and_fades() -> None:
    """On a loss without slope the steps are the noise alone."""
    model = fresh(lambda: nn.Linear(4000, 1, bias=False))
    x = torch.zeros(4, 4000)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    task = Task(model=model, loss=F.mse_loss, train=(x, x[:, :1]), optimizer=optimizer)
    training = begun(task, cures.gradient_noise(0.04))
    for step in range(4):
        before = training.point()
        training.advance(1)
        expected = 0.04 / (1 + step) ** 0.55
        assert float((training.point() - before).var()) == pytest.approx(expected, rel=0.1)


def test_perturbed_descent_leaves_slopes_alone_and_nudges_where_there_is_none() -> None:
    sloping = linear()
    training, plain = begun(sloping, cures.perturbed_descent()), Training.of(sloping)
    training.advance(5)
    plain.advance(5)
    assert torch.equal(training.point(), plain.point())
    model = fresh(lambda: nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 1, bias=False)))
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()  # a saddle, exactly
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    flat = Task(model=model, loss=F.mse_loss, train=numbers(), optimizer=optimizer)
    training, plain = begun(flat, cures.perturbed_descent(0.1)), Training.of(flat)
    training.advance(1)
    plain.advance(1)
    scales = ground(flat).scales
    moved = training.point() / scales
    assert float(plain.point().norm()) == 0
    assert float(moved.square().mean().sqrt()) == pytest.approx(0.1, rel=0.5)
    training.advance(150)
    plain.advance(150)
    assert training.losses[-1] < 0.2 * plain.losses[-1]


def test_a_saddle_free_step_leaves_a_quadratic_saddle_along_the_exact_direction() -> None:
    objective = tw.landscapes.from_formula("2*x**2 - 0.5*y**2 + 3*z**2")
    point = torch.tensor([0.5, 1e-3, -0.2], dtype=torch.float64)
    step, fall = newton_step(objective, point, saddle_free=True, products=3)
    exact = torch.tensor([-0.5, 1e-3, 0.2], dtype=torch.float64)  # −|H|⁻¹∇f
    assert float(F.cosine_similarity(step, exact, dim=0)) == pytest.approx(1, abs=1e-9)
    assert fall.value == pytest.approx(float(objective.loss(point) - objective.loss(point + step)))
    plain, _ = newton_step(objective, point, products=3)
    assert float(plain[1].abs()) < 1e-9  # the way down is left out
    torch.testing.assert_close(plain[[0, 2]], exact[[0, 2]], rtol=1e-6, atol=1e-6)


def test_from_a_saddle_alone_the_longest_step_is_taken() -> None:
    objective = tw.landscapes.from_formula("x**2 - y**2")
    point = torch.tensor([0.0, 1e-3], dtype=torch.float64)
    step, _ = newton_step(objective, point, saddle_free=True)
    assert float(step[1]) > 50 * 1e-3


@pytest.mark.parametrize("name", ["newton_cg 4", "saddle_free_newton 4"])
def test_newtons_method_solves_least_squares_in_one_step_and_is_charged(name: str) -> None:
    task = linear()
    x, y = task.train
    cure = cure_named(name)
    assert cure is not None
    training = begun(task, cure)
    training.advance(1)
    exact = torch.linalg.lstsq(x, y).solution[:, 0]
    torch.testing.assert_close(training.point(), exact, rtol=1e-6, atol=1e-8)
    assert 2 + 2 * 4 < training.cost <= 1 + 2 + 2 * 4 + 4
    assert training.gradients_a_step == pytest.approx(training.cost, rel=0.25)
    names = pasted(task, cure, epochs=1)
    torch.testing.assert_close(names["model"].weight.detach()[0], exact, rtol=1e-6, atol=1e-8)


# Averages --------------------------------------------------------------------------------------


def test_the_average_is_the_mean_of_the_weights_after_each_epoch() -> None:
    task = momentum()
    plain, points = Training.of(task), []
    for _ in range(4):
        plain.advance(6)
        points.append(plain.point())
    training = begun(task, cures.swa())
    training.advance(25)
    objective = ground(task).objective
    mean = torch.stack(points).mean(0)
    assert training.value(objective) == pytest.approx(objective.value(mean), rel=1e-6)
    assert torch.equal(training.point()[:1], training.point()[:1])
    plain.advance(1)
    assert torch.equal(training.point(), plain.point())  # what is trained is not touched


def test_the_moving_average_follows_its_recurrence() -> None:
    task = momentum()
    plain, decay = Training.of(task), 0.7
    plain.advance(1)
    mean = plain.point()
    for _ in range(9):
        plain.advance(1)
        mean = decay * mean + (1 - decay) * plain.point()
    training = begun(task, cures.ema(decay))
    training.advance(10)
    objective = ground(task).objective
    assert training.value(objective) == pytest.approx(objective.value(mean), rel=1e-5)


def test_averaged_weights_have_the_statistics_of_their_own_batches() -> None:
    """Of batch normalisation: those that a pass over the data with the mean weights leaves behind."""
    model = fresh(lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)))
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    task = Task(model=model, loss=F.cross_entropy, train=data(), optimizer=optimizer, batch_size=16)
    training = begun(task, cures.swa())
    assert training.cost == pytest.approx(1 / 3)  # the pass over the data
    training.advance(19)
    assert training.answers is not None
    (state,) = training.answers()
    hidden = F.linear(task.train[0], state["0.weight"], state["0.bias"])
    torch.testing.assert_close(state["1.running_mean"], hidden.mean(0))
    torch.testing.assert_close(state["1.running_var"], hidden.var(0))


@pytest.mark.parametrize("name", ["snapshots over 24", "fast_ensemble over 24"])
def test_an_ensemble_answers_with_the_mean_of_its_members_probabilities(name: str) -> None:
    task = with_test(momentum)
    cure = cure_named(name)
    assert cure is not None
    training = begun(task, cure)
    before = everything(task)
    training.advance(25)
    assert training.answers is not None
    members = training.answers()
    assert len(members) == 4
    twin = copy.deepcopy(task.model)
    for pair, seen in (
        (task.test, training.evaluate(tw_examples(task.test))),
        (task.train, training.value(ground(task).objective)),
    ):
        probabilities, decay = [], []
        for state in members:
            twin.load_state_dict(state)
            with torch.no_grad():
                probabilities.append(twin(pair[0]).double().softmax(1))
            decay.append(sum(float(p.detach().double().square().sum()) for p in twin.parameters()))
        mean = torch.stack(probabilities).mean(0)
        expected = float(-mean[torch.arange(len(mean)), pair[1]].log().mean())
        expected += 0.5 * 1e-3 * sum(decay) / 4 if pair is task.train else 0
        assert seen == pytest.approx(expected, rel=1e-5)
    point = training.point()
    assert torch.equal(point, training.point()) and same(before, everything(task))
    names = pasted(task, cure, epochs=4)
    assert float(names["prediction"].exp().sum()) == pytest.approx(40, rel=1e-4)


def test_predictions_are_averaged_as_what_the_loss_takes_them_for() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(7, 3, generator=generator, dtype=torch.float64) for _ in range(3)]
    mean = torch.stack([one.softmax(1) for one in logits]).mean(0)
    for loss in (F.cross_entropy, nn.CrossEntropyLoss()):
        torch.testing.assert_close(average(logits, loss).softmax(1), mean)
    logs = [one.log_softmax(1) for one in logits]
    torch.testing.assert_close(average(logs, F.nll_loss).exp(), mean)
    chances = torch.stack([one.sigmoid() for one in logits]).mean(0)
    torch.testing.assert_close(average(logits, nn.BCEWithLogitsLoss()).sigmoid(), chances)
    torch.testing.assert_close(average(logits, F.mse_loss), torch.stack(logits).mean(0))
    images = [one.T[None] for one in logits]  # classes in the second dimension
    torch.testing.assert_close(average(images, F.cross_entropy).softmax(1)[0].T, mean)


# Examples and units ----------------------------------------------------------------------------


def test_a_loader_that_draws_with_replacement_gives_every_example_once() -> None:
    x, y = data()
    x = torch.cat([torch.arange(96.0)[:, None], x[:, 1:]], 1)
    dataset = TensorDataset(x, y)
    sampler = RandomSampler(dataset, replacement=True)
    task = replace(momentum(), train=DataLoader(dataset, 16, sampler=sampler), batch_size=None)
    seen: dict[str, list[float]] = {}
    for name in ("plain", "without_replacement"):
        training, rows = Training.of(task), []
        if name != "plain":
            cures.without_replacement().change(training, ground(task))  # type: ignore[misc]
        training.before_update.append(lambda t, rows=rows: rows.extend(t.batch[0][:, 0].tolist()))
        training.advance(6)
        seen[name] = rows
    assert sorted(seen["without_replacement"]) == list(range(96))
    assert len(set(seen["plain"])) < 96


def outliers() -> Task:
    """Least squares at its optimum, four of whose targets are far out."""
    task = linear()
    x, y = task.train
    y = y.clone()
    y[:4] += torch.tensor([[20.0], [-20.0], [20.0], [-20.0]])
    with torch.no_grad():
        task.model.get_parameter("weight").copy_(torch.linalg.lstsq(x, y).solution.T)
    return replace(task, train=(x, y), batch_size=16)


def test_erratic_examples_are_left_out_or_drawn_seldom() -> None:
    task = outliers()
    rows = set(tw.measure.per_example(task).erratic_rows().tolist())
    assert len(rows) >= 3 and rows <= {0, 1, 2, 3}
    said = cures.drop_erratic().evidence(task)  # type: ignore[misc]
    assert said.startswith(f"{len(rows)} of 96 examples") and "the rows" in said
    seen: dict[str, list[Tensor]] = {}
    for cure in (cures.drop_erratic(), cures.down_weight_erratic(0.1)):
        training = begun(task, cure)
        assert training.cost == pytest.approx(2)
        batches: list[Tensor] = []
        training.before_update.append(lambda t, kept=batches: kept.append(t.batch[0]))
        training.advance(60)
        seen[cure.name] = [torch.cat(batches)]
    x = task.train[0]
    for name, share in (("drop_erratic", 0.0), ("down_weight_erratic 0.1", 0.1)):
        drawn = seen[name][0]
        counts = (drawn[:, None] == x[None]).all(-1).sum(0).double()
        erratic = counts[sorted(rows)].mean()
        others = counts[[k for k in range(96) if k not in rows]].mean()
        assert float(erratic / others) == pytest.approx(share, abs=0.12 if share else 0)


def test_the_batch_is_that_at_which_signal_and_noise_are_alike() -> None:
    task = replace(momentum(), train=data(2000), batch_size=4)
    training = begun(task, cures.batch_by_noise())
    objective = ground(task).objective
    objective = objective.on(objective.data, decay=True)
    rows = [objective.on(objective.data.fetch([k]), chunk=1) for k in range(300)]
    each = torch.stack([one.value_and_gradient(objective.point())[1] for one in rows]).double()
    whole = objective.value_and_gradient(objective.point())[1].double()
    exact = float((each - each.mean(0)).square().sum(1).mean() / whole.square().sum())
    assert training.batch_size is not None
    assert abs(math.log2(training.batch_size / exact)) < 1.6
    assert 0 < training.cost < 3
    assert f"{training.batch_size} examples" in cures.batch_by_noise().evidence(task)  # type: ignore[misc]
    assert begun(linear(), cures.batch_by_noise()).batch_size is None


def test_dead_units_are_drawn_anew_and_the_others_kept() -> None:
    model = fresh(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    with torch.no_grad():
        model[0].bias[[2, 5]] = -100.0
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    task = Task(model=model, loss=F.cross_entropy, train=data(), optimizer=optimizer)
    training = begun(task, cures.revive())
    training.advance(1)
    assert training.cost == pytest.approx(2)
    names = pasted(copy.deepcopy(task), cures.revive(), epochs=1)
    for found in (training.model, names["model"]):
        weight, bias = found[0].weight, found[0].bias.detach()
        alive = [k for k in range(8) if k not in (2, 5)]
        assert torch.equal(weight[alive], model[0].weight[alive])
        assert torch.equal(found[2].weight, model[2].weight)
        assert float(bias[[2, 5]].abs().max()) < 1
        assert not torch.equal(weight[[2, 5]], model[0].weight[[2, 5]])
        assert bool((found[1](found[0](data()[0])) > 0).any(0).all())


# All of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cure", RACED, ids=lambda c: c.name)
def test_a_cure_changes_nothing_of_the_users_and_is_the_same_again(cure: Cure) -> None:
    task = normalised()
    before = everything(task)
    ends = []
    for _ in range(2):
        training = begun(task, cure)
        training.advance(7 if training.gradients_a_step < 3 else 1)
        objective = ground(task).objective
        ends.append((training.point(), training.value(objective), training.examples_seen))
        training.evaluate(tw_examples(task.test))
    assert same(before, everything(task))
    assert same(ends[0], ends[1])


@pytest.mark.parametrize("cure", RACED, ids=lambda c: c.name)
def test_the_pasted_loop_of_every_cure_runs(cure: Cure) -> None:
    task = with_test(momentum)
    start = {name: value.clone() for name, value in task.model.state_dict().items()}
    torch.manual_seed(0)
    model = pasted(task, cure, epochs=3)["model"]
    end = model.state_dict()
    assert all(bool(torch.isfinite(value).all()) for value in end.values())
    assert not same(start, dict(end))


@pytest.mark.parametrize("cure", ALL, ids=lambda c: c and c.name)
def test_every_cure_says_what_it_is_for_what_it_costs_and_who_says_so(cure: Cure) -> None:
    for text in (cure.summary, cure.costs):
        assert text.endswith(".") and text[0] == text[0].upper()
    assert cure.source and cure.family
    assert (cure.change is None) == (cure.family == "advice")
    compile(in_loop(cure), cure.name, "exec")


def test_the_evidence_for_scaling_inputs_and_for_normalisation() -> None:
    task = linear()
    x, y = task.train
    x = x * torch.tensor([1.0, 1.0, 1.0, 100.0]) + 3
    unscaled = cures.scale_inputs().evidence(replace(task, train=(x, y)))  # type: ignore[misc]
    condition = float(torch.linalg.cond(x.T @ x))
    assert f"from {condition:.3g} to" in unscaled
    model = fresh(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    with torch.no_grad():
        model[0].bias[[2, 5]] = -100.0
    dead = replace(momentum(), model=model, optimizer=torch.optim.SGD(model.parameters(), 0.1))
    assert "25% are dead" in cures.batch_normalisation().evidence(dead)  # type: ignore[misc]


def test_a_saddle_whose_slope_has_no_part_in_the_way_out_is_left_along_it() -> None:
    objective = tw.landscapes.from_formula("x**2 + z**2 - y**2 + y**4")
    point = torch.tensor([0.3, 0.0, 0.1], dtype=torch.float64)
    step, _ = newton_step(objective, point, saddle_free=True)
    torch.testing.assert_close(point + step, torch.zeros(3, dtype=torch.float64))
    level = tw.landscapes.from_formula("1 + x**2 + z**2 - y**2 + y**4")
    out, fall = newton_step(level, torch.zeros(3, dtype=torch.float64), saddle_free=True)
    assert abs(float(out[1])) == pytest.approx(0.5**0.5, rel=0.3)  # the minima beside it
    assert fall.value == pytest.approx(0.25, rel=0.2)


@pytest.mark.parametrize("cure", RACED, ids=lambda c: c.name)
def test_a_step_of_the_users_own_is_cured_alike(cure: Cure) -> None:
    def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    ends = []
    for task in (with_test(momentum), replace(with_test(momentum), step=step)):
        torch.manual_seed(0)
        training = begun(task, cure)
        training.advance(13 if training.gradients_a_step < 3 else 1)
        ends.append((training.point(), training.examples_seen))
    assert same(ends[0], ends[1])


def odd_step(net: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    loss = net(batch[0]).square().mean()
    loss.backward()
    optimizer.step()
    return loss


def test_no_sharpness_aware_step_is_taken_on_a_loss_that_the_own_step_does_not_descend() -> None:
    task = replace(momentum(), step=odd_step)
    with pytest.raises(UsageError, match="sharpness_aware needs the gradient elsewhere of what"):
        tw.race(task, ["sharpness_aware 0.05"], budget=2, seeds=1)


def test_another_optimizer_steps_on_a_sharpness_aware_gradient_not_on_two() -> None:
    task = momentum()
    last = torch.optim.SGD(list(task.model.parameters())[-2:], lr=0.1)
    first = torch.optim.SGD(list(task.model.parameters())[:-2], lr=0.1)

    def step(net: nn.Module, batch: Any, optimizer: Any, other: Any) -> Tensor:
        net.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        other.step()
        return loss

    task = replace(task, step=step, optimizer=first, parts={"other": last})
    moved = []
    for cure in (None, cures.sharpness_aware(1e-9)):
        training = Training.of(task)
        if cure is not None:
            cure.change(training, ground(task))  # type: ignore[misc]
        training.advance(1)
        moved.append(training.point())
    torch.testing.assert_close(moved[0], moved[1])


def test_hopping_never_ends_higher_and_leaves_a_poor_minimum() -> None:
    """Two-bit parity by two units, from minima where many descents end: most hops find the lower one."""
    task = tw.clinic.case("xor_poor_minimum")
    training = begun(task, cures.basin_hopping(40))
    objective = ground(task).objective
    losses = [training.value(objective)]
    for _ in range(6):
        cost = training.cost
        training.advance(1)
        losses.append(training.value(objective))
        assert 10 < training.cost - cost <= 1 + 40 + 1
    assert all(b <= a * (1 + 1e-6) for a, b in pairwise(losses))
    assert losses[-1] < 0.5 * losses[0]


def test_a_race_gives_a_step_of_two_gradients_half_as_many_steps() -> None:
    task = momentum()
    torch.manual_seed(8)
    race = tw.race(task, ["sharpness_aware 0.05"], budget=4, seeds=1)
    for name, steps in (("unchanged", 24), ("sharpness_aware 0.05", 12)):
        torch.manual_seed(8)
        training = Training.of(task)
        if name != "unchanged":
            cures.sharpness_aware().change(training, ground(task))  # type: ignore[misc]
        training.advance(steps)
        assert race.arm(name).losses[0][-1] == training.value(ground(task).objective)
        assert training.cost == pytest.approx(4)


@pytest.mark.parametrize("steps", [8, 40])
def test_as_many_steps_as_snapshots_are_spread_over_keep_all_four(steps: int) -> None:
    training = begun(momentum(), cures.snapshots(steps))
    training.advance(steps)
    states = training.answering()
    assert states is not None and len(states) == 4
    newest = torch.cat([states[-1][name].flatten() for name in states[-1]])
    torch.testing.assert_close(newest, training.point(), rtol=0, atol=0)
