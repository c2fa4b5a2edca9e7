"""Gauss-Newton products and traces: agreement with curvlinops."""

import warnings
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from problems import classes, network, vectors
from thalweg.measure.trace import trace
from thalweg.objective.gauss_newton import GaussNewton
from thalweg.objective.supervised import Supervised

pytest.importorskip("curvlinops", exc_type=ImportError)


def test_gauss_newton_products_and_traces_agree_with_curvlinops() -> None:
    model, x, y = network(), vectors(60, 5), classes(60)
    objective = Supervised(model, F.cross_entropy, (x, y))
    point, block = objective.point(), vectors(3, objective.dim)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from curvlinops import GGNLinearOperator, HessianLinearOperator
        from curvlinops.trace.epperly2024xtrace import xtrace

        arguments: Any = (model, torch.nn.CrossEntropyLoss(), list(model.parameters()), [(x, y)])
        peer = GGNLinearOperator(*arguments, check_deterministic=False)
        theirs = peer @ block.T
        with torch.random.fork_rng():
            torch.manual_seed(0)
            whole = HessianLinearOperator(*arguments, check_deterministic=False)
            known = float(xtrace(peer, 60))
            draws = [float(xtrace(whole, 60)) for _ in range(20)]  # each off by some 5%
            traces = known, sum(draws) / len(draws)
    torch.testing.assert_close(GaussNewton(objective, point) @ block, theirs.T.contiguous())
    assert trace(objective, point, matrix="gauss-newton").value == pytest.approx(
        traces[0], rel=1e-3
    )
    assert trace(objective, point, rtol=0.005).value == pytest.approx(traces[1], rel=0.05)
