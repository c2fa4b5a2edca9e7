"""Check the clinic's true causes by intervention: `python -m benchmarks.clinic_truth [NAME...]`.

Trains every case on from its state, with and without the changes that must and must not help, over
seeds (0 to 9 unless told). Exits with 1 where a check fails.
"""

import argparse
import sys
import time

import torch

from thalweg.clinic import CASES
from thalweg.clinic.truth import established


def main() -> int:
    """Print one line per case, and every check that fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases (all unless told)")
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--verbose", action="store_true", help="print the checks that hold too")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}")
    torch.set_num_threads(1)
    failed = 0
    for name in options.names or CASES:
        start, held = time.perf_counter(), 0
        for seed in range(options.first, options.first + options.seeds):
            checks = established(CASES[name], seed)
            held += all(check.holds for check in checks)
            for check in checks:
                if options.verbose or not check.holds:
                    print(f"    seed {seed} {check}", flush=True)
        failed += held < options.seeds
        spent = (time.perf_counter() - start) / options.seeds
        print(
            f"{name:24} {CASES[name].cause.value:18} {held:2} of {options.seeds}, "
            f"{spent:.1f} s a seed",
            flush=True,
        )
    print(f"{failed} cases fail" if failed else "every true cause is established")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
