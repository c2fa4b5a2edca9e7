"""Many trials of SGD on a spiky function: `python -m benchmarks.trials`.

100 000 trials x 1 000 steps on x² + 0.3 cos 20x with uniform noise, against a NumPy loop that does
the same in place, of the same dtype and with the same distributions, in one thread, in turns in
one process. Goals: float64 at least as fast through torch.optim and autograd and 3 times as fast
compiled, float32 at least as fast compiled. A second table shows what doubling the trials, the
steps and the dimension costs.
"""

import math
import sys
from typing import Any

import numpy as np
import torch

import thalweg
from benchmarks._results import (
    caption,
    environment,
    keep,
    one_thread,
    options,
    spread,
    timed,
)
from thalweg.objective.landscapes import quadratic, spiky
from thalweg.objective.noise import Uniform
from thalweg.run.draws import draws

TRIALS, STEPS, RATE, NOISE, AMPLITUDE, FREQUENCY = 100_000, 1_000, 0.002, 25.0, 0.3, 20.0
GOALS = {("float64", "eager"): 1.0, ("float64", "compiled"): 3.0, ("float32", "compiled"): 1.0}


def in_place(dtype: str, trials: int, steps: int) -> np.ndarray[Any, Any]:
    """The loop that a careful user of NumPy writes."""
    kind = np.dtype(dtype).type
    generator = np.random.default_rng(0)
    x = generator.uniform(-3, 3, trials).astype(kind)
    slope, noise = np.empty_like(x), np.empty_like(x)
    for _ in range(steps):
        generator.random(out=noise, dtype=kind)
        np.multiply(noise, kind(2 * NOISE), out=noise)
        np.subtract(noise, kind(NOISE), out=noise)
        np.multiply(x, kind(FREQUENCY), out=slope)
        np.sin(slope, out=slope)
        np.multiply(slope, kind(-AMPLITUDE * FREQUENCY), out=slope)
        np.add(slope, noise, out=slope)
        np.multiply(x, kind(2), out=noise)
        np.add(slope, noise, out=slope)
        np.multiply(slope, kind(RATE), out=slope)
        np.subtract(x, slope, out=x)
    return x


def plan(dtype: str, trials: int, steps: int) -> thalweg.Plan:
    """The same as a Plan."""
    return thalweg.Plan(
        learning_rate=RATE,
        noise=Uniform(NOISE),
        starts="uniform:-3:3",
        dtype=dtype,
        trials=trials,
        steps=steps,
    )


def random_numbers(dtype: str, trials: int, steps: int) -> None:
    """What a run draws, and nothing else."""
    generator = torch.Generator().manual_seed(0)
    points = torch.empty((trials, 1), dtype=getattr(torch, dtype))
    stream = draws(Uniform(NOISE), points, generator)
    for _ in range(steps):
        stream.next()


def race(quick: bool) -> list[dict[str, Any]]:
    """Every side in turn, in both precisions."""
    steps, rounds = (100, 3) if quick else (STEPS, 5)
    landscape = spiky(AMPLITUDE, FREQUENCY)
    rows = []
    for dtype in ("float64", "float32"):
        asked = plan(dtype, TRIALS, steps)
        sides = {
            "numpy": lambda dtype=dtype: in_place(dtype, TRIALS, steps),
            "eager": lambda asked=asked: thalweg.run(landscape, asked),
            "compiled": lambda asked=asked: thalweg.run(landscape, asked, compile=True),
            "random": lambda dtype=dtype: random_numbers(dtype, TRIALS, steps),
        }
        short = plan(dtype, TRIALS, 10)
        compiling, first = timed(lambda short=short: thalweg.run(landscape, short, compile=True))
        if first.notes:
            raise SystemExit(first.notes[0])
        spent: dict[str, list[float]] = {side: [] for side in sides}
        ends = {}
        for turn in range(rounds):
            order = list(sides)
            for side in order[turn % 4 :] + order[: turn % 4]:
                took, result = timed(sides[side])
                spent[side].append(took.processor)
                ends[side] = result
        _agree(ends)
        each = {side: [1e9 * s / (TRIALS * steps) for s in times] for side, times in spent.items()}
        rows += [
            {
                "dtype": dtype,
                "side": side,
                "nanoseconds": spread(each[side]),
                "ratio": spread([a / b for a, b in zip(each["numpy"], each[side])]),
                "random_share": spread([a / b for a, b in zip(each["random"], each[side])]),
                "compiling": compiling.processor if side == "compiled" else None,
                "goal": GOALS.get((dtype, side)),
            }
            for side in ("numpy", "eager", "compiled")
        ]
    return rows


