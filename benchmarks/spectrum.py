"""Race curvlinops, hessian-eigenthings and PyHessian to a spectrum: `python -m benchmarks.spectrum`.

Parts, all unless some are named: `trace` (to 2%, rms over 20 seeds), `density` (at equal
Wasserstein-1 distance to the dense spectrum), `resnet` (top five eigenvalues of a ResNet-20 to 1e-3),
`saddle` (the smallest eigenvalue near a saddle), `linear` (time against examples and parameters),
`coverage` (how often the stated intervals hold). `--dense` makes the dense spectra of the digits
network anew, which takes an hour. One process, one thread, turn by turn, by the processor's clock.
"""

import argparse
import copy
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import eigenvalues as ends
from benchmarks._resnet import images, trained_resnet20
from benchmarks._results import (
    RESULTS,
    caption,
    digits,
    environment,
    keep,
    network,
    one_thread,
    spread,
    timed,
    train,
)
from thalweg.measure import density, extreme_eigenvalues, spectrum, trace
from thalweg.measure.density import distance
from thalweg.objective.derivatives import Hessian
from thalweg.objective.supervised import Supervised

STAGES = {"start": 0, "trained": 2000}
GOALS = {"trace": 2.0, "density": 5.0, "resnet": 2.5}
SEEDS = 20
RMS = 0.02
PRODUCTS = (16, 24, 28, 32, 40, 48, 64, 128, 256)
"""Products that XTrace is given, fewest first."""

RUNS = ((1, 20), (1, 40), (2, 40), (4, 20), (4, 40), (8, 40), (16, 40), (32, 40))
"""Random vectors and steps that hessian-eigenthings is given, cheapest first."""

OURS = {"start": (2, 60), "trained": (2, 40)}
"""Random vectors and products of ours."""

TOP = 5
LOSS = nn.functional.cross_entropy
Data = tuple[Tensor, Tensor]
Row = dict[str, Any]


def at_stage(stage: str, model: nn.Module | None = None) -> nn.Module:
    """The digits network there, as in the benchmark of eigenvalues."""
    model = model or network()
    torch.manual_seed(1)
    train(model, digits(), STAGES[stage])
    return model


def smooth() -> nn.Module:
    """The same with tanh, whose trace no backward pass tells exactly."""
    return nn.Sequential(*(nn.Tanh() if isinstance(m, nn.ReLU) else m for m in network()))


def seeded(seed: int) -> torch.Generator:
    """A generator of ours."""
    return torch.Generator().manual_seed(seed)


# Trace ----------------------------------------------------------------------------------------


def our_trace(model: nn.Module, data: Data, seed: int) -> float:
    """Everything from the model and its data to the number."""
    objective = Supervised(model, LOSS, data)
    return trace(objective, objective.point(), rtol=RMS, generator=seeded(seed)).value


def their_trace(model: nn.Module, data: Data, seed: int, products: int) -> float:
    """The same by curvlinops' XTrace."""
    from curvlinops import HessianLinearOperator
    from curvlinops.trace.epperly2024xtrace import xtrace

    torch.manual_seed(seed)
    operator = HessianLinearOperator(
        model,
        nn.CrossEntropyLoss(),
        list(model.parameters()),  # pyright: ignore[reportArgumentType]
        [data],
        check_deterministic=False,
    )
    return float(xtrace(operator, products))


def race_trace(quick: bool) -> list[Row]:
    """At both stages with ReLU, and trained with tanh."""
    data, rows = digits(), []
    for name, model in (
        ("start", at_stage("start")),
        ("trained", at_stage("trained")),
        ("trained, tanh", at_stage("trained", smooth())),
    ):
        wide = Supervised(copy.deepcopy(model).double(), LOSS, (data[0].double(), data[1]))
        true = trace(wide, wide.point(), rtol=1e-3, budget=400 if quick else 6000)
        seeds = range(4 if quick else SEEDS)
        own = [timed(lambda s=s, m=model: our_trace(m, data, s)) for s in seeds]
        rms, spent, products = np.inf, [], 0
        for products in PRODUCTS:
            few = seeds if products <= 64 else range(2)
            theirs = [timed(lambda s=s: their_trace(model, data, s, products)) for s in few]  # noqa: B023
            rms, spent = _rms(theirs, true.value), [t.processor for t, _ in theirs]
            if rms <= RMS or (quick and products >= 64):
                break
        mine = [t.processor for t, _ in own]
        rows.append(
            {
                "case": name,
                "true": true.value,
                "true_error": true.error,
                "seconds": spread(mine),
                "rms": _rms(own, true.value),
                "peer_seconds": spread(spent),
                "peer_rms": rms,
                "peer_products": products,
                "accurate": bool(rms <= RMS),
                "ratio": float(np.median(spent) / np.median(mine)),
            }
        )
        _say(rows[-1])
    return rows


