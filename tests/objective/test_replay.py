"""A recorded linear map is the map itself, and is refused where that cannot be relied on."""

import copy
import weakref

import pytest
import torch
from torch import Tensor, nn

from thalweg.objective.derivatives import Hessian
from thalweg.objective.replay import record, replayable
from thalweg.objective.supervised import Supervised

NETWORKS = {
    "relu": lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3)),
    "tanh without biases": lambda: nn.Sequential(nn.Linear(6, 9, bias=False), nn.Tanh(), nn.Linear(9, 3)),
    "normalised": lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3)),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2),
        nn.Flatten(), nn.Linear(8, 3),
    ),
    "images": lambda: nn.Sequential(
        nn.Linear(6, 2 * 9 * 9), nn.Unflatten(1, (2, 9, 9)), nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4),
        nn.ReLU(), nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2), nn.MaxPool2d(2), nn.Tanh(),
        nn.ConvTranspose2d(6, 3, 3, 2, bias=False), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1), nn.Flatten(),
        nn.Linear(75, 3),
    ),
    "attention": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 2)), nn.TransformerEncoderLayer(2, 1, 4, batch_first=True),
        nn.Flatten(), nn.Linear(6, 3),
    ),
    "recurrent": lambda: Last(),
    "embedding": lambda: nn.Sequential(Rounded(), nn.Embedding(5, 4), nn.Flatten(), nn.Linear(24, 3)),
}  # fmt: skip


class Last(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x.reshape(-1, 3, 2))[0][:, -1])


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * 10).long().remainder(5)


