"""Surfaces from few values against the whole grid: `python -m benchmarks.surface`.

Digits: the loss of a 64-128-128-10 ReLU network on 1 437 digits, trained, over 51 x 51 values of a
filter-normalised plane; processor time of ours against that of the whole grid, which peers pay, and
the true largest error against the bound that is told.

ResNet-20: 128 images of 3x32x32, BatchNorm in evaluation mode, at their start or briefly trained,
each over a plane of its own. Their grids, evaluated whole, are kept beside the results, and ours is judged
by them; with `--folder` they are made anew, which takes an hour and a half. Each is kept there value by
value, so that this can be stopped and gone on with.
"""

import argparse
import statistics
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks._resnet import images, trained_resnet20
from benchmarks._results import (
    RESULTS,
    caption,
    digits,
    environment,
    keep,
    network,
    one_thread,
    timed,
    train,
)
from thalweg.measure.adaptive import Filled, fill
from thalweg.measure.directions import Flat, random_directions
from thalweg.measure.surface import ROUNDING, surface
from thalweg.objective.supervised import Supervised

NETWORKS, SEEDS, DRAWS = 20, 5, 5
"""ResNet-20s, digits networks, and draws of the places held back of each surface of a ResNet-20."""

FIRST_SEED = 400
"""Others served to set the constants of the bound."""

SIZE, EXAMPLES = 51, 128

GRIDS = RESULTS / "resnet_surfaces.npy"
"""Losses ``(NETWORKS, SIZE, SIZE)`` of the ResNet-20s, in the single precision they were computed in."""

STEPS = (0, 10, 25)
"""Of training, by seed."""

FASTER = {"linear": 20.0, "logarithmic": 8.0}


def plane(objective: Supervised, seed: int) -> Flat:
    """Filter-normalised."""
    generator = torch.Generator().manual_seed(seed)
    return random_directions(objective, objective.point(), generator=generator)


def judged(found: Filled, truth: np.ndarray, logarithm: bool) -> dict[str, Any]:
    """What it cost, how far off it is, and how far off it says that it may be.

    Both as shares of the range of the view, the true error being the largest of all values.
    """
    shown = np.log if logarithm else np.asarray
    error = np.abs(shown(found.values) - shown(truth)).max() / np.ptp(shown(truth))
    return {
        "evaluations": found.evaluations,
        "saved": found.saved,
        "bound": found.share,
        "error": float(error),
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
                    **judged(found.loss, exact.values, log),
                    "faster": whole.processor / few.processor,
                    "grid seconds": whole.processor,
                }
            )
            print(_told(rows[-1]), flush=True)
    return rows


def whole_grids(folder: Path) -> np.ndarray:
    """Every value of every network's grid, each kept in the folder as it comes."""
    grids = np.empty((NETWORKS, SIZE, SIZE), np.float32)
    for place, seed in enumerate(range(FIRST_SEED, FIRST_SEED + NETWORKS)):
        data = images(seed, EXAMPLES)
        model = trained_resnet20(seed, data, STEPS[seed % len(STEPS)])
        objective = Supervised(model, nn.functional.cross_entropy, data, chunk=64)
        where = folder / f"{EXAMPLES}-{SIZE}-{seed}"
        flat = plane(objective, seed)
        grids[place] = surface(objective, flat, size=SIZE, exact=True, folder=where).values
        print(f"{seed}: from {grids[place].min():.3g} to {grids[place].max():.3g}", flush=True)
    return grids


def on_resnets(grids: np.ndarray) -> list[dict[str, Any]]:
    """One row for each network, draw and view; what `surface` evaluates is looked up."""
    rows = []
    for (place, grid), draw in product(enumerate(grids.astype(float)), range(DRAWS)):
        for view in FASTER:
            log = view == "logarithmic"
            found = fill(
                lambda indices, grid=grid: grid[tuple(indices.T)],
                grid.shape,
                logarithm=log,
                generator=np.random.default_rng(draw),
                precision=ROUNDING * torch.finfo(torch.float32).eps,
            )
            row = {"seed": FIRST_SEED + place, "draw": draw, "view": view}
            rows.append(row | judged(found, grid, log))
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
            faster = f"{s['faster']:.1f}x" if "faster" in s else ""
            lines.append(
                f"| {s['surfaces']} of the {name}, {SIZE} x {SIZE} | {view} | {s['evaluations']:.0f} "
                f"| {s['saved']:.1f}x, 1.5x or more in {s['save 1.5 or more']} | {faster} "
                f"| {100 * s['error']:.2g}% of the range | {s['within the bound']} of {s['surfaces']} "
                f"| {s['bound over error']:.2g} |"
            )
    note = (
        "Evaluations, saving, time and bound over error are medians; values held back count. Of each "
        f"of the {NETWORKS} ResNet-20s the places held back were drawn {DRAWS} times."
    )
    return "\n".join([*lines, "", f"{note} {caption(result)}"])


def main() -> None:
    """Race, judge, and keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, no ResNet; nothing is kept")
    parser.add_argument("--folder", type=Path, help="evaluate the ResNet-20s anew, kept there")
    chosen = parser.parse_args()
    with one_thread():
        if chosen.folder:
            np.save(GRIDS, whole_grids(chosen.folder))
        small = on_digits(1 if chosen.quick else SEEDS)
        deep = [] if chosen.quick else on_resnets(np.load(GRIDS))
        result = {"environment": environment(), "digits": small, "resnet": deep}
    for name, rows in (("digits", small), ("resnet", deep)):
        for view in FASTER if rows else ():
            print(name, view, _told(summary(rows, view)))
    print(table(result))
    if not chosen.quick:
        keep("surface", result, table(result))


if __name__ == "__main__":
    main()
