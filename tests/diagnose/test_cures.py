"""Each cure does to a fork what the code it gives does to the user's own objects."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import thalweg as tw
from tests.diagnose.stuck import (
    data,
    dictionaries,
    everything,
    fresh,
    frozen,
    loader,
    momentum,
    normalised,
    own_penalty,
    same,
    small_start,
)
from thalweg.diagnose import cures
from thalweg.diagnose.cures import CATALOGUE, Cure, Ground, cure_named, full_name, in_loop
from thalweg.diagnose.examination import Examination, fan_in_scales
from thalweg.errors import UsageError
from thalweg.objective.supervised import Supervised
from thalweg.run.training import Training
from thalweg.task import Task

STEPS = 15

EPOCHS = 3


def ground(task: Task, negative: Tensor | None = None) -> Ground:
    examination = Examination.of(task, budget=math.inf)
    fresh = torch.Generator().manual_seed(11)
    return Ground(fresh, negative, fan_in_scales(task.model), examination.objective)


def forked(task: Task, cure: Cure, steps: int = STEPS) -> Training:
    """A fork of the user's training with the cure, some steps on."""
    training = Training.of(task)
    assert cure.change is not None
    cure.change(training, ground(task))
    training.advance(steps)
    return training


def shuffled(task: Task) -> DataLoader[Any]:
    """The user's data as a plain loader gives them."""
    train = task.train
    if isinstance(train, DataLoader):
        return train
    size = task.batch_size or len(train[0])
    return DataLoader(TensorDataset(*train), size, shuffle=size < len(train[0]))


def pasted(task: Task, cure: Cure, epochs: int = EPOCHS) -> dict[str, Any]:
    """The user's own loop on the user's own objects with the cure's code in its places."""
    loader = shuffled(task)
    names: dict[str, Any] = {
        "torch": torch,
        "tw": tw,
        "DataLoader": DataLoader,
        "TensorDataset": TensorDataset,
        "model": task.model,
        "optimizer": task.optimizer,
        "loss": task.loss,
        "loader": loader,
        "dataset": loader.dataset,
        "batch_size": loader.batch_size,
        "held_out": task.test,
        "epochs": epochs,
    }
    names["x"], names["y"] = loader.dataset.tensors  # type: ignore[attr-defined]
    exec(in_loop(cure), names)
    return names


def with_test(make: Callable[[], Task]) -> Task:
    """Held-out data of the same kind, whose loss soon ceases to fall."""
    task = make()
    x, y = data(140)
    return replace(task, test=(x[100:], y[100:]))


