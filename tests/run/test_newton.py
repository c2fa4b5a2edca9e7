"""Newton's steps on quadratics, where they are known, and at a saddle."""

import math

import numpy as np
import pytest
import torch

from thalweg.errors import UsageError
from thalweg.objective.landscapes import bounded_saddle, from_callable, quadratic
from thalweg.run.newton import newton


@pytest.mark.parametrize("eigenvalues", [(1.0, 10.0), (-3.0, 0.5), (-1.0, -2.0, 5.0)])
def test_newton_lands_on_the_critical_point_of_a_quadratic_in_one_step(eigenvalues) -> None:
    start = np.arange(1.0, 1.0 + len(eigenvalues))
    run = newton(quadratic(eigenvalues), start, steps=1)
    assert np.abs(run.end["points"]).max() < 1e-12


def test_a_saddle_free_step_is_the_gradient_over_the_size_of_the_curvature() -> None:
    turn = torch.linalg.qr(
        torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )[0]
    values = torch.tensor([-4.0, -0.5, 1.0, 6.0], dtype=torch.float64)
    matrix = turn @ values.diag() @ turn.T
    objective = from_callable(lambda p: 0.5 * ((p @ matrix) * p).sum(-1), 4)
    start = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    run = newton(objective, start, steps=1, saddle_free=True)
    expected = start - turn @ (values.abs() ** -1).diag() @ turn.T @ matrix @ start
    assert torch.tensor(run.end["points"][0]).allclose(expected, atol=1e-12)


def test_at_a_saddle_newton_is_drawn_in_and_its_saddle_free_form_gets_out() -> None:
    landscape = bounded_saddle()
    starts = np.array([[0.5, 0.2], [-0.3, -0.1], [0.8, 0.3]])
    plain = newton(landscape, starts)
    free = newton(landscape, starts, saddle_free=True, longest=0.5)
    assert np.abs(plain.end["points"]).max() < 1e-9
    assert np.allclose(free.end["losses"], -0.5)
    assert np.array_equal(np.sign(free.end["points"][:, 1]), [1, -1, 1])


def test_it_converges_quadratically() -> None:
    errors = np.abs(newton(bounded_saddle(), (0.0, 1.2), steps=4)["points"].values[:, 0, 1] - 1)
    assert errors[3] < 5 * errors[2] ** 2 < 1e-3


def test_cost_and_shapes() -> None:
    run = newton(quadratic((1.0, 2.0, 3.0)), np.ones((5, 3)), steps=4, longest=0.1)
    assert run["points"].values.shape == (5, 5, 3) and run["losses"].values.shape == (5, 5)
    assert run["cost"].values.tolist() == [0, 7, 14, 21, 28]
    lengths = np.linalg.norm(np.diff(run["points"].values, axis=0), axis=-1)
    assert lengths.max() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("start", "arguments", "message"),
    [
        ((1.0,), {}, "points must have shape"),
        ((1.0, 1.0), {"steps": 0}, "steps must be a whole number of 1 or more, not 0"),
        ((1.0, 1.0), {"longest": math.nan}, "longest must be a number above 0, not nan"),
    ],
)
def test_bad_arguments_are_one_sentence(start, arguments, message) -> None:
    with pytest.raises(UsageError, match=message):
        newton(bounded_saddle(), start, **arguments)