class Doubled(torch.autograd.Function):
    """Twice its input, by a detour that no recording of torch's operations sees."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx, slope: Tensor) -> Tensor:
        return 2 * slope


def supervised(network: nn.Module, mode: str = "eval") -> Supervised:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (40,), generator=generator)
    return Supervised(network.double(), nn.functional.cross_entropy, (x, y), mode=mode, decay=0.01)


def vectors(count: int, dim: int) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("mode", ["eval", "batch", "train"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_replayed_product_is_the_product_of_autograd(name: str, mode: str) -> None:
    torch.manual_seed(0)
    objective = supervised(NETWORKS[name](), mode)
    kept = Hessian(objective, objective.point(), keep=True)
    rebuilt = Hessian(objective, objective.point(), keep=False)
    for vector in vectors(3, objective.dim):
        torch.testing.assert_close(kept @ vector, rebuilt @ vector, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_images_in_single_precision_are_replayed_with_their_channels_last(mode: str) -> None:
    torch.manual_seed(0)
    wide = supervised(NETWORKS["images"](), mode)
    x, y = wide.data.fetch(slice(0, 40))
    narrow = Supervised(
        copy.deepcopy(wide.placed.model).float(), nn.functional.cross_entropy, (x.float(), y),
        mode=mode, decay=0.01,
    )  # fmt: skip
    kept = Hessian(narrow, narrow.point(), keep=True)
    truth = Hessian(wide, narrow.point().double(), keep=False)
    for vector in vectors(3, narrow.dim):
        expected = truth @ vector
        error = (kept @ vector.float()).double() - expected
        assert error.norm() < 2e-5 * expected.norm()
    assert kept._graphs is not None
    assert kept._graphs[0].replay is not None
    images = [c for c in kept._graphs[0].replay._constants if c.ndim == 4 and min(c.shape[1:]) > 1]
    assert len(images) > 10
    assert not any(image.is_contiguous() for image in images if image.dtype == torch.float32)


def test_the_slope_of_a_weight_is_no_convolution_with_whole_images() -> None:
    network = nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.Tanh(), nn.Conv1d(4, 2, 3),
                            nn.Flatten())  # fmt: skip
    objective = supervised(network)
    hessian = Hessian(objective, objective.point())
    hessian @ torch.ones(objective.dim, dtype=torch.float64)
    assert hessian._graphs is not None
    replay = hessian._graphs[0].replay
    assert replay is not None
    names = [str(step[0]) for step in replay._steps]
    assert sum("convolution_backward" in name for name in names) == 3
    assert sum("aten.convolution.default" in name for name in names) == 4


@pytest.mark.parametrize("name", ["relu", "tanh without biases", "normalised", "images"])
def test_common_networks_are_replayed(name: str) -> None:
    objective = supervised(NETWORKS[name]())
    hessian = Hessian(objective, objective.point())
    hessian @ torch.ones(objective.dim, dtype=torch.float64)
    assert hessian._graphs is not None
    assert all(graph.replay is not None for graph in hessian._graphs)


def matrix() -> Tensor:
    return torch.arange(12.0).reshape(4, 3)


def test_transposes_sums_with_zeros_and_products_are_simplified_rightly() -> None:
    a, b = matrix(), matrix() + 1

    def apply(v: Tensor) -> Tensor:
        square = v.view(3, 3)
        unused = square.exp()  # noqa: F841
        left = torch.mm(a, square.t().t())
        both = torch.mm(b, square) + left + torch.zeros_like(left)
        return (both + torch.mm(a, square)) + left  # `left` is read twice: it must survive

    result, replay = record(apply, torch.ones(9))
    assert replay is not None
    torch.testing.assert_close(replay(torch.ones(9)), result)
    v = torch.randn(9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(replay(v), apply(v))
    torch.testing.assert_close(replay(v), apply(v))  # nothing is left over from the call before


def test_constant_factors_and_sums_are_drawn_together() -> None:
    a, b = torch.arange(24.0).reshape(2, 3, 4) / 7, torch.arange(3.0).reshape(3, 1) + 1
    wide = torch.tensor([2.0, -1.0]).reshape(2, 1, 1).expand(2, 3, 4)

    def apply(v: Tensor) -> Tensor:
        x = v.view(3, 4)
        once = x * b * a * wide
        totals = (once * b).sum(0).sum(1) + (once * a).sum([-1]).sum([0])
        twice = once * 3.0  # `once` is read by others: it must survive
        added = twice + x * b
        return torch.cat([totals, added.reshape(-1), (x * wide[:, :1, :1]).reshape(-1)])

    result, replay = record(apply, torch.ones(12))
    assert replay is not None
    torch.testing.assert_close(replay(torch.ones(12)), result)
    for seed in range(2):
        v = torch.randn(12, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(replay(v), apply(v))
    names = [str(step[0]) for step in replay._steps]
    assert sum("mul" in name for name in names) <= 6
    assert sum("sum" in name for name in names) == 2


def test_factors_whose_product_is_not_finite_stay_apart() -> None:
    large = torch.full((3,), 1e30)
    _, replay = record(lambda v: v * large * large * 1e-30, torch.full((3,), 1e-30))
    assert replay is not None
    torch.testing.assert_close(replay(torch.full((3,), 1e-30)), torch.ones(3))


def test_what_is_added_to_in_place_is_seen_through_its_views() -> None:
    def apply(v: Tensor) -> Tensor:
        whole = v * 2
        alone = v * 3
        alone += v
        part = whole[1:]
        whole += alone
        return whole[1:] + part

    result, replay = record(apply, torch.ones(3))
    assert replay is not None
    for v in (torch.ones(3), torch.arange(3.0)):
        torch.testing.assert_close(replay(v), apply(v))
    torch.testing.assert_close(result, torch.full((2,), 12.0))


def test_what_is_made_on_the_way_is_let_go_while_it_records() -> None:
    seen: list[weakref.ref] = []

    def apply(v: Tensor) -> Tensor:
        for _ in range(4):
            v = v * 2
            seen.append(weakref.ref(v))
        assert [made() is None for made in seen] == [True] * 3 + [False]
        return v

    record(apply, torch.ones(3))


def test_a_map_that_writes_to_what_it_made_is_replayed_as_it_is() -> None:
    def apply(v: Tensor) -> Tensor:
        padded = v.new_zeros(5)
        padded[1:4] += v
        return padded

    _, replay = record(apply, torch.ones(3))
    assert replay is not None
    torch.testing.assert_close(replay(torch.arange(3.0)), torch.tensor([0.0, 0.0, 1.0, 2.0, 0.0]))
    torch.testing.assert_close(replay(torch.arange(3.0)), torch.tensor([0.0, 0.0, 1.0, 2.0, 0.0]))


@pytest.mark.parametrize(
    "apply",
    [
        lambda v: v * v.sum().item(),
        lambda v: v * torch.rand_like(v),
        lambda v: v[v > 0],
        lambda v: torch.zeros(3).add_(v),
        lambda v: torch.ones(3),
    ],
    ids=["a number", "random", "a shape", "a constant that is written to", "constant"],
)
def test_what_may_change_from_vector_to_vector_is_refused(apply) -> None:
    _, replay = record(apply, torch.ones(3))
    assert replay is None


def test_an_autograd_function_in_python_is_not_recorded() -> None:
    x = torch.ones(3, requires_grad=True)
    assert replayable([(x * x).sum()])
    assert not replayable([(Doubled.apply(x) ** 2).sum()])


def test_a_constant_that_was_modified_is_noticed() -> None:
    constant = matrix()
    _, replay = record(lambda v: constant @ v, torch.ones(3))
    assert replay is not None
    constant.add_(1)
    with pytest.raises(RuntimeError, match="modified in place"):
        replay(torch.ones(3))


def test_a_recording_of_another_matrix_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(function, vector):
        result, _ = record(function, vector)
        slope = torch.linspace(0, 1, len(vector), dtype=vector.dtype)
        return result, lambda v: result + slope * v

    monkeypatch.setattr("thalweg.objective.derivatives.record", wrong)
    objective = supervised(NETWORKS["relu"]())
    hessian = Hessian(objective, objective.point())
    truth = Hessian(objective, objective.point(), keep=False)
    for vector in vectors(3, objective.dim):
        torch.testing.assert_close(hessian @ vector, truth @ vector)
