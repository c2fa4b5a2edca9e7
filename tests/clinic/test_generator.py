"""Runs drawn by a seed: the same seed the same run, whatever else is drawn."""

import math

import pytest
import torch

from thalweg.clinic.architectures import convolutional, recurrent, residual, tokens
from thalweg.clinic.entry import Draw
from thalweg.clinic.generator import FAMILIES, Drawn, drawn_run
from thalweg.clinic.generator.setting import best_constant, draw_setting, good_rate
from thalweg.task import Task

QUICK = ("ravine", "blown up", "tiny start")


def _numbers(drawn: Drawn) -> list[torch.Tensor]:
    task = drawn.task
    return [*task.model.state_dict().values(), *task.train, torch.tensor(task.history or ())]


@pytest.mark.parametrize("family", QUICK)
def test_a_seed_draws_one_run_and_leaves_no_trace(family: str) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = drawn_run(11, family)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    two = drawn_run(11, family)
    assert one.words == two.words and one.family == family
    for a, b in zip(_numbers(one), _numbers(two), strict=True):
        assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))
    assert isinstance(one.task, Task) and one.task.name == "drawn:11"
    assert all(p.grad is None for p in one.task.model.parameters())


def test_the_name_of_a_task_tells_nothing_of_its_family() -> None:
    for family in QUICK[:2]:
        assert drawn_run(3, family).task.name == "drawn:3"


def test_every_family_can_be_drawn_and_healthy_ones_are_a_good_part() -> None:
    weights = {name: weight for name, (_, weight) in FAMILIES.items()}
    assert all(weight >= 1 for weight in weights.values())
    sound = ("any", "good", "warmup", "low phase", "slow start", "noisy")
    assert 0.15 < sum(weights[name] for name in sound) / sum(weights.values()) < 0.5


def test_two_seeds_draw_two_runs() -> None:
    one, two = drawn_run(0, "ravine"), drawn_run(1, "ravine")
    assert one.words != two.words


def test_a_fresh_network_has_the_shape_of_the_one_that_was_trained() -> None:
    drawn = drawn_run(4, "good")
    shapes = [p.shape for p in drawn.task.model.parameters()]
    assert [p.shape for p in drawn.build().parameters()] == shapes


def test_the_good_rate_is_the_best_of_its_neighbours() -> None:
    """Least squares: plain descent has its best constant rate near 2/(λ_max + λ_min)."""
    draw = Draw(5)
    setting = draw_setting(
        draw, names=("linear",), architectures=("linear",), kinds=("sgd",), batches=(None,)
    )
    rows = setting.data.train[0]
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    outputs = setting.data.train[1].shape[1]
    curvature = torch.linalg.eigvalsh(2 * rows.T @ rows / len(rows) / outputs)
    best = float(2 / (curvature[0] + curvature[-1]))
    found = good_rate(setting, setting.build(), draw).rate
    assert best / math.sqrt(10) < found < best * math.sqrt(10)


def test_the_best_constant_has_the_loss_that_is_said() -> None:
    for name in ("breast_cancer", "linear"):
        setting = draw_setting(Draw(2), names=(name,))
        output, loss = best_constant(setting)
        targets = setting.data.train[1]
        rows = output.expand(len(targets), -1).clone().requires_grad_()
        value = setting.loss(rows, targets)
        assert float(value.detach()) == pytest.approx(loss, rel=1e-5)
        value.backward()
        assert rows.grad is not None and float(rows.grad.sum(0).abs().max()) < 1e-5


@pytest.mark.parametrize(
    "model",
    [
        convolutional(10, 4),
        residual(64, 10, 8, 2),
        recurrent(10, 8, torch.nn.GRU),
        tokens(10, 8),
    ],
    ids=["convolutional", "residual", "recurrent", "tokens"],
)
def test_every_network_reads_the_images_and_all_of_its_weights_matter(
    model: torch.nn.Module,
) -> None:
    output = model(torch.randn(5, 64, generator=torch.Generator().manual_seed(0)))
    assert output.shape == (5, 10)
    output.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
