"""The shift test on least squares, whose minima along a line are known, and its error bars."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.problems import half_square, least_squares, vectors
from thalweg.errors import UsageError
from thalweg.measure import ShiftLine, shift_test
from thalweg.objective.supervised import Supervised

SEEDS = 60


def lowest(inputs: Tensor, targets: Tensor, point: Tensor, way: Tensor) -> tuple[float, float]:
    """Where ½ mean (xᵀθ − y)² is lowest on the line, and its curvature there."""
    along = inputs @ way
    rest = targets[:, 0] - inputs @ point
    return float(along @ rest / (along @ along)), float((along**2).mean())


def both(
    seed: int = 0, count: int = 60
) -> tuple[Supervised, tuple[Tensor, Tensor], Tensor, Tensor]:
    model, inputs, targets = least_squares(count, 4, seed)
    train = Supervised(model, half_square, (inputs, targets), decay=0.3)
    test = vectors(count, 4, seed=seed + 50), vectors(count, 1, seed=seed + 60)
    way = vectors(4, seed=7)
    return train, test, train.point(), way / way.norm()


def test_minima_gap_and_cost_are_those_of_least_squares() -> None:
    train, test, point, way = both()
    inputs, targets = train.data.fetch(slice(0, 60))
    here, _ = lowest(inputs, targets, point, way)
    there, bend = lowest(*test, point, way)
    (line,) = shift_test(train, test, point, {"a line": 3.0 * way}, reach=4.0)
    assert line.name == "a line" and not line.at_edge
    assert line.train_minimum.value == pytest.approx(here, rel=1e-6)
    assert line.held_out_minimum.value == pytest.approx(there, rel=1e-6)
    assert line.gap.value == pytest.approx(there - here, rel=1e-6)
    assert line.curvature.value == pytest.approx(bend, rel=1e-6)
    assert line.cost.value == pytest.approx(0.5 * bend * (there - here) ** 2, rel=1e-6)


def test_a_line_that_is_too_short_is_made_longer() -> None:
    train, test, point, way = both()
    (long,) = shift_test(train, test, point, {"a": way}, reach=4.0)
    far = max(abs(long.train_minimum.value), abs(long.held_out_minimum.value))
    (short,) = shift_test(train, test, point, {"a": way}, reach=far / 3)
    assert not short.at_edge and short.steps[-1] > far
    assert short.gap.value == pytest.approx(long.gap.value, rel=1e-6)
    (never,) = shift_test(train, test, point, {"a": way}, reach=1e-4)
    assert never.at_edge and abs(never.gap.value) <= 2 * never.steps[-1]


def test_the_same_shift_costs_a_flat_minimum_less() -> None:
    """Along an axis on which the inputs are small the loss is flat."""
    scale = torch.tensor([3.0, 0.3], dtype=torch.float64)
    inputs, noise = vectors(80, 2) * scale, vectors(80, 1, seed=5)
    model, *_ = least_squares(4, 2)
    solved, moved = (torch.tensor(w, dtype=torch.float64) for w in ([1.0, 1.0], [1.5, 1.5]))
    train = Supervised(model, half_square, (inputs, (inputs @ solved)[:, None]))
    test = inputs, (inputs @ moved)[:, None] + 0 * noise
    axes = torch.eye(2, dtype=torch.float64)
    sharp, flat = shift_test(train, test, solved, {"sharp": axes[0], "flat": axes[1]}, reach=2.0)
    assert sharp.curvature.value > 50 * flat.curvature.value
    assert sharp.cost.value > 5 * flat.cost.value


def test_error_bars_cover() -> None:
    """Both sets drawn anew: the true minima coincide in the population, and the gap is 0."""
    hits = 0
    truth = torch.tensor([1.0, -0.5], dtype=torch.float64)
    model, *_ = least_squares(4, 2)
    way = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for seed in range(SEEDS):
        rows = vectors(400, 2, seed=seed)
        targets = (rows @ truth)[:, None] + vectors(400, 1, seed=seed + SEEDS)
        train = Supervised(model, half_square, (rows[:200], targets[:200]))
        (line,) = shift_test(
            train, (rows[200:], targets[200:]), truth, {"a": way}, reach=1.0, nodes=7
        )
        hits += abs(line.gap.value) <= 1.96 * line.gap.error
    assert hits >= 0.9 * SEEDS


def test_walls_that_are_not_finite_are_gaps() -> None:
    steps = np.linspace(-1, 1, 3)
    nothing = shift_test.__globals__["_read"](steps, [np.full(3, math.nan)] * 2)
    assert all(math.isnan(value) for value in nothing)


def test_it_is_plain_data() -> None:
    train, test, point, way = both()
    (line,) = shift_test(train, test, point, {"a": way}, reach=1.0)
    told = line.to_dict()
    assert set(told) == set(ShiftLine.__dataclass_fields__)
    assert len(told["steps"]) == len(told["train"]) == len(told["held_out"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reach": 0.0}, "reach must be a number above 0, not 0.0"),
        ({"nodes": 3}, "nodes must be 5 at least, not 3"),
        ({"directions": {"a": torch.zeros(4).double()}}, "direction a must have a length above 0"),
        ({"held_out": (vectors(9, 4), vectors(9, 1))}, "test must have 20 examples at least"),
    ],
    ids=["reach", "nodes", "length", "few"],
)
def test_mistakes_are_one_sentence(change: dict[str, object], message: str) -> None:
    train, test, point, way = both()
    given = {"held_out": test, "point": point, "directions": {"a": way}, "reach": 1.0, **change}
    with pytest.raises(UsageError, match=message):
        shift_test(train, **given)  # type: ignore[arg-type]
