"""Mini-batches: who is drawn when, and that their mean step is the full one."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from thalweg.errors import DataError
from thalweg.objective import landscapes
from thalweg.objective.supervised import Supervised
from thalweg.run.descend import descend
from thalweg.run.minibatches import draw_batches
from thalweg.run.plan import Plan


@pytest.mark.parametrize(("examples", "batch"), [(7, 1), (7, 3), (6, 6), (8, 2)])
@pytest.mark.parametrize("rows", [1, 5])
def test_without_replacement_an_epoch_has_each_example_once(
    examples: int, batch: int, rows: int
) -> None:
    batches = draw_batches(examples, batch, rows, torch.Generator().manual_seed(0), False)
    for _ in range(3):
        epoch = torch.cat([next(batches) for _ in range(examples // batch)], 1)
        assert epoch.shape == (rows, examples // batch * batch)
        for row in epoch.tolist():
            assert len(set(row)) == len(row) and set(row) <= set(range(examples))


@pytest.mark.parametrize("replacement", [False, True])
def test_every_example_is_as_likely_and_rows_are_independent(replacement: bool) -> None:
    batches = draw_batches(5, 2, 4000, torch.Generator().manual_seed(1), replacement)
    first = next(batches)
    counts = torch.bincount(first[:, 0] * 5 + first[:, 1], minlength=25).reshape(5, 5)
    if replacement:
        assert stats.chisquare(counts.flatten()).pvalue > 1e-4
    else:
        assert not counts.diagonal().any()
        assert stats.chisquare(counts[~torch.eye(5, dtype=torch.bool)]).pvalue > 1e-4
    one, other = first[0::2, 0].double(), first[1::2, 0].double()
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / 2000**0.5


@pytest.mark.parametrize(("batch", "replacement"), [(1, True), (1, False), (4, True), (3, False)])
def test_the_mean_over_trials_follows_the_full_gradient(batch: int, replacement: bool) -> None:
    """On a quadratic one epoch's steps with fresh batches are linear; the first is unbiased."""
    squares = landscapes.least_squares(examples=12, dim=3, seed=4)
    plan = Plan(
        learning_rate=0.1,
        batch=batch,
        replacement=replacement,
        trials=4000,
        steps=8 if replacement else 1,
        starts=(2.0, -1.0, 0.0),
    )
    ends = descend(squares, plan).end["points"]
    full = descend(squares, Plan(**{**plan.to_dict(), "batch": None, "trials": 1})).end["points"][0]
    error = ends.std(0) / np.sqrt(plan.trials)
    assert (abs(ends.mean(0) - full) < 4.5 * error).all() and (error > 0).all()


def test_a_batch_of_all_is_the_whole() -> None:
    squares = landscapes.least_squares(examples=6, dim=2)
    plan = Plan(learning_rate=0.1, steps=20, trials=3, batch=6)
    whole = Plan(**{**plan.to_dict(), "batch": None})
    np.testing.assert_allclose(
        descend(squares, plan).end["points"], descend(squares, whole).end["points"], rtol=1e-12
    )
    with pytest.raises(DataError, match="at most the number of examples, 6"):
        descend(squares, Plan(batch=7))


def test_trials_of_a_network_have_batches_of_their_own() -> None:
    torch.manual_seed(0)
    x = torch.randn(10, 2, dtype=torch.float64)
    objective = Supervised(nn.Linear(2, 1).double(), nn.functional.mse_loss, (x, x[:, :1]))
    plan = Plan(learning_rate=0.1, batch=2, steps=3, trials=6)
    assert len(np.unique(descend(objective, plan).end["points"], axis=0)) == 6
