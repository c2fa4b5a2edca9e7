"""Shorter programs for the same linear map: what a recording of autograd's operations repeats is left out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["Step", "simplified"]

ATEN = torch.ops.aten


@dataclass(frozen=True)
class Step:
    """One operation on a list of values.

    Attributes:
        function: what is called.
        arguments: for each argument its place in the list, or a list of places.
        options: keyword arguments, constant.
        results: the places that the result, or each part of it, takes.
        many: whether the result has parts.
        like: the result as it was recorded, for its shape and dtype; None where it has parts.
    """

    function: Any
    arguments: Sequence[int | list[int]]
    options: dict[str, Any]
    results: list[int]
    many: bool
    like: Tensor | None

    def reads(self) -> Iterator[int]:
        """The places it reads, as often as it does."""
        for argument in self.arguments:
            if isinstance(argument, list):
                yield from argument
            else:
                yield argument


def simplified(steps: list[Step], result: int) -> tuple[list[Step], int]:
    """The same result by fewer operations; no step may write to a value.

    Transposing twice and adding zeros are left out, then what nobody reads; a product of matrices
    that is only added to something is added in place. Sums are associated differently: results
    agree up to rounding.
    """
    steps, result = _without_detours(steps, result)
    steps = _read_by_someone(steps, result)
    return _added_in_place(steps, result), result


def _without_detours(steps: list[Step], result: int) -> tuple[list[Step], int]:
    same: dict[int, int] = {}
    made: dict[int, Step] = {}
    kept = []
    for step in steps:
        arguments = [
            [same.get(slot, slot) for slot in a] if isinstance(a, list) else same.get(a, a)
            for a in step.arguments
        ]
        step = replace(step, arguments=arguments)
        stands_for = _other_name(step, made)
        if stands_for is not None:
            same[step.results[0]] = stands_for
            continue
        if not step.many:
            made[step.results[0]] = step
        kept.append(step)
    return kept, same.get(result, result)


def _other_name(step: Step, made: dict[int, Step]) -> int | None:
    """The value that the step's result equals, if one does."""
    if step.options:
        return None
    sources = [made.get(a) if isinstance(a, int) else None for a in step.arguments]
    if step.function is ATEN.t.default:
        (source,) = sources
        if source is not None and source.function is ATEN.t.default:
            (first,) = source.arguments
            return first if isinstance(first, int) else None
    if step.function is ATEN.add.Tensor and None not in sources:
        for zero, other in (sources, sources[::-1]):
            assert zero is not None
            assert other is not None
            if zero.function is ATEN.zeros_like.default and _alike(other, step):
                return other.results[0]
    return None


def _read_by_someone(steps: list[Step], result: int) -> list[Step]:
    needed = {result}
    kept = []
    for step in reversed(steps):
        if needed.intersection(step.results):
            needed.update(step.reads())
            kept.append(step)
    return kept[::-1]


def _added_in_place(steps: list[Step], result: int) -> list[Step]:
    read = Counter(slot for step in steps for slot in step.reads())
    read[result] += 1
    made = {step.results[0]: step for step in steps if not step.many}
    kept: dict[int, Step] = {}  # by the first of the results, in order
    for step in steps:
        kept[step.results[0]] = step
        if step.function is not ATEN.add.Tensor or step.options:
            continue
        for slot, other_slot in (step.arguments, step.arguments[::-1]):
            if not (isinstance(slot, int) and isinstance(other_slot, int)):
                continue
            product, other = kept.get(slot), made.get(other_slot)
            if (
                product is None
                or other is None
                or product.function is not ATEN.mm.default
                or read[slot] != 1
                or not _alike(product, step)
                or not _alike(other, step)
            ):
                continue
            own = other.function in FRESH and read[other_slot] == 1
            del kept[slot]
            fused = replace(
                step,
                function=ATEN.addmm_.default if own else ATEN.addmm.default,
                arguments=[other_slot, *product.arguments],
            )
            kept[step.results[0]] = made[step.results[0]] = fused
            break
    return list(kept.values())


FRESH = {ATEN.mm.default, ATEN.addmm.default, ATEN.addmm_.default, ATEN.threshold_backward.default}
"""Operations whose result shares no memory with anything else that is read."""


def _alike(one: Step, two: Step) -> bool:
    return (
        one.like is not None
        and two.like is not None
        and one.like.shape == two.like.shape
        and one.like.dtype == two.like.dtype
    )
