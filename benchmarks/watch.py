"""What watching a training costs: `python -m benchmarks.watch`.

A plain loop, batches of 64, with and without `thalweg.watch`: over 64-128-128-10 and over the small
ResNet of `examples/`, with each option. Goal: the default takes at most 5% of the loop's time.

That is less than a busy machine's noise. So the trainings take turns of about a third of a second,
in another order each round; each turn is held against the plain one of its round by the
processor's clock, and the clock that a watcher paces itself by stands still while others train. A
second plain training shows what is noise. Memory is the peak of processes of their own.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

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
from examples.small_networks import ResNet

GOAL = 0.05

TURN = 0.35
"""Seconds of a turn, about."""

CASES: dict[str, Callable[[], nn.Module]] = {
    "64-128-128-10": network,
    "small ResNet": lambda: nn.Sequential(nn.Unflatten(1, (1, 8, 8)), ResNet()),
}

WAYS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "plain again": None,
    "into a folder (default)": {},
    "in memory": {"folder": None},
    "no sketches": {"sketches": False},
    "live rules": {"rules": thalweg.live_rules()},
    "overhead=0.01": {"overhead": 0.01},
}

WEIGHTS = 25_000_000
"""Parameters of the network whose memory is measured, about."""


@dataclass
class Standing:
    """A clock for each training that stands still while others train."""

    real: Callable[[], float] = time.perf_counter
    behind: float = 0.0
    stopped: dict[str, float] = field(default_factory=dict)

    def __call__(self) -> float:
        return self.real() - self.behind

    def turn(self, name: str, work: Callable[[], Any]) -> Spent:
        """Work by the clock of ``name``."""
        self.behind = self.real() - self.stopped.get(name, 0.0)
        spent, _ = timed(work)
        self.stopped[name] = self()
        return spent


def training(make: Callable[[], nn.Module], way: dict[str, Any] | None) -> Iterator[None]:
    """Train step by step, watched or not."""
    inputs, targets = digits()
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with ExitStack() as stack:
        recorder = None
        if way is not None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            chosen = {"folder": Path(scratch) / "run"} | way
            recorder = stack.enter_context(thalweg.watch(model, optimizer, **chosen))
        while True:
            batch = torch.randint(len(inputs), (64,))
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
            loss.backward()
            optimizer.step()
            if recorder is not None:
                recorder.step(loss)
            yield


def overheads(make: Callable[[], nn.Module], rounds: int) -> dict[str, Any]:
    """Every way in turn."""
    clock = Standing()
    trainings = {how: training(make, way) for how, way in WAYS.items()}
    shuffled = torch.Generator().manual_seed(0)

    def turn(how: str, steps: int) -> Spent:
        which = trainings[how]
        return clock.turn(how, lambda: [next(which) for _ in range(steps)])

    time.perf_counter = clock  # what a recorder looks at
    try:
        turn("plain", 100)
        steps = max(1, int(100 * TURN / turn("plain", 100).wall))
        spent: dict[str, list[Spent]] = {how: [] for how in WAYS}
        for number in range(-2, rounds):
            for i in torch.randperm(len(WAYS), generator=shuffled).tolist():
                how = list(WAYS)[i]
                took = turn(how, steps)
                if number >= 0:
                    spent[how].append(took)
        for each in trainings.values():
            each.close()  # pyright: ignore[reportAttributeAccessIssue]
    finally:
        time.perf_counter = clock.real
    plain = [one.processor for one in spent["plain"]]
    ways = {
        how: {
            "turns": spread([w.processor / p - 1 for w, p in zip(taken, plain)]),
            "together": sum(w.processor for w in taken) / sum(plain) - 1,
        }
        for how, taken in spent.items()
        if how != "plain"
    }
    return {
        "steps_a_turn": steps,
        "turns": rounds,
        "milliseconds_a_step": spread([1e3 * p / steps for p in plain]),
        "ways": ways,
    }


def peak(how: str) -> int:
    """Bytes at the peak of a process that trains a large network, here and now."""
    width = int((WEIGHTS / 4) ** 0.5)
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(4)))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        recorder = None
        if how != "plain":
            folder = Path(scratch) / "run" if how == "folder" else None
            recorder = stack.enter_context(thalweg.watch(model, optimizer, folder=folder))
        for _ in range(60):
            optimizer.zero_grad()
            loss = model(torch.ones(8, width)).square().mean()
            loss.backward()
            optimizer.step()
            if recorder is not None:
                recorder.step(loss)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return 1024 * int(found[1])


def memory() -> dict[str, Any]:
    """Peaks of processes of their own, in copies of the parameters above the plain one."""
    peaks = {}
    given_back = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed counts no more
    for how in ("plain", "memory", "folder"):
        command = [sys.executable, "-m", "benchmarks.watch", "--peak", how]
        out = subprocess.run(
            command, env=given_back, check=True, capture_output=True, text=True
        ).stdout
        peaks[how] = int(out)
    copy = 4 * WEIGHTS
    return {
        "bytes": peaks,
        "copies": {how: (peaks[how] - peaks["plain"]) / copy for how in ("memory", "folder")},
    }


def run(quick: bool) -> dict[str, Any]:
    """Both networks, and the memory."""
    rounds = 6 if quick else 60
    return {
        "what": "thalweg.watch, batch 64, SGD",
        "goal": GOAL,
        "environment": environment(),
        "cases": {name: overheads(make, rounds) for name, make in CASES.items()},
        "memory": memory(),
    }


def text(result: dict[str, Any]) -> str:
    """The tables."""
    lines = []
    for name, case in result["cases"].items():
        step = case["milliseconds_a_step"]["median"]
        lines += [
            f"| {name}, {step:.2f} ms a step | overhead, median of {case['turns']} turns (quartiles)"
            " | of all turns together |",
            "|---|---|---|",
        ]
        for how, way in case["ways"].items():
            o = way["turns"]
            lines.append(
                f"| {how} | {100 * o['median']:.1f}% ({100 * o['low']:.1f} to "
                f"{100 * o['high']:.1f}) | {100 * way['together']:.1f}% |"
            )
        lines.append("")
    copies = result["memory"]["copies"]
    lines += [
        f"Peak memory above the plain loop's, {WEIGHTS / 1e6:.0f} M parameters: "
        f"{copies['memory']:.2f} copies of the parameters in memory, {copies['folder']:.2f} into a "
        "folder (one copy, and the sketches with their signs).",
        "",
        caption(result),
    ]
    return "\n".join(lines)


def main() -> int:
    """Run, print, keep."""
    if "--peak" in sys.argv:
        print(peak(sys.argv[-1]))
        return 0
    chosen = options(__doc__)
    with one_thread():
        result = run(chosen.quick)
    print(text(result))
    if not chosen.quick:
        keep("watch", result, text(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
