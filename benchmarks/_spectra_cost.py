"""What spectra cost by size, how often their intervals hold, and how much memory they take."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._results import timed
from benchmarks._spectra import LOSS, Row, say, seeded
from thalweg.measure import spectrum
from thalweg.measure.density import distance
from thalweg.objective.derivatives import Hessian
from thalweg.objective.replay import HOLES
from thalweg.objective.supervised import Supervised

__all__ = ["coverage", "linear", "memory"]

MIB = 2**20
BUDGETS = (32, 64, 128, 256, 2048)
"""MiB that the graph of the gradient may take; the last is more than it needs."""


def linear(quick: bool) -> list[Row]:
    """Time of 30 products of a spectrum over three decades of examples, and of parameters."""
    rows = []
    decades = (100, 1000, 10_000) if quick else (100, 1000, 10_000, 100_000)
    sizes = [("examples", n, 64) for n in decades]
    widths = (8, 32, 110, 350, 1100) if not quick else (8, 32, 110)
    sizes += [("parameters", 512, w) for w in widths]
    for what, examples, width in sizes:
        torch.manual_seed(0)
        layers = (nn.Linear(32, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        model = nn.Sequential(*layers, nn.Linear(width, 10))
        data = torch.randn(examples, 32), torch.randint(10, (examples,))
        objective = Supervised(model, LOSS, data)
        spent = []
        for seed in range(1 if examples > 10_000 or width > 500 else 3):
            took, _ = timed(
                lambda o=objective, s=seed: spectrum(
                    o, o.point(), top=1, budget=30, probes=2, generator=seeded(s)
                )
            )
            spent.append(took.processor)
        rows.append(
            {
                "varied": what,
                "examples": examples,
                "parameters": objective.dim,
                "seconds": float(np.median(spent)),
                "nanoseconds": 1e9 * float(np.median(spent)) / examples / objective.dim,
            }
        )
        say(rows[-1])
    return rows


KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "outliers and a bulk": lambda rng: np.r_[rng.normal(size=290) / 50, rng.exponential(size=10)],
    "low rank": lambda rng: np.r_[np.zeros(250), rng.exponential(size=50)],
    "over decades": lambda rng: 10 ** rng.uniform(-6, 0, 300),
    "semicircle": lambda rng: np.sin(rng.uniform(-1.5, 1.5, 300)) + 0.2,
}


def coverage(quick: bool) -> list[Row]:
    """How often the intervals of 95% hold, over draws of the random vectors."""
    basis = torch.linalg.qr(torch.randn(300, 300, generator=seeded(0), dtype=torch.float64))[0]
    draws = 20 if quick else 200
    rows = []
    for kind, make in KINDS.items():
        values = np.sort(make(np.random.default_rng(0)))
        operator = _Dense(basis @ torch.from_numpy(values).diag() @ basis.T)
        sizes = np.abs(values)
        truth = {
            "trace": values.sum(),
            "negative": sizes[values < 0].sum() / sizes.sum(),
            "effective_rank": sizes.sum() ** 2 / (sizes**2).sum(),
            "mean_size": sizes.mean(),
        }
        held = dict.fromkeys([*truth, "top", "bottom", "density"], 0)
        like = torch.zeros(1, dtype=torch.float64)
        for seed in range(draws):
            found = spectrum(operator, like, budget=120, generator=seeded(seed))
            for name, value in truth.items():
                estimate = getattr(found, name)
                held[name] += abs(estimate.value - value) <= 1.96 * estimate.error + 1e-12
            held["top"] += abs(found.top[0].value - values[-1]) <= found.top[0].error
            held["bottom"] += abs(found.bottom[0].value - values[0]) <= found.bottom[0].error
            off = distance(found.density.spread(), (values, np.full(300, 1 / 300)))
            held["density"] += off <= found.density.error.value
        rows.append({"case": kind, **{k: float(v / draws) for k, v in held.items()}})
        say(rows[-1])
    return rows


def memory(quick: bool) -> list[Row]:
    """The peak of a product above what was there before, by the budget; and how far its answer is off.

    A perceptron 64-256-256-10 in float64, whose whole graph takes several hundred MiB, each time in a
    process of its own. The answer is compared with that of the largest budget.
    """
    examples = 4000 if quick else 20_000
    context = multiprocessing.get_context("spawn")
    rows, products = [], []
    for budget in BUDGETS:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            needed, peak, product = pool.submit(_peak, budget, examples).result()
        products.append(product)
        rows.append(
            {"budget": budget, "needed": needed, "peak": peak, "kept": HOLES * needed <= budget}
        )
    for row, product in zip(rows, products, strict=True):
        row["off"] = float(np.linalg.norm(product - products[-1]) / np.linalg.norm(products[-1]))
        say(row)
    return rows


def _peak(budget: int, examples: int) -> tuple[float, float, np.ndarray]:
    """MiB that the whole graph needs, MiB at the peak of two products, and the second one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = (nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10))
    model = nn.Sequential(*layers).double()
    data = torch.randn(examples, 64).double(), torch.randint(10, (examples,))
    objective = Supervised(model, LOSS, data, memory=budget * MIB)
    point = objective.point()
    vectors = torch.randn(2, objective.dim, generator=seeded(1), dtype=torch.float64)
    needed = objective.bytes_per_example() * examples / MIB
    few = objective.on((data[0][:8], data[1][:8]))
    Hessian(few, point) @ vectors  # what torch itself loads for it
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew from what there is
    before = _peak_so_far()
    hessian = Hessian(objective, point)
    product = (hessian @ vectors)[1]
    return needed, _peak_so_far() - before, product.numpy()


def _peak_so_far() -> float:
    """The peak of the process, in MiB, on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


class _Dense:
    """A symmetric matrix as an operator."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.dim, self.cost = matrix, len(matrix), 0.0

    def __matmul__(self, vectors: Tensor, /) -> Tensor:
        self.cost += 2.0
        return vectors @ self.matrix