def _rms(found: list[Any], true: float) -> float:
    return float(np.sqrt(np.mean([(value / true - 1) ** 2 for _, value in found])))


# Density --------------------------------------------------------------------------------------


def dense_spectrum(stage: str, *, make: bool = False) -> np.ndarray:
    """All eigenvalues of the digits network's Hessian at a stage, ascending."""
    path = RESULTS / f"digits_spectrum_{stage}.npy"
    if not make:
        return np.load(path).astype(float)
    objective = Supervised(at_stage(stage), LOSS, digits())
    hessian = Hessian(objective, objective.point())
    matrix, unit = torch.empty(objective.dim, objective.dim), torch.zeros(objective.dim)
    for i in range(objective.dim):
        unit[i] = 1
        matrix[i] = hessian @ unit
        unit[i] = 0
    values = torch.linalg.eigvalsh(matrix).numpy()
    np.save(path, values)
    return values.astype(float)


def race_density(quick: bool) -> list[Row]:
    """Both stages whose dense spectrum is there."""
    from hessian_eigenthings.algorithms.spectral_density import spectral_density
    from hessian_eigenthings.loss_fns.standard import supervised_loss
    from hessian_eigenthings.operators.hessian import HessianOperator

    data, rows = digits(), []
    for stage in STAGES:
        if not (RESULTS / f"digits_spectrum_{stage}.npy").exists():
            print(f"{stage}: there is no dense spectrum yet: --dense makes it")
            continue
        model, values = at_stage(stage), dense_spectrum(stage)
        true = values, np.full(len(values), 1 / len(values))
        size = float(np.abs(values).mean())
        probes, budget = OURS[stage]
        seeds = range(2 if quick else 6)

        def ours(seed: int, m: nn.Module = model, k: int = probes, b: int = budget) -> Any:
            objective = Supervised(m, LOSS, data)
            return density(objective, objective.point(), probes=k, budget=b, generator=seeded(seed))

        def theirs(seed: int, runs: int, steps: int, m: nn.Module = model) -> Any:
            operator = HessianOperator(m, [data], supervised_loss(nn.CrossEntropyLoss()))
            found = spectral_density(
                operator, num_runs=runs, lanczos_steps=steps, seed=100 * seed, num_grid_points=100
            )
            places = found.raw_eigenvalues.double().numpy().ravel()
            return places, found.raw_weights.double().numpy().ravel() / runs

        own = [timed(lambda s=s: ours(s)) for s in seeds]
        far = [distance(found.spread(), true) / size for _, found in own]
        told = [found.error.value / size for _, found in own]
        off, spent, runs = [np.inf], [], (0, 0)
        for runs in RUNS:
            few = seeds if runs[0] < 8 else range(2)
            peer = [timed(lambda s=s: theirs(s, *runs)) for s in few]  # noqa: B023
            off = [distance(found, true) / size for _, found in peer]
            spent = [t.processor for t, _ in peer]
            if np.mean(off) <= np.mean(far) or (quick and runs[0] >= 4):
                break
        mine = [t.processor for t, _ in own]
        rows.append(
            {
                "case": stage,
                "seconds": spread(mine),
                "distance": float(np.mean(far)),
                "claimed": float(np.mean(told)),
                "products": budget,
                "peer_seconds": spread(spent),
                "peer_distance": float(np.mean(off)),
                "peer_runs": list(runs),
                "accurate": bool(np.mean(off) <= np.mean(far)),
                "ratio": float(np.median(spent) / np.median(mine)),
            }
        )
        _say(rows[-1])
    return rows


# Ends -----------------------------------------------------------------------------------------


