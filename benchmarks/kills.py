"""A watched training killed at random moments: `python -m benchmarks.kills`.

A child trains a small network with dropout, batch normalisation, momentum, a schedule and a
shuffling DataLoader under `thalweg.watch`, with sketches and a checkpoint an epoch. It is killed at
a random moment, a hundred times. After each kill the folder must read (metrics without a gap,
checkpoints, sketches) and say at which step it stopped; the next child resumes. At the end the
weights must be, to the bit, those of a training that nobody disturbed, and so must the losses.
"""

import os
import random
import signal
import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import thalweg
from benchmarks._results import environment, keep, one_thread, options
from thalweg.record.folder import RunFolder

EPOCHS, BATCH = 400, 16
LIFE = (0.0, 1.5)
"""Shortest and longest life of a child in seconds."""


def network() -> nn.Module:
    """Small, with everything that carries a state."""
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))


def train(path: Path, epochs: int = EPOCHS) -> dict[str, Tensor]:
    """Train, or go on, up to the end; the weights."""
    torch.manual_seed(7)
    x = torch.randn(128, 6)
    order = torch.Generator().manual_seed(3)
    data = TensorDataset(x, x.sin().sum(1, keepdim=True))
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, generator=order)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 500, 0.7)
    with thalweg.watch(
        model,
        optimizer,
        loader,
        folder=path,
        scheduler=schedule,
        checkpoints="epoch",
        resume=RunFolder.is_run(path),
        overhead=1.0,
    ) as recorder:
        for _ in range(recorder.epoch, epochs):
            for inputs, targets in recorder.batches():
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(inputs), targets)
                loss.backward()
                optimizer.step()
                schedule.step()
                recorder.step(loss)
    return {name: value.clone() for name, value in model.state_dict().items()}


def look(path: Path) -> dict[str, int]:
    """What the folder of a killed training says; AssertionError where it does not hold together."""
    run = RunFolder.open(path)
    seen = run.metrics()
    assert seen["loss"].steps.tolist() == list(range(1, seen.steps + 1)), "a gap in the losses"
    latest = run.latest_checkpoint()
    if latest is not None:
        assert latest <= seen.steps, "a checkpoint ahead of the losses"
        run.load_checkpoint(latest, network())
    kept = run.sketches()
    rows = 0 if kept is None else len(kept.steps)
    if kept is not None and rows:
        assert int(kept.steps[-1]) <= seen.steps, "a sketch ahead of the losses"
    return {"steps": seen.steps, "checkpoint": -1 if latest is None else latest, "sketches": rows}


def run(kills: int) -> dict[str, Any]:
    """Kill, look, resume; then compare."""
    chance = random.Random(11)
    lives = []
    with tempfile.TemporaryDirectory() as scratch:
        train(Path(scratch) / "warm", 2)  # what torch loads on first use would take up the moments
        path = Path(scratch) / "killed"
        while len(lives) < kills:
            child = os.fork()
            if child == 0:
                train(path)
                os._exit(0)
            time.sleep(chance.uniform(*LIFE))
            ended, _ = os.waitpid(child, os.WNOHANG)
            if not ended:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                lives.append(look(path) if RunFolder.is_run(path) else None)
            elif len(lives) < kills:  # it came to its end: begin another
                path = path.with_name(f"killed-{len(lives)}")
        disturbed, whole = train(path), train(path.with_name("whole"))
        same = all(torch.equal(disturbed[name], whole[name]) for name in whole)
        told = [RunFolder.open(p).metrics()["loss"].values for p in (path, path.with_name("whole"))]
        alike = told[0].tolist() == told[1].tolist()
    found = [life for life in lives if life is not None]
    return {
        "what": "a training under thalweg.watch, killed at random moments",
        "kills": kills,
        "before_the_folder": kills - len(found),
        "read": len(found),
        "trainings": 1 + sum(b["steps"] < a["steps"] for a, b in pairwise(found)),
        "lives": found,
        "same_weights": same,
        "same_losses": alike,
        "environment": environment(),
    }


def main() -> int:
    """Run, print, keep."""
    warnings.simplefilter("ignore")
    chosen = options(__doc__)
    with one_thread():
        result = run(10 if chosen.quick else 100)
    ends = [life["steps"] for life in result["lives"]]
    rows = [life["sketches"] for life in result["lives"]]
    text = (
        f"{result['kills']} kills, {result['before_the_folder']} of them before there was a folder: "
        f"each of the other {result['read']} left a folder that reads and says where it stopped "
        f"(between step {min(ends)} and {max(ends)}, with up to {max(rows)} sketched points). "
        f"Resumed to its end, the training has the weights of an undisturbed one: "
        f"{'yes, bit for bit' if result['same_weights'] else 'NO'}; and its losses: "
        f"{'yes' if result['same_losses'] else 'NO'}."
    )
    print(text)
    if not chosen.quick:
        keep("kills", result, text)
    return 0 if result["same_weights"] and result["same_losses"] else 1


if __name__ == "__main__":
    sys.exit(main())
