"""What the view says of an optimizer, against what torch's own optimizer then does."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import vectors
from thalweg.objective.supervised import Supervised
from thalweg.run.view import OptimizerView
from thalweg.task import Task

optim = torch.optim
Make = Callable[..., torch.optim.Optimizer]

FIXED: dict[str, Make] = {
    "plain": lambda p, lr: optim.SGD(p, lr),
    "heavy ball": lambda p, lr: optim.SGD(p, lr, momentum=0.9),
    "weak momentum": lambda p, lr: optim.SGD(p, lr, momentum=0.3),
    "Nesterov": lambda p, lr: optim.SGD(p, lr, momentum=0.9, nesterov=True),
    "dampened": lambda p, lr: optim.SGD(p, lr, momentum=0.8, dampening=0.5),
}

STILL = 1 - 1e-9
"""A β₂ with which the second moment hardly moves within a step, and is put back after it."""
ADAPTIVE: dict[str, Make] = {
    "Adam": lambda p, lr: optim.Adam(p, lr, betas=(0.9, STILL)),
    "Adam without momentum": lambda p, lr: optim.Adam(p, lr, betas=(0.0, STILL)),
    "AMSGrad": lambda p, lr: optim.Adam(p, lr, betas=(0.9, STILL), amsgrad=True),
    "AdamW": lambda p, lr: optim.AdamW(p, lr, betas=(0.8, STILL), weight_decay=0.0),
    "NAdam": lambda p, lr: optim.NAdam(p, lr, betas=(0.9, STILL)),
    "RMSprop": lambda p, lr: optim.RMSprop(p, lr, alpha=STILL),
    "RMSprop, heavy ball": lambda p, lr: optim.RMSprop(p, lr, alpha=STILL, momentum=0.9),
    "RMSprop, centered": lambda p, lr: optim.RMSprop(p, lr, alpha=STILL, centered=True),
}


class Point(nn.Module):
    """A single weight; the loss is ½ curvature · weight²."""

    def __init__(self, at: float = 1.0, count: int = 1) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((count,), at, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * x


DATA = (torch.ones(1, 1).double(), torch.zeros(1, 1).double())


def view_of(model: nn.Module, optimizer: torch.optim.Optimizer, **more: Any) -> OptimizerView:
    return OptimizerView.of(
        Task(model=model, loss=F.mse_loss, train=DATA, optimizer=optimizer), **more
    )


def amplitude(
    model: Point, optimizer: torch.optim.Optimizer, curvature: float, steps: int
) -> float:
    """log of the growth over ``steps`` of descent of a parabola, the state kept still."""
    seen = []
    frozen = {k: v.clone() for k, v in optimizer.state[model.w].items() if k in FROZEN}
    for _ in range(steps):
        model.w.grad = curvature * model.w.detach()
        optimizer.step()
        for key, value in frozen.items():
            optimizer.state[model.w][key].copy_(value)
        seen.append(abs(float(model.w.detach())))
    half = steps // 2
    return math.log(max(seen[half:]) / max(seen[:half]))


def settle(optimizer: torch.optim.Optimizer, model: Point, mean_square: Tensor) -> None:
    """Put the optimizer's state to that of many steps with gradients of this mean square."""
    model.w.grad = torch.zeros_like(model.w)
    optimizer.step()
    state, steps = optimizer.state[model.w], 10_000
    state["step"].fill_(steps)
    seen = 1 - STILL**steps if "exp_avg_sq" in state else 1.0
    for key in ("exp_avg_sq", "max_exp_avg_sq", "square_avg"):
        if key in state:
            state[key].copy_(seen * mean_square)


FROZEN = ("step", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "grad_avg", "exp_inf", "sum")


@pytest.mark.parametrize("name", sorted(FIXED))
@pytest.mark.parametrize("side", [0.98, 1.02])
def test_the_limit_parts_convergence_from_divergence(name: str, side: float) -> None:
    model = Point()
    view = view_of(model, FIXED[name](model.parameters(), 0.1))
    assert view.known and not view.adaptive and bool((view.metric == 1).all())
    growth = amplitude(model, FIXED[name](model.parameters(), 0.1), side * view.limit / 0.1, 600)
    assert growth < 0 if side < 1 else growth > 0