def race_resnet(quick: bool) -> list[Row]:
    """The five largest eigenvalues of a ResNet-20 to 1e-3."""
    data = images(examples=16 if quick else 128)
    model = trained_resnet20(0, data, 4 if quick else 40).eval()
    true = ends.curvlinops(
        copy.deepcopy(model).double(), (data[0].double(), data[1]), 1e-6, {}, top=TOP
    )
    detail: Row = {}

    def ours(told: Row, usual: bool = False) -> np.ndarray:
        objective = Supervised(model, LOSS, data, memory=2**32)
        rule: Row = {"decided": ends.UsualEstimate(TOP)} if usual else {}
        found = extreme_eigenvalues(objective, objective.point(), top=TOP, bottom=0, **rule)
        told["products"] = found.products
        return np.array([e.value for e in found.top])

    own = [timed(lambda: ours(detail)) for _ in range(1 if quick else 3)]
    told_usual: Row = {}
    guessed = [timed(lambda: ours(told_usual, True)) for _ in range(1 if quick else 3)]
    row: Row = {
        "case": "ResNet-20",
        "examples": len(data[0]),
        "eigenvalues": true.tolist(),
        "seconds": spread([t.processor for t, _ in own]),
        "error": max(ends.worst(values, true) for _, values in own),
        "estimate": {
            "seconds": float(np.median([t.processor for t, _ in guessed])),
            "error": max(ends.worst(values, true) for _, values in guessed),
            **told_usual,
        },
        **detail,
    }
    sides: dict[str, tuple[tuple[float, ...], Callable[[float, Row], np.ndarray]]] = {
        "curvlinops": (
            ends.TOLERANCES,
            lambda t, d: ends.curvlinops(model, data, t, d, top=TOP),
        ),
        "pyhessian": ((1e-3, 1e-4), lambda t, d: ends.pyhessian(model, data, t, top=TOP)),
    }
    for name, (tolerances, ask) in sides.items():
        for tolerance in tolerances:
            told: Row = {"tolerance": tolerance}
            spent, values = timed(lambda: ask(tolerance, told))  # noqa: B023
            error = ends.worst(values, true)
            if error <= ends.ACCURACY:
                break
        row[name] = {"seconds": spent.processor, "error": error, **told}
        row[name]["accurate"] = bool(error <= ends.ACCURACY)
        row[name]["ratio"] = spent.processor / row["seconds"]["median"]
        row[name]["ratio_estimate"] = spent.processor / row["estimate"]["seconds"]
        _say({name: row[name]})
    row["ratio"] = row["curvlinops"]["ratio"]
    _say(row)
    return [row]


def saddle(quick: bool) -> list[Row]:
    """The smallest eigenvalue of the digits network at its start, its weights shrunk to a tenth."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    data, model = digits(), network()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.1)
    objective = Supervised(model, LOSS, data)
    found = extreme_eigenvalues(objective, objective.point(), top=1, bottom=1, rtol=1e-3)
    wide = Supervised(copy.deepcopy(model).double(), LOSS, (data[0].double(), data[1]))
    hessian = Hessian(wide, wide.point())

    def product(vector: np.ndarray) -> np.ndarray:
        return (hessian @ torch.from_numpy(vector.ravel())).numpy()

    size = (objective.dim, objective.dim)
    operator: Any = LinearOperator(size, matvec=product, dtype=np.float64)  # type: ignore[call-overload]
    start = np.random.default_rng(0).normal(size=objective.dim)
    (true,) = eigsh(operator, k=1, which="SA", tol=1e-8, v0=start, return_eigenvectors=False)
    power = ends.pyhessian(model, data, 1e-4, top=2 if quick else 5)
    row = {
        "case": "shrunk to a tenth",
        "true": float(true),
        "bottom": found.bottom[0].value,
        "bottom_error": found.bottom[0].error,
        "top": found.top[0].value,
        "off": abs(found.bottom[0].value / float(true) - 1),
        "pyhessian": power.tolist(),
    }
    _say(row)
    return [row]


# Cost and coverage ----------------------------------------------------------------------------


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
        _say(rows[-1])
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
        _say(rows[-1])
    return rows


class _Dense:
    """A symmetric matrix as an operator."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.dim, self.cost = matrix, len(matrix), 0.0

    def __matmul__(self, vectors: Tensor, /) -> Tensor:
        self.cost += 2.0
        return vectors @ self.matrix


# Tables ---------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "trace": race_trace,
    "density": race_density,
    "resnet": race_resnet,
    "saddle": saddle,
    "linear": linear,
    "coverage": coverage,
}


def tables(result: dict[str, Any]) -> str:
    """One for each part that was run."""
    made = [_TABLES[name](result[name]) for name in PARTS if result.get(name)]
    return "\n\n".join([*made, caption(result)])


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _ratio(row: Row) -> str:
    return ("" if row["accurate"] else "> ") + f"**{row['ratio']:.2g}**"


def _trace_table(rows: list[Row]) -> str:
    head = ("trace", "thalweg", "rms error", "XTrace", "rms error", "products", "ratio")
    cells = [
        [
            r["case"],
            f"{1e3 * r['seconds']['median']:.0f} ms",
            f"{r['rms']:.1e}",
            f"{1e3 * r['peer_seconds']['median']:.0f} ms",
            f"{r['peer_rms']:.1e}" + ("" if r["accurate"] else " (its best)"),
            str(r["peer_products"]),
            _ratio(r),
        ]
        for r in rows
    ]
    return _table(head, cells)


