"""Finite sums: the mean of their examples, mini-batches of any shape, minima that disagree."""

import pickle

import pytest
import torch

from thalweg.errors import UsageError
from thalweg.objective import landscapes
from thalweg.objective.landscapes import FiniteSum

SUMS = {
    "finite sum": landscapes.finite_sum(),
    "many": landscapes.finite_sum(101, 0.7, 0.2, 13.0),
    "least squares": landscapes.least_squares(),
    "wide": landscapes.least_squares(30, 25, 1.0, 3),
}
every_sum = pytest.mark.parametrize("whole", SUMS.values(), ids=SUMS)


def starts(whole: FiniteSum, count: int = 12) -> torch.Tensor:
    return whole.start(torch.Generator().manual_seed(0), count)


@every_sum
def test_the_loss_is_the_mean_over_the_examples(whole: FiniteSum) -> None:
    points = starts(whole)
    losses = whole.losses(points)
    assert losses.shape == (12, whole.examples)
    torch.testing.assert_close(losses.mean(-1), whole.loss(points), rtol=1e-12, atol=1e-12)
    everything = whole.on(range(whole.examples))
    torch.testing.assert_close(everything.loss(points), whole.loss(points), rtol=1e-12, atol=1e-12)


@every_sum
def test_a_batch_is_the_mean_over_its_examples(whole: FiniteSum) -> None:
    points = starts(whole)
    torch.testing.assert_close(
        whole.on([3, 1, 3]).loss(points), whole.losses(points)[:, [3, 1, 3]].mean(-1)
    )
    generator = torch.Generator().manual_seed(1)
    own = torch.randint(whole.examples, (12, 5), generator=generator)
    truth = whole.losses(points).gather(1, own).mean(-1)
    torch.testing.assert_close(whole.on(own).loss(points), truth)
    shaped = whole.on(own.reshape(3, 4, 5)).loss(points.reshape(3, 4, -1))
    torch.testing.assert_close(shaped.flatten(), truth)


@every_sum
def test_gradients_of_single_examples_average_to_the_whole(whole: FiniteSum) -> None:
    point = starts(whole, 1)[0]
    slopes = [torch.func.grad(whole.on([i]).loss)(point) for i in range(whole.examples)]
    mean = torch.stack(slopes).mean(0)
    torch.testing.assert_close(mean, torch.func.grad(whole.loss)(point), rtol=1e-11, atol=1e-11)
    assert torch.stack(slopes).std(0).min() > 1e-3


@every_sum
def test_an_example_is_a_landscape_of_its_own(whole: FiniteSum) -> None:
    points = starts(whole)
    for index in (0, whole.examples - 1):
        own = whole.example(index)
        torch.testing.assert_close(
            own.loss(points), whole.losses(points)[:, index], rtol=1e-12, atol=1e-12
        )
        if own.expression is not None:
            torch.testing.assert_close(own.expression(points), own.loss(points))


@every_sum
def test_a_sum_and_its_batches_can_be_sent_to_another_process(whole: FiniteSum) -> None:
    points = starts(whole)
    for objective in (whole, whole.on([0, 2]), whole.example(1)):
        twin = pickle.loads(pickle.dumps(objective))
        assert torch.equal(twin.loss(points), objective.loss(points))
        assert twin.examples == objective.examples
    assert whole.loss(points.float()).dtype == torch.float32
    assert whole.on([1]).loss(points.float()).dtype == torch.float32


def test_no_minimum_of_an_example_is_one_of_the_mean() -> None:
    whole = landscapes.finite_sum()
    minima = torch.tensor(whole.minima, dtype=torch.float64)
    for index in range(whole.examples):
        own = torch.tensor(whole.example(index).minima, dtype=torch.float64)
        assert len(own) > 10
        assert torch.cdist(own, minima).min() > 1e-4


def test_the_slopes_of_the_examples_do_not_vanish_at_the_minima_of_the_mean() -> None:
    whole = landscapes.finite_sum()
    for minimum in whole.minima:
        point = torch.tensor(minimum, dtype=torch.float64)
        slopes = [torch.func.grad(whole.on([i]).loss)(point) for i in range(whole.examples)]
        assert torch.stack(slopes).abs().min() > 1e-3


def test_least_squares_is_solved_exactly() -> None:
    whole = landscapes.least_squares(40, 3, 0.5, 7)
    (solution,) = whole.minima
    inputs = torch.func.jacrev(whole.losses)
    point = torch.tensor(solution, dtype=torch.float64)
    assert inputs(point).sum(0).norm() < 1e-12 * 40
    assert whole.smoothness == whole.critical[0].curvatures[-1]
    assert whole.critical[0].curvatures[0] > 0


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        ([], "at least one"),
        ([0.5], "whole numbers"),
        (3, "whole numbers"),
        ([8], "from 0 to 7, not 8 to 8"),
        ([-1, 2], "from 0 to 7, not -1 to 2"),
    ],
)
def test_indices_outside_are_refused(indices: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        landscapes.finite_sum().on(indices)  # pyright: ignore[reportArgumentType]


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="examples must be 2"):
        landscapes.finite_sum(1)
    with pytest.raises(UsageError, match="examples must be 5"):
        landscapes.least_squares(4, 5)
    with pytest.raises(UsageError, match="index must be 0"):
        landscapes.finite_sum().example(8)
    with pytest.raises(UsageError, match="frequency must be at most"):
        landscapes.finite_sum(frequency=1e9)
