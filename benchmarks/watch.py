"""What watching a training costs: `python -m benchmarks.watch`.

A plain loop over 64-128-128-10 with batches of 64, with and without `thalweg.watch`, in memory and
with a run folder; turn by turn. Goal: at most 5% of the loop's time. A difference of two loops is
smaller than a busy machine's noise: hence many short turns and the median of their ratios.
"""

import sys
import tempfile
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


def loop(data: tuple[Tensor, Tensor], steps: int, how: str) -> None:
    """Train for so many steps: ``plain``, watched in ``memory``, or into a ``folder``."""
    inputs, targets = data
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with tempfile.TemporaryDirectory() if how == "folder" else nullcontext() as scratch:
        folder = Path(scratch) / "run" if scratch else None
        recorder = None if how == "plain" else thalweg.watch(model, optimizer, folder=folder)
        for _ in range(steps):
            batch = torch.randint(len(inputs), (64,))
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
            loss.backward()
            optimizer.step()
            if recorder is not None:
                recorder.step(loss)
        if recorder is not None:
            recorder.close()


def run(quick: bool) -> dict[str, Any]:
    """Every way in turn, often."""
    rounds, steps = (4, 1000) if quick else (25, 1500)
    data = digits()
    spent: dict[str, list[Spent]] = {"plain": [], "memory": [], "folder": []}
    for how in spent:
        loop(data, 300, how)
    for turn in range(rounds):
        ways = list(spent)
        for how in ways[turn % 3 :] + ways[: turn % 3]:
            spent[how].append(timed(lambda how=how: loop(data, steps, how))[0])
    plain = spent["plain"]
    ways = {
        how: {
            "overhead": spread([w.wall / p.wall - 1 for w, p in zip(taken, plain)]),
            "processor_overhead": spread(
                [w.processor / p.processor - 1 for w, p in zip(taken, plain)]
            ),
        }
        for how, taken in spent.items()
        if how != "plain"
    }
    return {
        "what": "thalweg.watch, 64-128-128-10, batch 64, SGD",
        "goal": GOAL,
        "steps": steps,
        "rounds": rounds,
        "milliseconds_a_step": spread([1e3 * p.processor / steps for p in plain]),
        "environment": environment(),
        "ways": ways,
    }


HEAD = "| watched | overhead (processor time) | overhead (wall time) |\n|---|---|---|"


def row(how: str, way: dict[str, Any]) -> str:
    """One line of the table."""
    cells = [
        f"{100 * o['median']:.1f}% ({100 * o['low']:.1f}–{100 * o['high']:.1f})"
        for o in (way["processor_overhead"], way["overhead"])
    ]
    return f"| {'into a run folder' if how == 'folder' else 'in memory'} | {' | '.join(cells)} |"


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
