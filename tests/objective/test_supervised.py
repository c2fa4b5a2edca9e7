"""A network's loss, gradient and Hessian products against a plain torch computation."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from problems import classes, network, plain_derivatives, redrawn, vectors
from thalweg.errors import UsageError
from thalweg.objective.derivatives import Hessian
from thalweg.objective.supervised import Supervised


@dataclass
class Case:
    """A model with data; ``batch_loss`` is the loss as its user writes it."""

    model: nn.Module
    data: Any
    batch_loss: Callable[[nn.Module, Any], Tensor]
    exact: bool = True


def pairs(loss: Callable[[Any, Any], Tensor]) -> Callable[[nn.Module, Any], Tensor]:
    return lambda model, batch: loss(model(batch[0]), batch[1])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(5, 4), nn.Linear(4, 5)
        self.decode.weight = nn.Parameter(torch.zeros(5, 4))
        self.again = nn.Linear(5, 4)
        self.again.weight = self.encode.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(torch.tanh(self.encode(x)) + torch.sin(self.again(x)))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.body = kind(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0][:, -1])


class Words(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 4, **options)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embed(x).mean(1)))


class Attention(nn.Module):
    def __init__(self, layered: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.body = (
            nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True, activation="gelu")
            if layered
            else nn.MultiheadAttention(4, 2, batch_first=True)
        )
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        mixed = (
            self.body(x)
            if isinstance(self.body, nn.TransformerEncoderLayer)
            else self.body(x, x, x, need_weights=False)[0]
        )
        return self.head(mixed.mean(1))


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.query(x), self.key(x)
        return F.scaled_dot_product_attention(q, k, k, is_causal=True).mean((1, 2))[:, None]


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh())
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Any = checkpoint(self.body, x, use_reentrant=False)
        return self.head(hidden)


class Distances(nn.Module):
    """cdist has no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(4, 5))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cdist(x, self.centres))


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(9, 4, mode="mean")
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.bag(x)))


class Transcript(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x).log_softmax(-1)


def ctc(output: Tensor, target: Tensor) -> Tensor:
    frames, lengths = output.transpose(0, 1), torch.full((len(output),), output.shape[1])
    return F.ctc_loss(frames, target, lengths, torch.full((len(output),), target.shape[1]))


def frozen(model: Any, which: slice) -> Any:
    for p in list(model.parameters())[which]:
        p.requires_grad_(False)
    return model


def conv() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)
    )


def hooked_weight_norm() -> nn.Sequential:
    with pytest.warns(FutureWarning):
        first = nn.utils.weight_norm(nn.Linear(5, 4))
    return nn.Sequential(first, nn.Tanh(), nn.Linear(4, 3))


N = 7
FLAT = (vectors(N, 5), classes(N))
SERIES = (vectors(N, 4, 3), vectors(N, 2, seed=3))
TOKENS = (classes(4 * N, 9).view(N, 4), classes(N))
IMAGES = (vectors(N, 1, 4, 4), classes(N))
cross_entropy, mse = pairs(F.cross_entropy), pairs(F.mse_loss)

