"""Two minima compared: every kind of classes against counts made by hand."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.problems import classes, network, redrawn, vectors
from thalweg.measure import compare
from thalweg.objective.supervised import Supervised


def linear(outputs: int) -> nn.Module:
    with torch.random.fork_rng():
        return redrawn(nn.Linear(4, outputs).double())


def both(loss: Supervised) -> tuple[Tensor, Tensor]:
    return loss.point(), vectors(loss.dim, seed=4)


def answers(loss: Supervised, point: Tensor, rows: Tensor) -> Tensor:
    weight, bias = loss.placed.split(point)
    return rows @ weight.T + bias


def test_classes_margins_and_distance() -> None:
    rows, wanted = vectors(50, 4), classes(50)
    loss = Supervised(linear(3), F.cross_entropy, (rows, wanted), chunk=20)
    a, b = both(loss)
    found = compare(loss, a, b)
    one, other = (answers(loss, p, rows) for p in (a, b))
    assert found.agreement.value == pytest.approx(
        float((one.argmax(1) == other.argmax(1)).double().mean())
    )
    right = float((one.argmax(1) == wanted).double().mean())
    assert found.first.accuracy.value == pytest.approx(right) and found.first.accuracy.error == 0
    own = one[torch.arange(50), wanted]
    others = torch.stack([one[i, [c for c in range(3) if c != wanted[i]]].max() for i in range(50)])
    assert found.first.margin.value == pytest.approx(float((own - others).median()))
    assert found.distance.value == pytest.approx(float((a - b).norm()))
    assert found.cosine.value == pytest.approx(float(F.cosine_similarity(a, b, dim=0)))
    assert found.second.loss.value == pytest.approx(loss.value(b))
    assert math.isnan(found.first.test_loss.value) and math.isnan(found.test_agreement.value)


def test_a_point_agrees_with_itself() -> None:
    loss = Supervised(linear(3), F.cross_entropy, (vectors(50, 4), classes(50)))
    a, _ = both(loss)
    found = compare(loss, a, a)
    assert found.agreement.value == 1 and found.distance.value == 0
    assert found.cosine.value == pytest.approx(1)


def test_held_out_shares_have_the_error_of_a_sample() -> None:
    loss = Supervised(linear(3), F.cross_entropy, (vectors(50, 4), classes(50)))
    test = vectors(64, 4, seed=8), classes(64, seed=9)
    found = compare(loss, *both(loss), test=test)
    one, other = (answers(loss, p, test[0]).argmax(1) for p in both(loss))
    share = float((one == other).double().mean())
    assert found.test_agreement.value == pytest.approx(share)
    assert found.test_agreement.error == pytest.approx(math.sqrt(share * (1 - share) / 64), rel=0.1)
    assert found.first.test_loss.error > 0
    p, q = found.first.test_accuracy.value, found.second.test_accuracy.value
    assert found.chance.value == pytest.approx(p * q + (1 - p) * (1 - q) / 2)


def one_hot() -> Supervised:
    return Supervised(linear(3), F.mse_loss, (vectors(40, 4), torch.eye(3)[classes(40)].double()))


def binary() -> Supervised:
    targets = classes(40, 2)[:, None].double()
    return Supervised(linear(1), F.binary_cross_entropy_with_logits, (vectors(40, 4), targets))


def sequence() -> Supervised:
    """Each place of a sequence has a class; the loss takes classes second."""
    rows, wanted = vectors(12, 5, 4), classes(60).reshape(12, 5)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.movedim(-1, 1), target)

    return Supervised(linear(3), loss, (rows, wanted))


@pytest.mark.parametrize("make", [one_hot, binary, sequence], ids=["one-hot", "binary", "sequence"])
def test_other_kinds_of_classes(make: object) -> None:
    loss: Supervised = make()  # type: ignore[operator]
    rows, targets = loss.data.fetch(slice(0, loss.data.length))
    found = compare(loss, *both(loss))
    guesses = []
    for point in both(loss):
        answer = answers(loss, point, rows)
        guesses.append((answer > 0).long() if answer.shape[-1] == 1 else answer.argmax(-1))
    wanted = (
        targets.argmax(1)
        if targets.shape[-1] == 3 and targets.ndim == 2 and targets.dtype.is_floating_point
        else targets
    )
    agreed = float((guesses[0] == guesses[1]).double().mean())
    right = float((guesses[0].reshape(-1) == wanted.reshape(-1)).double().mean())
    assert found.agreement.value == pytest.approx(agreed)
    assert found.first.accuracy.value == pytest.approx(right)


def test_a_regression_has_no_classes() -> None:
    loss = Supervised(linear(1), F.mse_loss, (vectors(40, 4), vectors(40, 1, seed=5)))
    found = compare(loss, *both(loss))
    assert math.isnan(found.agreement.value) and math.isnan(found.first.margin.value)
    assert found.to_dict()["agreement"]["value"] is None
    assert math.isfinite(found.first.loss.value)


def test_a_loss_of_the_users_own_has_none_either() -> None:
    loss = Supervised(
        network(),
        data=(vectors(20, 5), classes(20)),
        batch_loss=lambda m, b: m(b[0]).square().mean(),
    )
    assert math.isnan(compare(loss, loss.point(), -loss.point()).agreement.value)


def test_the_held_out_loss_of_a_model_with_batch_norm_is_that_of_whole_batches() -> None:
    plain = network()
    model = nn.Sequential(plain, nn.BatchNorm1d(plain(vectors(2, 5)).shape[1])).to(vectors(1, 5))
    objective = Supervised(model, F.cross_entropy, (vectors(60, 5), classes(60)), mode="batch")
    held_out = vectors(32, 5, seed=3), classes(32, seed=4)
    point = objective.point()
    found = compare(objective, point, point, test=held_out).first.test_loss
    assert found.value == pytest.approx(objective.on(held_out).value(point), rel=1e-9)
    assert 0 < found.error < math.inf
