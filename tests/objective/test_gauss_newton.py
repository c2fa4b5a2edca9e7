"""Products with the Gauss-Newton matrix: against the dense JᵀSJ, and what it cannot be made of."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev  # pyright: ignore[reportPrivateImportUsage]
from torch.nn import functional as F

from problems import Quadratic, classes, least_squares, network, redrawn, vectors
from thalweg.errors import UsageError
from thalweg.objective.derivatives import Hessian
from thalweg.objective.gauss_newton import GaussNewton
from thalweg.objective.supervised import Supervised

LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[[int], Tensor]]] = {
    "cross-entropy": (F.cross_entropy, classes),
    "squared error": (F.mse_loss, lambda n: vectors(n, 3, seed=5)),
    "summed squares": (lambda o, t: ((o - t) ** 2).sum(), lambda n: vectors(n, 3, seed=5)),
    "a user's own": (lambda o, t: (o - t).cosh().log().mean(), lambda n: vectors(n, 3, seed=5)),
}


def dense(objective: Supervised, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """mean JᵀSJ by torch.func, example by example."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    sizes = [p.numel() for p in model.parameters()]

    def output(flat: Tensor, given: Tensor) -> Tensor:
        pieces = [piece.view(s) for piece, s in zip(flat.split(sizes), shapes)]
        return functional_call(model, dict(zip(names, pieces)), (given[None],))[0]

    def bent(given: Tensor, target: Tensor) -> Any:
        assert objective.pair_loss is not None
        loss = objective.pair_loss
        return torch.autograd.functional.hessian(lambda o: loss(o[None], target[None]), given)

    point = objective.point()
    total = torch.zeros(len(point), len(point)).double()
    for given, target in zip(x, y):
        slopes: Any = jacrev(output)(point, given)
        total += slopes.T @ bent(output(point, given), target) @ slopes / len(x)
    return total


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_products_are_those_of_the_dense_matrix(name: str, keep: bool) -> None:
    loss, targets = LOSSES[name]
    model, x, y = network(), vectors(9, 5), targets(9)
    objective = Supervised(model, loss, (x, y), chunk=4, decay=0.1)
    operator = GaussNewton(objective, objective.point(), keep=keep)
    expected = dense(objective, model, x, y) + 0.1 * torch.eye(objective.dim)
    block = vectors(4, objective.dim)
    torch.testing.assert_close(operator @ block, block @ expected)
    torch.testing.assert_close(operator @ block[0], expected @ block[0])
    assert operator.cost == 2 * 5 + 1 + (0 if keep else 4)


def test_of_a_linear_model_it_is_the_hessian() -> None:
    model, x, y = least_squares(12, 4)
    objective = Supervised(model, F.mse_loss, (x, y))
    point, block = objective.point(), vectors(3, 4)
    torch.testing.assert_close(
        GaussNewton(objective, point) @ block, Hessian(objective, point) @ block
    )


def test_it_has_no_negative_curvature() -> None:
    objective = Supervised(network(), F.cross_entropy, (vectors(9, 5), classes(9)))
    identity = torch.eye(objective.dim).double()
    point = objective.point()
    assert torch.linalg.eigvalsh(GaussNewton(objective, point) @ identity).min() > -1e-12
    assert torch.linalg.eigvalsh(Hessian(objective, point) @ identity).min() < -1e-3


def test_a_loss_linear_in_the_output_gives_nothing() -> None:
    objective = Supervised(network(), lambda o, t: (o * t).mean(), (vectors(5, 5), vectors(5, 3)))
    assert not (GaussNewton(objective, objective.point()) @ vectors(1, objective.dim)[0]).any()


class Pair(nn.Module):
    """Answers with two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner(x), x


def test_what_has_no_output_is_refused() -> None:
    with pytest.raises(UsageError, match="must be a Supervised"):
        GaussNewton(Quadratic(torch.eye(2)), torch.zeros(2))
    batches = Supervised(
        network(),
        data=(vectors(4, 5), classes(4)),
        batch_loss=lambda m, b: F.cross_entropy(m(b[0]), b[1]),
    )
    with pytest.raises(UsageError, match="not a batch_loss"):
        GaussNewton(batches, batches.point())
    data = (vectors(4, 5), classes(4))
    two = Supervised(redrawn(Pair().double()), lambda o, t: F.cross_entropy(o[0], t), data)
    with pytest.raises(UsageError, match="must be one tensor"):
        GaussNewton(two, two.point()) @ two.point()
    whole = Supervised(network(), F.cross_entropy, data)
    with pytest.raises(UsageError, match="must have shape"):
        GaussNewton(whole, whole.point()) @ torch.zeros(3).double()
    with pytest.raises(UsageError, match="must be one point"):
        GaussNewton(whole, whole.point()[None])
