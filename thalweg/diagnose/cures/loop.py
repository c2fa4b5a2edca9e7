"""The plain training loop with a cure's lines in their places: code that runs as it stands."""

import re
from textwrap import indent

from thalweg.diagnose.cures.cure import Cure
from thalweg.diagnose.cures.places import Places

__all__ = ["in_loop"]

COUNTERS = ("steps", "steps_taken", "steps_so_far")
"""Names for the number of steps, of which a cure may use one itself."""


def in_loop(cure: Cure, *, epochs: str = "epochs") -> str:
    """A whole loop in Python with the cure in it; where its code is but a comment, that comment.

    It wants ``model``, ``loss``, ``optimizer``, ``loader``, ``epochs``, and what else the cure's code
    names. A cure without places stands before the loop.

    Args:
        epochs: an expression for the number of epochs.
    """
    places = Places.of(cure.code)
    if not places.is_code:
        return f"{cure.code}\n"
    counter = next(name for name in COUNTERS if not re.search(rf"\b{name}\b", cure.code))
    after = [_limited(block.lines, block.steps, counter) for block in places.at("after")]
    counted = any(block.steps for block in places.at("after"))
    lines = [
        *(block.lines for block in places.at("before")),
        f"{counter} = 0" if counted else "",
        f"for epoch in range({epochs}):",
        "    for inputs, targets in loader:",
        "        optimizer.zero_grad()",
        "        value = loss(model(inputs), targets)",
        *_deep(places, "backward", 2),
        "" if places.at("backward") else "        value.backward()",
        *_deep(places, "between", 2),
        "        optimizer.step()",
        f"        {counter} += 1" if counted else "",
        *(indent(each, " " * 8) for each in after),
        *_deep(places, "epoch", 1),
        *_deep(places, "end", 0),
    ]
    return "\n".join(line for line in lines if line.strip()) + "\n"


def _deep(places: Places, place: str, levels: int) -> list[str]:
    return [indent(block.lines, " " * 4 * levels) for block in places.at(place)]


def _limited(lines: str, steps: int, counter: str) -> str:
    return f"if {counter} <= {steps}:\n{indent(lines, ' ' * 4)}" if steps else lines