CASES: dict[str, Callable[[], Case]] = {
    "mlp": lambda: Case(network(), FLAT, cross_entropy),
    "ReLU": lambda: Case(
        nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), FLAT, cross_entropy
    ),
    "conv and batch norm": lambda: Case(conv(), IMAGES, cross_entropy),
    "group and layer norm": lambda: Case(
        nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.GELU(), nn.GroupNorm(2, 4)),
        (FLAT[0], vectors(N, 4, seed=8)),
        mse,
    ),
    "LSTM": lambda: Case(Recurrent(nn.LSTM), SERIES, mse),
    "GRU": lambda: Case(Recurrent(nn.GRU), SERIES, mse),
    "embedding": lambda: Case(Words(), TOKENS, cross_entropy),
    "embedding with padding": lambda: Case(Words(padding_idx=0), TOKENS, cross_entropy),
    "tied weights": lambda: Case(Tied(), (FLAT[0], vectors(N, 5, seed=4)), mse),
    "frozen weights": lambda: Case(frozen(network(), slice(0, 2)), FLAT, cross_entropy),
    "weight norm": lambda: Case(
        nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)),
        FLAT,
        cross_entropy,
    ),
    "weight norm by hooks": lambda: Case(hooked_weight_norm(), FLAT, cross_entropy),
    "orthogonal": lambda: Case(
        nn.Sequential(parametrizations.orthogonal(nn.Linear(5, 5)), nn.Tanh(), nn.Linear(5, 3)),
        FLAT,
        cross_entropy,
    ),
    "multi-head attention": lambda: Case(Attention(False), SERIES, mse),
    "transformer layer": lambda: Case(Attention(True), SERIES, mse),
    "scaled dot product": lambda: Case(Scaled(), (SERIES[0], vectors(N, 1, seed=6)), mse),
    "checkpointing": lambda: Case(Checkpointed(), FLAT, cross_entropy),
    "unused weights": lambda: Case(
        nn.ModuleDict({"used": nn.Linear(5, 3), "unused": nn.Linear(2, 2)}),
        FLAT,
        lambda model, batch: F.cross_entropy(model["used"](batch[0]), batch[1]),  # type: ignore[index]
    ),
    "linear loss": lambda: Case(nn.Linear(5, 1), FLAT, lambda model, batch: model(batch[0]).mean()),
    "a scalar of one axis": lambda: Case(
        network(), FLAT, lambda model, batch: cross_entropy(model, batch).reshape(1)
    ),
    "dict batches": lambda: Case(
        network(),
        {"x": FLAT[0], "more": {"y": FLAT[1]}, "name": "digits"},
        lambda model, batch: F.cross_entropy(model(batch["x"]), batch["more"]["y"]),
    ),
    "cdist": lambda: Case(Distances(), FLAT, cross_entropy, exact=False),
    "embedding bag": lambda: Case(Bag(), TOKENS, cross_entropy, exact=False),
    "ctc": lambda: Case(
        Transcript(),
        (vectors(N, 6, 3), 1 + classes(2 * N, 3).view(N, 2)),
        pairs(ctc),
        exact=False,
    ),
}


def made(name: str) -> Case:
    case = CASES[name]()
    case.model = redrawn(case.model.double()).eval()
    return case


def objective_of(case: Case, **options: Any) -> Supervised:
    return Supervised(case.model, data=case.data, batch_loss=case.batch_loss, **options)


def elsewhere(objective: Supervised) -> Tensor:
    """Not where the model stands."""
    return 0.9 * objective.point() + 0.1 * vectors(1, objective.dim, seed=7)[0]


@pytest.mark.parametrize("name", sorted(CASES))
def test_value_gradient_and_products_are_those_of_plain_torch(name: str) -> None:
    case = made(name)
    objective = objective_of(case)
    point = elsewhere(objective)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        if case.exact:
            value, slope, hessian = plain_derivatives(
                case.model, lambda model: case.batch_loss(model, case.data).reshape(()), point
            )
        else:
            value, slope, hessian = differenced(case, point)
    found, gradient = objective.value_and_gradient(point)
    torch.testing.assert_close(found, value, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gradient, slope, rtol=1e-9, atol=1e-12)
    assert abs(objective.value(point) - float(value)) < 1e-12
    block = vectors(3, objective.dim, seed=9)
    for keep in (True, False):
        products = Hessian(objective, point, keep=keep)
        for _ in range(2):  # what is recorded or kept serves again
            found = products @ block
            close = {"rtol": 1e-9, "atol": 1e-11} if case.exact else {"rtol": 1e-5, "atol": 1e-7}
            torch.testing.assert_close(found, block @ hessian, **close)
        assert products.exact == case.exact


