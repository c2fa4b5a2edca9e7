"""Nothing of the user's is changed, bit for bit: not by any evaluation, not by one that raises."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset, TensorDataset

from problems import classes, vectors
from thalweg.errors import ModelError
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.measure.gradient_noise import gradient_noise
from thalweg.objective.derivatives import Hessian
from thalweg.objective.placed import Placed
from thalweg.objective.supervised import Supervised

N = 10


class Counting(nn.Module):
    """Buffers that move in every pass, in evaluation too; one of them is held twice."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.head = nn.Linear(5, 3)
        self.twin = nn.Identity()
        self.twin.register_buffer("seen", self.seen)

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return self.head(x * (1 + 0 * self.seen))


class Writing(nn.Module):
    """Writes to its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.sub_(0.1))


class Clipped(nn.Module):
    """An embedding whose forward pass writes to its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 5, max_norm=0.5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed((x[:, 0] > 0).long()))


class Keeping(nn.Module):
    """Keeps what it computed, with its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(5, 4), nn.Linear(4, 3)
        self.maps: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = torch.tanh(self.first(x))
        self.maps = [self.hidden]
        return self.head(self.hidden)


class Recomputing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.3))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Any = checkpoint(self.body, x, use_reentrant=False)
        return self.head(hidden)


def spectral() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4)), nn.Linear(4, 3))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)),
    "norm and dropout": lambda: nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)
    ),
    "spectral norm": spectral,
    "counting": Counting,
    "writing": Writing,
    "clipped": Clipped,
    "keeping": Keeping,
    "recomputing": Recomputing,
}


class Trap(Exception):
    pass


def state_of(model: nn.Module, data: tuple[Tensor, ...]) -> dict[str, Any]:
    """Everything that a measurement could have changed, as copies and identities."""
    random_states = (
        torch.random.get_rng_state().tolist(),
        [np.asarray(part).tolist() for part in np.random.get_state()[1:3]],  # noqa: NPY002
        random.getstate(),
    )
    return {
        "weights": [(id(p), p.data_ptr(), p.detach().clone()) for p in model.parameters()],
        "grads": [None if p.grad is None else (id(p.grad), p.grad.clone()) for p in model.parameters()],
        "wanted": [p.requires_grad for p in model.parameters()],
        "graphs": [p.grad_fn for p in model.parameters()],
        "buffers": [(name, id(b), b.clone()) for name, b in model.named_buffers(remove_duplicate=False)],
        "modes": [m.training for m in model.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        "attributes": [
            {k: id(v) for k, v in vars(m).items() if k not in ("training",)} for m in model.modules()
        ],
        "data": [t.clone() for t in data],
        "random": random_states,
        "globals": (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.backends.mha.get_fastpath_enabled(),
            torch.backends.cuda.flash_sdp_enabled(),
            torch.are_deterministic_algorithms_enabled(),
        ),
    }  # fmt: skip


def same(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return bool(torch.equal(one, two))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[k], two[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


def prepared(name: str) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """In the midst of a training: gradients, a mixture of modes, states of random generators."""
    torch.manual_seed(11)
    model = MODELS[name]()
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    model.train()
    next(m for m in reversed(list(model.modules()))).eval()
    model(torch.randn(4, 5).abs())
    return model, (vectors(N, 5).float(), classes(N))


def everything(objective: Supervised) -> None:
    point = objective.point() + 0.1
    vector = torch.ones_like(point)
    objective.value(point)
    objective.value_and_gradient(point)
    leaf = point.clone().requires_grad_()
    objective.loss(leaf).backward()
    for keep in (True, False):
        hessian = Hessian(objective, point, keep=keep)
        hessian @ vector
        hessian @ vector
    list(objective.outputs(point)) if objective.pair_loss else None
    objective.on(objective.data, chunk=3).chunk_losses(point)
    extreme_eigenvalues(objective, point, budget=3)
    gradient_noise(objective, point, 3, batches=3)
    objective.bytes_per_example()


@pytest.mark.parametrize("own", [False, True], ids=["copied", "own"])
@pytest.mark.parametrize("mode", ["eval", "batch", "train"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_bit_is_changed(name: str, mode: str, own: bool) -> None:
    """With ``own`` the loss reads the user's model, which is then evaluated itself."""
    model, data = prepared(name)

    def loss(given: nn.Module, batch: Any) -> Tensor:
        value = F.cross_entropy(given(batch[0]), batch[1])
        penalty: Any = sum(p.square().sum() for p in (model if own else given).parameters())
        return value + 0.01 * penalty

    before = state_of(model, data)
    objective = Supervised(model, data=data, batch_loss=loss, mode=mode)
    assert objective.placed.restore == own
    given = objective.point() + 0.1
    kept = given.clone()
    everything(objective)
    objective.value(given)
    assert torch.equal(given, kept)
    after = state_of(model, data)
    different = [key for key in before if not same(before[key], after[key])]
    assert not different


