"""The places of a training loop where the lines of a cure go: its code, read and written by place."""

import re
from dataclasses import dataclass

__all__ = ["AFTER", "BACKWARD", "BETWEEN", "END", "EPOCH", "PLACES", "REPLACES", "Block", "Places"]

BACKWARD = "# in place of loss.backward():\n"
BETWEEN = "# between loss.backward() and optimizer.step():\n"
AFTER = "# after each optimizer.step():\n"
EPOCH = "# after each epoch:\n"
END = "# at the end:\n"
"""The places as a cure's code names them; lines before the first of them go before the loop.
``after each optimizer.step() of the next 100`` ends after so many."""

PLACES = ("before", "backward", "between", "after", "epoch", "end")
"""In the order of a loop."""

REPLACES = "in place of any other schedule"
"""What the name of a place says where the lines are a schedule."""

_MARKS = {
    "in place of loss.backward()": "backward",
    "loss.backward()": "between",
    "each optimizer.step()": "after",
    "each epoch": "epoch",
    "at the end": "end",
}

_REMARK = "# and leave out"


@dataclass(frozen=True)
class Block:
    """Lines that go to one place.

    Attributes:
        place: one of PLACES.
        mark: the comment that names the place; empty before the loop.
        lines: the code.
    """

    place: str
    mark: str
    lines: str

    @property
    def steps(self) -> int:
        """After how many steps lines after a step end; 0 for never."""
        number = re.search(r"of the next (\d+)", self.mark)
        return int(number[1]) if number else 0


@dataclass(frozen=True)
class Places:
    """The code of a cure by place.

    Attributes:
        blocks: of one place in the order in which they are run.
        remarks: what is said at the end, of lines of the user's to leave out.
    """

    blocks: tuple[Block, ...]
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, code: str) -> "Places":
        """As the text of a cure's code says."""
        found: list[tuple[str, str, list[str]]] = [("before", "", [])]
        remarks = []
        for line in code.splitlines():
            place = _place(line)
            if place is not None:
                found.append((place, line, []))
            elif line.startswith(_REMARK):
                remarks.append(line)
            else:
                found[-1][2].append(line)
        blocks = [Block(place, mark, "\n".join(lines)) for place, mark, lines in found]
        return cls(tuple(block for block in blocks if block.lines.strip()), tuple(remarks))

    def at(self, place: str) -> list[Block]:
        """The blocks of a place."""
        return [block for block in self.blocks if block.place == place]

    @property
    def text(self) -> str:
        """As a cure's code, every place named once."""
        lines, mark = [], ""
        for place in PLACES:
            for block in self.at(place):
                lines += [block.mark] if block.mark != mark else []
                lines.append(block.lines)
                mark = block.mark
        return "\n".join([*lines, *self.remarks])

    @property
    def is_code(self) -> bool:
        """Whether there is a line to run."""
        lines = (line.strip() for block in self.blocks for line in block.lines.splitlines())
        return any(line and not line.startswith("#") for line in lines)


def _place(line: str) -> str | None:
    if not (line.startswith("#") and line.endswith(":")):
        return None
    return next((place for mark, place in _MARKS.items() if mark in line), None)
