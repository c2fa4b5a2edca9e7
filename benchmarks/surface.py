"""Surfaces from few values against the whole grid: `python -m benchmarks.surface`.

Digits: the loss of a 64-128-128-10 ReLU network on 1 437 digits, trained, over 51 x 51 values of a
filter-normalised plane; processor time of ours against that of the whole grid, which peers pay, and
the true largest error against the bound that is told.

ResNet-20: 128 images of 3x32x32, BatchNorm in evaluation mode, at their start or briefly trained,
each over a plane of its own. A grid is kept in a folder value by value, so that this can be stopped and
gone on with; ours is then judged by the values kept.
"""

import argparse
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks._resnet import images, trained_resnet20
from benchmarks._results import (
    caption,
    digits,
    environment,
    keep,
    network,
    one_thread,
    timed,
    train,
)
from thalweg.measure.directions import Flat, random_directions
from thalweg.measure.surface import Surface, surface
from thalweg.objective.supervised import Supervised

NETWORKS, SEEDS = 20, 5
FIRST_SEED = 400
"""Others served to set the constants of the bound."""

SIZE = 51
RESNET_SIZE = 51
"""Some four minutes a network; with 26 a quarter of that."""

STEPS = (0, 10, 25)
"""Of training, by seed."""

FASTER = {"linear": 20.0, "logarithmic": 8.0}


def plane(objective: Supervised, seed: int) -> Flat:
    """Filter-normalised."""
    generator = torch.Generator().manual_seed(seed)
    return random_directions(objective, objective.point(), generator=generator)


def true_error(found: Surface, exact: Surface) -> float:
    """The largest of all values, as a share of the range of the view."""
    shown = np.log if found.logarithm else np.asarray
    truth = shown(exact.values)
    return float(np.abs(shown(found.values) - truth).max() / np.ptp(truth))


def judged(found: Surface, exact: Surface) -> dict[str, Any]:
    """What it cost, how far off it is, and how far off it says that it may be."""
    return {
        "evaluations": found.loss.evaluations,
        "saved": found.loss.saved,
        "bound": found.loss.share,
        "error": true_error(found, exact),
    }


def on_digits(seeds: int) -> list[dict[str, Any]]:
    """One row for each seed and view."""
    rows = []
    for seed in range(seeds):
        model = network(seed)
        train(model, digits(), 2000)
        objective = Supervised(model, nn.functional.cross_entropy, digits())
        flat = plane(objective, seed)
        whole, exact = timed(partial(surface, objective, flat, size=SIZE, exact=True))
        for view in FASTER:
            log = view == "logarithmic"
            few, found = timed(partial(surface, objective, flat, size=SIZE, logarithm=log))
            rows.append(
                {
                    "seed": seed,
                    "view": view,
                    **judged(found, exact),
                    "faster": whole.processor / few.processor,
                    "grid seconds": whole.processor,
                }
            )
            print(_told(rows[-1]), flush=True)
    return rows


def on_resnets(networks: int, size: int, examples: int, folder: Path) -> list[dict[str, Any]]:
    """One row for each network and view."""
    rows = []
    for seed in range(FIRST_SEED, FIRST_SEED + networks):
        data = images(seed, examples)
        model = trained_resnet20(seed, data, STEPS[seed % len(STEPS)])
        objective = Supervised(model, nn.functional.cross_entropy, data, chunk=64)
        flat = plane(objective, seed)
        where = folder / f"{examples}-{size}-{seed}"
        exact = surface(objective, flat, size=size, exact=True, folder=where)
        for view in FASTER:
            log = view == "logarithmic"
            found = surface(objective, flat, size=size, logarithm=log, folder=where)
            rows.append({"seed": seed, "view": view, **judged(found, exact)})
            print(_told(rows[-1]), flush=True)
    return rows


def _told(row: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())


def summary(rows: list[dict[str, Any]], view: str) -> dict[str, Any]:
    """Of one view."""
    mine = [row for row in rows if row["view"] == view]
    ratios = [row["bound"] / row["error"] for row in mine if row["error"] > 0]
    told = {
        "surfaces": len(mine),
        "error": max(row["error"] for row in mine),
        "within the bound": sum(row["error"] <= row["bound"] for row in mine),
        "bound over error": statistics.median(ratios) if ratios else float("nan"),
        "evaluations": statistics.median(row["evaluations"] for row in mine),
        "saved": statistics.median(row["saved"] for row in mine),
        "save 1.5 or more": sum(row["saved"] >= 1.5 for row in mine),
    }
    if "faster" in mine[0]:
        told["faster"] = statistics.median(row["faster"] for row in mine)
    return told


def table(result: dict[str, Any]) -> str:
    """In Markdown."""
    lines = [
        "| surfaces | view | evaluations | saved | faster | largest true error | within the bound "
        "| bound over true error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, key in (("digits network", "digits"), ("ResNet-20", "resnet")):
        for view in FASTER:
            if not result.get(key):
                continue
            s = summary(result[key], view)
            of = result["size"] if key == "digits" else result["resnet size"]
            faster = f"{s['faster']:.1f}x" if "faster" in s else ""
            lines.append(
                f"| {s['surfaces']} of the {name}, {of} x {of} | {view} | {s['evaluations']:.0f} "
                f"| {s['saved']:.1f}x, 1.5x or more in {s['save 1.5 or more']} | {faster} "
                f"| {100 * s['error']:.2g}% of the range | {s['within the bound']} of {s['surfaces']} "
                f"| {s['bound over error']:.2g} |"
            )
    note = "Evaluations, saving, time and bound over error are medians; values held back count."
    if result.get("resnet") and result["examples"] != 128:
        note += f" ResNet-20 on {result['examples']} images."
    return "\n".join([*lines, "", f"{note} {caption(result)}"])


def main() -> None:
    """Race, judge, and keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, no ResNet; nothing is kept")
    parser.add_argument("--folder", type=Path, default=Path("surfaces"), help="of the grids kept")
    parser.add_argument("--networks", type=int, default=NETWORKS, help="ResNet-20s to judge")
    parser.add_argument("--size", type=int, default=RESNET_SIZE, help="of their grids")
    parser.add_argument("--images", type=int, default=128, help="that they are shown")
    chosen = parser.parse_args()
    with one_thread():
        small = on_digits(1 if chosen.quick else SEEDS)
        deep = (
            []
            if chosen.quick
            else on_resnets(chosen.networks, chosen.size, chosen.images, chosen.folder)
        )
        result = {
            "environment": environment(),
            "size": SIZE,
            "resnet size": chosen.size,
            "examples": chosen.images,
            "digits": small,
            "resnet": deep,
        }
    for name, rows in (("digits", small), ("resnet", deep)):
        for view in FASTER if rows else ():
            print(name, view, _told(summary(rows, view)))
    print(table(result))
    if not chosen.quick:
        keep("surface", result, table(result))


if __name__ == "__main__":
    main()
