"""A fork has the hooks on the user's parameters over copies of what they hold, which do not move."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import classes, redrawn, vectors
from thalweg.diagnose.race import race
from thalweg.run.copies import hooks_left_out
from thalweg.run.training import Training
from thalweg.task import Task

N = 22
X, Y = vectors(N, 5), classes(N)

LIMIT = [0.01]
CALLS = 0


class User:
    """A user's objects, and a plain loop over them."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            self.model = redrawn(
                nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
            )
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.3, momentum=0.9)
        self.second = torch.optim.Adam(self.model.parameters(), 0.02)
        self.seen: list[Any] = []
        LIMIT[0] = 0.01

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(X), Y).backward()
            self.optimizer.step()

    def task(self) -> Task:
        return Task(model=self.model, loss=F.cross_entropy, train=(X, Y), optimizer=self.optimizer)

    def state(self) -> Any:
        states = [self.model.state_dict(), self.optimizer.state_dict(), self.second.state_dict()]
        grads = [None if p.grad is None else p.grad.clone() for p in self.model.parameters()]
        return copy.deepcopy([*states, self.seen, grads, LIMIT, CALLS])


def clamped(user: User) -> None:
    for p in user.model.parameters():
        p.register_hook(lambda slope: slope.clamp(-0.01, 0.01))


def limit(slope: Tensor) -> Tensor:
    """Of a file's variables, which it changes."""
    global CALLS
    CALLS += 1
    LIMIT[0] *= 1.1
    return slope.clamp(-LIMIT[0], LIMIT[0])


def by_its_file(user: User) -> None:
    for p in user.model.parameters():
        p.register_hook(lambda slope: limit(slope))


def by_a_partial(user: User) -> None:
    def pulled(scale: Tensor, slope: Tensor, *, towards: Tensor) -> Tensor:
        return slope + scale * towards.detach()

    for p in user.model.parameters():
        p.register_hook(partial(pulled, torch.full_like(p, 0.3), towards=p))


def scaled(user: User) -> None:
    def scale(p: Tensor) -> None:
        assert p.grad is not None
        p.grad.mul_(0.1)

    for p in user.model.parameters():
        p.register_post_accumulate_grad_hook(scale)


def counting(user: User) -> None:
    count = 0

    def every_third(slope: Tensor) -> Tensor:
        nonlocal count
        count += 1
        user.seen.append(count)
        return slope * (count % 3)

    next(user.model.parameters()).register_hook(every_third)


def stepping(user: User) -> None:
    """An optimizer in the backward pass, which steps while gradients are still being made."""

    def step(p: Tensor) -> None:
        user.second.step()
        p.grad = None

    for p in user.model.parameters():
        p.register_post_accumulate_grad_hook(step)


def an_optimizer_each(user: User) -> None:
    each = {p: torch.optim.LBFGS([p], 0.1) for p in user.model.parameters()}

    def step(p: nn.Parameter) -> None:
        each[p].step(lambda: (p.detach() ** 2).sum())

    for p in user.model.parameters():
        p.register_post_accumulate_grad_hook(step)


class Bound:
    """Its method is a hook, and so is it."""

    def __init__(self, user: User) -> None:
        self.user = user

    def __call__(self, slope: Tensor) -> Tensor:
        self.user.seen.append(1)
        return slope * len(self.user.seen) * 0.1

    def half(self, slope: Tensor) -> Tensor:
        return 0.5 * self(slope)


def by_objects(user: User) -> None:
    bound = Bound(user)
    first, second, *_ = user.model.parameters()
    first.register_hook(bound)
    second.register_hook(bound.half)
    second.register_hook(user.seen.append)


def frozen(user: User) -> None:
    first, *_ = user.model.parameters()
    first.register_hook(lambda slope: 0 * slope)
    first.requires_grad_(False)


HOOKS: list[Callable[[User], None]] = [
    clamped,
    by_its_file,
    by_a_partial,
    scaled,
    counting,
    stepping,
    an_optimizer_each,
    by_objects,
    frozen,
]


@pytest.mark.parametrize("lent", [False, True], ids=["copied", "lent"])
@pytest.mark.parametrize("hooked", HOOKS, ids=lambda hooked: hooked.__name__)
def test_a_fork_has_the_users_hooks_and_moves_nothing_of_the_users(
    hooked: Callable[[User], None], lent: bool
) -> None:
    user = User()
    hooked(user)
    user.run(2)
    before = user.state()
    fork, again = Training.of(user.task(), lent=lent), Training.of(user.task(), lent=lent)
    fork.advance(5)
    again.advance(5)
    torch.testing.assert_close(user.state(), before, rtol=0, atol=0)
    user.run(5)
    weights = torch.cat(
        [p.detach().reshape(-1) for p in user.model.parameters() if p.requires_grad]
    )
    assert torch.equal(fork.point(), weights) and torch.equal(again.point(), weights)


def test_without_its_hook_the_loop_goes_elsewhere() -> None:
    """The test above can fail."""
    ends = []
    for hooked in (None, *HOOKS[:-1]):
        user = User()
        if hooked is not None:
            hooked(user)
        user.run(7)
        ends.append(torch.cat([p.detach().reshape(-1) for p in user.model.parameters()]))
    assert all(not torch.equal(end, ends[0]) for end in ends[1:])


@pytest.mark.parametrize("lent", [False, True], ids=["copied", "lent"])
def test_a_hook_that_cannot_be_copied_is_left_out_and_said(lent: bool) -> None:
    user = User()
    held = (x for x in X)  # or an open file, a lock, a connection
    next(user.model.parameters()).register_hook(lambda slope: user.seen.append(held))
    fork = Training.of(user.task(), lent=lent)
    fork.advance(2)
    assert not user.seen
    (note,) = hooks_left_out(user.task(), lent=lent)
    assert "1 hook on the parameters cannot be copied" in note and "generator" in note
    assert hooks_left_out(User().task(), lent=lent) == []


def test_a_race_says_so_where_a_hook_is_left_out() -> None:
    user = User()
    held = (x for x in X)
    next(user.model.parameters()).register_hook(lambda slope: user.seen.append(held))
    result = race(user.task(), [], budget=2, seeds=1)
    assert "1 hook on the parameters cannot be copied" in result.claim
