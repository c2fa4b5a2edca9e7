"""A program: operations on a list of values, one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Step"]


@dataclass(frozen=True)
class Step:
    """One operation on a list of values.

    Attributes:
        function: what is called.
        arguments: for each argument its place in the list, or a list of places.
        options: keyword arguments, constant.
        results: the places that the result, or each part of it, takes.
        many: whether the result has parts.
        like: shape and dtype of the result as it was recorded; None where it has parts.
    """

    function: Any
    arguments: Sequence[int | list[int]]
    options: dict[str, Any]
    results: list[int]
    many: bool
    like: tuple[torch.Size, torch.dtype] | None

    def reads(self) -> Iterator[int]:
        """The places it reads, as often as it does."""
        for argument in self.arguments:
            if isinstance(argument, list):
                yield from argument
            else:
                yield argument
