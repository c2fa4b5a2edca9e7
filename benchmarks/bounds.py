"""Theory's bounds on random functions: `python -m benchmarks.bounds`.

Thousands of random functions of one and two variables with random noise, learning rates, domains and
targets. Where the constants c, C, L and V are proved, they are held against random points, and each of
the bounds (1) to (7), none of which allows for chance, against trials of plain NumPy from the
farthest corner of the domain. A trial that leaves the domain is stopped, as in the proofs.
"""

import math
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._results import caption, environment, keep, one_thread, options, timed
from thalweg.objective.landscapes import from_formula
from thalweg.objective.noise import Noise, parse
from thalweg.theory.bounding import constants_of
from thalweg.theory.bounds import EscapeBounds, OnePointBounds
from thalweg.theory.constants import Constants
from thalweg.theory.domain import Domain

Array = np.ndarray[Any, Any]
Gradient = Callable[[Array], Array]

FUNCTIONS, TRIALS, LONGEST, POINTS = 2_000, 1_000, 200, 4_000
ROUNDING = 1e-9


@dataclass(frozen=True)
class Subject:
    """A random function with its gradient written out by hand, and how it is descended."""

    text: str
    gradient: Gradient
    rate: float
    noise: Noise
    domain: Domain
    target: tuple[float, ...]


def subject(rng: np.random.Generator) -> Subject:
    """A bowl with waves, pits and kinks."""
    dim = int(rng.choice([1, 1, 2]))
    names = "xy"[:dim]
    bowl = np.round(rng.uniform(0.3, 2, dim), 3)
    parts, slopes = [f"{a}*{v}**2" for a, v in zip(bowl, names)], [lambda x: 2 * bowl * x]
    for _ in range(int(rng.integers(0, 3))):
        k = np.round(rng.uniform(1, 25, dim) * rng.choice([-1, 1], dim), 2)
        height, phase = np.round([rng.uniform(0, 3) / math.hypot(*k), rng.uniform(0, 6)], 4)
        inner = " + ".join(f"({q})*{v}" for q, v in zip(k, names))
        parts.append(f"{height}*cos({inner} + {phase})")
        slopes.append(lambda x, k=k, h=height, p=phase: -h * np.sin(x @ k + p)[..., None] * k)
    if dim == 1 and rng.random() < 0.3:
        p, s = np.round(rng.uniform(-2, 2), 3), np.round(rng.uniform(0.05, 1), 3)
        parts.append(f"{s}*abs(x - ({p}))")
        slopes.append(lambda x, p=p, s=s: s * np.sign(x - p))
    if dim == 1 and rng.random() < 0.3:
        p, h, w = np.round(
            [rng.uniform(-2, 2), rng.uniform(0.01, 1), 10 ** rng.uniform(-2, -0.5)], 4
        )
        parts.append(f"-{h}*exp(-(x - ({p}))**2/{2 * w * w:.17g})")
        slopes.append(
            lambda x, p=p, h=h, w=w: h * (x - p) / w**2 * np.exp(-((x - p) ** 2) / (2 * w**2))
        )
    rate = float(np.round(10 ** rng.uniform(-2, -0.1), 3))
    kinds = ["uniform", "ball", "sphere", "gaussian"]
    size = float(np.round(10 ** rng.uniform(-1.3, 0.3) / rate, 4)) * float(rng.random() < 0.95)
    low, high = -(10 ** rng.uniform(-0.5, 0.6, dim)), 10 ** rng.uniform(-0.5, 0.6, dim)
    return Subject(
        text=" + ".join(parts),
        gradient=lambda x: np.sum([slope(x) for slope in slopes], axis=0),
        rate=rate,
        noise=parse(f"{rng.choice(kinds)}:{size}"),
        domain=Domain(tuple(zip(low.tolist(), high.tolist()))),
        target=tuple((rng.uniform(0.2, 0.8, dim) * (high - low) + low).tolist()),
    )