@pytest.mark.parametrize("own", [False, True], ids=["copied", "own"])
@pytest.mark.parametrize("calls", [0, 1, 2, 4, 9])
def test_an_exception_leaves_everything_as_it_was(calls: int, own: bool) -> None:
    model, data = prepared("norm and dropout")
    left = [10**9]

    def loss(given: nn.Module, batch: Any) -> Tensor:
        read = model if own else given
        torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002
        value = F.cross_entropy(given(batch[0]), batch[1])
        left[0] -= 1
        if left[0] < 0:
            raise Trap
        return value + 0.01 * next(read.parameters()).square().sum()

    before = state_of(model, data)
    objective = Supervised(model, data=data, batch_loss=loss, mode="train", chunk=3)
    left[0] = calls
    with pytest.raises(ModelError, match="Trap"):
        everything(objective)
    after = state_of(model, data)
    assert not [key for key in before if not same(before[key], after[key])]
    left[0] = 10**9
    assert np.isfinite(objective.value(objective.point()))


def test_a_backward_pass_that_raises_leaves_everything_as_it_was() -> None:
    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *slopes: Tensor) -> Tensor:
            raise Trap

    model, data = prepared("norm and dropout")
    before = state_of(model, data)
    objective = Supervised(
        model, data=data, batch_loss=lambda m, b: Bad.apply(F.cross_entropy(m(b[0]), b[1])),
        mode="train", chunk=5,
    )  # fmt: skip
    with pytest.raises(Trap):
        objective.value_and_gradient(objective.point())
    assert same(before, state_of(model, data))


def test_a_gradient_hook_of_the_users_stays_where_it_is() -> None:
    model, data = prepared("mlp")
    calls: list[int] = []
    handle = next(model.parameters()).register_hook(lambda slope: calls.append(1))
    everything(Supervised(model, F.cross_entropy, data))
    assert not calls
    F.cross_entropy(model(data[0]), data[1]).backward()
    assert calls == [1]
    handle.remove()


def test_an_outer_autocast_or_no_grad_changes_no_number() -> None:
    model, data = prepared("mlp")
    objective = Supervised(model, F.cross_entropy, data, chunk=4)
    point = objective.point()
    value, slope = objective.value_and_gradient(point)
    product = Hessian(objective, point) @ slope
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        inside = Supervised(model, F.cross_entropy, data, chunk=4)
        inside.value_and_gradient(point + 1)
        found = inside.value_and_gradient(point)
        again = Hessian(inside, point) @ slope
        assert torch.is_autocast_enabled("cpu") and not torch.is_grad_enabled()
    assert torch.equal(found[0], value) and torch.equal(found[1], slope)
    torch.testing.assert_close(again, product)


def test_a_loss_that_casts_within_is_evaluated_at_the_point_asked_for() -> None:
    model, data = prepared("mlp")

    def loss(given: nn.Module, batch: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            output = given(batch[0])
        return F.cross_entropy(output.float(), batch[1])

    objective = Supervised(model, data=data, batch_loss=loss, chunk=4)
    exact = Supervised(model, F.cross_entropy, data)
    for shift in (0.0, 0.5, 1.0):
        point = objective.point() + shift
        assert objective.value(point) == pytest.approx(exact.value(point), rel=0.02)
        slopes = objective.value_and_gradient(point)[1], exact.value_and_gradient(point)[1]
        assert float((slopes[0] - slopes[1]).norm() / slopes[1].norm()) < 0.05


class Augmented(Dataset[Any]):
    """Draws for every example, from everybody's generators and from one of its own."""

    def __init__(self) -> None:
        self.own = torch.Generator().manual_seed(5)
        self.numpy = np.random.default_rng(6)
        self.python = random.Random(7)

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x = vectors(N, 5).float()[index] + torch.rand(5) + random.random()
        x = x + np.random.rand() + self.numpy.random() + self.python.random()  # noqa: NPY002
        return (x + torch.rand(5, generator=self.own)).float(), index % 3


def test_data_that_draw_are_read_without_moving_any_generator() -> None:
    torch.manual_seed(0)
    model, dataset = nn.Linear(5, 3), Augmented()
    shuffling = torch.Generator().manual_seed(8)
    loader = DataLoader(dataset, batch_size=4, shuffle=True, generator=shuffling)
    generators = (shuffling, dataset.own)
    before = state_of(model, ()), [g.get_state() for g in generators]
    before_others = str(dataset.numpy.bit_generator.state), dataset.python.getstate()
    for data in (dataset, loader):
        everything(Supervised(model, F.cross_entropy, data))
    assert same(before, (state_of(model, ()), [g.get_state() for g in generators]))
    assert before_others == (str(dataset.numpy.bit_generator.state), dataset.python.getstate())


def test_a_persistent_loader_goes_on_where_it_was() -> None:
    dataset = TensorDataset(vectors(8, 5).float(), classes(8))
    loader = DataLoader(dataset, batch_size=2, shuffle=True)
    running = iter(loader)
    next(running)
    everything(Supervised(nn.Linear(5, 3), F.cross_entropy, loader))
    assert len(list(running)) == 3


def test_placing_puts_back_what_was_there_before_the_block() -> None:
    model, data = prepared("norm and dropout")
    before = state_of(model, data)
    placed = Placed(model, restore=True)
    with pytest.raises(Trap), placed.at(placed.point() + 1, "train"):
        raise Trap(model(data[0]))
    with pytest.raises(RuntimeError), placed.at(torch.zeros(3), "eval"):
        pass
    assert same(before, state_of(model, data))
