"""Losses that divide by weights of their own, in chunks, against the same in one piece."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.measure import extreme_eigenvalues
from thalweg.objective.derivatives import Hessian
from thalweg.objective.supervised import Supervised

WEIGHT = torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)


def data(rows: int = 90) -> tuple[Tensor, Tensor]:
    """Sorted by class, as files often are."""
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, torch.arange(rows) * 3 // rows


def model(scale: float = 1.0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    with torch.no_grad():
        for p in found.parameters():
            p.mul_(scale)
    return found


def weighted(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y, weight=WEIGHT)


def ignoring(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y, ignore_index=0)


def penalised(out: Tensor, y: Tensor) -> Tensor:
    return weighted(out, y) + 0.3


@pytest.mark.parametrize("scale", [1.0, 1e-6])  # where all losses are alike weights are seen too
@pytest.mark.parametrize("loss", [weighted, ignoring, penalised])
@pytest.mark.parametrize("chunk", [7, 29, 30])
def test_a_mean_by_weights_is_the_same_in_chunks(loss, scale, chunk) -> None:
    x, y = data()
    net = model(scale)
    parts = Supervised(net, loss, (x, y), chunk=chunk)
    point = parts.point()
    value, slope = parts.value_and_gradient(point)
    whole = loss(net(x), y)
    truth = torch.cat([g.reshape(-1) for g in torch.autograd.grad(whole, list(net.parameters()))])
    assert float(value) == pytest.approx(float(whole.detach()), rel=1e-9)
    assert parts.value(point) == pytest.approx(float(whole.detach()), rel=1e-9)
    assert float((slope - truth).norm()) <= 1e-9 * float(truth.norm())
    one = Supervised(net, loss, (x, y), chunk=90)
    vector = torch.randn(parts.dim, generator=torch.Generator().manual_seed(1)).double()
    known = Hessian(one, point) @ vector
    assert float((Hessian(parts, point) @ vector - known).norm()) <= 1e-9 * float(known.norm())


def test_memory_changes_no_eigenvalue() -> None:
    found = []
    for memory in (2**30, 2**14):
        objective = Supervised(model(), weighted, data(), memory=memory)
        found.append(extreme_eigenvalues(objective, objective.point(), rtol=1e-6).top[0].value)
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_other_examples_have_shares_of_their_own() -> None:
    x, y = data()
    objective = Supervised(model(), weighted, (x, y), chunk=10)
    objective.value(objective.point())
    other = objective.on((x[:50], y[:50].flip(0)), chunk=10)
    truth = float(weighted(objective.placed.model(x[:50]), y[:50].flip(0)).detach())
    assert other.value(objective.point()) == pytest.approx(truth, rel=1e-9)


def plain(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y)


def contrasted(out: Tensor, y: Tensor) -> Tensor:
    """Each example's own output against those of the others in its batch."""
    return F.cross_entropy(out @ out.T, torch.arange(len(out)))


@pytest.mark.parametrize("loss", [plain, contrasted])
def test_a_plain_mean_and_what_compares_examples_go_by_their_number(loss) -> None:
    x, y = data()
    objective = Supervised(model(), loss, (x, y), chunk=30)
    parts = [
        float(loss(objective.placed.model(x[i : i + 30]), y[i : i + 30]).detach())
        for i in (0, 30, 60)
    ]
    assert objective.value(objective.point()) == pytest.approx(sum(parts) / 3, rel=1e-12)


def test_the_model_stands_where_it_stood() -> None:
    x, y = data()
    objective = Supervised(model(), weighted, (x, y), chunk=30)
    far = objective.point() + 1
    with torch.no_grad(), objective.placed.at(far, "eval"):
        values = [float(objective.batch_loss(batch)) for batch, _ in objective.weighted_chunks()]
        assert torch.equal(objective.placed.point(), far)
    assert values == [
        float(Supervised(model(), weighted, (x[i : i + 30], y[i : i + 30])).value(far))
        for i in (0, 30, 60)
    ]
