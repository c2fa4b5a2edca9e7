"""Mini-batch noise: its second moments by the formula for draws without replacement."""

import math
import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import DataError, UsageError
from thalweg.objective.base import Objective
from thalweg.objective.landscape import from_callable
from thalweg.objective.mini_batch import MiniBatch
from thalweg.objective.smoothed import Smoothed
from thalweg.objective.supervised import Supervised

EXAMPLES, DIM = 12, 3


@dataclass(eq=False)
class LeastSquares(Objective):
    """The mean over examples of ``½(a·x − b)²``, or over those chosen for each point."""

    inputs: Tensor
    targets: Tensor
    dim: int = DIM
    examples: int = EXAMPLES  # pyright: ignore[reportIncompatibleVariableOverride]

    def loss(self, points: Tensor) -> Tensor:
        return 0.5 * ((self.inputs * points[..., None, :]).sum(-1) - self.targets).square().mean(-1)

    def on(self, indices: Tensor) -> Objective:
        return LeastSquares(self.inputs[indices], self.targets[indices])


def problem() -> LeastSquares:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(EXAMPLES, DIM, generator=generator).double()
    return LeastSquares(inputs, torch.randn(EXAMPLES, generator=generator).double())


def supervised(objective: LeastSquares) -> Supervised:
    model = nn.Linear(DIM, 1, bias=False, dtype=torch.float64)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return 0.5 * (output[:, 0] - target).square().mean()

    return Supervised(model, loss, (objective.inputs, objective.targets), decay=0.3)


def covariance(objective: LeastSquares, point: Tensor, batch: int, replacement: bool) -> Tensor:
    """Of the mini-batch gradient: (1/B − 1/N) S²  without replacement, with S² unbiased."""
    slopes = objective.inputs * (objective.inputs @ point - objective.targets)[:, None]
    if replacement:
        return slopes.T.cov(correction=0) / batch
    return slopes.T.cov() * (1 / batch - 1 / EXAMPLES)


POINT = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)


@pytest.mark.parametrize("kind", ["finite sum", "supervised"])
@pytest.mark.parametrize(
    ("batch", "replacement"), [(1, False), (5, False), (5, True), (20, True)], ids=str
)
def test_its_covariance_is_that_of_sampling(kind: str, batch: int, replacement: bool) -> None:
    sums = problem()
    objective = sums if kind == "finite sum" else supervised(sums)
    noise = MiniBatch(objective, batch, replacement).scaled(-0.5)
    draws = 400 if kind == "supervised" else 20_000
    drawn = noise.draw_at(POINT.expand(draws, -1), torch.Generator().manual_seed(1))
    expected = 0.25 * covariance(sums, POINT, batch, replacement)
    scale = expected.diagonal().sqrt()
    assert (drawn.mean(0).abs() <= 5 * scale / draws**0.5).all()
    tolerance = 10 / draws**0.5
    torch.testing.assert_close(
        drawn.T.cov() / scale / scale[:, None],
        expected / scale / scale[:, None],
        rtol=0,
        atol=tolerance,
    )


def test_each_point_has_the_noise_of_its_own_place() -> None:
    objective = problem()
    noise = MiniBatch(objective, 2)
    points = torch.stack([POINT, 10 * POINT]).expand(2000, 2, DIM)
    drawn = noise.draw_at(points, torch.Generator().manual_seed(2))
    assert drawn.shape == points.shape
    for place, point in enumerate((POINT, 10 * POINT)):
        trace = covariance(objective, point, 2, False).trace()
        found = drawn[:, place].square().sum(-1)
        assert abs(found.mean() - trace) <= 5 * found.std() / 2000**0.5
    again = noise.draw_at(points, torch.Generator().manual_seed(2))
    assert torch.equal(drawn, again)
    assert noise.draw_at(points[:0], torch.Generator()).shape == (0, 2, DIM)


def test_all_examples_make_no_noise() -> None:
    for objective in (problem(), supervised(problem())):
        drawn = MiniBatch(objective, EXAMPLES).draw_at(POINT[None], torch.Generator())
        assert drawn.abs().max() < 1e-12


def test_frozen_at_a_point_it_smooths_a_quadratic_by_half_the_trace() -> None:
    objective = problem()
    frozen = MiniBatch(objective, 2).at(POINT).scaled(0.3)
    smoothed = Smoothed(objective, frozen, samples=20_000)
    assert smoothed.method == "sampling"
    loss, error = smoothed.loss_and_error(2 * POINT)
    hessian = objective.inputs.T @ objective.inputs / EXAMPLES
    gain = 0.5 * 0.09 * (hessian @ covariance(objective, POINT, 2, False)).trace()
    assert abs(loss - objective.loss(2 * POINT) - gain) <= 5 * error
    assert error < 0.1 * gain


def test_what_it_does_not_have_is_refused() -> None:
    noise = MiniBatch(problem(), 2)
    assert noise.bound(DIM) == math.inf and noise.text == str(noise) == "mini-batch:2"
    assert noise == noise and noise != MiniBatch(problem(), 2)
    assert pickle.loads(pickle.dumps(noise)).batch == 2
    with pytest.raises(UsageError, match="no characteristic function"):
        noise.characteristic(POINT)
    with pytest.raises(UsageError, match="no moments in closed form"):
        noise.second_moment(DIM)
    with pytest.raises(UsageError, match="depends on the point"):
        noise.draw((2, DIM), torch.Generator())
    with pytest.raises(UsageError, match="freeze it with at"):
        Smoothed(problem(), noise)
    with pytest.raises(UsageError, match="objective must have examples"):
        MiniBatch(from_callable(lambda x: x.sum(-1), 2), 2)
    with pytest.raises(UsageError, match="batch must be a whole number of 1 or more, not 0"):
        MiniBatch(problem(), 0)
    with pytest.raises(DataError, match="at most the number of examples, 12, not 13"):
        MiniBatch(problem(), 13)
    with pytest.raises(UsageError, match="points must have shape"):
        noise.draw_at(POINT[:2], torch.Generator())
    with pytest.raises(UsageError, match="point must be one point"):
        noise.at(POINT[None])


def test_what_smoothing_draws_are_mini_batches_and_not_their_opposites() -> None:
    objective = problem()
    smoothed = Smoothed(objective, MiniBatch(objective, 1).at(POINT), samples=100)
    slopes = objective.inputs * (objective.inputs @ POINT - objective.targets)[:, None]
    possible = slopes - slopes.mean(0)
    for drawn in smoothed._draws(50, 0, POINT):
        assert torch.cdist(drawn, possible).min(1).values.max() < 1e-6
