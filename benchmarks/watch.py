"""What watching a training costs: `python -m benchmarks.watch`.

A plain loop over 64-128-128-10 with batches of 64, with and without `thalweg.watch`, in memory and
with a run folder. Goal: at most 5% of the loop's time. That is less than a busy machine's noise:
the three trainings take turns every hundred steps, and each block is held against the plain one
beside it. The median tells the steady cost, the total what checkpoints add.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import thalweg
from benchmarks._results import (
    Spent,
    caption,
    digits,
    environment,
    keep,
    network,
    one_thread,
    options,
    spread,
    timed,
)

GOAL = 0.05


BLOCK = 100
"""Steps a turn."""


def training(data: tuple[Tensor, Tensor], how: str) -> Iterator[None]:
    """Train a block at a time: ``plain``, watched in ``memory``, or into a ``folder``."""
    inputs, targets = data
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with tempfile.TemporaryDirectory() if how == "folder" else nullcontext() as scratch:
        folder = Path(scratch) / "run" if scratch else None
        recorder = None if how == "plain" else thalweg.watch(model, optimizer, folder=folder)
        while True:
            for _ in range(BLOCK):
                batch = torch.randint(len(inputs), (64,))
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
                loss.backward()
                optimizer.step()
                if recorder is not None:
                    recorder.step(loss)
            yield


def run(quick: bool) -> dict[str, Any]:
    """Every way in turn, often."""
    rounds = 40 if quick else 200
    data = digits()
    trainings = {how: training(data, how) for how in ("plain", "memory", "folder")}
    spent: dict[str, list[Spent]] = {how: [] for how in trainings}
    order = list(trainings)
    for turn in range(-2, rounds):
        for how in order[turn % 3 :] + order[: turn % 3]:
            took, _ = timed(lambda how=how: next(trainings[how]))
            if turn >= 0:
                spent[how].append(took)
    for each in trainings.values():
        each.close()  # pyright: ignore[reportAttributeAccessIssue]
    plain = spent["plain"]
    ways = {
        how: {
            "steady": spread([w.processor / p.processor - 1 for w, p in zip(taken, plain)]),
            "total": sum(w.processor for w in taken) / sum(p.processor for p in plain) - 1,
            "wall_steady": spread([w.wall / p.wall - 1 for w, p in zip(taken, plain)]),
        }
        for how, taken in spent.items()
        if how != "plain"
    }
    return {
        "what": "thalweg.watch, 64-128-128-10, batch 64, SGD",
        "goal": GOAL,
        "steps_a_block": BLOCK,
        "blocks": rounds,
        "milliseconds_a_step": spread([1e3 * p.processor / BLOCK for p in plain]),
        "environment": environment(),
        "ways": ways,
    }


HEAD = (
    "| watched | overhead, median of blocks (quartiles) | of all blocks together |\n|---|---|---|"
)


def row(how: str, way: dict[str, Any]) -> str:
    """One line of the table."""
    o = way["steady"]
    steady = f"{100 * o['median']:.1f}% ({100 * o['low']:.1f} to {100 * o['high']:.1f})"
    name = "into a run folder" if how == "folder" else "in memory"
    return f"| {name} | {steady} | {100 * way['total']:.1f}% |"


def main() -> int:
    """Run, print, keep."""
    chosen = options(__doc__)
    with one_thread():
        result = run(chosen.quick)
    table = "\n".join([HEAD, *(row(how, way) for how, way in result["ways"].items())])
    step = result["milliseconds_a_step"]["median"]
    note = f"A plain step takes {step:.2f} ms. {caption(result)}"
    print(f"{table}\n\n{note}")
    if not chosen.quick:
        keep("watch", result, f"{table}\n\n{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