def _density_table(rows: list[Row]) -> str:
    head = (
        "density", "thalweg", "distance", "claimed", "hessian-eigenthings", "distance", "runs × steps",
        "ratio",
    )  # fmt: skip
    cells = [
        [
            r["case"],
            f"{1e3 * r['seconds']['median']:.0f} ms",
            f"{r['distance']:.2f}",
            f"{r['claimed']:.2f}",
            f"{1e3 * r['peer_seconds']['median']:.0f} ms",
            f"{r['peer_distance']:.2f}" + ("" if r["accurate"] else " (its best)"),
            " × ".join(map(str, r["peer_runs"])),
            _ratio(r),
        ]
        for r in rows
    ]
    return _table(head, cells)


def _resnet_table(rows: list[Row]) -> str:
    head = ("top five", "seconds", "error", "products", "times ours", "times ours by residual²/gap")
    (row,) = rows
    bound = row | {"seconds": row["seconds"]["median"]}
    sides = {"thalweg": bound, "thalweg, by residual²/gap": row["estimate"]}
    sides |= {name: row[name] for name in ("curvlinops", "pyhessian")}
    cells = []
    for name, side in sides.items():
        least = "" if side.get("accurate", True) else "> "
        cells.append(
            [
                name,
                f"{side['seconds']:.1f}",
                f"{side['error']:.0e}" + (" (its best)" if least else ""),
                str(side.get("products", "")),
                *(
                    f"{least}**{side[key]:.2g}**" if name in ("curvlinops", "pyhessian") else ""
                    for key in ("ratio", "ratio_estimate")
                ),
            ]
        )
    return _table(head, cells)


def _saddle_table(rows: list[Row]) -> str:
    head = (
        "network near its start",
        "λ min",
        "thalweg",
        "off by",
        "λ max",
        "PyHessian, first five",
    )
    cells = [
        [
            r["case"],
            f"{r['true']:.5g}",
            f"{r['bottom']:.5g}",
            f"{r['off']:.0e}",
            f"{r['top']:.5g}",
            ", ".join(f"{v:.3g}" for v in r["pyhessian"]),
        ]
        for r in rows
    ]
    return _table(head, cells)


def _linear_table(rows: list[Row]) -> str:
    head = ("varied", "examples", "parameters", "seconds", "ns for each example and parameter")
    cells = [
        [
            r["varied"],
            str(r["examples"]),
            str(r["parameters"]),
            f"{r['seconds']:.3g}",
            f"{r['nanoseconds']:.3g}",
        ]
        for r in rows
    ]
    return _table(head, cells)


def _coverage_table(rows: list[Row]) -> str:
    names = [name for name in rows[0] if name != "case"]
    head = ("intervals that hold", *(name.replace("_", " ") for name in names))
    return _table(head, [[r["case"], *(f"{r[n]:.1%}" for n in names)] for r in rows])


_TABLES: dict[str, Callable[[list[Row]], str]] = {
    "trace": _trace_table,
    "density": _density_table,
    "resnet": _resnet_table,
    "saddle": _saddle_table,
    "linear": _linear_table,
    "coverage": _coverage_table,
}


def _say(row: Row) -> None:
    print(json.dumps(row), flush=True)


def main() -> int:
    """Run, print, keep; parts that were not asked for stay as they were kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all unless named")
    parser.add_argument("--quick", action="store_true", help="few repetitions; nothing is kept")
    parser.add_argument("--dense", action="store_true", help="make the dense spectra anew")
    chosen = parser.parse_args()
    kept = RESULTS / "spectrum.json"
    result: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")  # the peers' own
        if chosen.dense:
            for stage in STAGES:
                dense_spectrum(stage, make=True)
        result |= {
            "what": "spectra: trace, density, ends, cost, coverage",
            "goals": GOALS,
            "environment": environment(
                "scipy", "curvlinops-for-pytorch", "pyhessian", "hessian-eigenthings"
            ),
        }
        for name in chosen.parts or PARTS:
            began = time.perf_counter()
            result[name] = PARTS[name](chosen.quick)
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    for name, goal in GOALS.items():
        for row in result.get(name, ()):
            print(f"{name}, {row['case']}: {row['ratio']:.2f}, goal {goal:g}")
    if not chosen.quick:
        keep("spectrum", result, tables(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
