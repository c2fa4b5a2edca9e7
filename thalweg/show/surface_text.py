"""A surface in words and numbers."""

from thalweg.estimate import number
from thalweg.measure.surface import Surface

__all__ = ["axes_sentence", "rows", "sentences"]


def axes_sentence(found: Surface) -> str:
    """What the axes are and how long."""
    axes = " and ".join(
        f"{name} (1 displaces by {number(length, 3)})"
        for name, length in zip(found.flat.names, found.flat.lengths)
    )
    turned = "" if abs(found.flat.angle - 90) < 1 else f", {number(found.flat.angle, 3)}° apart"
    return f"{found.flat.kind[:1].upper()}{found.flat.kind[1:]}: {axes}{turned}."


def rows(found: Surface) -> list[tuple[str, ...]]:
    """For each quantity: name, ends, error bound, values evaluated and held back."""
    table = []
    for name, f in {"loss": found.loss, **found.beside}.items():
        low, high = f.ends
        off = (
            "exact"
            if f.seen.all()
            else "0"
            if f.level
            else f"{number(100 * f.share, 2)}% of the range"
        )
        counts = (str(f.evaluations), str(int(f.checked.sum())))
        table.append((name, number(low), number(high), off, *counts))
    return table


def sentences(found: Surface) -> list[str]:
    """Where it is lowest, how it was sampled, what the plane holds of the run."""
    where = ", ".join(number(value, 2) for value in found.lowest)
    lowest = "" if found.loss.level else f"; the lowest shown is at ({where})"
    said = [f"The loss is {number(found.centre)} at the centre{lowest}.", found.sentence()]
    if found.walk is not None:
        share = number(100 * found.walk.share, 2)
        held = "plane" if found.y is not None else "line"
        said.append(f"The {held} holds {share}% of the motion of the run.")
    return said
