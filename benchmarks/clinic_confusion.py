"""The clinic's confusion table: every case over seeds that no rule was made with.

    python -m benchmarks.clinic_confusion [--seeds 10] [--first 600] [--workers 2]

Writes docs/clinic.md: the share right for each cause with its 95% interval, the confusion table,
the confident errors by name, and the calibration of the confidence. Each worker runs one thread.
"""

import argparse
import multiprocessing
import os
import platform
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "clinic.md"

GENERATED = "<!-- generated runs: begin -->"

CONFIDENT = 0.8
"""Above this a wrong verdict is a confident error."""


@dataclass(frozen=True)
class Row:
    """One case at one seed: the truth, the verdict, its confidence, its cost and its seconds."""

    case: str
    seed: int
    truth: str
    verdict: str
    confidence: float
    cost: float
    seconds: float

    @property
    def right(self) -> bool:
        """Whether the verdict is the truth."""
        return self.truth == self.verdict


def examine(job: tuple[str, int]) -> Row:
    """Make one case and diagnose it, in a process of its own thread."""
    import time

    import torch

    from thalweg.clinic import CASES
    from thalweg.diagnose.verdict import diagnose

    torch.set_num_threads(1)
    name, seed = job
    case = CASES[name]
    task = case.make(seed)
    begin = time.perf_counter()
    finding = diagnose(task)
    seconds = time.perf_counter() - begin
    return Row(
        name,
        seed,
        case.cause.value,
        finding.cause.value,
        finding.confidence,
        finding.cost,
        seconds,
    )


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    z = 1.96
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    half /= 1 + z * z / count
    return middle - half, middle + half


def page(rows: list[Row], command: str) -> str:
    """The page in Markdown."""
    from thalweg.diagnose.cause import Cause

    order = [cause.value for cause in Cause]
    by_cause: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_cause[row.truth].append(row)
    wrong = [row for row in rows if not row.right]
    loud = [r for r in wrong if r.confidence > CONFIDENT and r.verdict != "undetermined"]
    right = len(rows) - len(wrong)
    low, high = interval(right, len(rows))
    seeds = sorted({row.seed for row in rows})
    worst = max(row.seconds for row in rows)
    lines = [
        "# The clinic: how often the verdict is right",
        "",
        f"Made by `{command}` on {datetime.now(UTC):%Y-%m-%d}; Python {platform.python_version()}, "
        "one thread a worker.",
        "",
        f"{len({row.case for row in rows})} cases whose cause is established by intervention "
        f"(`python -m benchmarks.clinic_truth`), each at {len(seeds)} seeds "
        f"({seeds[0]} to {seeds[-1]}) that vary data, width, initialisation, rate and batch. The rules "
        "were made on other seeds (below 510) of the same cases: this says how well they hold on runs "
        "like these, not on every run there is.",
        "",
        f"**{right} of {len(rows)} right ({right / len(rows):.1%}, 95% interval {low:.1%} to "
        f"{high:.1%}); {len(loud)} confident errors** (a wrong cause with confidence above "
        f"{CONFIDENT}). The longest diagnosis took {worst:.1f} s.",
        "",
        "| true cause | runs | right | share | verdicts that were wrong |",
        "|---|---|---|---|---|",
    ]
    for cause in order:
        mine = by_cause.get(cause, [])
        if not mine:
            continue
        good = sum(row.right for row in mine)
        others = Counter(row.verdict for row in mine if not row.right)
        told = ", ".join(f"{name} {count}" for name, count in others.most_common()) or "none"
        lines.append(f"| {cause} | {len(mine)} | {good} | {good / len(mine):.0%} | {told} |")
    lines += ["", "## Confident errors", ""]
    lines += [
        f"- `case:{row.case}:{row.seed}` is {row.truth}, was called {row.verdict} "
        f"({row.confidence:.2f})"
        for row in loud
    ] or ["None."]
    lines += ["", "## Other errors", ""]
    lines += [
        f"- `case:{row.case}:{row.seed}` is {row.truth}, was called {row.verdict} "
        f"({row.confidence:.2f})"
        for row in wrong
        if row not in loud
    ] or ["None."]
    lines += [
        "",
        "## Is the confidence what it says?",
        "",
        "| confidence | verdicts | right |",
        "|---|---|---|",
    ]
    for begin, end in ((0.0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01)):
        mine = [r for r in rows if begin < r.confidence <= end and r.verdict != "undetermined"]
        if mine:
            good = sum(row.right for row in mine)
            lines.append(
                f"| {begin:.1f} to {min(end, 1.0):.1f} | {len(mine)} | {good / len(mine):.0%} |"
            )
    lines += [
        "",
        "## Case by case",
        "",
        "| case | true cause | right | mean cost |",
        "|---|---|---|---|",
    ]
    by_case: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_case[row.case].append(row)
    for name, mine in by_case.items():
        good = sum(row.right for row in mine)
        cost = sum(row.cost for row in mine) / len(mine)
        lines.append(f"| {name} | {mine[0].truth} | {good} of {len(mine)} | {cost:.0f} |")
    lines += [
        "",
        "Cost is in gradient evaluations over the training data, the escape probe included.",
    ]
    return "\n".join(lines) + "\n"


def write(text: str) -> None:
    """The page; what :mod:`benchmarks.clinic_generated` put at its end stays."""
    before = PAGE.read_text() if PAGE.exists() else ""
    mark, rest = before.partition(GENERATED)[1:]
    PAGE.write_text(f"{text}\n{mark}{rest}" if mark else text)


def main() -> None:
    """Run the table and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one seed")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    from thalweg.clinic import CASES

    seeds = 1 if asked.quick else asked.seeds
    jobs = [(name, asked.first + seed) for seed in range(seeds) for name in CASES]
    rows: list[Row] = []
    text = ""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.workers, mp_context=context) as pool:
        for done, row in enumerate(pool.map(examine, jobs), 1):
            rows.append(row)
            if not row.right:
                print(f"{row.case}:{row.seed} {row.truth} -> {row.verdict} {row.confidence:.2f}")
            if done % len(CASES) == 0:  # a seed is done: what stops here keeps what it has
                seen = done // len(CASES)
                told = f"python -m benchmarks.clinic_confusion --seeds {seen} --first {asked.first}"
                text = page(rows, told)
                print(
                    f"{seen} of {seeds} seeds, {sum(r.right for r in rows)} of {done}", flush=True
                )
                if not asked.quick:
                    write(text)
    print(text[:1200])


if __name__ == "__main__":
    main()