DETERMINISTIC = [
    cures.learning_rate(0.1),
    cures.learning_rate(3),
    cures.decay_rate(10),
    cures.decay_rate(1000),
    cures.step_decay(9),
    cures.cosine(10),
    cures.cyclic(16),
    cures.one_cycle(10),
    cures.warm_restarts(10),
    cures.warmup(5),
    cures.staged(1),
    cures.decay_on_plateau(1),
    cures.momentum(0.9),
    cures.nesterov(0.8),
    cures.rmsprop(),
    cures.adam(),
    cures.adamw(),
    cures.batch_size(4),
    cures.batch_size(0.25),
    cures.without_replacement(),
    cures.clip(),
    cures.clip(0.3),
    cures.weight_decay(),
    cures.sharpness_aware(),
    cures.sharpness_aware(0.5),
    cures.swa(),
    cures.ema(0.8),
    cures.snapshots(10),
    cures.fast_ensemble(17),
    cures.early_stopping(1),
    cures.decay_then_stop(1),
]


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        pytest.param(make, cure, id=f"{make.__name__}-{cure.name}")
        for make in (momentum, loader, frozen)
        for cure in DETERMINISTIC
        # Larger batches of a loader come in an order of their own.
        if not (make is loader and cure.name.startswith(("batch_size", "without")))
    ],
)
def test_a_fork_goes_the_way_of_the_pasted_code_to_the_bit(
    cure: Cure, make: Callable[[], Task]
) -> None:
    task = with_test(make)
    torch.manual_seed(21)
    before = everything(task)
    training = Training.of(task)
    assert cure.change is not None
    cure.change(training, ground(task))
    steps = EPOCHS * -(-96 // (training.batch_size or 16))
    training.advance(steps)
    rates = [group["lr"] for group in training.optimizer.param_groups]
    states = training.state(), training.optimizer.state_dict()["state"]
    answers = training.answering()
    assert same(before, everything(task))
    names = pasted(task, cure)
    model, optimizer = names["model"], names["optimizer"]
    if answers is None:
        assert same(states[0], dict(model.state_dict()))
    else:
        assert same(dict(answers[-1]), dict(model.state_dict()))
    assert type(training.optimizer) is type(optimizer)
    stops = cure.name.startswith(("early", "decay_then"))
    if not stops:
        assert same(states[1], optimizer.state_dict()["state"])
    for rate, group, other in zip(
        rates, training.optimizer.param_groups, optimizer.param_groups, strict=True
    ):
        assert group["weight_decay"] == other["weight_decay"]
        if not stops and not cure.name.startswith("decay_on"):
            assert rate == other["lr"]


def test_groups_keep_their_own_rates_and_decay() -> None:
    task = momentum()
    first, *rest = task.model.parameters()
    task.optimizer.param_groups.clear()
    task.optimizer.add_param_group({"params": [first], "lr": 0.2, "weight_decay": 0.3})
    task.optimizer.add_param_group({"params": rest, "lr": 0.01, "weight_decay": 0.0})
    for cure, rates in (
        (cures.learning_rate(0.1), [0.02, 0.001]),
        (cures.momentum(0.5), [0.2, 0.01]),
        (cures.adam(0.004), [0.004, 0.004]),
    ):
        names: dict[str, Any] = {"torch": torch, "optimizer": copy.deepcopy(task.optimizer)}
        exec(cure.code, names)
        for optimizer in (forked(task, cure, 0).optimizer, names["optimizer"]):
            assert [g["lr"] for g in optimizer.param_groups] == pytest.approx(rates)
            assert [g["weight_decay"] for g in optimizer.param_groups] == [0.3, 0.0]


@pytest.mark.parametrize(
    "cure",
    [cures.learning_rate(0.1), cures.momentum(), cures.adam(), cures.range_test(3), cures.swa()],
    ids=lambda cure: cure.name,
)
def test_where_the_schedule_ends_the_code_says_so(cure: Cure) -> None:
    assert forked(normalised(), cure, 1).schedule is None
    assert "schedule" in cure.code


def test_a_rate_that_decays_ends_a_hundred_times_lower_and_stays_there() -> None:
    for steps in (1, 7, 30, 2000):
        rate = 0.05
        training = forked(momentum(), cures.decay_rate(steps), 0)
        gamma = float(cures.decay_rate(steps).code.split("gamma=")[1].split(")")[0])
        assert gamma**steps == pytest.approx(0.01, rel=1e-3)
        assert training.optimizer.param_groups[0]["lr"] == rate  # moves at the present rate first
        if steps < 100:
            training.advance(steps + 5)
            assert training.optimizer.param_groups[0]["lr"] == pytest.approx(rate / 100, rel=1e-3)


def test_a_larger_batch_sees_as_many_times_more_examples_a_step() -> None:
    for factor, expected in ((2, 32), (3, 48), (8, 96), (1e6, 96), (0.25, 4), (0.001, 1)):
        assert forked(momentum(), cures.batch_size(factor), 3).examples_seen == 3 * expected
    full = small_start()  # full batches cannot be larger
    assert forked(full, cures.batch_size(8), 3).examples_seen == 3 * 96


def test_clipping_bounds_the_step_by_the_median_of_the_past() -> None:
    """Plain descent, whose step is the rate times the gradient: one step is thrown far out."""
    model = fresh(lambda: nn.Linear(4, 1))
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(4))
    x[7] *= 1e3

    task = Task(
        model=model,
        loss=F.mse_loss,
        train=(x, x[:, :1]),
        optimizer=torch.optim.SGD(model.parameters(), 1e-3),
        batch_size=1,
    )
    lengths: dict[str, list[float]] = {}
    for cure in (None, cures.clip(1.0)):
        training = Training.of(task)
        if cure is not None and cure.change is not None:
            cure.change(training, ground(task))
        points = [training.point()]
        for _ in range(60):
            training.advance(1)
            points.append(training.point())
        steps = [float((b - a).norm()) for a, b in pairwise(points)]
        lengths["plain" if cure is None else "clipped"] = steps
    assert max(lengths["plain"]) > 100 * sorted(lengths["plain"])[30]
    assert max(lengths["clipped"]) < 10 * sorted(lengths["clipped"])[30]