def _agree(ends: dict[str, Any]) -> None:
    """The sides ended with the same distribution: the shares within 1 of 0."""
    inside = [np.abs(ends["numpy"]) <= 1]
    inside += [np.abs(ends[side].end["points"][:, 0]) <= 1 for side in ("eager", "compiled")]
    shares = [float(each.mean()) for each in inside]
    error = math.sqrt(2 * shares[0] * (1 - shares[0]) / TRIALS)
    if max(abs(share - shares[0]) for share in shares) > 5 * error + 1e-12:
        raise SystemExit(f"the sides do not do the same: {shares}")


def growth(quick: bool) -> list[dict[str, Any]]:
    """Nanoseconds a coordinate and step as trials, steps and dimension double, eager and compiled."""
    trials, steps, dim = (20_000, 100, 4) if quick else (50_000, 200, 4)
    sizes = [(trials * 2**k, steps, dim) for k in range(3)]
    sizes += [(trials, steps * 2**k, dim) for k in (1, 2)]
    sizes += [(trials, steps, dim * 2**k) for k in (1, 2)]
    rows = []
    for size in sizes:
        trials, steps, dim = size
        bowl = quadratic(tuple(np.linspace(1, 10, dim)))
        asked = thalweg.Plan(
            learning_rate=0.02,
            noise=Uniform(1.0),
            starts="uniform:-3:3",
            trials=trials,
            steps=steps,
        )
        row: dict[str, Any] = {"trials": trials, "steps": steps, "dim": dim}
        for compiled in (False, True):
            thalweg.run(bowl, thalweg.Plan(**{**asked.to_dict(), "steps": 10}), compile=compiled)
            times = [
                timed(lambda c=compiled, b=bowl, a=asked: thalweg.run(b, a, compile=c))[0].processor
                for _ in range(1 if quick else 2)
            ]
            row["compiled" if compiled else "eager"] = 1e9 * min(times) / (trials * steps * dim)
        rows.append(row)
    return rows


NAMES = {
    "numpy": "NumPy, in place",
    "eager": "thalweg, torch.optim and autograd",
    "compiled": "thalweg, compiled",
}


def tables(result: dict[str, Any]) -> str:
    """Both, as Markdown."""
    lines = [
        "| dtype | side | ns a trial and step | times as fast as NumPy (quartiles) | goal | random numbers |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["race"]:
        r, ns = row["ratio"], row["nanoseconds"]["median"]
        goal = "" if row["goal"] is None else f"{row['goal']:g}"
        ratio = f"**{r['median']:.2f}** ({r['low']:.2f}–{r['high']:.2f})"
        ours = row["side"] != "numpy"
        lines.append(
            f"| {row['dtype']} | {NAMES[row['side']]} | {ns:.1f} | {ratio if ours else ''} | {goal} | "
            + (f"{row['random_share']['median']:.0%} |" if ours else " |")
        )
    lines += [
        "",
        "| trials | steps | dimension | eager, ns a coordinate and step | compiled |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['trials']} | {row['steps']} | {row['dim']} | {row['eager']:.1f} | {row['compiled']:.1f} |"
        for row in result["growth"]
    ]
    return "\n".join(lines)


def main() -> int:
    """Run, print, keep."""
    chosen = options(__doc__)
    with one_thread():
        result = {
            "what": f"SGD on x**2 + 0.3*cos(20*x), {TRIALS} trials, uniform noise",
            "race": race(chosen.quick),
            "growth": growth(chosen.quick),
            "environment": environment(),
        }
    seconds = max(row["compiling"] or 0.0 for row in result["race"])
    note = f"The compiler took at most {seconds:.1f} s beside that, once. {caption(result)}"
    print(f"{tables(result)}\n\n{note}")
    if not chosen.quick:
        keep("trials", result, f"{tables(result)}\n\n{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
