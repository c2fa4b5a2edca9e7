"""Plan: what it accepts, what it refuses in one sentence, and that it is a value."""

import pickle

import numpy as np
import pytest
import torch

from thalweg.errors import UsageError
from thalweg.run.plan import Distribution, Plan


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"optimizer": "adam", "options": {"beta": (0.9, 0.9)}}, "did you mean 'betas'"),
        ({"options": {"momentum": -1.0}}, "momentum=-1"),
        ({"options": {"nesterov": True}}, "refuses"),
        ({"options": 3}, "options must be a mapping"),
        ({"options": {"lr": 1.0}}, "options must leave the learning rate"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"replacement": 1}, "replacement must be True or False"),
        ({"points_of": (0, 0)}, "points_of must be different numbers"),
        ({"points_of": (1,)}, "from 0 to 0"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"schedule": "step", "schedule_options": {"gama": 0.1}}, "did you mean 'gamma'"),
        ({"schedule_options": {"gamma": 0.1}}, "constant takes no options"),
        ({"schedule": "step", "schedule_options": {"step_size": "a"}}, "cannot step"),
        ({"learning_rate": -0.1}, "learning_rate must be a number above 0, not -0.1"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"steps": 0}, "steps must be a whole number of 1 or more, not 0"),
        ({"steps": 2.5}, "steps"),
        ({"trials": 0}, "trials"),
        ({"trials": True}, "trials"),
        ({"batch": 0}, "batch"),
        ({"points_every": 0}, "points_every"),
        ({"seed": -1}, "seed"),
        ({"noise": "gausian:1"}, "did you mean 'gaussian'"),
        ({"noise": "gaussian:-1"}, "noise must be"),
        ({"noise": "gaussian"}, "noise must be"),
        ({"noise": "uniform:x"}, "noise must be"),
        ({"noise": "uniform:2:1"}, "noise must be"),
        ({"noise": "uniform:inf"}, "finite"),
        ({"noise": 3}, "noise must be"),
        ({"starts": "box:3"}, "starts must be"),
        ({"starts": [[1.0], [2.0]]}, "with 1 trials"),
        ({"starts": [[[1.0]]]}, "shape"),
        ({"starts": [float("nan")]}, "finite"),
        ({"starts": ["a"]}, "starts must be"),
        ({"starts": 3.0}, "shape"),
        ({"optimizer": "lbfgs", "trials": 2}, "one trial only, not 2"),
        ({"schedule": "plateau", "trials": 2}, "one trial only, not 2"),
    ],
)
def test_a_broken_rule_is_named(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        Plan(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_plan_is_a_value() -> None:
    plan = Plan(options={"momentum": 0.9}, starts=[[1.0, 2.0], [3.0, 4.0]], trials=2)
    assert pickle.loads(pickle.dumps(plan)) == plan == Plan(**plan.to_dict())
    assert hash(plan) == hash(Plan(**plan.to_dict())) and plan != Plan()
    for starts in (np.array(plan.starts), torch.tensor(plan.starts)):
        assert Plan(**{**plan.to_dict(), "starts": starts}) == plan
    with pytest.raises(AttributeError):
        plan.steps = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        plan.options["momentum"] = 0.5  # type: ignore[index]


def test_names_are_those_of_torch_in_any_case() -> None:
    assert Plan(optimizer="RMSprop").make_optimizer(
        torch.zeros(1, 1, requires_grad=True)
    ).__class__ is (torch.optim.RMSprop)
    Plan(schedule="ONE_CYCLE")


@pytest.mark.parametrize(
    ("text", "mean", "variance"),
    [("uniform:2", 0, 4 / 3), ("uniform:1:4", 2.5, 9 / 12), ("gaussian:3", 0, 9)],
)
def test_distributions_have_their_moments(text: str, mean: float, variance: float) -> None:
    draws = Distribution.parse(text, "noise").draw_into(
        torch.empty(200_000, dtype=torch.float64), torch.Generator().manual_seed(1)
    )
    assert float(draws.mean()) == pytest.approx(mean, abs=4 * (variance / 200_000) ** 0.5)
    assert float(draws.var()) == pytest.approx(variance, rel=0.02)


def test_purposes_draw_from_streams_of_their_own() -> None:
    def draws() -> list[float]:
        g = Plan(seed=3).generators()
        return [float(torch.rand((), generator=one)) for one in (g.starts, g.noise, g.batches)]

    assert draws() == draws() and len(set(draws())) == 3