# Cures that move the weights -------------------------------------------------------------------


@pytest.mark.parametrize("make", [momentum, frozen, own_penalty, normalised])
def test_a_nudge_adds_the_noise_that_its_code_adds(
    make: Callable[[], Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make()
    cure = cures.perturb(0.3)
    moved = forked(task, cure, 0).point()
    trained = [p for p in task.model.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(11)
    noise = torch.randn(sum(p.numel() for p in trained), generator=generator)
    pieces = iter(noise.split([p.numel() for p in trained]))
    monkeypatch.setattr(torch, "randn_like", lambda p: next(pieces).view(p.shape))
    still = [p.clone() for p in task.model.parameters() if not p.requires_grad]
    exec(cure.code, {"torch": torch, "model": task.model})
    torch.testing.assert_close(moved, torch.cat([p.detach().reshape(-1) for p in trained]))
    assert same(still, [p for p in task.model.parameters() if not p.requires_grad])


def test_a_restart_draws_what_learns_anew_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two modules whose draws can be foretold: constants."""

    class Constant(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value, self.weight = value, nn.Parameter(torch.full((3, 3), 0.5))

        def reset_parameters(self) -> None:
            nn.init.constant_(self.weight, self.value)

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    model = nn.Sequential(nn.Linear(6, 3), Constant(2.0), Constant(3.0))
    model[0].requires_grad_(False)
    model[2].requires_grad_(False)
    optimizer = torch.optim.SGD(model[1].parameters(), 0.0, momentum=0.9)
    task = Task(model=model, loss=F.cross_entropy, train=data(), optimizer=optimizer)
    task.loss(model(data()[0]), data()[1]).backward()  # type: ignore[misc]
    optimizer.step()
    assert optimizer.state
    before = model[0].weight.clone()
    training = forked(task, cures.restart(), 1)
    exec(cures.restart().code, {"model": model, "optimizer": optimizer})
    assert not optimizer.state
    for which in (training.model, model):
        assert torch.equal(which[0].weight, before)  # type: ignore[index]
        assert bool((which[1].weight == 2.0).all())  # type: ignore[index]
        assert bool((which[2].weight == 0.5).all())  # type: ignore[index]


def test_a_restart_draws_weights_of_the_usual_size_by_its_own_generator() -> None:
    task = momentum()
    one = forked(task, cures.restart(), 1)
    assert same(one.model.state_dict(), forked(task, cures.restart(), 1).model.state_dict())
    weight = one.model.get_parameter("0.weight").detach()
    assert not torch.allclose(weight, task.model.get_parameter("0.weight"), atol=0.05)
    assert float(weight.abs().max()) < 6**-0.5 + 0.1  # torch's own: uniform within 1/√fan_in


def test_a_restart_leaves_the_order_of_the_data_and_dropout_as_in_every_arm() -> None:
    seen: dict[str, list[Tensor]] = {}
    for name in ("unchanged", "restart", "perturb"):
        task = dictionaries()
        plain = task.batch_loss
        rows: list[Tensor] = []

        def loss(
            model: nn.Module, batch: Any, rows: list[Tensor] = rows, plain: Any = plain
        ) -> Tensor:
            rows.append(batch["x"][:, 0].clone())
            return plain(model, batch)

        torch.manual_seed(5)
        training = Training.of(Task(**{**vars(task), "batch_loss": loss}))
        if name != "unchanged":
            cure_named(name).change(training, ground(task))  # type: ignore[union-attr,misc]
        training.advance(40)  # more than three passes
        seen[name] = rows
    assert same(seen["unchanged"], seen["restart"])
    assert same(seen["unchanged"], seen["perturb"])


def test_the_code_for_negative_curvature_leaves_a_saddle_as_the_race_does() -> None:
    task = small_start(dtype=torch.float64)
    x, y = task.train
    objective = Supervised(task.model, task.loss, task.train)
    start = objective.value(objective.point())
    race = tw.race(task, ["negative_curvature"], budget=1, seeds=1)
    names: dict[str, Any] = {"torch": torch, "tw": tw, "model": task.model, "loss": task.loss}
    exec(cures.negative_curvature().code, names | {"x": x, "y": y})
    fallen = start - Supervised(task.model, task.loss, task.train).value(
        torch.cat([p.detach().reshape(-1) for p in task.model.parameters()])
    )
    assert fallen > 0.2 * start
    by_race = start - min(race.arm("negative_curvature").losses[0][1:])
    assert by_race == pytest.approx(fallen, rel=0.3)


# Names -----------------------------------------------------------------------------------------

MEMBERS = [cure_named(full_name(kind)) for kind in CATALOGUE]


@pytest.mark.parametrize("cure", [*MEMBERS, *DETERMINISTIC], ids=lambda c: c and c.name)
def test_a_name_leads_back_to_the_cure(cure: Cure | None) -> None:
    assert cure is not None
    assert cure_named(cure.name) == cure
    assert cure.summary.endswith(".") and cure.code.strip()
    assert all(len(line) <= 100 for line in cure.code.splitlines())
    compile(in_loop(cure), cure.name, "exec")


NUMBERED = [
    cures.learning_rate,
    cures.decay_rate,
    cures.adam,
    cures.batch_size,
    cures.perturb,
    cures.clip,
    cures.weight_decay,
]


@given(st.sampled_from(NUMBERED), st.floats(1e-9, 1e9))
def test_any_number_in_a_name_leads_back_to_the_cure(
    make: Callable[[float], Cure], value: float
) -> None:
    if make is cures.decay_rate and value < 1:
        value = 1.0
    cure = make(value)
    assert cure_named(cure.name) == cure
    if make is not cures.decay_rate:
        assert float(cure.name.split(" ")[1].lstrip("x")) == pytest.approx(value, rel=0.06)


@given(st.floats(0.001, 0.999))
def test_any_momentum_leads_back_to_the_cure(beta: float) -> None:
    assert cure_named(cures.momentum(beta).name) == cures.momentum(beta)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "levitate",
        "learning_rate",
        "learning_rate x0",
        "learning_rate x-1",
        "learning_rate xnan",
        "learning_rate x1e999",
        "momentum 1",
        "momentum -0.1",
        "decay_rate over 0",
        "decay_rate over many",
        "batch_size x0",
        "perturb a lot",
        "restart 3",
        "scale_inputs x2",
        "clip 1 2",
        "clip 1-2",
        "clip x",
    ],
)
def test_what_names_no_cure_is_none(name: str) -> None:
    assert cure_named(name) is None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("ema 1", "decay must be a number between 0 and 1, not 1.0"),
        ("adam -1", "rate must be a number above 0, not -1.0"),
        ("learning_rate x0", "factor must be a number above 0, not 0.0"),
        ("cosine over 0", "steps must be a number above 0, not 0"),
        ("cosine over 1e999", "steps must be a number above 0, not inf"),
        ("fast_ensemble over 1", "steps must be a whole number of 2 or more, not 1"),
        *((name, None) for name in ("ema 0.5", "levitate 1", "adam much", "restart 3", "")),
    ],
)
def test_a_number_in_a_name_that_is_out_of_range_is_told_by_its_rule(
    name: str, rule: str | None
) -> None:
    assert cures.out_of_range(name) == rule
    assert rule is None or cure_named(name) is None


def test_capitals_name_the_same_cure() -> None:
    assert cure_named("Adam 0.01") == cure_named(" ADAM 1E-2") == cures.adam(0.01)


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (cures.learning_rate, 0.0),
        (cures.learning_rate, math.inf),
        (cures.learning_rate, math.nan),
        (cures.decay_rate, 0),
        (cures.momentum, 1.0),
        (cures.adam, -1e-3),
        (cures.batch_size, 0),
        (cures.perturb, -1.0),
        (cures.clip, 0.0),
        (cures.weight_decay, -1e-2),
    ],
)
def test_a_number_out_of_range_is_refused(make: Callable[[float], Cure], value: float) -> None:
    with pytest.raises(UsageError, match=r"must be a number (above 0|between 0 and 1), not"):
        make(value)


def test_advice_is_told_and_not_raced() -> None:
    advice = {kind for kind in CATALOGUE if cure_named(full_name(kind)).change is None}  # type: ignore[union-attr]
    assert advice == {
        "scale_inputs",
        "batch_normalisation",
        "mend_the_wiring",
        "clean_data",
        "look_at_examples",
        "look_at_data",
        "larger_model",
    }
