"""Race curvlinops, hessian-eigenthings and PyHessian to a spectrum: `python -m benchmarks.spectrum`.

Parts, all unless some are named: `trace` (to 2%, rms over 20 seeds), `density` (at equal
Wasserstein-1 distance to the dense spectrum), `resnet` (top five eigenvalues of a ResNet-20 to 1e-3),
`saddle` (the smallest eigenvalue near a saddle), `linear` (time against examples and parameters),
`memory` (the peak of a product against its budget), `coverage` (how often the stated intervals hold).
`--dense` makes the dense spectra of the digits
network anew, which takes an hour. One process, one thread, turn by turn, by the processor's clock.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks._results import RESULTS, environment, keep, one_thread
from benchmarks._spectra import STAGES, Row
from benchmarks._spectra_cost import coverage, linear, memory
from benchmarks._spectra_ends import race_resnet, saddle
from benchmarks._spectra_sums import dense_spectrum, race_density, race_trace
from benchmarks._spectra_tables import tables

GOALS = {"trace": 2.0, "density": 5.0, "resnet": 2.5}

PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "trace": race_trace,
    "density": race_density,
    "resnet": race_resnet,
    "saddle": saddle,
    "linear": linear,
    "memory": memory,
    "coverage": coverage,
}


def main() -> int:
    """Run, print, keep; parts that were not asked for stay as they were kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all unless named")
    parser.add_argument("--quick", action="store_true", help="few repetitions; nothing is kept")
    parser.add_argument("--dense", action="store_true", help="make the dense spectra anew")
    chosen = parser.parse_args()
    kept = RESULTS / "spectrum.json"
    result: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")  # the peers' own
        if chosen.dense:
            for stage in STAGES:
                dense_spectrum(stage, make=True)
        result |= {
            "what": "spectra: trace, density, ends, cost, coverage",
            "goals": GOALS,
            "environment": environment(
                "scipy", "curvlinops-for-pytorch", "pyhessian", "hessian-eigenthings"
            ),
        }
        for name in chosen.parts or PARTS:
            began = time.perf_counter()
            result[name] = PARTS[name](chosen.quick)
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    for name, goal in GOALS.items():
        for row in result.get(name, ()):
            print(f"{name}, {row['case']}: {row['ratio']:.2f}, goal {goal:g}")
    if not chosen.quick:
        keep("spectrum", result, tables(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
