"""What a diagnosis costs, in gradient evaluations and seconds: `python -m benchmarks.diagnosis`.

Without the escape probe, for a 64-128-128-10 ReLU network on 1 437 digits, at its start, mid-way
and trained. Goals: at most 300 evaluations, less than 5 s.
"""

import sys
import time
from typing import Any

import torch
from torch import Tensor, nn

import thalweg
from benchmarks._results import (
    caption,
    digits,
    environment,
    keep,
    network,
    one_thread,
    options,
    spread,
    timed,
    train,
)

GOALS = {"evaluations": 300, "seconds": 5.0}
STAGES = {"start": 0, "mid-way": 100, "trained": 2000}


def diagnosed(
    model: nn.Module, data: tuple[Tensor, Tensor]
) -> tuple[thalweg.Finding, dict[str, float]]:
    """The Finding, and the seconds of each phase as the diagnosis names them."""
    task = thalweg.Task(
        model=model,
        loss=nn.functional.cross_entropy,
        train=data,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        batch_size=64,
    )
    marks = [("preparation", time.perf_counter())]
    finding = thalweg.diagnose(
        task, probe=False, progress=lambda words: marks.append((words, time.perf_counter()))
    )
    marks.append(("", time.perf_counter()))
    phases: dict[str, float] = {}
    for (name, begin), (_, end) in zip(marks, marks[1:]):  # noqa: RUF007
        name = name.split(":")[0]
        phases[name] = phases.get(name, 0.0) + end - begin
    return finding, phases


def run(quick: bool) -> dict[str, Any]:
    """All stages."""
    data, model, done = digits(), network(), 0
    torch.manual_seed(1)
    diagnosed(model, data)  # what is loaded on first use is no part of it
    stages: dict[str, Any] = {}
    for name, steps in STAGES.items():
        train(model, data, steps - done)
        done = steps
        turns = [timed(lambda: diagnosed(model, data)) for _ in range(1 if quick else 5)]
        spent = [took for took, _ in turns]
        finding, phases = turns[-1][1]
        dearest = sorted(finding.evidence.items(), key=lambda item: -item[1].cost)[:8]
        stages[name] = {
            "cause": finding.cause.value,
            "confidence": round(finding.confidence, 3),
            "evaluations": finding.cost,
            "seconds": spread([s.wall for s in spent]),
            "processor_seconds": spread([s.processor for s in spent]),
            "phases": {phase: round(seconds, 4) for phase, seconds in phases.items()},
            "dearest": {key: round(e.cost, 2) for key, e in dearest if e.cost},
        }
        print(row(name, stages[name]), flush=True)
        for phase, seconds in phases.items():
            print(f"    {phase:40} {seconds:6.3f} s")
        for key, cost in stages[name]["dearest"].items():
            print(f"    {key:40} {cost:6.1f} evaluations")
    return {
        "what": "thalweg.diagnose without the probe, 64-128-128-10, 1437 digits, batch 64",
        "goals": GOALS,
        "environment": environment("scikit-learn"),
        "stages": stages,
    }


HEAD = (
    "| stage | verdict | gradient evaluations | seconds | slowest phases |\n|---|---|---|---|---|"
)


def row(name: str, stage: dict[str, Any]) -> str:
    """One line of the table."""
    slowest = sorted(stage["phases"].items(), key=lambda item: -item[1])[:3]
    told = ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in slowest)
    return (
        f"| {name} | {stage['cause'].replace('_', ' ')} | {stage['evaluations']:.0f} "
        f"| {stage['processor_seconds']['median']:.2f} | {told} |"
    )


def main() -> int:
    """Run, print, keep."""
    chosen = options(__doc__)
    with one_thread():
        result = run(chosen.quick)
    if not chosen.quick:
        table = "\n".join([HEAD, *(row(n, s) for n, s in result["stages"].items())])
        keep("diagnosis", result, f"{table}\n\n{caption(result)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
