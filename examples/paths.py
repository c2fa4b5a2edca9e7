"""Are the paths of a small ResNet and a small DenseNet one-point convex?

python examples/paths.py                            all of it on scanned digits: some minutes
python examples/paths.py --quick                    the same in a few seconds, to see that it runs
python examples/paths.py --cifar FOLDER             on CIFAR-10, from its python version unpacked there
python examples/paths.py --out docs/paths.json      where the numbers go

After Kleinberg, Li and Yuan (2018), section 5: plain SGD with three learning rates, one after the
other; at every epoch the inner product of minus the gradient with the way to the end of the run, over
several seeds; the same gradient over a ball around the first seed's points; norms of stochastic
gradients; and runs that go on with a smaller rate from several epochs of the first seed.
"""

import argparse
import json
import math
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from small_networks import DenseNet, ResNet
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import thalweg as tw

NETWORKS = {"resnet": ResNet, "densenet": DenseNet}


@dataclass(frozen=True)
class Size:
    """How much of it there is."""

    epochs: tuple[int, ...] = (14, 8, 8)
    rates: tuple[float, ...] = (0.1, 0.01, 0.001)
    seeds: int = 3
    batch: int = 64
    neighbours: int = 100
    neighbours_every: int = 5
    radius: float = 0.5
    measured_on: int = 512
    smaller: float = 0.01
    branches: tuple[int, ...] = (1, 3, 6, 10)
    branch_epochs: int = 8


QUICK = Size((1, 1, 1), seeds=2, neighbours=2, measured_on=96, branches=(1,), branch_epochs=1)


def digits() -> tuple[Tensor, Tensor]:
    """1797 scanned digits of 8×8 pixels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.images, dtype=torch.float32)[:, None] / 16, torch.tensor(found.target)


def cifar(folder: Path) -> tuple[Tensor, Tensor]:
    """The first training batch of CIFAR-10, from the files as they are distributed."""
    with open(folder / "data_batch_1", "rb") as file:
        found = pickle.load(file, encoding="bytes")  # your own file: pickles run code
    images = torch.tensor(found[b"data"]).view(-1, 3, 32, 32).float() / 255
    return images - images.mean((0, 2, 3), keepdim=True), torch.tensor(found[b"labels"])


def train(
    model: nn.Module, data: tuple[Tensor, Tensor], rate: float, epochs: int, batch: int, seed: int
) -> list[Tensor]:
    """Plain SGD; the parameters after each epoch."""
    x, y = data
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    points = []
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        points.append(flat(model))
    return points


def flat(model: nn.Module) -> Tensor:
    """The parameters as one vector."""
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def phases(
    kind: type[nn.Module], data: tuple[Tensor, Tensor], seed: int, size: Size
) -> list[Tensor]:
    """The parameters at the start and after each epoch of all phases."""
    torch.manual_seed(seed)
    model = kind(channels=data[0].shape[1])
    points = [flat(model)]
    for phase, (rate, epochs) in enumerate(zip(size.rates, size.epochs)):
        points += train(model, data, rate, epochs, size.batch, 100 * seed + phase)
    return points


def measured(
    kind: type[nn.Module], data: tuple[Tensor, Tensor], points: list[Tensor], size: Size, seed: int
) -> dict[str, object]:
    """The path of one run, by epoch."""
    objective = tw.Supervised(
        kind(channels=data[0].shape[1]), cross_entropy, data, mode="batch", chunk=size.batch
    )
    if size.measured_on < len(data[0]):  # what a sample leaves open is in every error
        generator = torch.Generator().manual_seed(seed)
        objective = objective.on(
            objective.data.subsample(size.measured_on, generator), chunk=size.batch
        )
    rates = [r for r, epochs in zip(size.rates, size.epochs) for _ in range(epochs)]
    found = tw.measure.path(
        objective,
        dict(enumerate(points)),
        batch_size=size.batch,
        rates=lambda epoch: rates[min(epoch, len(rates) - 1)],
        batches=7,
        smoothed=4,
        curvature=False,
    )
    columns = {name: values.tolist() for name, values in found.table().items() if name != "epoch"}
    told: dict[str, object] = {name: [_plain(v) for v in vs] for name, vs in columns.items()}
    if seed == 0:
        told["neighbourhood"] = around(objective, points, size)
    return told


def around(objective: tw.Supervised, points: list[Tensor], size: Size) -> dict[str, list[float]]:
    """The inner product over a ball around some of the points: mean and range."""
    some = {epoch: points[epoch] for epoch in range(0, len(points) - 1, size.neighbours_every)}
    found = tw.measure.path(
        objective,
        some,
        end=points[-1],
        neighbours=size.neighbours,
        radius=size.radius,
        curvature=False,
    ).table()
    names = ("step", "neighbourhood_mean", "neighbourhood_low", "neighbourhood_high")
    return {name: found[name].tolist() for name in names}


def branches(
    kind: type[nn.Module], data: tuple[Tensor, Tensor], points: list[Tensor], size: Size
) -> list[dict[str, object]]:
    """From some epochs on with a smaller rate: loss and distance from where that began, by epoch."""
    x = data[0]
    model = kind(channels=x.shape[1])
    whole = tw.Supervised(model, cross_entropy, data, mode="batch", chunk=size.batch)
    found = []
    for epoch in size.branches:
        begin = points[epoch]
        nn.utils.vector_to_parameters(begin.clone(), model.parameters())
        later = [begin, *train(model, data, size.smaller, size.branch_epochs, size.batch, epoch)]
        found.append(
            {
                "epoch": epoch,
                "rate": size.smaller,
                "loss": [whole.value(point) for point in later],
                "distance": [float((point - begin).norm()) for point in later],
            }
        )
    return found


def study(network: str, data: tuple[Tensor, Tensor], size: Size) -> dict[str, object]:
    """Everything about one network."""
    kind = NETWORKS[network]
    runs, first = [], []
    for seed in range(size.seeds):
        points = phases(kind, data, seed, size)
        first = first or points
        runs.append(measured(kind, data, points, size, seed))
        print(f"{network}, seed {seed}: done", flush=True)
    inner = [list(map(_number, run["inner"]))[:-1] for run in runs]  # type: ignore[call-overload]
    constant = [list(map(_number, run["convexity"]))[:-1] for run in runs]  # type: ignore[call-overload]
    return {
        "parameters": len(first[0]),
        "runs": runs,
        "least_inner": [min(values) for values in zip(*inner)],
        "least_convexity": [min(values) for values in zip(*constant)],
        "branches": branches(kind, data, first, size),
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _plain(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def main(arguments: list[str] | None = None) -> dict[str, object]:
    """Everything about both networks."""
    parser = argparse.ArgumentParser(description="Paths of small networks, seen from their ends.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    size = QUICK if given.quick else Size()
    data = digits() if given.cifar is None else cifar(given.cifar)
    if given.quick:
        data = data[0][:128], data[1][:128]
    found: dict[str, object] = {
        "data": "digits" if given.cifar is None else "CIFAR-10",
        "examples": len(data[0]),
        "size": asdict(size),
        "torch": torch.__version__,
    }
    for network in NETWORKS:
        found[network] = study(network, data, size)
    if given.out is not None:
        given.out.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    for network in NETWORKS:
        least = found[network]["least_inner"]  # type: ignore[index]
        below = [epoch for epoch, value in enumerate(least) if not value > 0]
        print(f"{network}: the least inner product is above 0 at all epochs but {below}")
    return found


if __name__ == "__main__":
    main()