def draws(noise: Noise, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """ω by other means than the library's."""
    kind, size = noise.text.split(":")
    a, dim = float(size), shape[-1]
    if kind == "uniform":
        return rng.uniform(-a, a, shape)
    normal = rng.standard_normal(shape)
    if kind == "gaussian":
        return a * normal
    round_ = a * normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    return round_ * rng.random((*shape[:-1], 1)) ** (1 / dim) if kind == "ball" else round_


@dataclass(frozen=True)
class Held:
    """A bound beside what was measured, and the error of that."""

    name: str
    bound: float
    measured: float
    error: float = 0.0

    @property
    def holds(self) -> bool:
        """To within five standard errors: there are tens of thousands of comparisons."""
        return self.measured - 5 * self.error <= self.bound + ROUNDING * (1 + abs(self.bound))


def constants(one: Subject, known: Constants, rng: np.random.Generator) -> list[Held]:
    """c, C, L and V at random points; means over the noise by draws, with their errors."""
    low, high = np.array(one.domain.sides).T
    y = rng.uniform(low, high, (POINTS // 40, len(low)))
    noise = draws(one.noise, (1, 4000, len(low)), rng)
    noise = one.rate * np.concatenate([noise, -noise], axis=1)
    x = y[:, None] - noise
    slopes = one.gradient(x)
    e = y - np.array(known.target)
    length = np.linalg.norm(e, axis=-1)
    inner = (slopes * e[:, None]).sum(-1)
    pairs = (inner[:, :4000] + inner[:, 4000:]) / 2
    ratio, doubt = pairs.mean(1) / length**2, pairs.std(1) / math.sqrt(4000) / length**2
    mean = slopes.mean(1)
    blur = slopes.std(1) / math.sqrt(4000)
    steep = np.linalg.norm(mean, axis=-1) / length
    landed = x - one.rate * slopes
    squares = ((landed - landed.mean(1, keepdims=True)) ** 2).sum(-1)
    least = int(np.argmin(ratio + 5 * doubt))
    most = int(np.argmax(steep - 5 * np.linalg.norm(blur, axis=-1) / length))
    wide = int(np.argmax(squares.mean(1)))
    near = x.reshape(-1, len(low))[:: max(1, x.size // POINTS)]
    way = rng.standard_normal(near.shape)
    way *= 1e-5 / np.linalg.norm(way, axis=-1, keepdims=True)
    bend = np.linalg.norm(one.gradient(near + way) - one.gradient(near - way), axis=-1) / 2e-5
    return [
        Held("c", -known.convexity.value, -float(ratio[least]), float(doubt[least])),
        Held(
            "C",
            known.slope.value,
            float(steep[most]),
            float(np.linalg.norm(blur[most]) / length[most]),
        ),
        Held("L", known.smoothness.value * (1 + 1e-6), float(bend.max())),
        Held(
            "V",
            known.variance.value,
            float(squares.mean(1)[wide]),
            float(squares.std(1)[wide] / math.sqrt(8000)),
        ),
    ]


@dataclass(frozen=True)
class Descended:
    """Trials of y ← x − η∇f(x), x = y − ηω, each stopped where it leaves the domain."""

    squares: Array
    largest: Array
    inside: Array
    farther: float

    @classmethod
    def of(
        cls, one: Subject, target: Array, start: Array, steps: int, rng: np.random.Generator
    ) -> "Descended":
        """So many steps of all trials from one point."""
        low, high = np.array(one.domain.sides).T
        y = np.tile(start, (TRIALS, 1))
        inside = np.ones(TRIALS, dtype=bool)
        largest = ((y - target) ** 2).sum(-1)
        farther = -math.inf
        for _ in range(steps):
            x = y - one.rate * draws(one.noise, y.shape, rng)
            way = np.linalg.norm(x - target, axis=-1) - np.linalg.norm(y - target, axis=-1)
            farther = max(farther, float(way.max()))
            landed = x - one.rate * one.gradient(x)
            y = np.where(inside[:, None], landed, y)
            largest = np.maximum(largest, ((y - target) ** 2).sum(-1))
            inside &= ((y >= low) & (y <= high)).all(-1)
        return cls(((y - target) ** 2).sum(-1), largest, inside, farther)


def mean(name: str, bound: float, values: Array) -> Held:
    """The mean over the trials beside its bound."""
    values = np.asarray(values, dtype=float)
    return Held(name, bound, float(values.mean()), float(values.std() / math.sqrt(TRIALS)))


def trials(one: Subject, known: Constants, rng: np.random.Generator) -> list[Held]:
    """The bounds against trials from the farthest corner; (4) from the target."""
    eta, dim = one.rate, one.domain.dim
    low, high = np.array(one.domain.sides).T
    target = np.array(known.target)
    corner = np.where(high - target > target - low, high, low)
    start = float(np.linalg.norm(corner - target))
    escape = EscapeBounds(
        convexity=known.convexity.value,
        slope=known.slope.value,
        variance=known.variance.value,
        learning_rate=eta,
        dim=dim,
    )
    convex = OnePointBounds(
        convexity=known.convexity.value,
        smoothness=known.smoothness.value,
        radius=one.noise.bound(dim),
        second_moment=one.noise.second_moment(dim),
        learning_rate=eta,
    )
    if not escape.factor < 1:
        return []
    steps = int(rng.integers(1, LONGEST))
    seen = Descended.of(one, target, corner, steps, rng)
    squares = np.where(seen.inside, seen.squares, 0.0)
    level = 2 * (start**2 + escape.stationary)
    found = [
        mean("(6)", escape.expected_square(steps, start), squares),
        mean("(7)", escape.leaving(steps, start, math.sqrt(level)), seen.largest >= level),
    ]
    if known.closed:
        found.append(Held("no step leaves", 0.0, float((~seen.inside).mean())))
    if convex.rate > 0:
        expected = convex.expected_square(steps, start)
        found.append(mean("(1)", expected, squares))
        tail = convex.tail(steps, start, 1.2 * expected)
        found.append(mean("(2)", tail, squares >= 1.2 * expected + ROUNDING**2))
        if math.isfinite(convex.radius):
            edge = convex.quantile(steps, start, 0.05)
            found.append(mean("(3), p = 0.05", 0.05, squares > edge))
            found.append(Held("(5)", convex.point_distance(0.0), seen.farther))
            ball = float(np.minimum(high - target, target - low).min()) - eta * convex.radius
            if ball > 0 and convex.stays(steps, 0.0, 0.05, ball):
                near = Descended.of(one, target, target, steps, rng)
                window = convex.quantile(0, 0.0, 0.05, window=steps)
                left = ~near.inside | (near.largest > window + ROUNDING)
                found.append(mean("(4), p = 0.05", 0.05, left))
    return found


def run(functions: int) -> dict[str, list[Held]]:
    """All comparisons by their names."""
    found = defaultdict(list)
    for seed in range(functions):
        if seed % 200 == 0:
            print(f"{seed} functions", file=sys.stderr)
        rng = np.random.default_rng(seed)
        one = subject(rng)
        known = constants_of(from_formula(one.text), one.rate, one.noise, one.target, one.domain)
        if not known.rigorous or not known.settled:
            continue
        held = constants(one, known, rng)
        if known.convexity.value > 0:
            held += trials(one, known, rng)
        for each in held:
            found[each.name].append(each)
            if not each.holds:
                print(f"seed {seed}: {each} at {one.text}, {one.rate}, {one.noise}, {one.domain}")
    return found


def table(found: dict[str, list[Held]]) -> str:
    """One line for each constant and bound."""
    lines = [
        "| what | functions | violated | measured over bound: median |",
        "|---|---|---|---|",
    ]
    for name, held in found.items():
        shares = [h.measured / h.bound for h in held if 0 < abs(h.bound) < math.inf]
        if name == "c":  # both have their sign changed: c is at most the ratio that was seen
            shares = [h.bound / h.measured for h in held if h.bound < 0]
        wrong = sum(not h.holds for h in held)
        told = f"{np.median(shares):.3g}" if shares else "–"
        lines.append(f"| {name} | {len(held)} | {wrong} | {told} |")
    return "\n".join(lines)


def main() -> None:
    """Compare, print and keep."""
    asked = options(__doc__)
    functions = 60 if asked.quick else FUNCTIONS
    with one_thread():
        spent, found = timed(lambda: run(functions))
        result: dict[str, Any] = {
            "environment": environment("python-flint"),
            "functions": functions,
            "seconds": spent.processor,
            "compared": {name: len(held) for name, held in found.items()},
            "violated": {name: sum(not h.holds for h in held) for name, held in found.items()},
        }
    text = f"{table(found)}\n\n{functions} random functions. {caption(result)}"
    print(text)
    if not asked.quick:
        keep("bounds", result, text)


if __name__ == "__main__":
    main()
