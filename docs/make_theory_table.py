"""Writes docs/theory-table.md: where every landscape stands, and what noise certifies on it.

Run it from the root: .venv/bin/python docs/make_theory_table.py (some minutes).
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import thalweg as tw
from thalweg.objective.landscape import Landscape
from thalweg.theory.basins import minima
from thalweg.theory.domain import read_domain

PAGE = Path(__file__).parent / "theory-table.md"
KEPT = Path(tempfile.gettempdir()) / "thalweg-theory-table"
"""A finished landscape is kept here, so that a run that was stopped goes on."""

RATES = {1: (1.0, 0.3, 0.1, 0.03, 0.01), 2: (0.3, 0.1, 0.01)}
FACTORS = {1: (0.5, 1.0, 1.5, 2.0, 3.0), 2: (1.0, 2.0)}
"""By dimension."""

SLOW = {"ackley", "mueller_brown", "gaussian_spikes", "beale", "flat_and_sharp"}
"""Their smoothed loss is a quadrature, or their proof takes many boxes."""

HEAD = """# Where every landscape stands

Written by `docs/make_theory_table.py`. Each function of the catalogue, on its own domain, around its
lowest minimum. *Place*: convex; one-point convex; one-point convex only
after smoothing by uniform noise (ρ: the smallest step noise tried for which it is); or neither
(estimated on a grid). *Certificate*: over learning rates η and step noises ρ, so gradient noise
r = ρ/η, the pair that leaves most of the other minima behind: how many, with what probability at
least, and whether c, C and V were proved (rigorous) or estimated. Where no pair gives a certificate
that says anything, that is said. Tried were {rates1} for η in one dimension and {rates2} in two,
and for ρ {factors1} (in two dimensions {factors2}) times the ρ of the place, or times 5% of the
domain where there is none. The tables over (η, ρ) stand below.

| landscape | place | ρ | certificate |
|---|---|---|---|
"""


def main() -> None:
    """All rows, the page written after each; those that take minutes come last."""
    made = {name: make() for name, make in tw.landscapes.CATALOGUE.items()}
    chosen = sys.argv[1:] or sorted(made, key=lambda name: (name in SLOW, name))
    KEPT.mkdir(exist_ok=True)
    for name in chosen:
        kept = KEPT / f"{name}.json"
        if not kept.exists():
            kept.write_text(json.dumps(studied(made[name])))
        sys.stdout.write(row(name, json.loads(kept.read_text())) + "\n")
        sys.stdout.flush()
        write(sorted(made))


def studied(landscape: Landscape) -> dict[str, Any]:
    """The place and the certificates of one landscape."""
    domain = read_domain(landscape.domain, landscape.dim)
    if landscape.dim > 2:
        place = tw.theory.placed(landscape, some_minimum(landscape), domain)
        return {"kind": place.kind, "radius": place.radius, "minima": None, "table": []}
    found = minima(landscape, domain)
    losses = [float(landscape.loss(torch.tensor(p, dtype=torch.float64))) for p in found]
    middle = tuple((low + high) / 2 for low, high in domain.sides)
    target = found[losses.index(min(losses))] if found else middle
    place = tw.theory.placed(landscape, target, domain)
    radius = place.radius or 0.05 * domain.size
    table = []
    if len(found) > 1:
        radii = [float(f"{factor * radius:.3g}") for factor in FACTORS[landscape.dim]]
        table = tw.theory.certificates(
            landscape, target, domain, rates=RATES[landscape.dim], radii=radii
        )
    return {"kind": place.kind, "radius": place.radius, "minima": len(found), "table": table}


def some_minimum(landscape: Landscape) -> tuple[float, ...]:
    """A known one, or where descent ends where they are no isolated points."""
    if landscape.minima:
        return landscape.minima[0]
    point = torch.linspace(0.4, 1.0, landscape.dim, dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.LBFGS([point], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = landscape.loss(point)
        loss.backward()
        return loss

    optimizer.step(closure)
    return tuple(point.detach().tolist())


def write(names: list[str]) -> None:
    """The page, of what is kept."""
    kept = {name: KEPT / f"{name}.json" for name in names}
    known = {name: json.loads(p.read_text()) for name, p in kept.items() if p.exists()}
    rows = [row(name, found) for name, found in known.items()]
    tables = [grid(name, found["table"]) for name, found in known.items()]
    left = [name for name in names if name not in known]
    rest = f"\nNot computed in the last run of the script: {', '.join(left)}.\n" if left else ""
    head = HEAD.format(
        rates1=shown(RATES[1]),
        rates2=shown(RATES[2]),
        factors1=shown(FACTORS[1]),
        factors2=shown(FACTORS[2]),
    )
    body = "\n".join(rows) + "\n" + rest
    PAGE.write_text(head + body + "".join(table for table in tables if table), encoding="utf-8")


def shown(values: tuple[float, ...]) -> str:
    """As a list in a sentence."""
    return ", ".join(f"{v:g}" for v in values)


def row(name: str, found: dict[str, Any]) -> str:
    """One line of the first table."""
    radius = "none" if found["radius"] is None else f"{found['radius']:.3g}"
    start = f"| {name} | {found['kind']} | {radius} |"
    if found["minima"] is None:
        return f"{start} not computed in more than two dimensions |"
    if found["minima"] < 2:
        return f"{start} no other minimum to leave |"
    best = max(found["table"], key=lambda r: (r["excluded"], r["probability"]))
    if not best["excluded"]:
        return f"{start} none: no setting tried certifies anything |"
    return (
        f"{start} {best['excluded']} of {best['minima']} left behind at "
        f"η = {best['learning_rate']:g}, ρ = {best['radius']:.3g} (r = "
        f"{best['radius'] / best['learning_rate']:.3g}), with probability ≥ "
        f"{best['probability']:.2g} ({best['status']}) |"
    )


def grid(name: str, table: list[dict[str, Any]]) -> str:
    """Over (η, ρ): how many minima are left behind, and with what probability at least."""
    if not any(r["excluded"] for r in table):
        return ""
    radii = sorted({r["radius"] for r in table})
    rates = sorted({r["learning_rate"] for r in table}, reverse=True)
    cells = {(r["learning_rate"], r["radius"]): r for r in table}
    lines = [
        f"\n## {name}: {table[0]['minima']} other minima\n",
        "| η \\ ρ | " + " | ".join(f"{radius:g}" for radius in radii) + " |",
        "|---" * (len(radii) + 1) + "|",
    ]
    for rate in rates:
        lines.append(
            f"| {rate:g} | " + " | ".join(cell(cells[rate, radius]) for radius in radii) + " |"
        )
    return "\n".join(lines) + "\n"


def cell(found: dict[str, Any]) -> str:
    """How many are left behind, at least how surely, and whether it is proved."""
    if not found["excluded"]:
        return "-"
    return f"{found['excluded']} (≥ {found['probability']:.2g}, {found['status']})"


if __name__ == "__main__":
    main()
