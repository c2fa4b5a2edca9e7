"""What the benchmarks share: the network, the clocks, and where results are kept."""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"


def options(description: str | None) -> argparse.Namespace:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions; nothing is kept")
    return parser.parse_args()


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block every library computes in one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def digits(examples: int = 1437) -> tuple[Tensor, Tensor]:
    """Scikit-learn's digits, the first so many, with pixels from 0 to 1."""
    pixels, classes = load_digits(return_X_y=True)
    inputs = torch.from_numpy(np.asarray(pixels)[:examples] / 16).float()
    return inputs, torch.from_numpy(np.asarray(classes)[:examples])


def network(seed: int = 0) -> nn.Sequential:
    """64-128-128-10 with ReLU: 26 122 parameters."""
    torch.manual_seed(seed)
    widths = [64, 128, 128, 10]
    layers: list[nn.Module] = []
    for rows, columns in pairwise(widths):
        layers += [nn.Linear(rows, columns), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train(model: nn.Module, data: tuple[Tensor, Tensor], steps: int, rate: float = 0.1) -> None:
    """So many steps of plain SGD with batches of 64, drawn from torch's global random state."""
    inputs, targets = data
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(steps):
        batch = torch.randint(len(inputs), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()
        optimizer.step()
    model.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class Spent:
    """Seconds by the wall's clock and by the processor's, which other programs do not slow."""

    wall: float
    processor: float


def timed(work: Callable[[], Any]) -> tuple[Spent, Any]:
    """What ``work`` took, and what it returned."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return Spent(time.perf_counter() - wall, time.process_time() - processor), result


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def environment(*packages: str) -> dict[str, Any]:
    """Versions and processor, without anything that names the machine."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "versions": {name: metadata.version(name) for name in ("torch", "numpy", *packages)},
    }


def keep(name: str, result: dict[str, Any], table: str) -> None:
    """Write ``results/NAME.json``, and ``table`` between the page's markers for NAME."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    begin, end = f"<!-- {name}: made by benchmarks/{name}.py -->", f"<!-- {name}: end -->"
    page = PAGE.read_text(encoding="utf-8")
    if begin not in page or end not in page:
        raise SystemExit(f"{PAGE.name} must hold the markers {begin} and {end}")
    before, rest = page.split(begin, 1)
    after = rest.split(end, 1)[1]
    PAGE.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")
    print(f"kept in benchmarks/results/{name}.json and docs/benchmarks.md")


def caption(result: dict[str, Any]) -> str:
    """One line on where and when."""
    e = result["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in e["versions"].items())
    threads = "one thread" if e["threads"] == 1 else f"{e['threads']} threads"
    return f"{e['date']}, {e['processor']}, {threads}, Python {e['python']}, {versions}."


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split()[:2])
    return platform.machine()