@pytest.mark.parametrize("name", sorted(ADAPTIVE))
@pytest.mark.parametrize("side", [0.97, 1.03])
def test_the_limit_holds_in_a_preconditioned_metric(name: str, side: float) -> None:
    """The state is that of many steps on a slope of mean square 4."""
    model = Point()
    optimizer = ADAPTIVE[name](model.parameters(), 0.01)
    settle(optimizer, model, torch.tensor([4.0]).double())
    if name.endswith("centered"):
        optimizer.state[model.w]["grad_avg"].fill_(1.5)
    view = view_of(model, optimizer)
    expected = (4.0 - 1.5**2) ** -0.5 if name.endswith("centered") else 0.5
    assert view.known and view.adaptive
    assert math.isclose(float(view.metric[0]), expected, rel_tol=0.01)
    model.w.data.fill_(1e-100)  # too small to move the second moment
    curvature = side * view.limit / (view.rate * float(view.metric[0]))
    growth = amplitude(model, optimizer, curvature, 800)
    assert growth < 0 if side < 1 else growth > 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adam", {}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {"weight_decay": 0.0}),
        ("RAdam", {}),
        ("Adamax", {}),
        ("Adagrad", {"lr_decay": 0.1}),
        ("Adagrad", {"initial_accumulator_value": 0.5}),
        ("RMSprop", {}),
        ("RMSprop", {"centered": True}),
    ],
)
@pytest.mark.parametrize("steps", [1, 4, 50])
def test_the_metric_is_what_a_gradient_is_multiplied_by(
    name: str, options: dict[str, Any], steps: int
) -> None:
    """Without momentum a step is rate · metric · gradient, where the decay is none."""
    model = Point(count=4)
    betas = {"betas": (0.0, 0.9)} if name not in ("Adagrad", "RMSprop") else {}
    optimizer = getattr(optim, name)(model.parameters(), lr=0.1, **betas, **options)
    slopes = vectors(steps, 4) * torch.tensor([0.1, 1.0, 3.0, 10.0]).double()
    for slope in slopes:
        model.w.grad = slope.clone()
        before = model.w.detach().clone()
        optimizer.step()
    view = view_of(model, optimizer)
    moved = (before - model.w.detach()) / 0.1
    torch.testing.assert_close(view.metric * slopes[-1], moved, rtol=1e-5, atol=1e-9)


def test_before_the_first_step_the_second_moment_is_taken() -> None:
    model = Point(count=3)
    second = torch.tensor([1.0, 4.0, 0.25]).double()
    view = view_of(model, optim.Adam(model.parameters()), second_moment=second)
    torch.testing.assert_close(view.metric, torch.tensor([1.0, 0.5, 2.0]).double())
    assert bool((view_of(model, optim.Adam(model.parameters())).metric == 1).all())


def settled(optimizer: torch.optim.Optimizer, model: nn.Module, x: Tensor, y: Tensor) -> None:
    for _ in range(600):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.1),
        lambda p: optim.SGD(p, 0.1, weight_decay=0.1, nesterov=True, momentum=0.5),
        lambda p: optim.Adam(p, 0.01, weight_decay=0.1),
    ],
    ids=["SGD", "Nesterov", "Adam"],
)
def test_a_fixed_point_is_where_the_gradient_with_decay_vanishes(make: Make) -> None:
    model = nn.Linear(5, 3).double()
    x, y = vectors(20, 5), vectors(20, 3, seed=4)
    optimizer = make(model.parameters())
    settled(optimizer, model, x, y)
    view = OptimizerView.of(Task(model=model, loss=F.mse_loss, train=(x, y), optimizer=optimizer))
    plain = Supervised(model, F.mse_loss, (x, y))
    slope = plain.value_and_gradient(plain.point())[1]
    decayed = Supervised(model, F.mse_loss, (x, y), decay=view.decay)
    rest = decayed.value_and_gradient(plain.point())[1]
    assert float(rest.norm()) < 0.02 * float(slope.norm())


def test_decoupled_decay_rests_where_it_balances_the_preconditioned_gradient() -> None:
    """θ ← (1 − lr·wd) θ − lr·P⁻¹g stands still where g + wd·P·θ = 0, in each coordinate."""
    model = Point(count=3)
    optimizer = optim.AdamW(model.parameters(), 0.01, betas=(0.9, STILL), weight_decay=0.5)
    settle(optimizer, model, torch.tensor([1.0, 4.0, 25.0]).double())
    frozen = {k: v.clone() for k, v in optimizer.state[model.w].items() if k in FROZEN}
    curvature = torch.tensor([1.0, 3.0, 2.0]).double()
    for _ in range(2000):
        model.w.grad = curvature * (model.w.detach() - 1)
        optimizer.step()
        for key, value in frozen.items():
            optimizer.state[model.w][key].copy_(value)
    view = view_of(model, optimizer)
    w = model.w.detach()
    torch.testing.assert_close(curvature * (w - 1), -view.decay * w, rtol=1e-3, atol=1e-6)


def test_groups_have_rates_and_decays_of_their_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1), nn.Linear(1, 1))
    model[2].weight.requires_grad_(False)
    optimizer = optim.SGD(
        [
            {"params": model[0].parameters(), "lr": 0.1, "weight_decay": 0.3},
            {"params": [model[1].weight], "lr": 0.4},
        ],
        lr=1.0,
    )
    view = view_of(model, optimizer)
    assert view.rate == 0.4
    torch.testing.assert_close(view.metric, torch.tensor([0.25] * 6 + [1.0] * 2 + [0.0] * 2))
    torch.testing.assert_close(view.decay, torch.tensor([0.3] * 6 + [0.0] * 4))


def test_what_is_not_accounted_for_is_not_claimed() -> None:
    class Mine(optim.SGD):
        pass

    model = Point()
    parameters = list(model.parameters())
    assert not view_of(model, optim.Adadelta(parameters)).known
    assert not view_of(model, optim.LBFGS(parameters)).known
    assert not view_of(model, optim.SGD(parameters, 0.1, maximize=True)).known
    mine = view_of(model, Mine(parameters, 0.1, momentum=0.5))
    assert not mine.known and mine.limit == 3.0
    never = view_of(model, optim.SGD(parameters, 0.1, momentum=0.5, dampening=1.0))
    assert math.isinf(never.limit)


def test_a_rate_kept_as_a_tensor() -> None:
    model = Point()
    view = view_of(model, optim.Adam(model.parameters(), lr=torch.tensor(0.25)))
    assert view.rate == 0.25
