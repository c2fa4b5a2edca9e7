"""Agreement with other libraries on the digits network."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import vectors
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.objective.derivatives import Hessian
from thalweg.objective.supervised import Supervised

pytest.importorskip("curvlinops", exc_type=ImportError)
pytest.importorskip("pyhessian", exc_type=ImportError)


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Tensor, Tensor]:
    """A small network on scikit-learn's digits, half-way through its training."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.from_numpy(data.data / 16).float()[:600]
    y = torch.from_numpy(data.target)[:600]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for _ in range(25):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, x, y


def peer_operator(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from curvlinops import HessianLinearOperator

        parameters = list(model.parameters())
        return HessianLinearOperator(
            model, nn.CrossEntropyLoss(), parameters, [(x, y)], check_deterministic=False
        )


def test_products_agree_with_curvlinops(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = digits
    twin = nn.Sequential(*[type(m)(*_shape(m)) for m in model]).double()
    twin.load_state_dict(model.state_dict())
    objective = Supervised(twin, F.cross_entropy, (x.double(), y))
    block = vectors(3, objective.dim)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peer_operator(twin, x.double(), y) @ block.T
    ours = Hessian(objective, objective.point()) @ block
    torch.testing.assert_close(ours, theirs.T, rtol=1e-10, atol=1e-12)


def _shape(module: nn.Module) -> tuple[int, ...]:
    return (module.in_features, module.out_features) if isinstance(module, nn.Linear) else ()


def test_eigenvalues_agree_with_eigsh_on_curvlinops(
    digits: tuple[nn.Module, Tensor, Tensor],
) -> None:
    from scipy.sparse.linalg import LinearOperator, eigsh

    model, x, y = digits
    objective = Supervised(model, F.cross_entropy, (x, y))
    found = extreme_eigenvalues(objective, objective.point(), top=5, bottom=1)
    assert found.decided
    operator = peer_operator(model, x, y)

    def multiply(vector: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return (operator @ torch.from_numpy(vector).float()).numpy()

    size = (objective.dim, objective.dim)
    linear: Any = LinearOperator(size, matvec=multiply, dtype=np.float32)  # type: ignore[call-overload]
    start = np.random.default_rng(0).normal(size=objective.dim).astype(np.float32)
    top = eigsh(linear, k=5, which="LA", tol=1e-4, return_eigenvectors=False, v0=start)
    low = eigsh(linear, k=1, which="SA", tol=1e-3, return_eigenvectors=False, v0=start)
    for ours, theirs in zip(found.top, sorted(top, reverse=True)):
        assert abs(ours.value - theirs) <= ours.error + 2e-4 * abs(theirs)
        assert ours.error <= 1e-3 * abs(theirs)
    assert abs(found.bottom[0].value - low[0]) <= found.bottom[0].error + 1e-3 * abs(low[0])


def test_the_top_eigenvalue_agrees_with_pyhessian(
    digits: tuple[nn.Module, Tensor, Tensor],
) -> None:
    model, x, y = digits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyhessian import hessian

        peer = hessian(model, nn.CrossEntropyLoss(), data=(x, y), cuda=False)
        with torch.random.fork_rng():
            values, _ = peer.eigenvalues(maxIter=200, tol=1e-5)
    model.zero_grad(set_to_none=True)
    objective = Supervised(model, F.cross_entropy, (x, y))
    found = extreme_eigenvalues(objective, objective.point())
    assert found.top[0].value == pytest.approx(values[0], rel=2e-3)
