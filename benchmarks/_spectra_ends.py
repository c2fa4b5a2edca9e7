"""Races to the ends of a spectrum: the largest eigenvalues of a ResNet-20, the smallest at a saddle."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import eigenvalues as ends
from benchmarks._resnet import images, trained_resnet20
from benchmarks._results import digits, network, spread, timed
from benchmarks._spectra import LOSS, Row, say
from thalweg.measure import extreme_eigenvalues
from thalweg.objective.derivatives import Hessian
from thalweg.objective.supervised import Supervised

__all__ = ["race_resnet", "saddle"]

TOP = 5


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
        every = [spent.processor]
        if error <= ends.ACCURACY and not quick:  # the same once more or twice, as of ours
            every += [timed(lambda: ask(tolerance, told))[0].processor for _ in range(2)]  # noqa: B023
        row[name] = {"seconds": float(np.median(every)), "error": error, **told}
        row[name]["accurate"] = bool(error <= ends.ACCURACY)
        row[name]["ratio"] = row[name]["seconds"] / row["seconds"]["median"]
        row[name]["ratio_estimate"] = row[name]["seconds"] / row["estimate"]["seconds"]
        say({name: row[name]})
    row["ratio"] = row["curvlinops"]["ratio"]
    say(row)
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
    say(row)
    return [row]
