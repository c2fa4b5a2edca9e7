"""A fork takes, bit for bit, the steps that the user's own loop would take, and touches nothing."""

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
)

from problems import classes, network, redrawn, vectors
from tests.diagnose.stuck import loader, momentum
from thalweg.errors import DataError, ModelError
from thalweg.objective.examples import Examples
from thalweg.run.training import Training
from thalweg.task import Task

optim, schedules = torch.optim, torch.optim.lr_scheduler
N = 22
X, Y = vectors(N, 5), classes(N)
DATASET = TensorDataset(X, Y)


class Stochastic(nn.Module):
    """BatchNorm, dropout, and a draw from NumPy's and from Python's global generators."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Tanh(), nn.Linear(6, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.training and random.random() < 0.5:
            x = x * (1 + 0.1 * np.random.rand())  # noqa: NPY002
        return self.body(x)


def model_of() -> nn.Module:
    with torch.random.fork_rng():
        return redrawn(Stochastic().double()).train()


Optimizers = Callable[[Any], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Optimizers] = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "Adam": lambda p: optim.Adam(p, 0.01),
    "AMSGrad": lambda p: optim.AdamW(p, 0.01, amsgrad=True, weight_decay=0.1),
    "RMSprop": lambda p: optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, 0.05),
    "NAdam": lambda p: optim.NAdam(p, 0.01),
    "LBFGS": lambda p: optim.LBFGS(p, 0.1, max_iter=3, history_size=5),
}

SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "cosine": lambda o: schedules.CosineAnnealingLR(o, 13),
    "one cycle": lambda o: schedules.OneCycleLR(o, 0.2, total_steps=60),
    "lambda": lambda o: schedules.LambdaLR(o, lambda step: 1 / (1 + 0.3 * step)),
    "plateau": lambda o: schedules.ReduceLROnPlateau(o, patience=1, factor=0.5),
    "sequence": lambda o: schedules.SequentialLR(
        o,
        [schedules.LinearLR(o, 0.1, total_iters=4), schedules.StepLR(o, 3, 0.7)],
        milestones=[4],
    ),
}


class Stream(IterableDataset[Any]):
    """Examples from a generator of its own, others in every epoch."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(3)

    def __iter__(self) -> Iterator[Any]:
        for i in torch.randperm(N, generator=self.generator):
            yield X[i], Y[i]


class Augmented(Dataset[Any]):
    def __init__(self) -> None:
        self.rng = np.random.default_rng(4)

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return X[index] + 0.1 * torch.randn(5) + 0.1 * self.rng.standard_normal(), Y[index]


LOADERS: dict[str, Callable[[], Any]] = {
    "shuffled": lambda: DataLoader(DATASET, batch_size=5, shuffle=True),
    "drop_last": lambda: DataLoader(DATASET, batch_size=5, shuffle=True, drop_last=True),
    "own generator": lambda: DataLoader(
        DATASET, batch_size=5, shuffle=True, generator=torch.Generator().manual_seed(6)
    ),
    "a sampler": lambda: DataLoader(
        DATASET,
        batch_size=4,
        sampler=SubsetRandomSampler(range(3, 17), torch.Generator().manual_seed(1)),
    ),
    "augmented": lambda: DataLoader(Augmented(), batch_size=5, shuffle=True),
    "stream": lambda: DataLoader(Stream(), batch_size=5),
    "a list of batches": lambda: list(zip(X.split(4), Y.split(4))),
}


def loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    loader: Any,
    steps: int,
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
) -> list[float]:
    """The user's own."""
    losses: list[float] = []
    while True:
        for x, y in loader:
            if len(losses) == steps:
                return losses

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                optimizer.zero_grad()
                value = loss(model(x), y)
                value.backward()
                return value

            value: Any = optimizer.step(closure)
            if isinstance(schedule, schedules.ReduceLROnPlateau):
                schedule.step(float(value.detach()))
            elif schedule is not None:
                schedule.step()
            losses.append(float(value.detach()))


