"""Runs drawn by a seed: is the verdict right, the confidence true, and does the first cure help?

    python -m benchmarks.clinic_generated --first 5000 --runs 200 [--workers 1] [--folder FOLDER]

Draws runs from ``--first`` on (:mod:`thalweg.clinic.generator`), establishes the cause of each by
experiments (:mod:`thalweg.clinic.truth.trial`), throws away those whose cause they leave open, and
diagnoses the others. Every stuck one is raced: the first cure named against the unchanged run.
Results are appended to a file of JSON lines in the folder; the same command goes on from there.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

RUNS = 200
FOLDER = Path(__file__).parent / "results"

AT_REST = ("healthy", "minimum")
"""Causes that need no cure."""


def examine(seed: int) -> dict[str, Any]:
    """One drawn run: its truth; if that is established, its verdict and the race of its cure."""
    import torch

    torch.set_num_threads(1)
    from thalweg.clinic.generator import drawn_run
    from thalweg.clinic.truth import Battery, tried
    from thalweg.diagnose.verdict import diagnose

    begin = time.perf_counter()
    drawn = drawn_run(seed)
    row: dict[str, Any] = {"seed": seed, "family": drawn.family, **drawn.words}
    truth = tried(Battery(drawn.task, drawn.build, drawn.mend, seed))
    row |= {"truth": truth.cause and truth.cause.value, "reason": truth.reason}
    row |= {"numbers": truth.numbers, "truth_seconds": time.perf_counter() - begin}
    if truth.cause is None:
        return row
    begin = time.perf_counter()
    finding = diagnose(drawn.task)
    row |= {
        "verdict": finding.cause.value,
        "confidence": finding.confidence,
        "sentence": finding.sentence,
        "others": [(f.cause.value, round(f.confidence, 3)) for f in finding.findings],
        "cost": finding.cost,
        "seconds": time.perf_counter() - begin,
        "cures": [cure.name for cure in finding.cures],
    }
    if truth.cause.value not in AT_REST and finding.cures:
        first = finding.cures[0]
        row["cure"] = first.name
        if first.change is not None:
            row |= _raced(drawn.task, first)
    return row


def _raced(task: Any, cure: Any) -> dict[str, Any]:
    """The first cure against the unchanged run, over three seeds, at equal evaluations."""
    from thalweg.diagnose.race import race

    begin = time.perf_counter()
    outcome = race(task, [cure], seeds=3)
    arm = next(arm for arm in outcome.arms if arm.name != "unchanged")
    gain = arm.gain.value
    return {
        "outcome": arm.outcome,
        "gain": gain if abs(gain) < float("inf") else str(gain),
        "beats": arm.outcome == "helps" or (arm.outcome != "diverged" and gain > 0),
        "race_seconds": time.perf_counter() - begin,
    }


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; a line that a kill tore is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def drawn(path: Path, first: int, runs: int, workers: int) -> list[dict[str, Any]]:
    """Go on from what the file holds until ``runs`` runs have an established cause."""
    rows = {row["seed"]: row for row in read(path)}

    def found() -> int:
        return sum(row["truth"] is not None for row in rows.values())

    def seeds() -> Iterator[int]:
        seed = first
        while True:
            if seed not in rows:
                yield seed
            seed += 1

    path.parent.mkdir(parents=True, exist_ok=True)
    source, waiting = seeds(), set[Future[dict[str, Any]]]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool, path.open("a") as file:
        while found() < runs:
            while len(waiting) < workers:
                waiting.add(pool.submit(examine, next(source)))
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for each in done:
                row = each.result()
                rows[row["seed"]] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(_line(row, found()), flush=True)
        for each in waiting:
            each.cancel()
    return list(rows.values())


def _line(row: dict[str, Any], found: int) -> str:
    if row["truth"] is None:
        return f"{row['seed']} {row['family']}: thrown away, {row['reason']}"
    mark = "" if row["truth"] == row["verdict"] else "WRONG "
    cure = f", {row['cure']} {row.get('outcome', 'is advice')}" if "cure" in row else ""
    return (
        f"{found}: {row['seed']} {row['family']}: {mark}{row['truth']} -> {row['verdict']} "
        f"{row['confidence']:.2f}{cure} ({row['truth_seconds']:.1f} + {row['seconds']:.1f} + "
        f"{row.get('race_seconds', 0.0):.1f} s)"
    )


def main() -> None:
    """Draw, examine, and print how many are right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--first", type=int, default=5000, help="the first seed")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of established cause")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    path = asked.folder / f"clinic_{asked.first}.jsonl"
    rows = drawn(path, asked.first, asked.runs, asked.workers)
    kept = [row for row in rows if row["truth"] is not None]
    print(sum(r["truth"] == r["verdict"] for r in kept), "of", len(kept))


if __name__ == "__main__":
    main()
