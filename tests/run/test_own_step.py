"""A fork made within an epoch, with everything that a modern loop holds, is the user's own run."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from problems import classes, redrawn, vectors
from thalweg.errors import UsageError
from thalweg.objective.epochs import Epochs
from thalweg.run.training import Training
from thalweg.task import Task

N = 23
X, Y = vectors(N, 5).float(), classes(N)
FEATURES = ["scaler", "schedule", "average", "dropout", "workers"]


class Noisy(Dataset[Any]):
    """Examples with noise from torch's global generator: a worker's own, where there are workers."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return X[index] + 0.1 * torch.randn(5), Y[index]


class Loop:
    """A user's own loop, with some of FEATURES; ``run`` goes on with the epoch under way."""

    def __init__(self, features: list[str]) -> None:
        torch.manual_seed(2)
        self.features = features
        dropout = [nn.Dropout(0.3)] if "dropout" in features else []
        self.model = redrawn(
            nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), *dropout, nn.Linear(6, 3))
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, momentum=0.9)
        self.schedule: Any = None
        if "schedule" in features:
            self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 40)
        self.parts: dict[str, Any] = {}
        if "scaler" in features:
            self.parts["scaler"] = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
        if "average" in features:
            average = get_ema_multi_avg_fn(0.9)
            self.parts["average"] = AveragedModel(
                self.model, multi_avg_fn=average, use_buffers=True
            )
        workers = 2 if "workers" in features else 0
        data = Noisy() if workers else TensorDataset(X, Y)
        self.epochs = Epochs(DataLoader(data, batch_size=5, shuffle=True, num_workers=workers))
        self.losses: list[float] = []
        self.batches: Iterator[Any] = self.forever()
        torch.manual_seed(7)

    def forever(self) -> Iterator[Any]:
        while True:
            yield from self.epochs

    def run(self, steps: int) -> None:
        for _ in range(steps):
            batch = next(self.batches)
            self.losses.append(step(self.model, batch, self.optimizer, **self.parts).item())
            if self.schedule is not None:
                self.schedule.step()

    def task(self) -> Task:
        return Task(
            model=self.model,
            loss=F.cross_entropy,
            train=self.epochs,
            optimizer=self.optimizer,
            schedule=self.schedule,
            step=step,
            parts=self.parts,
        )


def step(
    model: nn.Module,
    batch: Any,
    optimizer: torch.optim.Optimizer,
    scaler: Any = None,
    average: Any = None,
) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=scaler is not None):
        loss = F.cross_entropy(model(x), y)
    if scaler is None:
        loss.backward()
        optimizer.step()
    else:
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.7)
        scaler.step(optimizer)
        scaler.update()
    if average is not None:
        average.update_parameters(model)
    return loss.detach()


def states(model: nn.Module, optimizer: torch.optim.Optimizer, parts: dict[str, Any]) -> list[Any]:
    return copy.deepcopy(
        [
            model.state_dict(),
            optimizer.state_dict(),
            *(part.state_dict() for part in parts.values()),
        ]
    )


