"""Races to the trace and to the density of a spectrum."""

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks._results import RESULTS, digits, network, spread, timed
from benchmarks._spectra import LOSS, STAGES, Data, Row, at_stage, say, seeded
from thalweg.measure import density, trace
from thalweg.measure.density import distance
from thalweg.objective.derivatives import Hessian
from thalweg.objective.supervised import Supervised

__all__ = ["RMS", "dense_spectrum", "race_density", "race_trace"]

SEEDS = 20
RMS = 0.02
PRODUCTS = (16, 24, 28, 32, 40, 48, 64, 128, 256)
"""Products that XTrace is given, fewest first."""

RUNS = ((1, 20), (1, 40), (2, 40), (4, 20), (4, 40), (8, 40), (16, 40), (32, 40))
"""Random vectors and steps that hessian-eigenthings is given, cheapest first."""

OURS = {"start": (2, 60), "trained": (2, 40)}
"""Random vectors and products of ours."""


def smooth() -> nn.Module:
    """The same with tanh, whose trace no backward pass tells exactly."""
    return nn.Sequential(*(nn.Tanh() if isinstance(m, nn.ReLU) else m for m in network()))


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
        say(rows[-1])
    return rows


def _rms(found: list[Any], true: float) -> float:
    return float(np.sqrt(np.mean([(value / true - 1) ** 2 for _, value in found])))


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
        say(rows[-1])
    return rows