def seed_everything(seed: int = 5) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def flat(model: nn.Module) -> Tensor:
    return torch.cat([t.detach().double().reshape(-1) for t in model.state_dict().values()])


def begun(
    make: Optimizers, schedule: Callable[[torch.optim.Optimizer], Any] | None, loader: Any
) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    """A training a few steps old."""
    seed_everything(2)
    model = model_of()
    optimizer = make(model.parameters())
    plan = None if schedule is None else schedule(optimizer)
    loop(model, optimizer, plan, DataLoader(DATASET, batch_size=5, shuffle=True), 7)
    seed_everything()
    return model, optimizer, plan


def state_of(task: Task) -> dict[str, Any]:
    model: Any = task.model
    return {
        "weights": [(id(p), p.data_ptr(), p.detach().clone()) for p in model.parameters()],
        "grads": [(id(p.grad), None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        "buffers": [(id(b), b.clone()) for b in model.buffers()],
        "modes": [m.training for m in model.modules()],
        "attributes": [{k: id(v) for k, v in vars(m).items()} for m in model.modules()],
        "optimizer": copy.deepcopy(task.optimizer.state_dict()),
        "own": {k: id(v) for k, v in vars(task.optimizer).items()},
        "schedule": None if task.schedule is None else copy.deepcopy(
            {k: v for k, v in task.schedule.state_dict().items() if not k.startswith("_schedulers")}
        ),
        "random": (
            torch.random.get_rng_state(),
            [np.asarray(part).tolist() for part in np.random.get_state()[1:3]],  # noqa: NPY002
            random.getstate(),
        ),
        "data": (X.clone(), Y.clone()),
    }  # fmt: skip


def same(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(two, Tensor) and bool(torch.equal(one, two))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[k], two[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


def agree(
    make: Optimizers,
    schedule: Callable[[torch.optim.Optimizer], Any] | None,
    loader: Callable[[], Any],
    *,
    lent: bool,
    steps: int = 17,
) -> None:
    """Fork first, in pieces and at once; then the user's own loop, which must not have felt it."""
    model, optimizer, plan = begun(make, schedule, loader)
    data = loader()
    task = Task(model=model, loss=F.cross_entropy, train=data, optimizer=optimizer, schedule=plan)
    before = state_of(task)
    fork = Training.of(task, lent=lent)
    pieces = Training.of(task, lent=lent)
    assert fork.advance(steps)
    for count in (1, 2, 0, 5, steps - 8):
        assert pieces.advance(count)
        pieces.evaluate(Examples.of((X, Y)))
    after = state_of(task)
    assert not [key for key in before if not same(before[key], after[key])]
    point = fork.point()
    losses = loop(model, optimizer, plan, data, steps)
    assert losses == fork.losses == pieces.losses
    own = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    assert torch.equal(own, point) and torch.equal(own, pieces.point())
    if not lent:
        assert torch.equal(flat(model), flat(fork.model))
        assert same(optimizer.state_dict()["state"], fork.optimizer.state_dict()["state"])
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == [group["lr"] for group in fork.optimizer.param_groups]


@pytest.mark.parametrize("lent", [False, True], ids=["copied", "lent"])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_fork_is_the_users_loop_for_every_optimizer(name: str, lent: bool) -> None:
    agree(OPTIMIZERS[name], None, LOADERS["shuffled"], lent=lent)


@pytest.mark.parametrize("lent", [False, True], ids=["copied", "lent"])
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_the_fork_is_the_users_loop_for_every_schedule(name: str, lent: bool) -> None:
    agree(OPTIMIZERS["momentum"], SCHEDULES[name], LOADERS["shuffled"], lent=lent)


@pytest.mark.parametrize("lent", [False, True], ids=["copied", "lent"])
@pytest.mark.parametrize("name", sorted(LOADERS))
def test_the_fork_is_the_users_loop_for_every_loader(name: str, lent: bool) -> None:
    agree(OPTIMIZERS["Adam"], SCHEDULES["cosine"], LOADERS[name], lent=lent)


@pytest.mark.parametrize("batch_size", [5, N, None])
def test_tensors_come_in_the_order_of_a_loader_over_them(batch_size: int | None) -> None:
    """And all of them at once as in the loop over ``model(x)``, which draws no order."""
    model, optimizer, _ = begun(OPTIMIZERS["momentum"], None, None)
    for data in ((X, Y), (X.numpy(), Y.numpy())):
        task = Task(
            model=model,
            loss=F.cross_entropy,
            train=data,
            optimizer=optimizer,
            batch_size=batch_size,
        )
        fork = Training.of(task)
        fork.advance(17)
    loader = DataLoader(DATASET, batch_size=5, shuffle=True) if batch_size == 5 else [(X, Y)]
    losses = loop(model, optimizer, None, loader, 17)
    assert fork.losses == losses


def test_a_dataset_comes_in_the_order_of_a_loader_over_it() -> None:
    model, optimizer, _ = begun(OPTIMIZERS["SGD"], None, None)
    task = Task(model=model, loss=F.cross_entropy, train=DATASET, optimizer=optimizer, batch_size=5)
    fork = Training.of(task)
    fork.advance(9)
    assert fork.losses == loop(
        model, optimizer, None, DataLoader(DATASET, batch_size=5, shuffle=True), 9
    )


def test_a_fresh_schedule_is_forked_without_a_warning() -> None:
    """Before its first step a schedule looks whether its optimizer has stepped."""
    model = model_of()
    optimizer = optim.SGD(model.parameters(), 0.1)
    plan = schedules.StepLR(optimizer, 2, 0.5)
    task = Task(model=model, loss=F.cross_entropy, train=(X, Y), optimizer=optimizer, schedule=plan)
    fork = Training.of(task)
    fork.advance(5)
    assert fork.optimizer.param_groups[0]["lr"] == 0.1 * 0.5**2
    assert optimizer.param_groups[0]["lr"] == 0.1 and not getattr(optimizer, "_opt_called", False)


def test_a_schedule_that_is_over_leaves_its_last_rate() -> None:
    model = model_of()
    optimizer = optim.SGD(model.parameters(), 0.1)
    plan = schedules.OneCycleLR(optimizer, 0.2, total_steps=6)
    task = Task(model=model, loss=F.cross_entropy, train=(X, Y), optimizer=optimizer, schedule=plan)
    fork = Training.of(task)
    assert fork.advance(12) and len(fork.losses) == 12


@pytest.mark.parametrize("name", ["shuffled", "own generator", "stream", "a sampler"])
def test_seeds_change_the_order_of_the_data(name: str) -> None:
    model, optimizer, _ = begun(OPTIMIZERS["SGD"], None, None)
    task = Task(model=model, loss=F.cross_entropy, train=LOADERS[name](), optimizer=optimizer)

    def run(seed: int | None) -> list[float]:
        fork = Training.of(task, seed=seed)
        fork.advance(12)
        return fork.losses

    assert run(1) == run(1) != run(2)
    assert run(None) == run(None) != run(1)
    before = random.getstate()
    run(3)
    assert random.getstate() == before


def test_forks_do_not_disturb_each_other() -> None:
    model, optimizer, _ = begun(OPTIMIZERS["Adam"], None, None)
    task = Task(
        model=model, loss=F.cross_entropy, train=LOADERS["own generator"](), optimizer=optimizer
    )
    alone = Training.of(task)
    alone.advance(12)
    forks = [Training.of(task, lent=lent) for lent in (False, True, True)]
    for _ in range(4):
        for fork in forks:
            fork.advance(3)
    assert all(fork.losses == alone.losses for fork in forks)


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), 1e200)
    fork = Training.of(Task(model=model, loss=F.mse_loss, train=(X, X[:, :3]), optimizer=optimizer))
    assert not fork.advance(50)
    assert len(fork.losses) < 5 and not np.isfinite(fork.losses[-1])


@pytest.mark.parametrize("raising", ["loss", "before_step"])
@pytest.mark.parametrize("lent", [False, True], ids=["copied", "lent"])
def test_an_exception_leaves_the_users_objects_as_they_were(lent: bool, raising: str) -> None:
    model, optimizer, _ = begun(OPTIMIZERS["Adam"], None, None)
    calls = [0]

    def loss(output: Tensor, target: Tensor) -> Tensor:
        calls[0] += 1
        if raising == "loss" and calls[0] == 4:
            raise KeyError("loss")
        return F.cross_entropy(output, target)

    task = Task(model=model, loss=loss, train=(X, Y), optimizer=optimizer, batch_size=5)
    before = state_of(task)
    fork = Training.of(task, lent=lent)
    if raising == "before_step":
        fork.before_step.append(lambda training: {}[len(training.losses) - 3])
    with pytest.raises(KeyError):
        fork.advance(9)
    after = state_of(task)
    assert not [key for key in before if not same(before[key], after[key])]


def test_the_cost_is_the_share_of_the_examples_seen() -> None:
    model, optimizer, _ = begun(OPTIMIZERS["SGD"], None, None)
    task = Task(model=model, loss=F.cross_entropy, train=(X, Y), optimizer=optimizer, batch_size=5)
    fork = Training.of(task)
    fork.advance(6)  # 5 + 5 + 5 + 5 + 2 + 5
    assert fork.examples_seen == 27 and fork.cost == 27 / N
    again = optim.LBFGS(model.parameters(), max_iter=4)
    lbfgs = Training.of(Task(model=model, loss=F.cross_entropy, train=(X, Y), optimizer=again))
    lbfgs.advance(1)
    assert lbfgs.cost >= 2


def test_points_are_set_and_read() -> None:
    model, optimizer, _ = begun(OPTIMIZERS["SGD"], None, None)
    before = flat(model)
    for lent in (False, True):
        fork = Training.of(
            Task(model=model, loss=F.cross_entropy, train=(X, Y), optimizer=optimizer), lent=lent
        )
        fork.place(fork.point() + 1)
        own = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
        assert torch.equal(fork.point(), own + 1) and torch.equal(flat(model), before)


def test_evaluation_is_the_mean_in_evaluation_mode_and_moves_nothing() -> None:
    model, optimizer, _ = begun(OPTIMIZERS["SGD"], None, None)
    examples = Examples.of((X, Y))
    expected = F.cross_entropy(copy.deepcopy(model).eval()(X), Y)
    for lent in (False, True):
        task = Task(
            model=model, loss=F.cross_entropy, train=(X, Y), optimizer=optimizer, batch_size=5
        )
        fork, twin = Training.of(task, lent=lent), Training.of(task, lent=lent)
        for chunk in (1024, 4):
            found = fork.evaluate(examples, chunk=chunk)
            assert found == pytest.approx(float(expected.detach()), rel=1e-12)
        fork.advance(5), twin.advance(5)
        assert fork.losses == twin.losses and model.training
    summed = Task(
        model=model,
        loss=lambda o, t: F.cross_entropy(o, t, reduction="sum"),
        train=(X, Y),
        optimizer=optimizer,
        batch_size=5,
    )
    for chunk in (1024, 4):
        found = Training.of(summed).evaluate(examples, chunk=chunk)
        assert found == pytest.approx(5 * float(expected.detach()))


class Odd(optim.SGD):
    """An optimizer that keeps more than groups and state."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr)
        self.count = 0

    def step(self, closure: Any = None) -> Any:
        self.count += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.count
        return super().step(closure)


class Counts(nn.Module):
    """Puts out less at every pass, whatever the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.passes = network(), 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        self.seen += 1
        return self.body(x) / (1 + 0.1 * self.seen + 0.1 * self.passes)


@pytest.mark.parametrize("lent", [False, True])
def test_a_look_is_no_pass_that_a_model_counts(lent: bool) -> None:
    model = Counts()
    task = Task(
        model=model,
        loss=F.cross_entropy,
        train=(X, Y),
        optimizer=optim.SGD(model.parameters(), 0.1),
        batch_size=4,
    )
    torch.manual_seed(3)
    alone, looked_at = Training.of(task, lent=lent), Training.of(task, lent=lent)
    alone.advance(6)
    for _ in range(3):
        looked_at.advance(2)
        looked_at.evaluate(Examples.of((X, Y)))
    assert looked_at.losses == alone.losses
    assert model.passes == 0 and float(model.get_buffer("seen")) == 0


def test_an_optimizer_of_the_users_own_keeps_what_it_keeps() -> None:
    model, optimizer, _ = begun(lambda p: Odd(p, 0.1), None, None)
    calls: list[int] = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    fork = Training.of(
        Task(model=model, loss=F.cross_entropy, train=DataLoader(DATASET, batch_size=5),
             optimizer=optimizer)
    )  # fmt: skip
    fork.advance(6)
    assert not calls and optimizer.count == 7  # type: ignore[attr-defined]
    assert fork.losses == loop(model, optimizer, None, DataLoader(DATASET, batch_size=5), 6)


@pytest.mark.parametrize("held", [True, False])
def test_what_a_loss_captures_besides_the_model_is_lent(held: bool) -> None:
    """A head that the loss closes over trains where the optimizer holds it, and is never changed."""
    seed_everything()
    model, head = network(), redrawn(nn.Linear(3, 3).double())
    parameters = [*model.parameters(), *(head.parameters() if held else ())]
    optimizer = optim.SGD(parameters, 0.1, momentum=0.9)
    for p in head.parameters():
        p.grad = torch.ones_like(p)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(head(output), target)

    task = Task(model=model, loss=loss, train=(X, Y), optimizer=optimizer, batch_size=5)
    before = [(p.detach().clone(), p.grad.clone()) for p in head.parameters() if p.grad is not None]
    fork, other = Training.of(task), Training.of(task)
    fork.advance(4), other.advance(8), fork.advance(4)
    now = [(p.detach(), p.grad) for p in head.parameters()]
    assert same(before, now)
    assert fork.losses == other.losses
    loader = DataLoader(DATASET, batch_size=5, shuffle=True)
    assert fork.losses == loop(model, optimizer, None, loader, 8, loss)


def test_models_that_keep_graphs_are_forked_and_those_that_cannot_be_are_refused() -> None:
    class Keeping(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.last = super().forward(x)
            return self.last

    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("no copies")

    model = redrawn(Keeping(5, 3).double())
    model(X)
    optimizer = optim.SGD(model.parameters(), 0.1)
    task = Task(model=model, loss=F.cross_entropy, train=(X, Y), optimizer=optimizer)
    assert Training.of(task).advance(3)
    stubborn = Stubborn(5, 3).double()
    refused = Task(
        model=stubborn, loss=F.cross_entropy, train=(X, Y),
        optimizer=optim.SGD(stubborn.parameters(), 0.1),
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"must allow copy\.deepcopy, but it fails: no copies"):
        Training.of(refused)
    assert Training.of(refused, lent=True).advance(3)


def test_a_loader_that_gives_nothing_is_said() -> None:
    model = network()
    loader = DataLoader(DATASET, batch_size=N + 1, drop_last=True)
    optimizer = optim.SGD(model.parameters(), 0.1)
    fork = Training.of(Task(model=model, loss=F.cross_entropy, train=loader, optimizer=optimizer))
    with pytest.raises(DataError, match="at least one batch, but its loader gives none"):
        fork.advance(1)


@pytest.mark.parametrize("name", [*sorted(LOADERS), "tensors", "dataset"])
def test_batches_of_another_size(name: str) -> None:
    """Every example of an epoch once, and others in the next; a sampler's choice stays its own."""
    data: Any = {"tensors": (X, Y), "dataset": DATASET}.get(name) or LOADERS[name]()
    model = network()
    seen: list[Tensor] = []

    def loss(given: nn.Module, batch: Any) -> Tensor:
        seen.append(batch[0].detach().clone())
        return F.cross_entropy(given(batch[0]), batch[1])

    size = 4 if name in ("tensors", "dataset") else None
    fork = Training.of(
        Task(model=model, batch_loss=loss, train=data, optimizer=optim.SGD(model.parameters(), 0.1),
             batch_size=size)
    )  # fmt: skip
    fork.batch_size = 7
    first = 2 if name == "a sampler" else 3 if name == "drop_last" else 4
    fork.advance(2 * first)
    assert [len(x) for x in seen[:3]] == [7, 7, 7]
    if name == "augmented":
        return
    rows = [[int((row == X).all(1).nonzero()) for x in part for row in x]
            for part in (seen[:first], seen[first:])]  # fmt: skip
    expected = set(range(3, 17)) if name == "a sampler" else set(range(N))
    assert all(len(set(epoch)) == len(epoch) and set(epoch) <= expected for epoch in rows)
    assert name == "drop_last" or set(rows[0]) == expected
    assert rows[0] != rows[1]


@pytest.mark.parametrize("lent", [False, True])
def test_a_twin_has_the_optimizer_that_a_cure_has_put_in_place(lent: bool) -> None:
    model, optimizer, _ = begun(OPTIMIZERS["SGD"], None, None)
    task = Task(model=model, loss=F.cross_entropy, train=(X, Y), optimizer=optimizer)
    fork = Training.of(task, lent=lent)
    fork.rebuild(lambda given: optim.Adam([group | {"lr": 0.02} for group in given]))
    here, users = fork.point(), flat(model)
    twin = fork.twin()
    assert isinstance(twin.optimizer, optim.Adam)
    twin.advance(1)
    moved = (twin.point() - here).abs()  # Adam's first step is as long as its rate
    assert float(moved.median()) == pytest.approx(0.02, rel=1e-3)
    assert torch.equal(fork.point(), here) and torch.equal(flat(model), users)
    assert not fork.optimizer.state


def test_rebuilding_keeps_rates_and_decays() -> None:
    model = network()
    groups = [{"params": [p], "lr": 0.1 * (i + 1)} for i, p in enumerate(model.parameters())]
    optimizer = optim.SGD(groups, weight_decay=0.3, momentum=0.9)
    plan = schedules.StepLR(optimizer, 1)
    fork = Training.of(
        Task(model=model, loss=F.cross_entropy, train=(X, Y), optimizer=optimizer, schedule=plan)
    )
    fork.rebuild(lambda given: optim.Adam(given, betas=(0.5, 0.9)))
    assert [g["lr"] for g in fork.optimizer.param_groups] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert {g["weight_decay"] for g in fork.optimizer.param_groups} == {0.3}
    assert fork.schedule is None and fork.advance(2)
    ours = {id(p) for p in fork.model.parameters()}
    assert {id(p) for g in fork.optimizer.param_groups for p in g["params"]} == ours


@pytest.mark.parametrize("make", [momentum, loader])
def test_an_epoch_that_is_over_is_known_to_be_when_it_is_asked_what_answers(
    make: Callable[[], Task],
) -> None:
    training, plain = Training.of(make()), Training.of(make())
    ended: list[int] = []
    training.after_epoch.append(lambda which: ended.append(len(which.losses)))
    taken: list[int] = []
    training.after_step.append(lambda which: taken.append(len(which.losses)))
    for _ in range(3):
        training.advance(6)  # 96 examples in batches of 16
        assert training.answering() is None and training.answering() is None
    assert ended == [6, 12, 18] and taken == list(range(1, 19))
    training.advance(2)
    training.answering()  # in the midst of an epoch
    training.advance(5)
    assert ended == [6, 12, 18, 24]
    plain.advance(25)
    assert training.losses == plain.losses
    torch.testing.assert_close(training.point(), plain.point(), rtol=0, atol=0)
