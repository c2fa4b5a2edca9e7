"""Data however users keep them: the same examples, in the form in which their loop has them."""

from collections import UserDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from problems import classes, network, vectors
from thalweg.errors import DataError, ModelError, UsageError
from thalweg.objective.batches import as_batches
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised

N = 11
X, Y = vectors(N, 5), classes(N)


class Stream(IterableDataset[Any]):
    """Examples one by one, with a generator of its own."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(3)

    def __iter__(self) -> Iterator[Any]:
        for x, y in zip(X, Y):
            yield x + 0 * torch.rand(5, generator=self.generator), int(y)


class Batches:
    """Anything that can be iterated again and again."""

    def __iter__(self) -> Iterator[Any]:
        yield from zip(X.split(4), Y.split(4))


def collated(rows: list[Any]) -> tuple[Tensor, Tensor]:
    xs, ys = zip(*rows)
    return torch.stack(xs) * 1.0, torch.stack(ys)


DATASET = TensorDataset(X, Y)
FORMS: dict[str, Any] = {
    "tensors": (X, Y),
    "a list of tensors": [X, Y],
    "arrays": (X.numpy(), Y.numpy()),
    "arrays of odd strides": (X.numpy()[::-1].copy()[::-1], np.asfortranarray(Y.numpy())),
    "dataset": DATASET,
    "subset": Subset(TensorDataset(torch.cat([X, X]), torch.cat([Y, Y])), range(N)),
    "datasets in a row": ConcatDataset([Subset(DATASET, range(4)), Subset(DATASET, range(4, N))]),
    "loader": DataLoader(DATASET, batch_size=3, shuffle=True),
    "loader with collate_fn": DataLoader(DATASET, batch_size=3, collate_fn=collated),
    "loader without batches": DataLoader(list(zip(X.split(4), Y.split(4))), batch_size=None),  # type: ignore[arg-type]
    "loader of a stream": DataLoader(Stream(), batch_size=4),
    "stream": Stream(),
    "batches": Batches(),
    "a list of batches": list(zip(X.split(4), Y.split(4))),
    "a list of lists": [[x, y] for x, y in zip(X.split(4), Y.split(4))],
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_is_the_same_objective(form: str) -> None:
    plain = Supervised(network(), F.cross_entropy, (X, Y))
    point = 0.9 * plain.point()
    before = torch.random.get_rng_state()
    for chunk in (N, 4):
        objective = Supervised(network(), F.cross_entropy, FORMS[form], chunk=chunk)
        assert objective.examples == N
        torch.testing.assert_close(
            objective.value_and_gradient(point)[1], plain.value_and_gradient(point)[1]
        )
    assert torch.equal(torch.random.get_rng_state(), before)
    some = Examples.of(FORMS[form])
    for rows in ([0, 3, 3], slice(2, 5), [N - 1]):
        x, y = some.fetch(rows)
        assert torch.equal(x, X[rows]) and torch.equal(y, Y[rows])


def test_nested_data_and_dicts() -> None:
    data = ((X, {"more": X[:, :2], "name": "kept"}), Y)
    batch = Examples.of(data).fetch([1, 4])
    assert torch.equal(batch[0][1]["more"], X[[1, 4], :2]) and batch[0][1]["name"] == "kept"
    batches = [{"x": X[:4], "y": Y[:4]}, {"x": X[4:8], "y": Y[4:8]}]
    examples = Examples.of(batches)
    assert len(examples) == 8 and torch.equal(examples.fetch([5])["x"], X[5:6])
    own = Examples.of([UserDict(batches[0])])
    assert torch.equal(own.fetch(slice(None))["y"], Y[:4])
    arrays = Examples.of([(X[:4].numpy(), Y[:4].numpy()), (X[4:].numpy(), Y[4:].numpy())])
    x, y = arrays.fetch([0, N - 1])
    assert isinstance(x, np.ndarray) and np.array_equal(x, X[[0, -1]].numpy()) and len(y) == 2


def test_read_only_arrays_are_copied_and_views_are_not_handed_out() -> None:
    fixed = X.numpy().copy()
    fixed.setflags(write=False)
    assert torch.equal(Examples.of((fixed, Y)).fetch(slice(0, 2))[0], X[:2])
    mine = X.clone()
    for rows in (slice(0, 3), slice(None), [0, 1]):
        Examples.of((mine, Y)).fetch(rows)[0].zero_()
    for batch in as_batches((mine, Y), None):
        batch[0].zero_()
    assert torch.equal(mine, X)


def test_a_sampler_that_picks_is_heeded() -> None:
    picked = [1, 3, 4, 8]
    loader = DataLoader(DATASET, batch_size=2, sampler=SubsetRandomSampler(picked))
    examples = Examples.of(loader)
    assert examples.length == examples.population == 4
    assert torch.equal(examples.fetch(slice(None))[0], X[picked])
    batches = DataLoader(DATASET, batch_sampler=BatchSampler(SubsetRandomSampler(picked), 3, True))
    assert len(Examples.of(batches)) == 4  # the one that an epoch drops is another each time
    listed: Any = [[0, 1], [4, 2]]
    assert torch.equal(Examples.of(DataLoader(DATASET, batch_sampler=listed)).fetch([3])[0], X[4:5])
    plain = DataLoader(DATASET, batch_sampler=BatchSampler(SequentialSampler(DATASET), 3, True))
    assert len(Examples.of(plain)) == N
    weights = torch.zeros(N)
    weights[2], weights[5] = 1.0, 3.0
    drawn = Examples.of(
        DataLoader(DATASET, batch_size=2, sampler=WeightedRandomSampler(weights.tolist(), 400))
    )
    share = float((drawn.fetch(slice(None))[0] == X[5]).all(1).double().mean())
    assert len(drawn) == 400 and abs(share - 0.75) < 0.1


def test_examples_that_are_drawn_are_the_same_each_time() -> None:
    class Cropped(Dataset[Any]):
        def __len__(self) -> int:
            return N

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return X[index] + torch.rand(5) + np.random.rand(), int(Y[index])  # noqa: NPY002

    examples = Examples.of(Cropped())
    whole = examples.fetch(slice(None))[0]
    assert torch.equal(examples.fetch(slice(None))[0], whole)
    assert torch.equal(examples.fetch([7, 2])[0], whole[[7, 2]])
    assert len({float(v) for v in (whole - X)[:, 0]}) == N
    few = examples.subsample(3, torch.Generator().manual_seed(0))
    assert all(any(torch.equal(row, full) for full in whole) for row in few.fetch(slice(None))[0])


@pytest.mark.parametrize("form", ["tensors", "dataset", "loader of a stream"])
def test_a_subsample_is_drawn_by_its_seed_and_remembers_the_population(form: str) -> None:
    examples = Examples.of(FORMS[form])
    seen = []
    for seed in range(40):
        some = examples.subsample(4, torch.Generator().manual_seed(seed))
        again = examples.subsample(4, torch.Generator().manual_seed(seed))
        x, y = some.fetch(slice(None))
        assert some.length == 4 and some.population == N and len(x) == len(y) == 4
        assert torch.equal(x, again.fetch(slice(None))[0])
        rows = [int((row == X).all(1).nonzero()) for row in x]
        assert len(set(rows)) == 4 and torch.equal(Y[rows], y)
        seen += rows
    assert set(seen) == set(range(N))
    everything = examples.subsample(99, torch.Generator().manual_seed(0))
    assert everything.length == everything.population == N


def test_batches_that_are_no_stacks_are_fetched_one_by_one() -> None:
    class Ragged(Dataset[Any]):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> Tensor:
            return torch.arange(index + 1).double()

    loader = DataLoader(
        Ragged(), batch_size=2, collate_fn=lambda rows: (torch.cat(rows), len(rows))
    )
    some = Examples.of(loader).subsample(3, torch.Generator().manual_seed(0))
    flat, count = some.fetch(slice(0, 2))
    assert count == 2 and some.length == 3 and len(flat) >= 2


def test_what_can_only_be_iterated_is_read_up_to_a_bound() -> None:
    class Endless(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            while True:
                yield torch.zeros(2), 0

    assert 1000 <= len(Examples.of(DataLoader(Endless(), batch_size=10), most=1000)) < 1300
    assert 1000 <= len(Examples.of(Endless(), most=1000)) < 1300


LOADER = DataLoader(DATASET, batch_size=4)
BAD: dict[str, tuple[Any, str]] = {
    "unequal": (
        (X, Y[:-1]),
        "train must have as many targets as inputs, but has lengths 11 and 10",
    ),
    "empty tensors": ((X[:0], Y[:0]), "train must have at least one example, but is empty"),
    "empty dataset": (TensorDataset(X[:0], Y[:0]), "at least one example, but is empty"),
    "empty list": ([], "at least one example, but is empty"),
    "empty sampler": (
        DataLoader(DATASET, batch_size=2, sampler=SubsetRandomSampler([])),
        "at least one example, but is empty",
    ),
    "a number": (3, "train must be .* a Dataset or a DataLoader, not int"),
    "scalars": ((X, torch.tensor(1)), "one entry for each example, but holds a single number"),
    "text": ((np.array(["a"] * N), Y), "train must hold numbers, but has an array of <U1"),
    "iterator": (iter([(X, Y)]), "more than once, but is an iterator"),
    "generator": (((x, y) for x, y in [(X, Y)]), "more than once, but is an iterator"),
    "ragged": ([(X, Y), (X[:, :2], Y)], "batches whose examples have one shape, but they cannot"),
    "no tensor": ([("a", "b")], "a batch must hold at least one tensor"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_data_that_cannot_be_used_are_refused_in_one_sentence(kind: str) -> None:
    data, message = BAD[kind]
    with pytest.raises(DataError, match=message) as caught:
        Examples.of(data)
    assert "\n" not in str(caught.value)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    for data in ((X, Y), DATASET):
        with pytest.raises(DataError, match="must not exceed the 11 examples of train, but is 12"):
            as_batches(data, 12)
    with pytest.raises(
        DataError, match="batch_size must be given where train can only be iterated"
    ):
        as_batches(Stream(), None)


CONV = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(18, 3))
MISTAKES: dict[str, tuple[Any, type[UsageError], str]] = {
    "integer inputs": (
        lambda: Supervised(nn.Linear(5, 3), F.cross_entropy, (X.long(), Y)),
        DataError,
        r"inputs must be float32 like the model's weights, but are int64: convert them with",
    ),
    "integer images": (
        lambda: Supervised(
            CONV, F.cross_entropy, (torch.ones(4, 1, 4, 4, dtype=torch.uint8), classes(4))
        ),
        DataError,
        r"inputs must be float32 like the model's weights, but are uint8",
    ),
    "doubles": (
        lambda: Supervised(nn.Linear(5, 3), F.cross_entropy, (X.numpy(), Y)),
        DataError,
        r"but are float64: convert them with \.to\(torch\.float32\)",
    ),
    "no scalar": (
        lambda: Supervised(network(), lambda o, t: (o**2).sum(1), (X, Y)),
        ModelError,
        r"loss must return a scalar, the mean over the batch, but returned shape \(8,\)",
    ),
    "a Python number": (
        lambda: Supervised(network(), lambda o, t: o.sum().item(), (X, Y)),
        ModelError,
        "must return a scalar.*but returned float",
    ),
    "frozen": (
        lambda: Supervised(network().requires_grad_(False), F.cross_entropy, (X, Y)),
        ModelError,
        "model must have a parameter that requires a gradient, but has none",
    ),
    "lazy": (
        lambda: Supervised(nn.LazyLinear(3), F.cross_entropy, (X, Y)),
        ModelError,
        "model must have its sizes, but weight has none yet: run it on a batch first",
    ),
    "not pairs": (
        lambda: Supervised(network(), F.cross_entropy, X),
        DataError,
        r"train must give pairs \(input, target\) .* but gives Tensor of 8 examples",
    ),
    "wrong shape": (
        lambda: Supervised(network(), F.cross_entropy, (X[:, :3], Y)),
        ModelError,
        r"cannot be evaluated on a batch of train \(input of shape \(8, 3\)\): mat1 and mat2",
    ),
    "no loss": (
        lambda: Supervised(network(), data=(X, Y)),
        UsageError,
        "exactly one of loss and batch_loss",
    ),
    "both losses": (
        lambda: Supervised(
            network(), F.cross_entropy, (X, Y), batch_loss=lambda m, b: m(b[0]).sum()
        ),
        UsageError,
        "exactly one of loss and batch_loss",
    ),
    "no chunk": (
        lambda: Supervised(network(), F.cross_entropy, (X, Y), chunk=0),
        UsageError,
        "chunk must be at least 1, not 0",
    ),
    "decay": (
        lambda: Supervised(network(), F.cross_entropy, (X, Y), decay=torch.ones(3)),
        UsageError,
        r"decay must be a number or of shape \(66,\), but has shape \(3,\)",
    ),
    "points": (
        lambda: Supervised(network(), F.cross_entropy, (X, Y)).loss(torch.ones(2, 5)),
        UsageError,
        r"points must have shape \(\.\.\., 66\), but have shape \(2, 5\)",
    ),
    "no gradient": (
        lambda: gradient_of(lambda o, t: (o.argmax(1) == t).double().mean()),
        ModelError,
        "loss must depend on the model's parameters, but does not",
    ),
    "reentrant": (lambda: reentrant(), ModelError, "checkpoint with use_reentrant=False, not True"),
    "wrong targets": (
        lambda: gradient_of(lambda o, t: F.cross_entropy(o, t.to(torch.int16))),
        ModelError,
        "the loss cannot be evaluated on a batch of train",
    ),
}


def gradient_of(loss: Any) -> Any:
    objective = Supervised(network(), loss, (X, Y))
    return objective.value_and_gradient(objective.point())


def reentrant() -> Any:
    class Recomputed(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            found: Any = checkpoint(super().forward, x.requires_grad_(), use_reentrant=True)
            return found

    objective = Supervised(Recomputed(5, 3).double(), F.cross_entropy, (X, Y))
    return objective.value_and_gradient(objective.point())


@pytest.mark.parametrize("kind", sorted(MISTAKES))
def test_a_mistake_is_told_in_one_sentence(kind: str) -> None:
    make, error, message = MISTAKES[kind]
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
