"""Basins against an ordinary differential equation solver and against what is known."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from thalweg.objective import landscapes
from thalweg.objective.base import Objective
from thalweg.run.basins import UNKNOWN, Basins, gradient_flow

LONG = {"himmelblau": 2.0, "styblinski_tang": 3.0, "mueller_brown": 0.3, "double_well": 60.0}
"""A time after which the flow is near its end."""


def integrated(objective: Objective, point: np.ndarray, long: float) -> np.ndarray:
    def field(_: float, at: np.ndarray) -> np.ndarray:
        x = torch.tensor(at[None], requires_grad=True)
        (slope,) = torch.autograd.grad(objective.loss(x).sum(), x)
        return -slope[0].numpy()

    return solve_ivp(field, (0, long), point, method="LSODA", rtol=1e-6, atol=1e-8).y[:, -1]


@pytest.mark.parametrize("name", LONG)
def test_the_label_is_where_the_flow_leads(name: str) -> None:
    landscape = landscapes.get(name)
    points = landscape.start(torch.Generator().manual_seed(2), 8)
    minima = np.array(landscape.minima)
    labels = Basins.of(landscape).labels(points)
    assert len(set(labels.tolist())) > 1
    for point, label in zip(points.numpy(), labels.tolist()):
        end = integrated(landscape, point, LONG[name])
        assert label == np.linalg.norm(minima - end, axis=1).argmin()


def test_in_one_dimension_maxima_part_the_basins() -> None:
    landscape = landscapes.spiky()
    basins = Basins.of(landscape)
    assert basins.known and basins.maxima is not None
    minima = torch.tensor(landscape.minima)[:, 0]
    x = torch.linspace(-2.9, 2.9, 1000, dtype=torch.float64)[:, None]
    labels = basins.labels(x)
    ends = gradient_flow(landscape, x, reach=0.01)[:, 0]
    np.testing.assert_allclose(minima[labels], ends, atol=1e-6)


def test_a_formula_of_one_variable_has_the_minima_of_the_catalogue() -> None:
    known = landscapes.spiky()
    found = Basins.of(landscapes.from_formula("x**2 + 0.3*cos(20*x)", domain=((-3.0, 3.0),)))
    assert not found.known
    exact = sorted(x for (x,) in known.minima)
    np.testing.assert_allclose(sorted(found.minima[:, 0].tolist()), exact, atol=1e-9)


def test_above_one_dimension_minima_are_where_flows_end() -> None:
    bowl = landscapes.from_formula("(x**2 - 1)**2 + 2*y**2")
    points = torch.tensor([[0.4, 1.0], [-0.2, -1.0], [2.0, 0.3]], dtype=torch.float64)
    basins = Basins.of(bowl, points)
    found = sorted(basins.minima.tolist())
    np.testing.assert_allclose(found, [[-1, 0], [1, 0]], atol=1e-5)
    assert basins.labels(points).tolist() == [0, 1, 0]


def test_what_leads_nowhere_has_no_basin() -> None:
    saddle = landscapes.saddle()
    points = torch.tensor([[0.5, 0.1], [np.nan, 0.0]], dtype=torch.float64)
    assert Basins.of(saddle, points).labels(points).tolist() == [UNKNOWN, UNKNOWN]
    known = Basins.of(landscapes.himmelblau())
    assert known.labels(torch.tensor([[np.inf, 0.0]])).tolist() == [UNKNOWN]