def differenced(case: Case, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Central differences of plain gradients, where plain torch has no second derivative."""
    model = copy.deepcopy(case.model)
    weights = list(model.parameters())

    def gradient(at: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            nn.utils.vector_to_parameters(at, weights)
        value = case.batch_loss(model, case.data)
        pieces = torch.autograd.grad(value, weights)
        return value.detach(), torch.cat([piece.reshape(-1) for piece in pieces])

    step = 1e-5
    units = torch.eye(len(point)).double() * step
    rows = [(gradient(point + e)[1] - gradient(point - e)[1]) / (2 * step) for e in units]
    return *gradient(point), torch.stack(rows)


@pytest.mark.parametrize("name", ["cdist", "embedding bag", "ctc"])
def test_differences_in_single_precision_have_the_accuracy_stated(name: str) -> None:
    case = made(name)
    point = elsewhere(objective_of(case))
    hessian = differenced(case, point)[2]
    case.model = case.model.float()
    case.data = tuple(t.float() if t.is_floating_point() else t for t in case.data)
    products = Hessian(objective_of(case), point.float())
    block = F.normalize(vectors(5, len(point), seed=9)).float()
    found = products @ block
    assert not products.exact
    error = (found.double() - block.double() @ hessian).norm() / hessian.norm()
    assert float(error) < 5e-4


@pytest.mark.parametrize("name", sorted(CASES))
def test_chunks_change_nothing(name: str) -> None:
    case = made(name)
    whole, cut = objective_of(case, chunk=N), objective_of(case, chunk=3)
    assert len(list(cut.weighted_chunks())) == 3
    point = elsewhere(whole)
    value, slope = whole.value_and_gradient(point)
    pieces = cut.value_and_gradient(point)
    torch.testing.assert_close(pieces[0], value, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(pieces[1], slope, rtol=1e-10, atol=1e-13)
    assert abs(cut.value(point) - whole.value(point)) <= 1e-12 * abs(whole.value(point))
    vector = vectors(1, whole.dim, seed=9)[0]
    close = {"rtol": 1e-9, "atol": 1e-11} if case.exact else {"rtol": 1e-5, "atol": 1e-7}
    torch.testing.assert_close(
        Hessian(cut, point) @ vector, Hessian(whole, point) @ vector, **close
    )


def test_little_memory_means_chunks_and_rebuilt_graphs() -> None:
    x, y = vectors(3000, 5), classes(3000)
    roomy = Supervised(network(), F.cross_entropy, (x, y))
    tight = Supervised(network(), F.cross_entropy, (x, y), memory=200_000)
    assert tight.chunk < roomy.chunk
    assert tight.bytes_per_example() * tight.chunk <= 200_000
    point = elsewhere(roomy)
    kept, rebuilt = Hessian(roomy, point), Hessian(tight, point)
    assert kept.kept and not rebuilt.kept
    block = vectors(2, roomy.dim)
    torch.testing.assert_close(rebuilt @ block, kept @ block, rtol=1e-10, atol=1e-12)
    assert kept.cost == 1 + 2 * 2 and rebuilt.cost == 2 * 3


def test_tied_weights_count_once_and_frozen_ones_not_at_all() -> None:
    tied = made("tied weights")
    assert (
        objective_of(tied).dim
        == sum(p.numel() for p in tied.model.parameters())
        == 20 + 4 + 20 + 5 + 4
    )
    assert objective_of(made("frozen weights")).dim == 7 * 3 + 3
    model = network()
    assert torch.equal(
        Supervised(model, F.cross_entropy, FLAT).point(),
        nn.utils.parameters_to_vector(model.parameters()).detach(),
    )


@pytest.mark.parametrize("name", ["mlp", "conv and batch norm", "LSTM", "transformer layer"])
def test_autograd_goes_through_twice(name: str) -> None:
    case = made(name)
    objective = objective_of(case)
    point = elsewhere(objective).requires_grad_()
    assert torch.autograd.gradcheck(objective.loss, point, fast_mode=True)
    assert torch.autograd.gradgradcheck(objective.loss, point, fast_mode=True)


def test_there_is_no_third_derivative_and_that_is_said() -> None:
    objective = Supervised(network(), F.cross_entropy, FLAT)
    point = objective.point().requires_grad_()
    (slope,) = torch.autograd.grad(objective.loss(point), point, create_graph=True)
    (bend,) = torch.autograd.grad(slope.square().sum(), point, create_graph=True)
    with pytest.raises(UsageError, match="not three times"):
        torch.autograd.grad(bend.sum(), point)
    twice = torch.autograd.grad(objective.loss(point) ** 2, point, create_graph=True)[0]
    (bend,) = torch.autograd.grad(twice.sum(), point, create_graph=True)
    with pytest.raises(UsageError, match="not three times"):
        torch.autograd.grad(bend.sum(), point)


def test_points_come_in_any_leading_shape() -> None:
    objective = Supervised(network(), F.cross_entropy, FLAT)
    points = vectors(6, objective.dim).view(2, 3, -1)
    values = objective.loss(points)
    assert values.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            assert float(values[i, j]) == objective.value(points[i, j])
    assert objective.loss(points[0, 0]).shape == ()
    weights = vectors(2, 3)
    leaf = points.clone().requires_grad_()
    (slopes,) = torch.autograd.grad((weights * objective.loss(leaf)).sum(), leaf)
    torch.testing.assert_close(
        slopes[1, 2], weights[1, 2] * objective.value_and_gradient(points[1, 2])[1]
    )
    starts = objective.start(torch.Generator(), trials=4)
    assert starts.shape == (4, objective.dim) and torch.equal(starts[3], objective.point())


@pytest.mark.parametrize("kind", ["number", "vector"])
def test_decay_is_part_of_what_is_descended(kind: str) -> None:
    model = network()
    plain = Supervised(model, F.cross_entropy, FLAT)
    decay = 0.3 if kind == "number" else vectors(1, plain.dim, seed=11)[0].abs()
    decayed = Supervised(model, F.cross_entropy, FLAT, decay=decay)
    point, vector = elsewhere(plain), vectors(1, plain.dim, seed=9)[0]
    value, slope = plain.value_and_gradient(point)
    found = decayed.value_and_gradient(point)
    torch.testing.assert_close(found[0], value + 0.5 * (decay * point**2).sum())
    torch.testing.assert_close(found[1], slope + decay * point)
    assert abs(decayed.value(point) - float(found[0])) < 1e-12
    product = Hessian(plain, point) @ vector + decay * vector
    torch.testing.assert_close(Hessian(decayed, point) @ vector, product)
    assert float(decayed.on(FLAT, decay=False).value(point)) == pytest.approx(float(value))


def test_the_same_objective_on_other_examples() -> None:
    case = made("mlp")
    objective = objective_of(case)
    few = tuple(t[2:5] for t in case.data)
    point = elsewhere(objective)
    other = objective.on(few)
    slope = plain_derivatives(case.model, lambda m: cross_entropy(m, few), point)[1]
    torch.testing.assert_close(other.value_and_gradient(point)[1], slope)
    assert objective.examples == N and other.examples == 3
    losses, weights = objective.on(case.data, chunk=2).chunk_losses(point)
    assert abs(float((losses * weights).sum()) - objective.value(point)) < 1e-12
    assert weights.tolist() == pytest.approx([2 / 7, 2 / 7, 2 / 7, 1 / 7])


def test_outputs_are_those_of_the_model_at_the_point() -> None:
    model = network()
    objective = Supervised(model, F.cross_entropy, FLAT, chunk=4)
    twin = copy.deepcopy(model)
    nn.utils.vector_to_parameters(elsewhere(objective), twin.parameters())
    found = list(objective.outputs(elsewhere(objective)))
    torch.testing.assert_close(torch.cat([output for output, _ in found]), twin(FLAT[0]).detach())
    assert torch.equal(torch.cat([target for _, target in found]), FLAT[1])


def test_what_is_not_finite_stays_so() -> None:
    x = FLAT[0].clone()
    x[2, 1] = float("nan")
    objective = Supervised(network(), F.cross_entropy, (x, FLAT[1]))
    point = objective.point()
    value, slope = objective.value_and_gradient(point)
    assert value.isnan() and slope.isnan().any() and objective.loss(point).isnan()
    assert (Hessian(objective, point) @ torch.ones_like(point)).isnan().any()
    huge = Supervised(network(), lambda o, t: (1e300 * o).square().mean(), FLAT)
    assert huge.loss(huge.point()).isinf()


def test_a_kept_graph_outlives_evaluations_elsewhere() -> None:
    """The Hessian stays that of its own point: after others, and after the caller's point moves."""
    case = made("transformer layer")
    objective = objective_of(case)
    point = elsewhere(objective)
    vector = vectors(1, objective.dim, seed=9)[0]
    expected = Hessian(objective, point.clone(), keep=False) @ vector
    given = point.clone()
    hessian = Hessian(objective, given, keep=True)
    for _ in range(3):
        torch.testing.assert_close(hessian @ vector, expected)
        objective.value_and_gradient(vectors(1, objective.dim, seed=12)[0])
        given.zero_()


def test_points_of_another_precision_are_cast() -> None:
    model = network().float()
    objective = Supervised(model, F.cross_entropy, (FLAT[0].float(), FLAT[1]))
    point = objective.point()
    value, slope = objective.value_and_gradient(point.double())
    assert value.dtype == slope.dtype == torch.float64
    torch.testing.assert_close(slope.float(), objective.value_and_gradient(point)[1])
    assert abs(objective.value(point.double()) - objective.value(point)) < 1e-6
    assert next(objective.placed.model.parameters()).dtype == torch.float32


def test_sparse_gradients_are_coordinates_like_others() -> None:
    dense, sparse = made("embedding"), made("embedding")
    sparse.model = redrawn(Words(sparse=True).double())
    first, second = objective_of(dense), objective_of(sparse)
    point, vector = elsewhere(first), vectors(1, first.dim, seed=9)[0]
    torch.testing.assert_close(
        second.value_and_gradient(point)[1], first.value_and_gradient(point)[1]
    )
    torch.testing.assert_close(
        Hessian(second, point) @ vector, Hessian(first, point) @ vector, rtol=1e-5, atol=1e-8
    )
