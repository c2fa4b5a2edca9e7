"""The plain training loop with a cure's lines in their places: code that runs as it stands."""

import re
from textwrap import indent

from thalweg.diagnose.cures.cure import Cure

__all__ = ["in_loop"]

PLACES = ("before", "between", "after", "epoch", "end")

MARKS = {
    "loss.backward()": "between",
    "each optimizer.step()": "after",
    "each epoch": "epoch",
    "at the end": "end",
}


def in_loop(cure: Cure, *, epochs: str = "epochs") -> str:
    """A whole loop in Python with the cure in it.

    It wants ``model``, ``loss``, ``optimizer``, ``loader``, ``epochs``, and what else the cure's code
    names. A cure without places stands before the loop.

    Args:
        epochs: an expression for the number of epochs.
    """
    parts, limit = _parts(cure.code)
    lines = [
        parts["before"],
        "steps = 0" if limit else "",
        f"for epoch in range({epochs}):",
        "    for inputs, targets in loader:",
        "        optimizer.zero_grad()",
        "        value = loss(model(inputs), targets)",
        "        value.backward()",
        indent(parts["between"], " " * 8),
        "        optimizer.step()",
    ]
    if limit:
        after = f"steps += 1\nif steps <= {limit}:\n" + indent(parts["after"], " " * 4)
        lines.append(indent(after, " " * 8))
    else:
        lines.append(indent(parts["after"], " " * 8))
    lines += [indent(parts["epoch"], " " * 4), parts["end"]]
    return "\n".join(line for line in lines if line.strip()) + "\n"


def _parts(code: str) -> tuple[dict[str, str], int]:
    """The lines for each place, and after how many steps those after a step end (0: never)."""
    parts: dict[str, list[str]] = {place: [] for place in PLACES}
    place, limit = "before", 0
    for line in code.splitlines():
        mark = next((m for m in MARKS if line.startswith("#") and m in line), None)
        if mark is not None and line.endswith(":"):
            place = MARKS[mark]
            number = re.search(r"of the next (\d+)", line)
            limit = int(number[1]) if number else limit
        elif not line.startswith("# and leave out"):
            parts[place].append(line)
    return {name: "\n".join(lines) for name, lines in parts.items()}, limit