def same(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


PLAIN: list[list[str]] = [[], *([one] for one in FEATURES if one != "workers")]
CASES = [(features, before) for features in PLAIN for before in (0, 5, 7)]
CASES += [(["workers"], 7), (FEATURES, 7)]


@pytest.mark.parametrize(
    ("features", "before"), CASES, ids=[f"{'+'.join(f) or 'plain'}-{k}" for f, k in CASES]
)
def test_a_fork_takes_the_steps_that_the_users_loop_takes_next(
    features: list[str], before: int
) -> None:
    """Five batches an epoch: 7 steps are two batches into the second."""
    loop = Loop(features)
    loop.run(before)
    task = loop.task()
    here, state = states(task.model, task.optimizer, loop.parts), torch.random.get_rng_state()
    fork = Training.of(task)
    assert fork.advance(9)
    assert same(here, states(task.model, task.optimizer, loop.parts))
    assert torch.equal(state, torch.random.get_rng_state())
    loop.run(9)
    assert fork.losses == loop.losses[before:]
    ahead = states(loop.model, loop.optimizer, loop.parts)
    assert same(ahead, states(fork.model, fork.optimizer, fork.parts))


@pytest.mark.parametrize(
    ("workers", "generator", "before"), [(1, False, 2), (1, False, 7), (2, True, 7), (1, True, 5)]
)
def test_a_fork_has_the_order_of_persistent_workers(
    workers: int, generator: bool, before: int
) -> None:
    """A seed is drawn when they begin, and none for the epochs after."""
    loop = Loop(["dropout"])
    own = torch.Generator().manual_seed(9) if generator else None
    data = TensorDataset(X, Y)
    loop.epochs = Epochs(
        DataLoader(
            data, 5, shuffle=True, num_workers=workers, persistent_workers=True, generator=own
        )
    )
    loop.run(before)
    fork = Training.of(loop.task())
    assert fork.advance(13)
    loop.run(13)
    for loader in (loop.epochs.loader, fork._feed._loader):
        loader._iterator._shutdown_workers()  # pyright: ignore[reportAttributeAccessIssue]
    assert fork.losses == loop.losses[before:]


class Count:
    """Of the batches so far."""

    batches = 0


def every_third(
    model: nn.Module,
    batch: Any,
    optimizer: torch.optim.Optimizer,
    count: Count,
    head: nn.Module | None = None,
) -> Tensor:
    """Gradients add up over three batches."""
    x, y = batch
    loss = F.cross_entropy(model(x), y)
    penalty = 0 if head is None else head(x).square().mean()
    (loss + penalty).backward()
    count.batches += 1
    if count.batches % 3 == 0:
        optimizer.step()
        optimizer.zero_grad()
        if head is not None:
            head_step(head)
    return loss.detach()


def head_step(head: nn.Module) -> None:
    with torch.no_grad():
        for p in head.parameters():
            assert p.grad is not None
            p -= 0.1 * p.grad
            p.grad = None


@pytest.mark.parametrize("lent", [False, True], ids=["copied", "lent"])
@pytest.mark.parametrize("before", [3, 4, 5])
def test_a_fork_within_an_accumulation_has_the_gradients_so_far(before: int, lent: bool) -> None:
    torch.manual_seed(3)
    model, head = nn.Linear(5, 3), nn.Linear(5, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.2)
    parts = {"count": Count(), "head": head}

    def run(steps: int) -> list[float]:
        return [every_third(model, (X, Y), optimizer, **parts).item() for _ in range(steps)]

    run(before)
    task = Task(
        model=model, loss=F.cross_entropy, train=(X, Y), optimizer=optimizer, step=every_third,
        parts=parts,
    )  # fmt: skip
    held = [p for one in (model, head) for p in one.parameters()]
    grads = copy.deepcopy([p.grad for p in held])
    fork = Training.of(task, lent=lent)
    fork.advance(7)
    assert same(grads, [p.grad for p in held])
    assert fork.losses == run(7)
    part = fork.parts["head"]
    assert same(head.state_dict(), part.state_dict())


def test_without_the_place_in_the_epoch_the_fork_begins_another() -> None:
    """The test above can fail."""
    loop = Loop(["dropout"])
    loop.run(7)
    fork = Training.of(replace(loop.task(), epochs=None))
    fork.advance(9)
    loop.run(9)
    assert fork.losses != loop.losses[7:]


def test_an_epoch_that_was_broken_off_is_not_gone_on_with() -> None:
    epochs = Epochs(DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True))
    for _ in epochs:
        break
    assert epochs.rest() is None and len(epochs) == 5 and epochs.batch_size == 5


def test_several_optimizers_are_copied_with_what_they_hold() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    first = torch.optim.SGD(model[0].parameters(), 0.1, momentum=0.9)
    second = torch.optim.Adam(model[2].parameters(), 0.01)

    def both(model: nn.Module, batch: Any, optimizer: Any, second: Any) -> Tensor:
        optimizer.zero_grad()
        second.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        second.step()
        return loss

    both(model, (X, Y), first, second)
    parts = {"second": second}
    task = Task(
        model=model, loss=F.cross_entropy, train=(X, Y), optimizer=first, step=both, parts=parts
    )
    fork = Training.of(task)
    fork.advance(6)
    for _ in range(6):
        both(model, (X, Y), first, second)
    assert same(states(model, first, parts), states(fork.model, fork.optimizer, fork.parts))


def test_what_a_cure_does_before_an_update_comes_between_backward_and_update() -> None:
    loop = Loop(["scaler"])
    fork = Training.of(loop.task())
    norms: list[float] = []

    def cut(which: Training) -> None:
        grads = [p.grad for p in which.model.parameters() if p.grad is not None]
        norms.append(float(torch.nn.utils.get_total_norm(grads)))
        for grad in grads:
            grad.zero_()

    fork.before_update.append(cut)
    before = fork.point()
    fork.advance(4)
    assert torch.equal(fork.point(), before) and len(norms) == 4
    assert all(0 < norm < 0.7001 for norm in norms)  # unscaled, and clipped by the user's own step


def test_a_step_that_trains_the_users_own_model_is_refused_and_undone() -> None:
    loop = Loop([])

    def wrong(model: nn.Module, batch: Any, optimizer: Any) -> Tensor:
        return step(loop.model, batch, loop.optimizer)

    before = states(loop.model, loop.optimizer, {})
    fork = Training.of(replace(loop.task(), step=wrong))
    with pytest.raises(UsageError, match="step must train the model and the optimizer that it is"):
        fork.advance(1)
    assert same(before, states(loop.model, loop.optimizer, {}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"step": 3}, "step must be callable, not int"),
        ({"step": None, "parts": {"a": 1}}, "parts must go with a step that takes them"),
    ],
)
def test_what_is_no_step_is_said_in_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replace(Loop([]).task(), **given)
