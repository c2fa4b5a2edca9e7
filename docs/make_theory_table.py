"""Writes docs/theory-table.md: where every landscape stands, and what noise certifies on it.

Run it from the root: .venv/bin/python docs/make_theory_table.py (some minutes).
"""

import sys
from pathlib import Path

import torch

import thalweg as tw
from thalweg.objective.landscape import Landscape
from thalweg.theory.basins import minima
from thalweg.theory.domain import read_domain

PAGE = Path(__file__).parent / "theory-table.md"
RATES = (0.3, 0.1, 0.01)

SLOW = {"ackley", "mueller_brown", "gaussian_spikes", "beale", "flat_and_sharp"}
"""Their smoothed loss is a quadrature, or their proof takes many boxes."""

HEAD = """# Where every landscape stands

Written by `docs/make_theory_table.py`. Each function of one or two variables of the catalogue, on
its own domain, around its lowest minimum. *Place*: convex; one-point convex; one-point convex only
after smoothing by uniform noise (with the smallest step noise ρ tried for which it is); or neither
(estimated on a grid). *Certificate*: over learning rates η of {rates} and step noises ρ of 1 and 2
times that radius (5 and 10% of the domain where there is none), the pair that leaves most of the
other minima behind: how many, with what probability at least, and whether c, C and V were proved.
Where no pair gives a certificate that says anything, that is said.

| landscape | place | ρ | certificate |
|---|---|---|---|
"""


def main() -> None:
    """All rows, the page written after each; those that take minutes come last."""
    made = {name: make() for name, make in tw.landscapes.CATALOGUE.items()}
    known = {name: landscape for name, landscape in made.items() if landscape.dim <= 2}
    rows: dict[str, str] = {}
    for name in sorted(known, key=lambda name: (name in SLOW, name)):
        rows[name] = row(name, known[name])
        sys.stdout.write(rows[name] + "\n")
        body = "\n".join(rows[name] for name in sorted(rows))
        left = ", ".join(sorted(known.keys() - rows.keys()))
        rest = f"\nNot computed in the last run of the script: {left}.\n" if left else ""
        PAGE.write_text(HEAD.format(rates=", ".join(f"{r:g}" for r in RATES)) + body + "\n" + rest)


def row(name: str, landscape: Landscape) -> str:
    domain = read_domain(landscape.domain, landscape.dim)
    found = minima(landscape, domain)
    losses = [float(landscape.loss(torch.tensor(p, dtype=torch.float64))) for p in found]
    middle = tuple((low + high) / 2 for low, high in domain.sides)
    target = found[losses.index(min(losses))] if found else middle
    place = tw.theory.placed(landscape, target, domain)
    radius = place.radius or 0.05 * domain.size
    shown = "none" if place.radius is None else f"{place.radius:.3g}"
    if len(found) < 2:
        return f"| {name} | {place.kind} | {shown} | no other minimum to leave |"
    table = tw.theory.certificates(
        landscape, target, domain, rates=RATES, radii=(radius, 2 * radius)
    )
    best = max(table, key=lambda r: (r["excluded"], r["probability"]))
    if not best["excluded"]:
        text = "none: no setting tried certifies anything"
    else:
        text = (
            f"{best['excluded']} of {best['minima']} left behind at η = {best['learning_rate']:g}, "
            f"noise {best['noise']}, with probability ≥ {best['probability']:.2g} ({best['status']})"
        )
    return f"| {name} | {place.kind} | {shown} | {text} |"


if __name__ == "__main__":
    main()
